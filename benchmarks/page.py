# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' pages of results have in common."""

from __future__ import annotations

from pathlib import Path
import sys


def heading(title: str, needs: str = '') -> list[str]:
    """Return a page's first lines: its title, and the command that makes it.

    Args:
        title: of the page.
        needs: what the command needs that a machine for tests has not, as in CONTRIBUTING.md.
    """
    command = ' '.join(['python', f'benchmarks/{Path(sys.argv[0]).name}', *sys.argv[1:]])
    return [
        f'# {title}',
        '',
        f'Made by `{command}`' + (f' (needs {needs}).' if needs else '.'),
        '',
    ]


def write(path: Path, lines: list[str]) -> None:
    """Write a page, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(lines) + '\n')


def finish(lines: list[str], path: Path | None) -> None:
    """Print a page, and write it where a path is given."""
    print('\n'.join(lines))
    if path:
        write(path, lines)


def processor() -> str:
    """Return the processor's name."""
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return 'unknown processor'
