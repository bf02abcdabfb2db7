# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A reload: files are read beside the loop, and what is named is what acts."""

from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import signal
import sys
import threading

from conftest import NodeProcess, random_policy, Stage
import numpy as np
from proxy_snn_control.policy import load_policy, read_policy, write_policy
import pytest
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from test_faults import Judge, SAFE
from test_nodes import active_controller, Robot
from test_robot_side import Diagnostics

# A controller whose drive does not answer while there is a pipe beside the file: to open this one
# blocks in the kernel, until somebody opens its other end.
STALLED = """
import os, sys
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.controller import Controller
from proxy_snn_control.nodes.process import run
from proxy_snn_control.policy import files

answering = files._open_without_waiting

def open_file(path, flags):
    if os.path.exists(f"{path}.stalled"):
        os.close(os.open(f"{path}.stalled", os.O_RDONLY))
    return answering(path, flags)

files._open_without_waiting = open_file
stopping.install()
stopping.ready()
sys.exit(run(Controller, sys.argv[1:], Controller.start))
"""


class Drive:
    """Where the policy file lies, as the controller above sees it."""

    def __init__(self, policy_file: Path) -> None:
        self.pipe = Path(f'{policy_file}.stalled')

    def stall(self) -> None:
        os.mkfifo(self.pipe)

    def answer(self) -> None:
        """Go on, also for one who waits already."""
        with open(self.pipe, 'r+b', buffering=0):
            self.pipe.unlink()


def start_stalled(stage: Stage, policy_file: Path, autostart: str = 'true') -> NodeProcess:
    given = {'policy': policy_file, 'autostart': autostart, 'safe_command': str(SAFE)}
    command = [sys.executable, '-c', STALLED, '--ros-args']
    for name, value in given.items():
        command += ['-p', f'{name}:={value}']
    return stage.launch(command)


def test_all_goes_on_while_a_file_cannot_be_read(stage: Stage, policy_file: Path) -> None:
    judge, diagnostics, drive = (
        Judge(stage, load_policy(policy_file)),
        Diagnostics(stage),
        Drive(policy_file),
    )
    controller = start_stalled(stage, policy_file)
    stop = stage.node.create_publisher(Bool, 'stop', QoSProfile(depth=10))
    reload = stage.node.create_client(Trigger, 'controller/reload')
    assert stage.until(reload.service_is_ready), controller.output
    assert stage.until(lambda: stop.get_subscription_count() >= 2)
    judge.moving()

    drive.stall()
    before = len(judge.commands)
    waiting = [reload.call_async(Trigger.Request()) for _ in range(3)]
    assert diagnostics.reports('reload: policy file')
    assert 'does the drive respond?' in diagnostics.last.message
    assert len(judge.commands) > before + 40
    assert SAFE not in judge.commands[before:], 'not one command was lost'
    stop.publish(Bool(data=True))
    assert stage.until(lambda: 'topic stop is true' in controller.output)
    judge.safe_only()
    stop.publish(Bool(data=False))
    assert stage.until(lambda: stage.call(Trigger, 'controller/arm').success)
    judge.moving()
    assert stage.transition('deactivate')
    assert stage.transition('activate')
    judge.moving()
    assert not any(future.done() for future in waiting)

    write_policy(policy_file, *random_policy(seed=1))
    judge.policies.append(load_policy(policy_file))
    drive.answer()
    assert stage.until(lambda: all(future.done() for future in waiting)), controller.output
    named = f'policy {read_policy(policy_file).digest[:12]} loaded'
    assert [future.result().message for future in waiting] == [named] * 3
    judge.moving()

    # What is given up is answered at once, and what comes of it later is left out.
    drive.stall()
    future = reload.call_async(Trigger.Request())
    stage.spin(0.3)
    assert stage.transition('deactivate')
    assert stage.transition('cleanup')
    assert stage.until(future.done)
    assert not future.result().success
    assert 'was unloaded while the file was read' in future.result().message
    drive.answer()
    write_policy(policy_file, *random_policy())
    assert stage.transition('configure')
    assert stage.transition('activate')
    judge.moving()

    drive.stall()
    future = reload.call_async(Trigger.Request())
    stage.spin(0.3)
    assert controller.end(signal.SIGTERM) == 0, controller.output
    assert stage.until(future.done)
    assert future.result().message == 'the controller ends'
    assert judge.commands[-1] == SAFE
    assert 'Traceback' not in controller.output
    judge.verdict()


@pytest.mark.parametrize('autostart', ['true', 'false'])
def test_a_signal_ends_a_configure_that_cannot_read(
    stage: Stage, policy_file: Path, autostart: str
) -> None:
    Drive(policy_file).stall()
    controller = start_stalled(stage, policy_file, autostart)
    if autostart == 'false':
        from lifecycle_msgs.srv import ChangeState

        client = stage.node.create_client(ChangeState, 'controller/change_state')
        assert stage.until(client.service_is_ready), controller.output
        stage.introduce('controller')
        request = ChangeState.Request()
        request.transition.label = 'configure'
        client.call_async(request)
    assert stage.until(lambda: 'the transition waits' in controller.output), controller.output
    assert controller.end(signal.SIGTERM) == 0, controller.output
    assert 'stopped while the files were read' in controller.output
    assert 'Traceback' not in controller.output


@contextlib.contextmanager
def swapping(path: Path, contents: list[bytes | None]) -> Iterator[None]:
    """Put one after the other in a file's place, as fast as can be; None stands for a pipe.

    Every second one is written into the file that is there, which is then for a moment another
    file's beginning.
    """
    stop = threading.Event()

    def swap() -> None:
        other, turn = path.with_name('next'), 0
        while not stop.is_set():
            content = contents[turn % len(contents)]
            if content is None:
                os.mkfifo(other)
                os.replace(other, path)
            elif turn % 2 and path.is_file():
                path.write_bytes(content)
            else:
                other.write_bytes(content)
                os.replace(other, path)
            turn += 1
            stop.wait(0.0003)
        other.write_bytes(contents[0] or b'')
        os.replace(other, path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# `SWAPS=5000 pytest test/test_reload.py` goes on for longer.
SWAPS = int(os.environ.get('SWAPS', '150'))


@pytest.mark.parametrize('with_pipe', [False, True])
def test_what_is_named_is_what_acts(
    stage: Stage, policy_file: Path, tmp_path: Path, with_pipe: bool
) -> None:
    contents: list[bytes | None] = [policy_file.read_bytes()]
    policies = {read_policy(policy_file).digest: load_policy(policy_file)}
    for seed in (1, 2):
        other = tmp_path / 'other.safetensors'
        write_policy(other, *random_policy(seed=seed))
        contents.append(other.read_bytes())
        policies[read_policy(other).digest] = load_policy(other)
    observation = np.full(9, 0.3)
    expected = {
        digest: p.act(observation).astype(float).tolist() for digest, p in policies.items()
    }
    assert len({tuple(each) for each in expected.values()}) == 3
    robot, diagnostics = Robot(stage), Diagnostics(stage)
    controller = active_controller(stage, policy_file, observation_timeout=3600.0)
    robot.meet()
    reload = stage.node.create_client(Trigger, 'controller/reload')
    assert stage.until(reload.service_is_ready)
    stage.introduce('controller')
    named, loaded, refused = read_policy(policy_file).digest, set(), 0
    with swapping(policy_file, [*contents, None] if with_pipe else contents):
        for _ in range(SWAPS):
            future = reload.call_async(Trigger.Request())
            assert stage.until(future.done), controller.output
            answer = future.result()
            if answer.success:
                short = answer.message.split()[1]
                (named,) = (digest for digest in policies if digest.startswith(short))
                loaded.add(named)
            else:
                refused += 1
            assert robot.ask(observation) == expected[named]
    assert len(loaded) > 1, controller.output
    assert refused, 'some were read in the middle of being written'
    assert stage.until(lambda: diagnostics['policy_sha256'] == named)
    assert 'Traceback' not in controller.output
