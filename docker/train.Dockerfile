# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
# Training, with PyTorch, the simulator and ROS. Build from the repository's folder:
#
#     # needs Docker
#     docker build -f docker/train.Dockerfile -t proxy-snn-train .
#     docker run --rm --gpus all -v $PWD/runs:/runs proxy-snn-train train --env HalfCheetah-v4 --out /runs/cheetah
#
ARG DISTRIBUTION=jazzy
FROM ros:${DISTRIBUTION}-ros-base
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-venv libegl1 \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN python3 -m venv --system-site-packages /opt/proxy_snn \
    && /opt/proxy_snn/bin/python -m pip install --no-cache-dir '/source[train,view,bags]'
RUN useradd --create-home trainer
USER trainer
ENTRYPOINT ["/opt/proxy_snn/bin/proxy-snn"]
