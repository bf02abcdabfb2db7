# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""How an observation follows from the one before: what a controller finds wiring mistakes by."""

from __future__ import annotations

import numpy as np
from proxy_snn_control.policy.file import MAX_TRANSITION, PolicySpec

# Added to the variances, for numbers that depend on each other exactly: what float32 resolves.
RIDGE = 1e-6
SMALLEST_SCALE = 1e-3


def transition_model(
    observations: np.ndarray, actions: np.ndarray, following: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the tensors of a policy file that describe it; none where transitions are too long.

    Arguments are those of `whitening`.
    """
    if 2 * observations.shape[1] + actions.shape[1] + 1 > MAX_TRANSITION:
        return {}
    return {'transition.whitening': whitening(observations, actions, following)}


def why_left_out(spec: PolicySpec) -> str:
    """Return a sentence for the user if this policy's file will not hold it, else nothing."""
    size = spec.transition_size
    if size <= MAX_TRANSITION:
        return ''
    return (
        f'a transition has {size} numbers, more than the {MAX_TRANSITION} of a transition model: '
        "the wiring check will find values far outside of training's range, but no other mistake"
    )


def whitening(observations: np.ndarray, actions: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Return the matrix W for which the mean of |W z|^2 is the length of z.

    z = (observation, action, next observation, 1) of a transition. W is triangular, from the
    Cholesky factor L of the second moments M = L L^T of z: W = L^-1, so that W^T W = M^-1, the
    precision matrix of z (Golub and Van Loan, Matrix Computations, 4.2). The last number, 1,
    brings the means into the moments.

    Args:
        observations: [n, observations].
        actions: [n, actions], what was done then.
        following: [n, observations], what was observed next.

    Returns:
        float32 [z, z].
    """
    ones = np.ones((len(observations), 1))
    z = np.hstack([observations, actions, following, ones]).astype(np.float64)
    scale = np.maximum(np.sqrt(np.mean(z * z, axis=0)), SMALLEST_SCALE)
    z /= scale
    moments = z.T @ z / len(z) + RIDGE * np.eye(z.shape[1])
    lower = np.linalg.cholesky(moments)
    return np.linalg.solve(lower, np.diag(1 / scale)).astype(np.float32)
