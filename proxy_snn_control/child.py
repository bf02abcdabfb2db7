"""The command line of a child process that runs a module of this package."""

from __future__ import annotations

import sys

# What `python -P -m MODULE` does, for a Python that may be 3.10, which has no -P: with -c the first
# entry of sys.path is an empty one, the current folder. resource/bin and launch/ have it too.
RUN_MODULE = (
    "import sys; sys.path[:1] = filter(None, sys.path[:1]); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def command(module: str, *arguments: str) -> list[str]:
    """Run the module with this Python, and nothing that happens to lie in the current folder.

    Started by -m alone, Python would look there first: for a numba.py, a numpy.py, a yaml.py.
    """
    run = ["-P", "-m"] if sys.version_info >= (3, 11) else ["-c", RUN_MODULE]
    return [sys.executable, *run, module, *arguments]
