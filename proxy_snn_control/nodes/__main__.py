# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Run a node: `python -m proxy_snn_control.nodes NODE [--ros-args ...]`."""

from __future__ import annotations

import gc
import importlib
import os
import sys

from proxy_snn_control.nodes import stopping

NODES = ('controller', 'sim', 'train', 'neuromorphic', 'guard', 'view', 'record')
USAGE = '[-h] [--ros-args -p PARAMETER:=VALUE --params-file FILE -r FROM:=TO ...]'


def main() -> int:
    """Start the node named first on the command line; the rest is for ROS."""
    if len(sys.argv) < 2 or sys.argv[1] not in NODES:
        print(f'usage: python -m {__package__} {{{",".join(NODES)}}} {USAGE}')
        return 2
    # Before rclpy, torch or MuJoCo load: a Ctrl-C during those seconds is a clean stop too.
    stopping.install()
    name = sys.argv[1]
    given = _not_for_ros(sys.argv[2:])
    unknown = [argument for argument in given if argument not in ('-h', '--help')]
    if unknown:
        print(f'{name}: unknown argument {unknown[0]!r}; usage: {name} {USAGE}', file=sys.stderr)
        return 2
    gc.disable()  # what modules create stays: to collect it repeatedly would take 12 ms
    try:
        from proxy_snn_control.policy.errors import UserError

        module = importlib.import_module(f'proxy_snn_control.nodes.{name}')
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith('proxy_snn_control'):
            raise
        needs = {'sim': 'ros,sim', 'train': 'ros,train', 'neuromorphic': 'ros,lava'}.get(
            name, 'ros'
        )
        print(
            f'{name}: the Python module {error.name!r} is not installed; source a ROS 2 '
            f"installation or pip install 'proxy_snn_control[{needs}]'",
            file=sys.stderr,
        )
        return 1
    except UserError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 1
    gc.freeze()
    gc.enable()
    if given:
        print(f'usage: {name} {USAGE}\n\n{(module.__doc__ or "").splitlines()[0]}\n\nparameters:')
        for parameter in module.PARAMETERS:
            default = 'empty' if parameter.default in ('', [], ['']) else repr(parameter.default)
            choices = f', one of {", ".join(parameter.choices)}' if parameter.choices else ''
            print(f'  {parameter.name} ({default}{choices}): {parameter.description}')
        return 0
    status: int = module.main(sys.argv[2:])
    stopping.finish()
    # All is written and sent. What is left, unloading torch and MuJoCo, can take a second.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _not_for_ros(arguments: list[str]) -> list[str]:
    """Return the arguments outside of --ros-args ... [--]; no node has any besides --help."""
    found, for_ros = [], False
    for argument in arguments:
        if argument == '--ros-args':
            for_ros = True
        elif argument == '--' and for_ros:
            for_ros = False
        elif not for_ros:
            found.append(argument)
    return found


if __name__ == '__main__':
    sys.exit(main())
