# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Random sequences of messages, faults and settings for the loop, and what is promised of them."""

import math
from pathlib import Path
from typing import Any

from control_kit import header, joints, PERIOD, robot_of, trunk, TWO_SOURCES, two_spec, World
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, RuleBasedStateMachine
import numpy as np
from proxy_snn_control.control.messages import UNASKED
from proxy_snn_control.control.robot import Robot
from proxy_snn_control.control.safety import SafetySettings
from proxy_snn_control.policy import Policy, UserError
from sensor_msgs.msg import JointState

# Whatever happens, in whatever order: messages with any stamp and number, lost, late and doubled,
# silence, the stop, the lifecycle and settings that change.
NUMBERS = st.one_of(
    st.floats(-3, 3), st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 1e30])
)
STAMPS = st.one_of(
    st.sampled_from([0.0, PERIOD, -PERIOD, 0.01, -0.21, -0.35, 5.0, -50.0, 1e6]),
    st.floats(-0.1, 0.1),
)


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
    """The promise: nothing leaves that is NaN, out of limits, stale or unasked."""

    robot: Robot
    policy: Policy
    at_rate = False
    slew = 4.0

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.robot, self.policy, at_rate=self.at_rate)
        self.active = True
        self.clock = 100.0
        self.received = [0.0, 0.0]
        self.pressing: set[bytes] = set()
        self.latched = False
        self.slewed = False
        self.checked = 0
        self.last: list[float] | None = None
        self.world.loop.activate()

    def take(self, source: int, message: Any) -> None:
        self.received[source] = self.world.now
        self.world.take(source, message)

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

    @rule(seconds=st.sampled_from([0.001, 0.01, PERIOD, 0.05, 0.19, 0.21, 0.35, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        self.world.wait(seconds)

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
        loop.backend = Possessed(loop.policy, value)  # type: ignore[assignment]

    @rule(pressed=st.booleans(), who=st.sampled_from([b'a', b'b']))
    def press(self, pressed: bool, who: bytes) -> None:
        before = self.world.stop.fault
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
        try:
            self.world.loop.arm()
        except UserError:
            assert self.pressing
        else:
            assert not self.pressing
            self.latched = False

    @precondition(lambda self: not self.active)
    @rule()
    def activate(self) -> None:
        self.world.loop.activate()
        self.active = True
        self.received = [self.world.now] * 2

    @precondition(lambda self: self.active)
    @rule()
    def deactivate(self) -> None:
        before = len(self.world.sent)
        self.world.loop.deactivate('no longer active')
        assert self.world.loses == (len(self.world.sent) == before), 'the last command'
        self.check()
        self.active = False

    @rule(slew=st.booleans(), ramp=st.sampled_from([0.0, 0.3]), hold=st.booleans())
    def change(self, slew: bool, ramp: float, hold: bool) -> None:
        self.slewed = slew
        rate = [self.slew] if slew else []
        self.world.gate.change(SafetySettings([0.5], hold, rate, ramp))

    @invariant()
    def check(self) -> None:
        world = self.world
        checked = self.checked
        for at, (number,), label in world.sent[checked:]:
            assert self.active, 'commands are for the active state'
            assert math.isfinite(number)
            assert -0.8 <= number <= 0.8, 'within the limits'
            held = self.last is not None and number == self.last[0]
            if self.latched and label != UNASKED:
                assert number == 0.5 or held, 'stopped'
            elif number != 0.5 and not held:
                assert label != UNASKED, 'what nobody asked for is the safe command'
                assert at - self.received[0] <= 0.2 + 1e-9, 'stale joints'
                assert at - self.received[1] <= 0.3 + 1e-9, 'stale odometry'
                if self.slewed and self.last:
                    assert abs(number - self.last[0]) <= self.slew * PERIOD + 1e-9, 'a leap'
            self.last = [number]
        self.checked = len(world.sent)


def prepare_hostile(folder: Path) -> type[Hostile]:
    """Return the class, with what all sequences share; benchmarks/hostile.py has it too."""
    spec, tensors = two_spec()
    Hostile.robot, Hostile.policy = robot_of(folder, TWO_SOURCES, spec), Policy(spec, tensors)
    return Hostile
