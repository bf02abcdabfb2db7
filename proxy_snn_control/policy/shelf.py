# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Trained policies that come with the package, by name: policies/ of the repository and the wheel.

Each is NAME.safetensors with a card, NAME.md, that describes it (`proxy-snn shelve` makes both).
"""

from __future__ import annotations

import os
import re

from proxy_snn_control.share import folders

from .errors import PolicyFileError

FOLDER = 'policies'
_NAME = re.compile(r'[a-z0-9_]+')


def find(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Return the file of a policy of the package, given its name; any other path as it is.

    A file of that name in the current folder takes precedence.

    Args:
        path: of a file, or a name of small letters, digits and _.

    Raises:
        PolicyFileError: it is such a name, and there is neither a file nor a policy of that name.
    """
    name = os.fspath(path)
    if not _NAME.fullmatch(name) or os.path.lexists(name):
        return path
    for folder in folders():
        if (found := folder / FOLDER / f'{name}.safetensors').is_file():
            return found
    known = ', '.join(names()) or 'none'
    raise PolicyFileError(f'policy file {name}: no such file, nor a policy on the shelf ({known})')


def names() -> list[str]:
    """Return the names on the shelf."""
    files = [each for folder in folders() for each in (folder / FOLDER).glob('*.safetensors')]
    return sorted({each.stem for each in files})
