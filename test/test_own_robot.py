# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""docs/own_robot.md: every command of it, in a copy of the example, with a training of seconds."""

import ast
import os
from pathlib import Path
import re
import shutil
import signal
import sys
import time

from conftest import NodeProcess, Stage
from proxy_snn_control.policy import load_policy
import pytest
from std_msgs.msg import Float64MultiArray

pytest.importorskip('torch')

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / 'examples' / 'own_robot'
READY = 'active: commands go to /command'
SHORT = """
hidden: [16]
proxy_hidden: [16]
critic_hidden: [16]
batch_size: 16
threads: 1
steps: 120
random_steps: 120
eval_every: 120
eval_episodes: 1
checkpoint_every: 120
"""


def commands() -> list[str]:
    text = (ROOT / 'docs' / 'own_robot.md').read_text()
    return [line.strip() for line in text.splitlines() if re.match('    [^#]', line)]


def test_every_command_of_the_documentation(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / 'examples' / 'own_robot'
    shutil.copytree(EXAMPLE, folder)
    (folder / 'settings.yaml').write_text(SHORT)
    # Those of this environment, as an activated one has them.
    stage.environment['PATH'] = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    stage.environment['PYTHONPATH'] = str(folder)
    sent = stage.subscribe(Float64MultiArray, 'command')
    found = commands()
    assert found[:2] == ['cd examples/own_robot', 'export PYTHONPATH=$PWD']
    node: NodeProcess | None = None
    ran = []
    for line in found[2:]:
        if line.startswith('ros2 launch') and shutil.which('ros2') is None:
            continue
        if line.startswith(('pip ', 'scp ')):  # the robot's computer is this one
            if copied := re.fullmatch(r'scp (\S+) ROBOT:(\S+)', line):
                shutil.copy(folder / copied[1], folder / copied[2])
            continue
        if ' nodes sim ' in line and node is not None:
            assert node.end(signal.SIGINT) == 0
        process = stage.launch(['bash', '-c', f'cd {folder} && exec {line}'])
        ran.append(line.split()[1])
        if 'nodes sim' in line:
            node = process
        elif 'nodes controller' in line:
            sent.clear()
            assert stage.until(lambda p=process: READY in p.output, 40), process.output
            assert stage.until(lambda: any(any(each.data) for each in sent), 20), process.output
            moved = time.time()
            assert process.end(signal.SIGINT) == 0, process.output
            # Until DDS has brought it together with the arm there are no observations.
            errors = [each for each in process.output.splitlines() if 'ERROR' in each]
            assert all('no observation for' in each for each in errors), process.output
            assert all(float(each.split('[')[2][:-2]) < moved for each in errors), process.output
        else:
            assert process.wait(120) == 0, process.output
    assert ran[:8] == ['train', 'evaluate', 'inspect', '-m', 'train', 'evaluate', '-m', '-m']
    assert ran[8:] == ['inspect', '-m']
    for run in ('arm', 'arm_ros'):
        policy = load_policy(folder / 'runs' / run / 'policy.safetensors')
        assert policy.spec.action_names == ('shoulder', 'elbow')
        assert policy.spec.control_period == 0.04


def test_the_launch_file_has_parameters_of_the_nodes() -> None:
    """Where there is no launch here, what it passes on is read off it."""
    from proxy_snn_control.nodes import controller, sim

    declared = {each.name for each in (*controller.PARAMETERS, *sim.PARAMETERS)}
    tree = ast.parse((EXAMPLE / 'own_arm.launch.py').read_text())
    passed = {
        ast.literal_eval(key)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == 'parameters'
        for table in ast.walk(keyword.value)
        if isinstance(table, ast.Dict)
        for key in table.keys
        if key is not None
    }
    assert passed == {'env', 'plugins', 'mode', 'policy', 'robot', 'autostart', 'ramp_in'}
    assert passed <= declared
