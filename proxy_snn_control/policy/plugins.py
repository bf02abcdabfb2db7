# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What can be added by name from outside the package: neurons, targets, critics and tasks.

A plugin is a module of the user's that registers things when it is imported::

    from proxy_snn_control.policy.plugins import NEURONS

    @NEURONS.register("alif")
    class AdaptiveLIF: ...

It is imported only where the user names it (`--plugin MODULE`, `plugins:` in a config file, the
nodes' parameter `plugins`). A policy file names the plugin that it needs, but does not cause its
import. This module imports neither torch nor gymnasium: a robot's controller uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import importlib
import importlib.util
import os
from pathlib import Path
import sys
import traceback
from typing import Any, TypeVar

from .errors import UserError

T = TypeVar('T')
_loaded: list[str] = []
_loading: list[str] = []


class Registry(Mapping[str, Any]):
    """Things of one kind by name: the package's own first, then those that plugins register."""

    def __init__(self, kind: str, own: Mapping[str, str], check: str = '') -> None:
        """List the package's own.

        Args:
            kind: what they are, for messages.
            own: "module:attribute" by name, imported when it is first looked up.
            check: "module:function" that raises a UserError if a thing cannot be registered; it
                is called with the name and the thing.
        """
        self.kind = kind
        self._own, self._check = dict(own), check
        self._registered: dict[str, tuple[Any, str]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Register what this decorates under a name.

        Raises:
            UserError: the name is taken, or `check` refuses the thing.
        """

        def register(thing: T) -> T:
            if not name.isidentifier():
                raise UserError(f'{self.kind} {name!r}: expected a name of letters, digits and _')
            if name in self:
                raise UserError(f'{self.kind} {name!r} is registered already{self._by(name)}')
            if self._check:
                _attribute(self._check)(name, thing)
            plugin = _loading[-1] if _loading else str(getattr(thing, '__module__', ''))
            self._registered[name] = thing, plugin
            return thing

        return register

    def plugin(self, name: str) -> str:
        """Return the module of the plugin that registered a name; "" for the package's own."""
        return self._registered[name][1] if name in self._registered else ''

    def __getitem__(self, name: str) -> Any:
        return _attribute(self._own[name]) if name in self._own else self._registered[name][0]

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._registered

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own, *self._registered])

    def __len__(self) -> int:
        return len(self._own) + len(self._registered)

    def _by(self, name: str) -> str:
        return f' by plugin {self.plugin(name)!r}' if self.plugin(name) else ''


NEURONS = Registry(
    'neuron',
    {
        'lif': 'proxy_snn_control.policy.neurons:LIF',
        'clif': 'proxy_snn_control.policy.neurons:CLIF',
        'dn': 'proxy_snn_control.policy.neurons:DN',
        'relu': 'proxy_snn_control.policy.neurons:ReLU',
    },
    check='proxy_snn_control.policy.neurons:check_neuron',
)
TARGETS = Registry(
    'target',
    {
        'proxy': 'proxy_snn_control.learning.targets:ProxyTarget',
        'soft': 'proxy_snn_control.learning.targets:SoftTarget',
    },
)
# A critic is a function of (observations, actions, hidden layers) that makes a torch module from
# [batch, observations + actions] to [batch, 1]; the package's own is spiking/dense.py, written
# out.
CRITICS = Registry('critic', {'dense': 'proxy_snn_control.spiking.dense:ReLUNetwork'})
# A task is a function that makes a Gymnasium environment, looked up by its name. Of NAME:REST it
# gets REST.
TASKS = Registry('task', {'ros': 'proxy_snn_control.nodes.ros_task:make'})


def load(modules: Sequence[str]) -> None:
    """Import plugins; those that are loaded already stay as they are.

    Raises:
        UserError: there is no such module, or it cannot be imported.
    """
    for module in modules:
        if module in _loaded or not module:
            continue
        if not all(part.isidentifier() for part in module.split('.')):
            raise UserError(f'plugin {module!r}: expected the name of a module, such as my_robot')
        _loading.append(module)
        try:
            importlib.import_module(module)
        except UserError as error:
            raise UserError(f'plugin {module!r}: {error}') from None
        except ModuleNotFoundError as error:
            if error.name and f'{module}.'.startswith(f'{error.name}.'):
                raise UserError(
                    f'plugin {module!r}: there is no such module; install it, or name its folder '
                    'in PYTHONPATH'
                ) from None
            raise UserError(f'plugin {module!r} cannot be imported: {_reason(error)}') from error
        except Exception as error:  # a user's code may raise anything
            raise UserError(f'plugin {module!r} cannot be imported: {_reason(error)}') from error
        finally:
            _loading.pop()
        _loaded.append(module)


def loaded() -> tuple[str, ...]:
    """Return the plugins of this process, to be loaded by those that it starts."""
    return tuple(_loaded)


def folder(module: str) -> str:
    """Return the folder on Python's path where a plugin was found, for a child process."""
    found = importlib.util.find_spec(module.partition('.')[0])
    if found is None or not found.origin:
        return ''
    path = Path(found.origin).absolute()
    return str(path.parent.parent if found.submodule_search_locations else path.parent)


def not_loaded(registry: Registry, provenance: Any) -> str:
    """Name the plugin that a policy file needs for something of this kind and that is not loaded.

    Args:
        registry: of the kind.
        provenance: the policy file's; it need not be valid.

    Returns:
        The end of an error message, or "" if no plugin is missing.
    """
    named = provenance.get('plugins') if isinstance(provenance, dict) else None
    plugin = named.get(registry.kind) if isinstance(named, dict) else None
    if not isinstance(plugin, str) or not plugin or plugin in _loaded:
        return ''
    return (
        f'its {registry.kind} is of plugin {plugin!r}, which is not loaded: expected --plugin '
        f'{plugin}, or of a node the parameter plugins'
    )


def _attribute(place: str) -> Any:
    module, _, name = place.partition(':')
    return getattr(importlib.import_module(module), name)


def _reason(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__}: {error} ({where.filename}:{where.lineno})'


def child_path(*first: str) -> str:
    """PYTHONPATH for a child process that is to find the plugins where this one did.

    Args:
        first: folders to look in before.
    """
    folders = [*first, os.environ.get('PYTHONPATH', ''), *map(folder, _loaded)]
    return os.pathsep.join(dict.fromkeys(filter(None, folders)))


def source_of(thing: Any) -> bytes:
    """Return the source of the module that defines a thing, for the key of its compiled code."""
    path = getattr(sys.modules.get(thing.__module__), '__file__', None)
    return Path(path).read_bytes() if path else b''
