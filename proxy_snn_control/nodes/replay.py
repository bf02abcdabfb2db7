# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What a policy would have commanded on recorded messages, beside what was sent.

The loop of `control/` runs in the time of the recording: sources go in as they were recorded, by
when they were received, with the checks and limits of a controller. Nothing is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
import csv
from dataclasses import dataclass, field
import io
import json
from pathlib import Path
import re
import sys
from typing import Any

import numpy as np
from proxy_snn_control.control.loop import Loop
from proxy_snn_control.control.messages import label_of, message_class, UNASKED
from proxy_snn_control.control.robot import action_names, CommandTopic, TRAJECTORY, VECTOR
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.control.wiring import Wiring
from proxy_snn_control.nodes.loading import load_loop
from proxy_snn_control.nodes.parameters import PARAMETERS
from proxy_snn_control.policy import Policy, UserError
from proxy_snn_control.policy.files import opened, write_bytes
from proxy_snn_control.yaml_file import read_yaml

WATCH = 0.1  # of the shortest timeout, as the controller
SAME = 1e-6  # of a number's size, and at least this much: a command that differs by less is equal
# Recorders take topics in any order: a command may be so many seconds before its observation.
SLACK = 0.005
BOOL = 'std_msgs/Bool'
_NUMBER = re.compile(r'\d+(\.\d+)?')


@dataclass
class Command:
    """A command: when, in seconds of the recording, its numbers [outputs] and its label."""

    at: float
    numbers: list[float]
    label: str = ''
    fault: str = ''
    observation: np.ndarray | None = None
    sent: Command | None = None


@dataclass
class Replay:
    """What came of a replay.

    Attributes:
        names: of the command's numbers.
        commands: those that were recomputed; `sent` is the recorded one that each belongs to.
        recorded: how many commands were recorded.
        faults: how often the safe command went out, by reason.
        findings: the wiring check's sentences, and its scope.
    """

    names: list[str]
    commands: list[Command] = field(default_factory=list)
    recorded: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    scope: str = ''

    def summary(self) -> dict[str, Any]:
        """Return the figures, for printing and JSON."""
        pairs = [(c.numbers, c.sent.numbers, c.at) for c in self.commands if c.sent is not None]
        ours = np.array([one for one, _, _ in pairs]).reshape(len(pairs), len(self.names))
        theirs = np.array([two for _, two, _ in pairs]).reshape(ours.shape)
        off = np.abs(ours - theirs)
        different = (off > SAME * np.maximum(1.0, np.abs(theirs))).any(axis=1)
        first = next((pairs[i][2] for i in np.flatnonzero(different)), None)
        return {
            'recomputed': len(self.commands),
            'recorded': self.recorded,
            'compared': len(pairs),
            'different': int(different.sum()),
            'first_difference_at': first,
            'outputs': {
                name: {
                    'largest_difference': _finite(off[:, i].max(initial=0.0)),
                    'rms_difference': _rms(off[:, i]),
                    'rms_sent': _rms(theirs[:, i]),
                }
                for i, name in enumerate(self.names)
            },
            'safe_commands': dict(self.faults),
            'wiring': self.findings,
            'wiring_checks': self.scope,
        }

    def text(self) -> str:
        """Return the figures as lines."""
        values = self.summary()
        head = (
            f'{values["recomputed"]} commands recomputed, {values["recorded"]} recorded, '
            f'{values["compared"]} compared: {values["different"]} differ'
        )
        first = values['first_difference_at']
        lines = [head + (f', first {first:.3f} s after the start' if first is not None else '')]
        if values['compared']:
            lines.append(f'{"output":<24} {"largest":>10} {"rms":>10} {"rms sent":>10}')
            for name, each in values['outputs'].items():
                numbers = ' '.join(f'{str(number)[:10]:>10}' for number in each.values())
                lines.append(f'{name:<24} {numbers}')
        lines += [f'safe command, {n} times: {why}' for why, n in self.faults.most_common()]
        lines += [f'wiring: {sentence}' for sentence in self.findings or ['nothing found']]
        lines.append(f'wiring check: {self.scope}')
        return '\n'.join(lines)

    def table(self) -> str:
        """Every command as CSV: time, what was recomputed, what was sent, the fault."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator='\n')
        columns = [f'{name}.{kind}' for kind in ('policy', 'sent') for name in self.names]
        writer.writerow(['seconds', *columns, 'fault'])
        for each in self.commands:
            sent = each.sent.numbers if each.sent else [''] * len(self.names)
            writer.writerow([f'{each.at:.6f}', *each.numbers, *sent, each.fault])
        return out.getvalue()


def replay(
    bag: str, policy: str, robot: str = '', params: str = '', namespace: str = '/'
) -> Replay:
    """Recompute a policy's commands on a bag.

    Args:
        bag: a folder or file that `ros2 bag record` or the node `record` wrote.
        policy: the policy file.
        robot: the robot file; "" for Float64MultiArray on observation and command.
        params: the controller's parameter file, for its limits, rate and timeouts; "" for none.
        namespace: of the controller when it was recorded.

    Raises:
        UserError: a file is not as it should be, or the bag lacks a source.
    """
    values = {each.name: each.default for each in PARAMETERS} | _given(params)
    values |= {'policy': policy, 'robot': robot, 'wiring': 'none', 'backend': 'native'}
    return _Replayer(values, bag, namespace).run()


def _given(path: str) -> dict[str, Any]:
    """Return the controller's parameters in a parameter file."""
    if not path:
        return {}
    content = read_yaml('parameter file', path)
    given: dict[str, Any] = {}
    for node in ('/**', 'controller', '/controller'):
        section = content.get(node) if isinstance(content, dict) else None
        if isinstance(section, dict) and isinstance(section.get('ros__parameters'), dict):
            given |= section['ros__parameters']
    unknown = given.keys() - {each.name for each in PARAMETERS} - {'use_sim_time'}
    if unknown or not given:
        what = f'parameter {min(unknown)} does not exist' if unknown else 'has no parameters'
        raise UserError(
            f"parameter file {path}: {what}, expected the controller's ros__parameters"
        )
    return given


class _Replayer:
    """One replay: the loop, its clock, and the messages."""

    def __init__(self, values: dict[str, Any], bag: str, namespace: str) -> None:
        self._now = 0.0
        self._stop = StopLatch(values['stop_heartbeat'])
        self._loop: Loop = load_loop(
            values, self._stop, self._send, lambda _: None, lambda _: None, lambda: self._now
        )
        self._loop.on_action = self._note
        self._bag, self._namespace = bag, '/' + namespace.strip('/')
        command = self._loop.robot.command
        actions = action_names(self._loop.policy.spec)
        names = [output.place or actions[output.action] for output in command.outputs]
        self._result = Replay(names)
        self._lockstep = values['lockstep']
        self._reasons: dict[str, str] = {}

    def run(self) -> Replay:
        """Read the bag, recompute, compare."""
        loop, events = self._loop, list(self._events())
        sent = [event for event in events if isinstance(event[1], Command)]
        commands = [command for _, command in sent]
        self._result.recorded = len(commands)
        begin, end = self._span(events, commands)
        shortest = min(source.timeout for source in loop.robot.sources)
        watch = events[0][0] if events else 0.0
        ticks = loop.at_rate and not commands
        tick = begin
        for at, event in events:
            while watch < at and watch <= end:
                self._now = max(self._now, watch)
                self._do(loop.watch)
                if loop.faulty:
                    self._do(loop.repeat)
                if ticks and self._now >= tick:
                    self._do(loop.answer)
                    tick += loop.period
                watch += min(shortest * WATCH, loop.repeat_period)
            if at > end:
                break
            self._now = max(self._now, at)
            if not loop.active and at >= begin:
                loop.activate()
            if isinstance(event, Command):
                if loop.at_rate:
                    self._do(loop.answer)
            elif isinstance(event, bool):
                self._stop.press(event, now=at)
                if event:
                    self._do(loop.stopped)
            elif loop.take(*event):
                self._do(loop.answer)
        self._match(commands)
        self._check_wiring()
        return self._result

    def _do(self, act: Callable[[], None]) -> None:
        """Let the loop act now, and keep why a command that came of it is the safe one."""
        before = len(self._result.commands)
        act()
        fault = self._loop.statistics.fault
        for command in self._result.commands[before:]:
            command.fault = fault
            if fault:
                first = self._reasons.setdefault(_NUMBER.sub('#', fault), fault)
                self._result.faults[first] += 1

    def _span(self, events: Sequence[Any], commands: Sequence[Command]) -> tuple[float, float]:
        """When the controller was active: around the recorded commands, or always."""
        if not commands:
            return (events[0][0] if events else 0.0), float('inf')
        intervals = np.diff([command.at for command in commands])
        margin = min(self._loop.period, *(intervals[:20].tolist() or [self._loop.period])) / 2
        begin = commands[0].at - margin
        label = commands[0].label
        if label not in (
            '',
            UNASKED,
        ):  # a sim in lockstep: the command answers the observation of the same label
            for at, event in events:
                if isinstance(event, tuple) and _label(event[1]) == label:
                    begin = min(at, commands[0].at)
                    break
        return begin, commands[-1].at + margin

    def _send(self, numbers: Sequence[float], label: str) -> bool:
        self._result.commands.append(Command(self._now, list(numbers), label))
        return True

    def _note(self, policy: Policy, label: str, observation: np.ndarray, action: Any) -> None:
        """After a command without a fault: from which observation it was made."""
        self._result.commands[-1].observation = observation.copy()

    def _match(self, commands: Sequence[Command]) -> None:
        """Give each recomputed command the recorded one: of its label, or the next in time."""
        by_label = {c.label: c for c in commands if c.label not in ('', UNASKED)}
        at, tolerance = 0, self._loop.period / 2
        for each in self._result.commands:
            if each.label in by_label:
                each.sent = by_label[each.label]
                continue
            while at < len(commands) and commands[at].at < each.at - SLACK:
                at += 1
            if at < len(commands) and commands[at].at <= each.at + tolerance:
                each.sent = commands[at]
                at += 1

    def _check_wiring(self) -> None:
        """Run the wiring check over the observations and the commands that the robot got."""
        loop = self._loop
        wiring = Wiring(loop.policy, loop.robot.given_by_source())
        self._result.scope = wiring.scope
        seen: dict[str, str] = {}
        for each in self._result.commands:
            if each.observation is None or (self._result.recorded and each.sent is None):
                wiring.forget()
                continue
            numbers = each.sent.numbers if each.sent else each.numbers
            wiring.add(each.observation, loop.commands.action(numbers), each.at)
            if wiring.due():
                for finding in wiring.findings(check_period=not self._lockstep):
                    seen.setdefault(_NUMBER.sub('#', finding), f'{finding} (at {each.at:.1f} s)')
        self._result.findings = list(seen.values())

    # ---- the bag

    def _events(self) -> Iterator[tuple[float, Any]]:
        """Time in seconds, and a source's index and message, a Command, or the stop's value."""
        try:
            from rosbags.rosbag2 import Reader, ReaderError
        except ModuleNotFoundError as error:
            raise UserError(
                "the Python module 'rosbags' is not installed: pip install "
                "'proxy_snn_control[bags]'"
            ) from error
        from rclpy.serialization import deserialize_message

        robot = self._loop.robot
        readers: dict[str, tuple[str, Any]] = {
            self._full(source.topic): (source.type_name, i)
            for i, source in enumerate(robot.sources)
        }
        command_topic = self._full(robot.command.topic)
        bag = Path(self._bag)
        for path in (bag, *bag.glob('*')):
            if path.exists() and not path.is_dir():
                with opened('bag', path, sys.maxsize):
                    pass  # rosbags would wait for a pipe
        try:
            with Reader(bag) as reader:
                kinds = {c.topic: c.msgtype.replace('/msg/', '/') for c in reader.connections}
                self._check(kinds, {topic: kind for topic, (kind, _) in readers.items()}, True)
                optional = {command_topic: robot.command.type_name, self._full('stop'): BOOL}
                self._check(kinds, optional, False)
                wanted = {**{topic: kind for topic, (kind, _) in readers.items()}, **optional}
                # Those of the files: metadata.yaml may have another QoS, and then nothing is read.
                files = getattr(reader.storage, 'storages', [reader.storage])
                chosen = [c for file in files for c in file.connections if c.topic in wanted]
                start = reader.start_time
                for connection, nanoseconds, data in reader.messages(connections=chosen):
                    at = (nanoseconds - start) * 1e-9
                    topic = connection.topic
                    message = deserialize_message(bytes(data), message_class(wanted[topic]))
                    if topic in readers:
                        yield at, (readers[topic][1], message)
                    if topic == command_topic:
                        yield at, _command(robot.command, message, at)
                    elif topic == self._full('stop'):
                        yield at, bool(message.data)
        except (OSError, ReaderError) as error:
            reason = ' '.join(str(error).split())
            if 'metadata file' in reason or 'end magic' in reason:
                reason += (
                    ' Was its recording cut off? ros2 bag reindex or mcap recover repairs it.'
                )
            raise UserError(f'bag {self._bag}: cannot be read: {reason}') from error

    def _check(self, kinds: dict[str, str], wanted: dict[str, str], needed: bool) -> None:
        for topic, kind in wanted.items():
            if topic not in kinds and needed:
                there = ', '.join(sorted(kinds)) or 'nothing'
                raise UserError(
                    f"bag {self._bag}: topic {topic} is not in it, which the robot's sources "
                    f'need; it has {there} (another namespace: --namespace)'
                )
            if kinds.get(topic, kind) != kind:
                raise UserError(
                    f'bag {self._bag}: topic {topic} is {kinds[topic]}, expected {kind}'
                )

    def _full(self, topic: str) -> str:
        return topic if topic.startswith('/') else f'{self._namespace.rstrip("/")}/{topic}'


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _rms(numbers: np.ndarray) -> float | None:
    return _finite(float(np.sqrt((numbers**2).mean()))) if len(numbers) else None


def _label(message: Any) -> str:
    return label_of(message) if hasattr(message, 'layout') else ''


def _command(topic: CommandTopic, message: Any, at: float) -> Command:
    """Return a recorded command's numbers, in the order of the outputs."""
    places = [output.place for output in topic.outputs]
    if topic.type_name == VECTOR:
        return Command(at, list(message.data), label_of(message))
    if topic.type_name == TRAJECTORY:
        point = message.points[0] if message.points else None
        found = dict(zip(message.joint_names, getattr(point, topic.field, []), strict=False))
        return Command(at, [float(found.get(place, np.nan)) for place in places])
    numbers = []
    for place in places:
        number = message.twist if topic.type_name.endswith('TwistStamped') else message
        for part in place.split('.'):
            number = getattr(number, part)
        numbers.append(float(number))
    return Command(at, numbers)


def report(result: Replay, as_json: bool, table: str) -> str:
    """Return what the command prints; write the table if there is a file for it."""
    if table:
        write_bytes(table, result.table().encode())
    return json.dumps(result.summary(), allow_nan=False) if as_json else result.text()
