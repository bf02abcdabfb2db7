# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Messages of spikes, between a controller and the neuromorphic node.

Imports nothing of Lava: the controller has another Python.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from proxy_snn_control.control.messages import message_class
from proxy_snn_control.policy import UserError


def spikes_message(layers: Sequence[np.ndarray], label: str, checksum: str) -> Any:
    """Make a message of spikes, bool [T, neurons] of each layer.

    The data are the layers one after the other, each by time step, eight neurons to a byte with
    the first in the lowest bit, filled up with zeros behind the last layer. There is one dimension
    a layer, its size the neurons and its stride T times that. The first one's label is `label`,
    which identifies the request and is repeated in the answer; the second one's, or in a message
    of one layer that of another dimension of size 0, the policy file's `checksum`.
    """
    message = message_class('std_msgs/UInt8MultiArray')()
    dimension = message_class('std_msgs/MultiArrayDimension')
    message.layout.dim = [dimension(size=layer.shape[1], stride=layer.size) for layer in layers]
    if len(layers) == 1:
        message.layout.dim.append(dimension())
    message.layout.dim[0].label, message.layout.dim[1].label = label, checksum
    flat = np.concatenate([np.asarray(layer, bool).ravel() for layer in layers])
    message.data = array('B', np.packbits(flat, bitorder='little').tobytes())
    return message


def labels_of(message: Any) -> tuple[str, str]:
    """Return the label and the checksum of a message of spikes, "" each where it has none."""
    first, second = [*(dimension.label for dimension in message.layout.dim[:2]), '', ''][:2]
    return first, second


def spikes_of(message: Any, time_steps: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """Return the spikes of a message, bool [T, neurons] of each layer.

    Raises:
        UserError: they are not of layers of these sizes.
    """
    shapes = [(time_steps, size) for size in sizes]
    given = [(each.stride // each.size, each.size) for each in message.layout.dim if each.size]
    count = sum(steps * size for steps, size in shapes)
    if given != shapes or len(message.data) != -(-count // 8):
        raise UserError(
            f'a message of spikes has {len(message.data)} bytes for [time steps, neurons] of '
            f'{given}, expected {-(-count // 8)} bytes for {shapes}'
        )
    packed = np.frombuffer(message.data, np.uint8)
    flat = np.unpackbits(packed, count=count, bitorder='little').astype(bool)
    parts = np.split(flat, np.cumsum([steps * size for steps, size in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
