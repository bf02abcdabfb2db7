# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The spiking actor in torch: neurons, surrogate gradient, population encoder and decoder."""
