#!/bin/bash
# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
# The runtime, compiled and in NumPy, the policy reader and the exported C on 64-bit ARM, emulated by
# QEMU: the same spikes as on this computer, for every observation of every policy given.
#
#     apt install qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross
#     benchmarks/arm.sh FOLDER COUNT benchmarks/policies/*.safetensors [--table F.md]
#
# Debian's arm64 Python is unpacked into FOLDER (a private apt configuration; nothing is installed),
# the aarch64 wheels of numpy, numba and llvmlite beside it. What is there is used again. It shows
# nothing of time: QEMU is 8 to 130 times slower, unevenly.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
count=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
root=$folder/root

if [ ! -x "$root/usr/bin/python3.11" ]; then
  mkdir -p "$folder"/apt/{state/lists/partial,cache/archives/partial,etc} "$root"
  touch "$folder/apt/status"
  apt=(apt-get -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Debug::NoLocking=1
    -o Dir::State="$folder/apt/state" -o Dir::State::status="$folder/apt/status"
    -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User=root
    -o APT::Install-Recommends=false -q -y)
  "${apt[@]}" update
  "${apt[@]}" install --download-only python3.11 libstdc++6
  for package in "$folder"/apt/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$root"
  done
fi
if [ ! -d "$folder/site/numba" ]; then
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 3.11 --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
    --dest "$folder/wheels" -c "$here/../constraints.txt" numpy numba llvmlite
  for wheel in "$folder"/wheels/*.whl; do
    "$python" -m zipfile -e "$wheel" "$folder/site"
  done
fi
exec "$python" "$here/arm.py" "$folder" "$count" "$@"
