# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Where the files beside the package lie: config/, policies/ and launch/; and their names."""

from __future__ import annotations

import os
from pathlib import Path
import sys


def folders() -> list[Path]:
    """Where the package's files may lie: the source tree, ROS installation prefixes, Python's."""
    ament = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    # The last one is where pip put the package, with --user or --prefix:
    # lib/pythonX/site-packages.
    prefixes = [*ament, sys.prefix, str(Path(__file__).parent.joinpath(*['..'] * 4).resolve())]
    shares = [Path(prefix) / 'share' / 'proxy_snn_control' for prefix in prefixes if prefix]
    return [Path(__file__).parents[1], *shares]


def share_file(name: str) -> Path:
    """Find a file of the package's share folder, such as "config/train.yaml".

    Raises:
        UserError: it is in none of `folders`.
    """
    from proxy_snn_control.policy.errors import UserError  # policy/ itself imports `folders`

    for folder in (searched := folders()):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f'{name} of proxy_snn_control is not installed; looked in {searched}')


def named(text: str, folder: str, suffix: str) -> Path:
    """Return a file by its path, or one of the package's by its name: "fast" is config/fast.yaml.

    A path that exists, or has a folder or a suffix, is that path.

    Args:
        text: what the user gave.
        folder: of the package's files of this kind, such as "config".
        suffix: theirs.
    """
    path = Path(text)
    if path.exists() or path.suffix or path.name != text:
        return path
    found = (each / folder / f'{text}{suffix}' for each in folders())
    return next((each for each in found if each.is_file()), path)


def robot_file(text: str) -> str:
    """Return a robot file by its path, or one of the package's by its name."""
    return str(named(text, 'config/robots', '.yaml'))
