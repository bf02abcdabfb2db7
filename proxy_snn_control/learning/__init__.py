# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Learning: tasks, TD3 with proxy targets, evaluation. Only modules that train import torch."""
