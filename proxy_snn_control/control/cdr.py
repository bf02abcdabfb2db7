# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Read and write std_msgs/Float64MultiArray as the bytes that DDS carries (OMG CDR, XCDR1).

To make a Python message of the bytes, and bytes of a message, takes longer than all the rest of a
command. A number has its own size for alignment, counted from behind the four bytes that give how
the rest is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
import struct

import numpy as np
from proxy_snn_control.policy import ObservationError

_ENCODINGS = {b'\0\1': '<', b'\0\0': '>'}
_LITTLE = b'\0\1\0\0'
_HEAD = len(_LITTLE)
_LITTLE_DOUBLES = np.dtype('<f8')
# Of a dimension's label; a message of another kind would have us read garbage.
_LONGEST_LABEL = 4096


def read_vector(data: bytes) -> tuple[str, np.ndarray]:
    """Return the label of the first dimension, "" without one, and the numbers, float64 [n].

    Raises:
        ObservationError: these are not the bytes of a Float64MultiArray.
    """
    order = _ENCODINGS.get(data[:2])
    if order is None:
        raise ObservationError(f'has the encoding {data[:2].hex()}, expected plain CDR')
    label = ''
    try:
        (dimensions,) = struct.unpack_from(f'{order}I', data, _HEAD)
        at = _HEAD + 4
        if dimensions:
            for i in range(dimensions):
                (size,) = struct.unpack_from(f'{order}I', data, at)
                if size > _LONGEST_LABEL:
                    raise ObservationError(f'has a label of {size} bytes')
                at += 4
                end = at + size
                if i == 0:
                    label = data[at:end].rstrip(b'\0').decode(errors='replace')
                at = end + -size % 4 + 8  # behind the label come the dimension's size and stride
        (count,) = struct.unpack_from(f'{order}I', data, at + 4)  # behind data_offset
        at += 8
        at += -(at - _HEAD) % 8 if count else 0
        return label, np.frombuffer(data, f'{order}f8', count, at)
    except (struct.error, ValueError):
        raise ObservationError('is no whole Float64MultiArray') from None


class VectorReader:
    """Reads Float64MultiArrays, quickly where they begin as the last one that was read did."""

    def __init__(self) -> None:
        self._begins, self._label, self._count = b'', '', 0

    def read(self, data: bytes) -> tuple[str, np.ndarray]:
        """As `read_vector`."""
        begins = self._begins
        if begins and len(data) == len(begins) + 8 * self._count and data.startswith(begins):
            return self._label, np.frombuffer(data, _LITTLE_DOUBLES, self._count, len(begins))
        label, values = read_vector(data)
        behind = len(data) - values.nbytes
        # Where the rest is the numbers alone, the bytes before it hold everything else.
        if data.startswith(_LITTLE) and len(values) and values.tobytes() == data[behind:]:
            self._begins, self._label, self._count = data[:behind], label, len(values)
        return label, values


class VectorWriter:
    """Writes Float64MultiArrays of one length, with a label or without."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bare = struct.Struct(f'<4xIII{4 if size else 0}x{size}d')
        self._labelled: dict[int, struct.Struct] = {}

    def write(self, values: Sequence[float], label: str) -> bytes:
        """Return the bytes of a message, as `messages.number_array` makes it."""
        size = self._size
        if not label:
            return _LITTLE + self._bare.pack(0, 0, size, *values)[_HEAD:]
        text = label.encode() + b'\0'
        length = len(text) + -len(text) % 4
        layout = self._labelled.get(length)
        if layout is None:
            pad = -(4 + 4 + length + 8 + 4 + 4) % 8 if size else 0
            layout = struct.Struct(f'<4xII{length}sIIII{pad}x{size}d')
            if len(self._labelled) < 64:
                self._labelled[length] = layout
        packed = layout.pack(1, len(text), text, size, size, 0, size, *values)
        return _LITTLE + packed[_HEAD:]
