#!/bin/sh
# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
# Make a keystore with an enclave for each node of policy.xml, and run sim and controller under it.
#
#   security/secure_demo.sh KEYSTORE POLICY.safetensors [ENV]
#
# Needs a ROS 2 whose middleware was built with security (that of the distributions is; the wheels
# of rclpy on PyPI are not, and then nothing starts) and its package sros2. KEYSTORE is a new folder;
# its subfolder `private` can sign any key: keep it off the robot.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: $0 KEYSTORE POLICY.safetensors [ENV]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
keystore=$1 policy=$2 env=${3:-InvertedDoublePendulum-v5}
if [ ! -e "$keystore" ]; then
    umask 077
    ros2 security create_keystore "$keystore"
    for enclave in /controller /guard /sim /neuromorphic /operator; do
        ros2 security create_enclave "$keystore" "$enclave"
        ros2 security create_permission "$keystore" "$enclave" "$here/policy.xml"
    done
fi
export ROS_SECURITY_KEYSTORE="$keystore" ROS_SECURITY_ENABLE=true ROS_SECURITY_STRATEGY=Enforce
ros2 run proxy_snn_control sim --ros-args --enclave /sim -p env:="$env" -p episodes:=10 &
sim=$!
trap 'kill "$sim" 2>/dev/null || true' EXIT
ros2 run proxy_snn_control controller --ros-args --enclave /controller \
    -p policy:="$policy" -p lockstep:=true -p autostart:=true -p observation_timeout:=10.0 \
    -p lock:=true &
controller=$!
trap 'kill "$sim" "$controller" 2>/dev/null || true' EXIT
wait "$sim"
kill -INT "$controller"
wait "$controller"
