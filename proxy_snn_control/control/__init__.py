# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What a controller decides, in plain Python with the clock passed in; no rclpy."""
