# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
# The controller alone: no PyTorch, no simulator. Build from the repository's folder:
#
#     # needs Docker
#     docker build -f docker/controller.Dockerfile -t proxy-snn-controller .
#     docker run --rm --net host -v $PWD:/data proxy-snn-controller -p policy:=/data/policy.safetensors
#
ARG DISTRIBUTION=jazzy
FROM ros:${DISTRIBUTION}-ros-core
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-numba python3-numpy python3-yaml \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir --no-deps /source \
    && rm -rf /source
RUN useradd --create-home robot
USER robot
ENTRYPOINT ["/ros_entrypoint.sh", "python3", "-m", "proxy_snn_control.nodes", "controller", \
    "--ros-args", "-p", "autostart:=true"]
