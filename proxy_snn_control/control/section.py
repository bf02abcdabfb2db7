# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Mappings of robot files and task files: their values by name, each checked as it is read."""

from __future__ import annotations

from collections.abc import Collection
import re
import reprlib
from typing import Any

from proxy_snn_control.policy import UserError

TIMES = (0.001, 3600.0)
LARGEST = 1e9
# Topic names of ROS, with its substitutions {node}, {ns} and {namespace}.
_TOPIC = re.compile(r'(~?/)?[A-Za-z_{][A-Za-z0-9_{}]*(/[A-Za-z_{][A-Za-z0-9_{}]*)*')
# What YAML 1.1 as PyYAML reads it takes for text: 1e-3.
_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+')


class Section:
    """A mapping of a file, with its place for messages and the names that it may contain.

    Every method that reads a value raises UserError where it is missing or not as expected; the
    sentence begins with its place.
    """

    def __init__(self, where: str, content: Any, known: Collection[str] | None = None) -> None:
        self.where = where
        if not isinstance(content, dict) or not content:
            found = reprlib.repr(content) if content else 'empty'
            raise UserError(f"{where}: is {found}, expected lines of 'name: value'")
        for name in content:
            if not isinstance(name, str):
                raise UserError(f'{where}: has the name {name!r}, expected text; quote it')
        self._content = content
        if known is not None and (unknown := [name for name in content if name not in known]):
            raise UserError(
                f'{where}: {unknown[0]!r} does not exist, expected any of {", ".join(known)}'
            )

    @property
    def names(self) -> list[str]:
        """Return the names in the file's order."""
        return list(self._content)

    def __contains__(self, name: str) -> bool:
        return name in self._content

    def get(self, name: str) -> Any:
        """Return a value as it is."""
        if name not in self._content:
            raise UserError(f'{self.where}: {name} is missing')
        return self._content[name]

    def section(self, name: str, known: Collection[str] | None = None) -> Section:
        """Return a mapping; with `known`, no other names may stand in it."""
        return Section(f'{self.where}: {name}', self.get(name), known)

    def only(self, *known: str) -> None:
        """Refuse all names but these."""
        Section(self.where, self._content, known)

    def text(self, name: str, allowed: Collection[str] = (), default: str | None = None) -> str:
        """Return a text, one of `allowed` where that is given."""
        if default is not None and name not in self._content:
            return default
        value = self.get(name)
        if not isinstance(value, str) or (value == '' and default is None):
            raise UserError(f'{self.where}: {name} is {reprlib.repr(value)}, expected text')
        if allowed and value not in allowed:
            import difflib

            near = difflib.get_close_matches(value, allowed, n=1)
            hint = f'; did you mean {near[0]}?' if near else ''
            raise UserError(
                f'{self.where}: {name} is {value!r}, expected one of {", ".join(allowed)}{hint}'
            )
        return value

    def flag(self, name: str) -> bool:
        """Return true or false; false where it is left out."""
        value = self._content.get(name, False)
        if not isinstance(value, bool):
            found = reprlib.repr(value)
            raise UserError(f'{self.where}: {name} is {found}, expected true or false')
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a finite number."""
        value = self._content.get(name, default) if default is not None else self.get(name)
        return self._number(name, value)

    def seconds(self, name: str, default: float | None = None) -> float:
        """Return a time within TIMES."""
        value = self.number(name, default)
        if not TIMES[0] <= value <= TIMES[1]:
            raise UserError(
                f'{self.where}: {name} is {value}, expected seconds from {TIMES[0]} to {TIMES[1]}'
            )
        return value

    def topic(self) -> str:
        """Return the topic's name under `topic`."""
        value = self.text('topic')
        if not _TOPIC.fullmatch(value) or '__' in value:
            raise UserError(
                f'{self.where}: topic is {value!r}, expected names of letters, '
                'digits and underscores with / between them'
            )
        return value

    def numbers(self, name: str, length: int) -> list[float]:
        """Return a list of so many finite numbers."""
        value = self.get(name)
        if not isinstance(value, list) or len(value) != length:
            found = reprlib.repr(value)
            raise UserError(f'{self.where}: {name} is {found}, expected {length} numbers')
        return [self._number(name, item) for item in value]

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not fits or not abs(value) <= LARGEST:
            raise UserError(
                f'{self.where}: {name} is {reprlib.repr(value)}, expected a finite number, at '
                f'most {LARGEST:g}'
            )
        return float(value)
