"""What outlives the controller's process: that it was stopped, or that it was active.

A file in ROS's own folder ($ROS_HOME, or ~/.ros), named by the domain and the node. It is there
while a stop holds and while the controller commands; so one that finds it was stopped, or died.
"""

from __future__ import annotations

import os
from pathlib import Path

from proxy_snn_control.policy import UserError
from proxy_snn_control.policy.files import read_file, write_bytes

FOLDER = "proxy_snn_control"
STOPPED, ACTIVE = "stopped", "active"
_MAX_NAME = 200
_MAX_BYTES = 64


class Memory:
    """The file of one controller.

    Attributes:
        trouble: why it cannot be kept, or "".
    """

    def __init__(self, domain: int, node: str) -> None:
        """Prepare.

        Args:
            domain: the ROS domain.
            node: the node's full name.
        """
        home = os.environ.get("ROS_HOME") or Path.home() / ".ros"
        name = f"{domain}{node.replace('/', '.')}"[:_MAX_NAME]
        self._path = Path(home) / FOLDER / name
        self._state: str | None = None
        self.trouble = ""

    def recall(self) -> str:
        """What the last controller of this name left: STOPPED, ACTIVE, or "" if it ended in order.

        What cannot be read counts as STOPPED.
        """
        if not os.path.lexists(self._path):
            self._state = ""
            return ""
        try:
            content = read_file("state file", self._path, _MAX_BYTES)
        except UserError:
            content = b""
        self._state = ACTIVE if content == ACTIVE.encode() else STOPPED
        return self._state

    def keep(self, state: str) -> None:
        """Write down a state; "" removes the file."""
        if state == self._state:
            return
        try:
            if state:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(self._path, state.encode())
            else:
                self._path.unlink(missing_ok=True)
            self._state, self.trouble = state, ""
        except (OSError, UserError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.trouble = (
                f"{self._path}: cannot be kept ({reason}); a stop would be forgotten by a "
                "controller that is started again"
            )
