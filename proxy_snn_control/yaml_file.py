# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Reading a user's YAML file, with bounds on its size and nesting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
import os
from typing import Any

from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import read_file
import yaml

MAX_BYTES = 2**18
# Of a file with every alias (*name) written out: aliases of aliases grow without bound.
MAX_NODES = 2**16
MAX_NESTING = 50
MAX_BITS = 4096  # Python refuses to write out numbers of some 14,000


class _Loader(yaml.SafeLoader):
    """YAML in which a name may not stand twice (the second would silently win).

    Nor does it become larger than it is: see `_check_size`.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        names = Counter(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode))
        for name, times in names.items():
            if times > 1:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(f'{name!r} occurs twice in the block from line {line}')
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value: int = super().construct_yaml_int(node)
        if value.bit_length() > MAX_BITS:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f'the number in line {line} has more than {MAX_BITS} bits')
        return value


_Loader.add_constructor('tag:yaml.org,2002:int', _Loader.construct_yaml_int)


def read_yaml(kind: str, path: str | os.PathLike[str]) -> Any:
    """Read a file of that kind, such as "config file"; it makes nothing but plain data.

    Raises:
        UserError: no such file, no regular one, too large, or no YAML.
    """
    return parse_yaml(kind, path, read_file(kind, path, MAX_BYTES))


def parse_yaml(kind: str, path: str | os.PathLike[str], content: bytes) -> Any:
    """Parse what was read from a YAML file.

    Raises:
        UserError: it is not valid YAML.
    """
    try:
        loader = _Loader(content.decode('utf-8'))
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except Exception as error:  # for a wrong !!timestamp or !!bool PyYAML may raise anything
        reason = ' '.join(str(error).split())
        raise UserError(f'{kind} {path}: is not valid YAML ({reason})') from None


def _check_size(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Count the nodes from this one on, and how deep they nest, with every alias written out.

    Args:
        node: where to begin.
        known: what was found for nodes by their id; None for those that this one is in.
    """
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise yaml.YAMLError(f'{_place(node)} contains itself')
        return found
    known[id(node)] = None
    size, height = 1, 1
    if isinstance(node, yaml.CollectionNode):
        for child in node.value:
            for each in child if isinstance(child, tuple) else (child,):
                inside, deep = _check_size(each, known)
                size, height = size + inside, max(height, deep + 1)
    elif any('\ud800' <= letter <= '\udfff' for letter in node.value):
        raise yaml.YAMLError(f'{_place(node)} contains an unpaired surrogate')
    if size > MAX_NODES:
        raise yaml.YAMLError(
            f'{_place(node)} has more than {MAX_NODES} values, aliases written out'
        )
    if height > MAX_NESTING:
        raise yaml.YAMLError(f'{_place(node)} is nested more than {MAX_NESTING} deep')
    known[id(node)] = size, height
    return size, height


def _place(node: yaml.Node) -> str:
    return f'what begins in line {node.start_mark.line + 1}'
