"""Reading a YAML file that somebody wrote."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from proxy_snn_control.policy.errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML in which a name may not stand twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(f"{name!r} stands twice in the block from line {line}")
        return super().construct_mapping(node, deep)


def read_yaml(kind: str, path: str | os.PathLike[str]) -> Any:
    """Read a file of that kind, such as "config file"; it makes nothing but plain data.

    Raises:
        UserError: no such file, or no YAML.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"{kind} {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{kind} {path}: is no YAML ({reason})") from None
