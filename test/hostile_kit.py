# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Random sequences of messages, faults and settings for the loop, and what is promised of them."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from control_kit import (
    chip_answer,
    header,
    joints,
    PERIOD,
    robot_of,
    trunk,
    TWO_SOURCES,
    two_spec,
    World,
)
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, RuleBasedStateMachine
import numpy as np
from proxy_snn_control.control.backend import Neuromorphic
from proxy_snn_control.control.limits import JointLimit
from proxy_snn_control.control.messages import UNASKED
from proxy_snn_control.control.robot import Robot
from proxy_snn_control.control.safety import PAUSE, SafetySettings
from proxy_snn_control.policy import Policy, UserError
from sensor_msgs.msg import JointState

# Whatever happens, in whatever order: messages with any stamp and number, lost, late and doubled,
# silence, the stop, rivals, the lifecycle, a reload, settings that change, and a neuromorphic node
# that answers at once, late, twice, or never.
NUMBERS = st.one_of(
    st.floats(-3, 3), st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 1e30])
)
STAMPS = st.one_of(
    st.sampled_from([0.0, PERIOD, -PERIOD, 0.01, -0.21, -0.35, 5.0, -50.0, 1e6]),
    st.floats(-0.1, 0.1),
)
# What the command's number is to the joint, "" where that is not known; and what the joint may do.
JOINTS = {
    '': [],
    'position': [JointLimit(-0.7, 0.6, 5.0)],
    'velocity': [JointLimit(-1.0, 1.0, 0.7)],
}
ENDS = {'': (-0.8, 0.8), 'position': (-0.7, 0.6), 'velocity': (-0.7, 0.7)}
INTERFACES = tuple(JOINTS)
SLEW, ACCELERATION = 4.0, 40.0
ANSWERS = ('at once', 'late', 'never')
TIMEOUTS = (0.2, 0.3)
ROUNDING = 1e-9


class Possessed:
    """A backend whose policy wants something of its own."""

    def __init__(self, policy: Policy, value: float) -> None:
        self.policy, self.value = policy, value

    def act(self, observation: Any, label: str, out: np.ndarray, now: float) -> Policy:
        self.policy.act(observation, out)
        with np.errstate(over='ignore'):
            out[:] = self.value
        return self.policy


class Hostile(RuleBasedStateMachine):
    """The promise: nothing leaves that is NaN, out of limits, stale or unasked, and none leaps."""

    robots: dict[str, Robot]
    policies: list[Policy]
    at_rate = False

    @initialize(interface=st.sampled_from(INTERFACES), asks=st.booleans())
    def begin(self, interface: str, asks: bool) -> None:
        self.interface, self.asks = interface, asks
        self.world = self.make_world(self.policies[0])
        self.active = True
        self.clock = 100.0
        self.received = [0.0, 0.0]
        self.pressing: set[bytes] = set()
        self.beats = [0.0]
        self.latched = self.hold = False
        self.checked = 0
        self.requests: list[Any] = []
        self.answers, self.seen_question = 'at once', None
        self.slew = self.acceleration = False
        self.safe, self.ramp, self.next_ramp = 0.5, 0.0, 0.0
        # What the robot has, since when, and whether it stands there; of positions also where it
        # may stand, while it is new.
        self.last: list[float] | None = None
        self.last_at, self.rests, self.new = 0.0, True, True
        self.places: list[float] = []
        self.asked_since: float | None = None
        self.use(self.world.loop)
        self.world.loop.activate()

    def make_world(self, policy: Policy) -> World:
        robot, limits = self.robots[self.interface], JOINTS[self.interface]
        return World(robot, policy, at_rate=self.at_rate, joints=limits)

    def use(self, loop: Any) -> None:
        """Have the loop ask the neuromorphic node, if this sequence has one."""
        if self.asks:
            spec, tensors = loop.policy.spec, loop.policy._tensors
            fallback = Policy(spec, tensors)
            loop.backend = Neuromorphic(spec, tensors, 'sum', fallback, self.requests.append)

    def take(self, source: int, message: Any) -> None:
        self.received[source] = self.world.now
        if source == 0 and message.position:
            self.places += [p for p in message.position if math.isfinite(p)]
        self.world.take(source, message)
        question = self.world.loop.question
        if question is not None and question is not self.seen_question:
            self.seen_question = question
            self.world.deadline = self.world.now + PERIOD / 2
            if self.answers == 'at once':
                self.answer(0)

    @precondition(lambda self: self.asks)
    @rule(back=st.integers(0, 2))
    def answer(self, back: int) -> None:
        """Answer one of the last requests, whether again or not."""
        if len(self.requests) > back:
            loop = self.world.loop
            loop.answered(chip_answer(loop.policy, self.requests[-1 - back]))

    @rule(answers=st.sampled_from(ANSWERS))
    def node(self, answers: str) -> None:
        self.answers = answers

    @rule(source=st.integers(0, 1), stamp=STAMPS, value=NUMBERS, times=st.integers(1, 3))
    def message(self, source: int, stamp: float, value: float, times: int) -> None:
        made = (joints, trunk)[source](max(self.clock + stamp, 0.0), value)
        for _ in range(times):
            self.take(source, made)

    @rule(names=st.sampled_from([['a', 'a'], ['b'], [], ['a', 'b']]), count=st.integers(0, 3))
    def broken_joints(self, names: list[str], count: int) -> None:
        message = JointState(header=header(self.clock), name=names, position=[0.3] * count)
        self.take(0, message)

    @rule(steps=st.integers(1, 12), values=st.tuples(st.floats(-1, 1), st.floats(-1, 1)))
    def in_order(self, steps: int, values: tuple[float, float]) -> None:
        for _ in range(steps):
            self.pass_time(PERIOD)
            self.take(0, joints(self.clock, values[0]))
            self.take(1, trunk(self.clock, values[1]))
            if self.answers == 'late' and self.asks:
                self.pass_time(0.005)
                self.answer(0)

    @rule(seconds=st.sampled_from([0.001, 0.01, PERIOD, 0.05, 0.19, 0.21, 0.35, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from([0.01, 0.21, 2.0]))
    def sleep(self, seconds: float) -> None:
        """Let time pass without the process: no timer of it expires meanwhile."""
        self.clock += seconds
        self.world.now += seconds

    @rule(source=st.integers(0, 1), seconds=st.sampled_from([0.1, 0.25, 0.35]))
    def one_long_before_the_other(self, source: int, seconds: float) -> None:
        stamp = self.clock
        for late in (False, True):
            at = source if not late else 1 - source
            self.take(at, (joints, trunk)[at](stamp, 0.5))
            if not late:
                self.pass_time(seconds)

    @rule()
    def warm_up(self) -> None:
        self.world.loop.warm_up()

    @rule(loses=st.booleans())
    def middleware(self, loses: bool) -> None:
        self.world.loses = loses

    @rule(jump=st.sampled_from([-50.0, -0.3, 0.3, 1e5]))
    def set_the_clock(self, jump: float) -> None:
        self.clock = max(self.clock + jump, 1.0)

    @rule(value=NUMBERS)
    def possess(self, value: float) -> None:
        loop = self.world.loop
        loop.settle()
        loop.backend = Possessed(loop.policy, value)  # type: ignore[assignment]

    @rule(which=st.integers(0, 1))
    def reload(self, which: int) -> None:
        other = self.make_world(self.policies[which]).loop
        self.use(other)
        self.world.loop.replace(other)

    @rule(there=st.booleans())
    def rival(self, there: bool) -> None:
        self.world.loop.rivalry = 'topic command has other publishers: /other' if there else ''

    @rule(pressed=st.booleans(), who=st.sampled_from([b'a', b'b']))
    def press(self, pressed: bool, who: bytes) -> None:
        before = self.world.stop.fault
        self.beats.append(self.world.now)
        self.world.stop.press(pressed, who, self.world.now)
        if pressed:
            self.pressing.add(who)
            self.latched = True
        else:
            self.pressing.discard(who)
        if self.world.stop.fault != before:
            self.world.loop.stopped()

    @rule()
    def arm(self) -> None:
        stopped = self.world.stop.fault
        try:
            self.world.loop.arm()
        except UserError:
            assert self.pressing or self.world.stop.heartbeat
        else:
            assert not self.pressing
            self.latched = False
            if stopped:
                self.ramp, self.asked_since = self.next_ramp, None

    @precondition(lambda self: not self.active)
    @rule(heartbeat=st.sampled_from([0.0, 0.5]))
    def activate(self, heartbeat: float) -> None:
        self.world.stop.heartbeat = heartbeat
        self.world.loop.activate()
        self.active = self.new = self.rests = True
        self.places, self.asked_since, self.ramp = [], None, self.next_ramp
        self.received = [self.world.now] * 2
        self.beats = [self.world.now]

    @precondition(lambda self: self.active)
    @rule()
    def deactivate(self) -> None:
        before = len(self.world.sent)
        self.world.loop.deactivate('no longer active')
        if self.world.loses or self.interface != 'position':
            assert self.world.loses == (len(self.world.sent) == before), 'the last command'
        self.check()
        self.active = False

    @rule(
        slew=st.booleans(),
        ramp=st.sampled_from([0.0, 0.3]),
        hold=st.booleans(),
        acceleration=st.booleans(),
        safe=st.sampled_from([0.5, 0.0]),
    )
    def change(self, slew: bool, ramp: float, hold: bool, acceleration: bool, safe: float) -> None:
        acceleration = acceleration and self.interface != 'velocity'  # its slew rate is that
        self.hold, self.safe, self.next_ramp = hold, safe, ramp
        self.slew, self.acceleration = slew, acceleration
        self.rests = False  # what moves when a limit is set is braked by it, but not at once
        rates = [SLEW] if slew else [], [ACCELERATION] if acceleration else []
        settings = SafetySettings([safe] if safe else [], hold, rates[0], ramp, rates[1])
        self.world.gate.change(settings)

    @invariant()
    def check(self) -> None:
        world = self.world
        checked = self.checked
        low, high = ENDS[self.interface]
        for at, (number,), label in world.sent[checked:]:
            assert self.active, 'commands are for the active state'
            assert math.isfinite(number)
            assert low <= number <= high, 'within the limits'
            held = self.last is not None and number == self.last[0]
            stands = [min(max(place, low), high) for place in self.places]
            if self.interface == 'position' and self.new and (self.hold or not self.safe):
                held = number in stands
            commanded = number != self.safe and not held
            if self.latched and label != UNASKED:
                assert not commanded, 'stopped'
            elif commanded:
                assert label != UNASKED, 'what nobody asked for is the safe command'
                assert at - self.received[0] <= TIMEOUTS[0] + ROUNDING, 'stale joints'
                assert at - self.received[1] <= TIMEOUTS[1] + ROUNDING, 'stale odometry'
                beat = world.stop.heartbeat
                assert not beat or at - max(self.beats) <= beat + ROUNDING, 'the heartbeat'
                self.check_step(number, at, stands)
            self.note(number, at, label, commanded)
        self.checked = len(world.sent)

    def check_step(self, number: float, at: float, stands: list[float]) -> None:
        """From what was sent last, or of a position where the robot stands, without a leap."""
        begins = [self.last[0]] if self.last else [0.0, self.safe]
        if self.interface == 'position' and self.new:
            begins = stands
        step = min((abs(number - begin) for begin in begins), default=math.inf)
        brakes = self.interface == 'velocity' and abs(number) <= abs(begins[0])
        if self.ramp and self.asked_since is None and not brakes:
            assert step <= ROUNDING, 'a ramp begins where the robot is'
        braking = self.acceleration and not self.rests
        if self.slew and not brakes and not braking:
            assert step <= SLEW * PERIOD + ROUNDING, 'a leap'
        if self.acceleration and (self.rests or at - self.last_at > PAUSE * PERIOD + ROUNDING):
            assert step <= ACCELERATION * PERIOD**2 + ROUNDING, 'a jerk'

    def note(self, number: float, at: float, label: str, commanded: bool) -> None:
        if label == UNASKED:
            self.asked_since = None
        elif self.asked_since is None:
            self.asked_since = at
        if self.asked_since is not None and at - self.asked_since >= self.ramp - ROUNDING:
            self.ramp = 0.0
        if label == UNASKED:
            self.rests = True
        elif commanded:
            self.rests = False
        self.last, self.last_at, self.new = [number], at, False


def prepare_hostile(folder: Path) -> type[Hostile]:
    """Return the class, with what all sequences share; benchmarks/hostile.py has it too."""
    spec, tensors = two_spec()
    others = [each * np.float32(0.5) for each in tensors.values()]
    changed = dict(zip(tensors, others, strict=True))
    Hostile.policies = [Policy(spec, tensors), Policy(spec, changed)]
    Hostile.robots = {}
    for interface in INTERFACES:
        command = TWO_SOURCES['command']
        if interface:
            outputs = [{**command['outputs'][0], 'joint': 'a'}]
            command = {**command, 'interface': interface, 'outputs': outputs}
        content = {**TWO_SOURCES, 'command': command}
        robot = robot_of(folder, content, spec)
        # Its limits are those of `JOINTS`; a velocity is limited by where the joint is.
        command = dataclasses.replace(robot.command, urdf='robot.urdf' if interface else '')
        Hostile.robots[interface] = dataclasses.replace(robot, command=command)
    return Hostile
