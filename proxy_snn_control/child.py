# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The command line of a child process that runs a module of this package."""

from __future__ import annotations

import sys

# What `python -P -m MODULE` does, also in Python 3.10, which Lava needs and that has no -P: with
# -c the first entry of sys.path is an empty one, the current folder. So do resource/bin and
# launch/.
RUN_MODULE = (
    'import sys; sys.path[:1] = filter(None, sys.path[:1]); import runpy; '
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def command(module: str, *arguments: str) -> list[str]:
    """Run the module with this Python, and no modules of the current folder.

    Started by -m alone, Python would look there first: for a numba.py, a numpy.py, a yaml.py.
    """
    return [sys.executable, '-c', RUN_MODULE, module, *arguments]
