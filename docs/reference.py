# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Writes the reference pages from the code: command line, parameters, settings, Python API.

python docs/reference.py FOLDER
"""

import argparse
import ast
import dataclasses
import importlib
import json
import os
from pathlib import Path
import re
import sys
from typing import Any

NODES = ('controller', 'guard', 'sim', 'train', 'neuromorphic', 'view', 'record')
API = {
    'policy': ('load_policy', 'read_policy', 'write_policy', 'Policy', 'PolicySpec', 'UserError'),
    'policy.energy': ('Costs', 'activity', 'inference_energy', 'typical_observations'),
    'spiking.actor': ('SpikingActor',),
    'control.safety': ('SafetySettings', 'SafetyGate'),
    'control.wiring': ('Wiring',),
    'nodes.replay': ('replay', 'Replay'),
}


def write_reference(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(exist_ok=True)
    pages = {
        'cli': ('Command line', command_line),
        'parameters': ('Parameters of the nodes', parameters),
        'settings': ('Settings of training', settings),
        'api': ('Python', api),
    }
    for name, (title, page) in pages.items():
        try:
            text = f'# {title}\n\n{page()}'
        except ImportError as error:  # rosdoc2 may have neither torch nor rclpy
            text = f'# {title}\n\nNot generated: {" ".join(str(error).split())}.\n'
        path = folder / f'{name}.md'
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for notebook in (folder.parent / 'tutorials').glob('*.ipynb'):
        notebook.with_suffix('.md').write_text(from_notebook(notebook))


def command_line() -> str:
    """Return a section for each command, as --help prints it."""
    from proxy_snn_control.cli import _parser

    os.environ['COLUMNS'] = '96'
    parser = _parser()
    text = ['Generated from the parser of `proxy-snn`.\n']
    (commands,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for name, each in commands.choices.items():
        text.append(f'## proxy-snn {name}\n\n```text\n{each.format_help().rstrip()}\n```\n')
    return '\n'.join(text)


def parameters() -> str:
    """Return a table for each node, from the table that the node declares."""
    text = ["Generated from the nodes' own tables.\n"]
    for name in NODES:
        head = '| parameter | default | changes at run time | |'
        text += [f'## {name}\n', head, '|---|---|---|---|']
        for each in parameters_of(name):
            about = each.description.replace('|', '\\|')
            if each.choices:
                about += f' One of {", ".join(each.choices)}.'
            default = json.dumps(each.default) if each.default != '' else '(empty)'
            changes = 'no' if each.read_only else 'yes'
            text.append(f'| `{each.name}` | {default} | {changes} | {about} |')
        text.append('')
    return '\n'.join(text)


def parameters_of(node: str) -> Any:
    """Return a node's table; the neuromorphic node's, which needs Lava, by its source."""
    try:
        return importlib.import_module(f'proxy_snn_control.nodes.{node}').PARAMETERS
    except ModuleNotFoundError as error:
        if error.name != 'lava':
            raise
    from proxy_snn_control import nodes
    from proxy_snn_control.nodes.process import Parameter

    source = Path(nodes.__file__).with_name(f'{node}.py').read_text()
    (table,) = [
        each.value
        for each in ast.parse(source).body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == 'PARAMETERS'
    ]
    return eval(ast.unparse(table), {'Parameter': Parameter})


def settings() -> str:
    """Return the settings of training: defaults by the dataclass, texts by config/train.yaml."""
    from proxy_snn_control.learning.config import TrainConfig
    from proxy_snn_control.share import share_file

    path = share_file('config/train.yaml')
    meanings = dict(re.findall(r'(?m)^#?\s*(\w+):[^#\n]*#\s*(.+)$', path.read_text()))
    text = [
        "Generated from `TrainConfig` and config/train.yaml; None: the paper's for the neuron.\n",
        '| setting | default | |',
        '|---|---|---|',
    ]
    for field in dataclasses.fields(TrainConfig):
        default: Any = field.default
        if default is dataclasses.MISSING:
            factory = field.default_factory
            default = factory() if factory is not dataclasses.MISSING else '(needed)'
        text.append(f'| `{field.name}` | `{default}` | {meanings.get(field.name, "")} |')
    return '\n'.join([*text, ''])


def api() -> str:
    """Directives for autodoc."""
    text = []
    for module, names in API.items():
        full = f'proxy_snn_control.{module}'
        imported = importlib.import_module(full)
        text += [f'## {full}\n', f'{(imported.__doc__ or "").splitlines()[0]}\n']
        chosen = names or [
            n
            for n, each in vars(imported).items()
            if isinstance(each, type) and each.__module__ == full and not n.startswith('_')
        ]
        for name in chosen:
            kind = 'autoclass' if isinstance(getattr(imported, name), type) else 'autofunction'
            members = '\n:members:' if kind == 'autoclass' else ''
            text.append(f'```{{eval-rst}}\n.. {kind}:: {full}.{name}{_indent(members)}\n```\n')
    return '\n'.join(text)


def _indent(options: str) -> str:
    return options.replace('\n', '\n   ')


def from_notebook(path: Path) -> str:
    """Return a notebook as Markdown: its texts, and its code."""
    cells = json.loads(path.read_text())['cells']
    text = []
    for cell in cells:
        content = ''.join(cell['source'])
        text.append(content if cell['cell_type'] == 'markdown' else f'```python\n{content}\n```')
    name = path.name
    return '\n\n'.join([*text, f'The notebook: {{download}}`{name} <{name}>`.\n'])


if __name__ == '__main__':
    write_reference(Path(sys.argv[1]).resolve())
