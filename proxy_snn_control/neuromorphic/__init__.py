# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The policy on a neuromorphic chip, as Lava simulates it; see docs/neuromorphic.md."""
