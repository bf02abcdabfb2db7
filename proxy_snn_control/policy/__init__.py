# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The policy file and the runtime that acts from it. Needs NumPy, nothing else."""

from .errors import ObservationError, PolicyFileError, UserError
from .file import PolicyFile, PolicySpec, read_policy, write_policy
from .runtime import load_policy, Policy

__all__ = [
    'ObservationError',
    'Policy',
    'PolicyFile',
    'PolicyFileError',
    'PolicySpec',
    'UserError',
    'load_policy',
    'read_policy',
    'write_policy',
]
