# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Train spiking policies with proxy targets and run them on robots."""

__version__ = '0.2.0'
