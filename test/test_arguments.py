# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Command lines of nodes: what is not known, or cannot be a name or a text, is named at once."""

import os
from pathlib import Path
import signal
import sys

from conftest import Stage
import pytest
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters, ListParameters

LONG = 'a' * 300


CASES: list[tuple[list[str], int, str]] = [
    (['nonsense'], 2, "unknown argument 'nonsense'; usage: "),
    (['--rate', '3'], 2, "unknown argument '--rate'; usage: "),
    (['--ros-args', '-p', 'a:=1', '--', 'b'], 2, "unknown argument 'b'; usage: "),
    (['--ros-args', '-p', 'polici:=x'], 1, "parameter 'polici' does not exist"),
    (['--help'], 0, 'parameters:'),
    (['--ros-args', '--nonsense'], 1, 'ROS arguments: '),
    (['--ros-args', '-r', f'__node:={LONG}'], 1, 'should not exceed'),
    (['--ros-args', '-r', f'__ns:=/{LONG}'], 1, 'should not exceed'),
    (['--ros-args', '-r', f'__node:={"a" * 240}'], 1, 'should not exceed'),
    (['--ros-args', '-r', '__node:=a b'], 1, 'ROS arguments: '),
    (['--ros-args', '--params-file', 'PIPE'], 1, 'is not a file but a pipe'),
    (['--ros-args', '--params-file', '/dev/zero'], 1, 'is not a file but a device'),
]


@pytest.mark.parametrize(
    ('node', 'arguments', 'status', 'reported'),
    [
        *(('sim', *case) for case in CASES),
        *((node, *case) for node in ('controller', 'train') for case in (CASES[0], *CASES[3:5])),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    stage: Stage, tmp_path: Path, node: str, arguments: list[str], status: int, reported: str
) -> None:
    os.mkfifo(tmp_path / 'PIPE')
    given = [str(tmp_path / 'PIPE') if each == 'PIPE' else each for each in arguments]
    process = stage.launch([sys.executable, '-m', 'proxy_snn_control.nodes', node, *given])
    assert process.wait() == status, process.output
    assert reported in process.output
    assert 'Traceback' not in process.output
    own = [line for line in process.output.splitlines() if reported in line]
    assert len(own) == 1, process.output


@pytest.mark.parametrize(
    ('node', 'given', 'near'),
    [
        ('controller', 'observation_timeuot: 9.0', 'observation_timeout'),
        ('sim', 'sead: 3', 'seed'),
        ('train', 'stepz: 3', 'steps'),
    ],
)
def test_a_misspelt_parameter_in_a_file(
    stage: Stage, tmp_path: Path, node: str, given: str, near: str
) -> None:
    path = tmp_path / 'p.yaml'
    path.write_text(f'/**:\n  ros__parameters:\n    {given}\n    use_sim_time: false\n')
    command = [sys.executable, '-m', 'proxy_snn_control.nodes', node, '--ros-args']
    process = stage.launch([*command, '--params-file', str(path)])
    assert process.wait() == 1, process.output
    name = given.partition(':')[0]
    assert f"parameter '{name}' does not exist; did you mean {near}?" in process.output


def test_control_characters_do_not_reach_the_terminal(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / 'p.yaml'
    path.write_text('/**:\n  ros__parameters:\n    policy: "a\\e[2J\\nb"\n')
    command = [sys.executable, '-m', 'proxy_snn_control.nodes', 'controller', '--ros-args']
    process = stage.launch([*command, '--params-file', str(path)])
    assert process.wait() == 1, process.output
    assert r"parameter policy is 'a\x1b[2J\nb', expected printable text" in process.output
    assert '\x1b' not in process.output


BAD_END = """
import gymnasium
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv

class BadEnd(InvertedPendulumEnv):
    def close(self):
        raise OSError("gone")

gymnasium.register("BadEnd-v0", BadEnd)
"""


def test_a_task_that_raises_at_its_end(stage: Stage, tmp_path: Path) -> None:
    pytest.importorskip('mujoco')
    (tmp_path / 'bad_end.py').write_text(BAD_END)
    stage.environment['PYTHONPATH'] = str(tmp_path)
    sim = stage.start('sim', env='bad_end:BadEnd-v0')
    assert stage.until(lambda: 'lockstep' in sim.output), sim.output
    status = sim.end(signal.SIGTERM)
    assert "task 'BadEnd-v0' failed in close: OSError: gone" in sim.output
    assert (status, 'Traceback' in sim.output) == (1, False), sim.output


@pytest.mark.parametrize('node', ['controller', 'sim', 'guard'])
def test_all_parameters_can_be_read_together(stage: Stage, node: str) -> None:
    """As `ros2 param dump` does: one without a value, and a client gets none of them."""
    given = {'safe_command': '[0.0]'} if node == 'guard' else {}
    stage.start(node, **given)
    names = stage.call(ListParameters, f'{node}/list_parameters').result.names
    assert len(names) > 3
    request = GetParameters.Request(names=names)
    values = stage.call(GetParameters, f'{node}/get_parameters', request).values
    assert [value.type for value in values].count(ParameterType.PARAMETER_NOT_SET) == 0
    assert len(values) == len(names)
