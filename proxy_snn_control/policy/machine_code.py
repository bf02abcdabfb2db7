# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Loads an object file into memory and links it, as far as the compiled pass needs.

The pass (event.py) is compiled in the large code model: its parts may lie anywhere. Its object
file, ELF for 64-bit x86 or ARM on Linux, holds sections of code and constants, and a list of
places where addresses are to be filled in. LLVM could load it too, but takes 50 MB and 0.1 s to be
loaded itself, nearly as much as all the rest of a controller.

Formats: System V gABI (ELF), x86-64 psABI, ELF for the Arm 64-bit Architecture.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from typing import NamedTuple

import numpy as np

_ELF = b'\x7fELF\2\1'  # of 64 bits, little-endian
_X86, _ARM = 62, 183
_SYMBOLS, _RELOCATIONS, _ALLOCATED = 2, 4, 2
# Code that jumps to the address stored after it: so every function is near enough for a branch.
_JUMPS = {_X86: bytes.fromhex('ff2500000000'), _ARM: bytes.fromhex('5000005800021fd6')}
# What is filled in: 64 bits of address; on ARM a quarter of one, or the distance of a branch.
_ADDRESS = {_X86: 1, _ARM: 257}
_ARM_QUARTERS = {264: 0, 266: 16, 268: 32, 269: 48}
_ARM_BRANCHES = (282, 283)
_LIBRARIES = (None, 'libm.so.6')  # this process, and C's mathematics


def load(content: bytes, entry: str) -> tuple[mmap.mmap, int]:
    """Load an object file. Its memory is never writable and executable at once.

    Args:
        content: of the file.
        entry: name of a function in it.

    Returns:
        The memory, to be kept as long as the function is called, and the function's address.

    Raises:
        ValueError: the file has something that this loader does not support.
        OSError: the system gives no memory for code.
    """
    try:
        code = _Code(content)
    except (struct.error, IndexError) as error:
        raise ValueError(f'no whole object file: {error}') from error
    if entry not in code.functions:
        raise ValueError(f'no function {entry}')
    descriptor = os.memfd_create(entry)
    try:
        size = len(code.image)
        os.ftruncate(descriptor, size)
        memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_EXEC)
        base = np.frombuffer(memory, np.uint8).ctypes.data
        code.fill_in(base)
        os.pwrite(descriptor, code.image, 0)
    finally:
        os.close(descriptor)
    return memory, base + code.functions[entry]


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


_SECTION, _SYMBOL, _RELOCATION = (
    struct.Struct(layout) for layout in ('<2I4Q2I2Q', '<I2xHQ8x', '<Q2Iq')
)


class _Code:
    """What of an object file is needed at run time.

    Attributes:
        image: the sections one after the other, and jumps to functions of libraries.
        functions: by name their places in the image.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._machine = int.from_bytes(content[18:20], 'little')
        if not content.startswith(_ELF) or self._machine not in _JUMPS:
            raise ValueError('no ELF file for 64-bit x86 or ARM')
        (table,) = struct.unpack_from('<Q', content, 40)
        count, names = struct.unpack_from('<2H', content, 60)
        sections = [_Section(*_SECTION.unpack_from(content, table + 64 * i)) for i in range(count)]
        self.image, begins = bytearray(), dict[int, int]()
        for i, section in enumerate(sections):
            # No exception passes through it, so nothing is unwound.
            is_needed = self._text(sections[names], section.name) != '.eh_frame'
            if section.flags & _ALLOCATED and is_needed:
                self.image += bytes(-len(self.image) % max(section.alignment, 1))
                begins[i] = len(self.image)
                self.image += self._bytes(section)
        (symbols,) = (section for section in sections if section.kind == _SYMBOLS)
        self.functions: dict[str, int] = {}
        self._symbols: list[tuple[str, int | None]] = []
        for name, index, value in _SYMBOL.iter_unpack(self._bytes(symbols)):
            text = self._text(sections[symbols.link], name)
            place = begins[index] + value if index in begins else None
            self._symbols.append((text, place))
            if place is not None and text:
                self.functions[text] = place
        # Each: where, what kind, of which symbol, and the offset from it.
        self._relocations = [
            (begins[section.info] + where, kind, symbol, more)
            for section in sections
            if section.kind == _RELOCATIONS and section.info in begins
            for where, kind, symbol, more in _RELOCATION.iter_unpack(self._bytes(section))
        ]
        self._add_jumps()

    def _add_jumps(self) -> None:
        """Append a jump to every function that is in none of the sections."""
        for i in sorted({symbol for _, _, symbol, _ in self._relocations}):
            name, place = self._symbols[i]
            if place is None:
                self.image += bytes(-len(self.image) % 16)
                self._symbols[i] = (name, len(self.image))
                self.image += _JUMPS[self._machine] + struct.pack('<Q', _address_of(name))

    def fill_in(self, base: int) -> None:
        """Fill in the addresses, for an image that begins at `base`."""
        for where, kind, symbol, more in self._relocations:
            target = self._symbols[symbol][1]
            assert target is not None  # by `_add_jumps`
            target += more
            if kind == _ADDRESS[self._machine]:
                struct.pack_into('<Q', self.image, where, base + target)
                continue
            (instruction,) = struct.unpack_from('<I', self.image, where)
            if self._machine == _ARM and kind in _ARM_QUARTERS:
                quarter = (base + target) >> _ARM_QUARTERS[kind] & 0xFFFF
                instruction = instruction & ~(0xFFFF << 5) | quarter << 5
            elif self._machine == _ARM and kind in _ARM_BRANCHES:
                instruction = instruction & ~0x3FFFFFF | (target - where) >> 2 & 0x3FFFFFF
            else:
                raise ValueError(f'an address of kind {kind}')
            struct.pack_into('<I', self.image, where, instruction)

    def _bytes(self, section: _Section) -> bytes:
        begin, end = section.offset, section.offset + section.size
        found = self._content[begin:end]
        if len(found) != section.size:
            raise IndexError('a section ends behind the file')
        return found

    def _text(self, section: _Section, offset: int) -> str:
        begin = section.offset + offset
        end = self._content.index(b'\0', begin)
        return self._content[begin:end].decode(errors='replace')


def _address_of(name: str) -> int:
    """Return the address of a function of C."""
    for library in _LIBRARIES:
        try:
            function = getattr(ctypes.CDLL(library), name)
        except (OSError, AttributeError):
            continue
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    raise ValueError(f'the function {name} is in no library')
