"""Where the files beside the package lie: config/ and launch/."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from proxy_snn_control.policy.errors import UserError


def share_file(name: str) -> Path:
    """Find a file of the package's share folder, such as "config/train.yaml".

    Looks in the source tree, in every ROS installation prefix and in Python's own prefix.

    Raises:
        UserError: it is in none of them.
    """
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    folders = [Path(prefix) / "share" / "proxy_snn_control" for prefix in prefixes if prefix]
    for folder in (Path(__file__).parents[1], *folders):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{name} of proxy_snn_control is not installed; looked in {folders}")
