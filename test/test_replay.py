# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Bags: what the recorder writes, what is recomputed from it, and bags that cannot be used."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

from conftest import new_stage, Stage
import numpy as np
from proxy_snn_control.control.messages import label_of, UNASKED
from proxy_snn_control.nodes.replay import replay, report
from proxy_snn_control.policy import UserError
import pytest
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from std_msgs.msg import Float64MultiArray
import yaml

ROOT = Path(__file__).parents[1]
CHEETAH = ROOT / 'benchmarks' / 'policies' / 'lif-HalfCheetah-v4.safetensors'
OTHER = ROOT / 'benchmarks' / 'policies' / 'clif-HalfCheetah-v4.safetensors'
ROBOT = ROOT / 'config' / 'robots' / 'half_cheetah.yaml'


def record(stage: Stage, robot: Path | str = '', **controller: Any) -> Path:
    """Sim and controller for some seconds, by real processes; the bag."""
    bag = stage.folder / 'bag'
    given = {'robot': robot} if robot else {}
    recorder = stage.start('record', out=bag, **given)
    stage.start('sim', env='HalfCheetah-v4', mode='realtime')
    node = stage.node
    assert stage.until(lambda: node.count_subscribers('joint_states') > 0), stage.outputs()
    stage.start('controller', policy=CHEETAH, autostart='true', **given, **controller)
    commands = stage.subscribe(Float64MultiArray, 'command', 10)

    def answers() -> int:
        return sum(label_of(command) != UNASKED for command in commands)

    assert stage.until(lambda: answers() > 160), stage.outputs()
    assert recorder.end(signal.SIGINT) == 0, recorder.output
    assert 'recorded ' in recorder.output
    return bag


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with new_stage(tmp_path_factory.mktemp('recorded')) as stage:
        return record(stage, ROBOT)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / 'params.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': {'slew_rate': [1.0] * 6}}}))
    return path


def test_the_same_policy_commands_the_same(bag: Path, tmp_path: Path) -> None:
    """To the last bit, from joint states; the recorder, which is not in the loop, may miss one."""
    result = replay(str(bag), str(CHEETAH), str(ROBOT))
    values = result.summary()
    compared = [c for c in result.commands if c.sent and UNASKED not in (c.label, c.sent.label)]
    assert values['recorded'] > 40
    assert len(compared) > 30
    equal = [c for c in compared if c.numbers == c.sent.numbers]
    assert len(equal) >= len(compared) - 2, result.text()
    table = tmp_path / 'table.csv'
    assert json.loads(report(result, True, str(table))) == values
    assert len(table.read_text().splitlines()) == len(result.commands) + 1
    assert 'bthigh.policy' in table.read_text().splitlines()[0]


def test_another_policy_and_other_limits_differ(bag: Path, params: Path) -> None:
    other = replay(str(bag), str(OTHER), str(ROBOT)).summary()
    assert other['different'] > 0.5 * other['compared'] > 20
    assert other['outputs']['bthigh']['rms_difference'] > 0.1
    assert other['first_difference_at'] is not None
    limited = replay(str(bag), str(CHEETAH), str(ROBOT), str(params))
    steps = np.diff([c.numbers for c in limited.commands if not c.fault], axis=0)
    assert np.abs(steps[5:]).max() < 0.2, 'one per second, at 20 commands a second'


def test_it_runs_the_wiring_check(bag: Path, cheetah_file: Path, tmp_path: Path) -> None:
    """A robot file with a wrong sign, on a bag that was recorded with the right one."""
    content = yaml.safe_load(ROBOT.read_text())
    content['observation']['bshin.position']['scale'] = -1
    wrong = tmp_path / 'wrong.yaml'
    wrong.write_text(yaml.safe_dump(content))
    found = replay(str(bag), str(cheetah_file), str(wrong)).findings
    assert any('bshin' in finding and 'sign' in finding for finding in found), found
    assert not any('bshin' in f for f in replay(str(bag), str(cheetah_file), str(ROBOT)).findings)


def test_the_command(bag: Path, params: Path) -> None:
    program = Path(sys.executable).with_name('proxy-snn')
    command = [program, 'replay', bag, '--policy', CHEETAH, '--robot', ROBOT]
    done = subprocess.run(
        [*map(str, command), '--params', params], capture_output=True, text=True, check=True
    )
    assert 'commands recomputed' in done.stdout
    assert 'wiring check: ' in done.stdout


def test_what_the_recorder_writes(bag: Path) -> None:
    with Reader(bag) as reader:
        topics = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
        assert topics['/joint_states'][0] == 'sensor_msgs/msg/JointState'
        assert {'/command', '/diagnostics', '/controller/spikes', '/controller/observation'} <= {
            topic for topic, (_, count) in topics.items() if count
        }
        for connection, _, data in reader.messages():
            if connection.topic == '/command':
                message = deserialize_message(bytes(data), Float64MultiArray)
                assert len(message.data) == 6
                assert np.isfinite(message.data).all()
    assert (bag / 'metadata.yaml').is_file()


def test_a_bag_of_sqlite_as_older_ros_writes_it(bag: Path, tmp_path: Path) -> None:
    """`ros2 bag` of Humble stores by sqlite3; the same messages give the same commands."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    copy = tmp_path / 'sqlite'
    with (
        Reader(bag) as reader,
        Writer(copy, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer,
    ):
        into = {
            c.topic: writer.add_connection(
                c.topic,
                c.msgtype,
                typestore=types,
                offered_qos_profiles=c.ext.offered_qos_profiles,
            )
            for c in reader.connections
        }
        for connection, at, data in reader.messages():
            writer.write(into[connection.topic], at, data)
    # As bags of ros2 bag may have it: another QoS in metadata.yaml than in the file.
    metadata = (copy / 'metadata.yaml').read_text()
    assert 'sec: 2147483647' in metadata
    (copy / 'metadata.yaml').write_text(metadata.replace('sec: 2147483647', 'sec: 0'))
    first, second = (replay(str(each), str(CHEETAH), 'half_cheetah') for each in (bag, copy))
    assert len(first.commands) > 40
    assert [c.numbers for c in first.commands] == [c.numbers for c in second.commands]


def test_a_recording_that_was_cut_off(bag: Path, tmp_path: Path) -> None:
    """As kill -9 leaves it: no metadata.yaml, and no end of the file."""
    (data,) = bag.glob('*.mcap')
    cut = tmp_path / 'cut'
    cut.mkdir()
    (cut / data.name).write_bytes(data.read_bytes()[:-100])
    for path in (cut, cut / data.name):
        with pytest.raises(UserError, match='recording cut off'):
            replay(str(path), str(CHEETAH), str(ROBOT))
    (cut / data.name).write_bytes(data.read_bytes())
    assert replay(str(cut / data.name), str(CHEETAH), str(ROBOT)).commands


@pytest.mark.parametrize(
    ('where', 'reported'),
    [
        ('nothing', 'does not exist'),
        ('folder', 'cannot be read'),
        ('file.txt', 'Unrecognized storage format'),
        ('pipe', 'is not a file but a pipe'),
    ],
)
def test_bags_that_cannot_be_read(tmp_path: Path, where: str, reported: str) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file.txt').write_text('no bag')
    with pytest.raises(UserError, match=reported) as caught:
        replay(str(tmp_path / where), str(CHEETAH))
    assert str(caught.value).startswith(f'bag {tmp_path / where}: ')


def test_a_pipe_in_a_bag_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'metadata.yaml')
    with pytest.raises(UserError, match=r'^bag \S+metadata.yaml: is not a file but a pipe$'):
        replay(str(tmp_path), str(CHEETAH))


def test_what_is_missing_is_named(bag: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='topic /observation is not in it'):
        replay(str(bag), str(CHEETAH))
    with pytest.raises(UserError, match='topic /left/joint_states is not in it'):
        replay(str(bag), str(CHEETAH), str(ROBOT), namespace='/left')
    params = tmp_path / 'params.yaml'
    params.write_text('controller: {ros__parameters: {slewrate: [1.0]}}')
    with pytest.raises(UserError, match='parameter slewrate does not exist'):
        replay(str(bag), str(CHEETAH), str(ROBOT), str(params))


def test_a_bag_that_is_there_is_not_replaced(stage: Stage, bag: Path) -> None:
    recorder = stage.start('record', out=bag)
    assert recorder.wait() == 1
    assert 'expected a folder that does not exist yet' in recorder.output
