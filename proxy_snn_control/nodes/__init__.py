# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The ROS nodes, on rclpy: controller, sim and train. `python -m proxy_snn_control.nodes NODE`."""
