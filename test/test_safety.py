# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The safety gate: what may go out, whatever came in."""

import numpy as np
from proxy_snn_control.control.safety import SafetyGate, SafetySettings
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.policy import UserError
import pytest

LOW, HIGH = [-1.0, 0.5], [1.0, 2.0]
PERIOD = 0.1


def make(stop: StopLatch | None = None, **settings: object) -> SafetyGate:
    return SafetyGate(LOW, HIGH, PERIOD, stop or StopLatch(), SafetySettings(**settings))


def sent(
    gate: SafetyGate, command: list[float] | None, now: float, fault: str = ''
) -> list[float]:
    return list(gate.check(command, fault, now)[0])


def test_the_gate_decides_last() -> None:
    gate = make()
    assert gate.safe == [0.0, 0.5], 'zeros, moved into the limits'
    assert gate.check([0.5, 1.0], '', 0.0) == ([0.5, 1.0], '')
    for bad in ([np.nan, 1.0], [0.5, np.inf], [1.1, 1.0], [0.0, 0.4], [0.5], [0.5, 1.0, 1.0], []):
        command, fault = gate.check(bad, '', 0.0)
        assert command is gate.safe
        assert fault
    assert sent(gate, None, 0.0) == gate.safe
    command, fault = gate.check([0.5, 1.0], 'stale', 0.0)
    assert (command is gate.safe, fault) == (True, 'stale')


@pytest.mark.parametrize(
    ('settings', 'reported'),
    [
        ({'safe_command': [0.0]}, 'parameter safe_command has 1 values, expected 2'),
        ({'safe_command': [0.0, 0.0]}, r'expected values within \[-1.0, 0.5\] and \[1.0, 2.0\]'),
        ({'safe_command': [np.nan, 1.0]}, 'parameter safe_command is'),
        ({'slew_rate': [1.0]}, 'parameter slew_rate has 1 values, expected 2'),
        ({'slew_rate': [1.0, 0.0]}, 'expected numbers above 0'),
        ({'slew_rate': [1.0, np.inf]}, 'parameter slew_rate is'),
    ],
)
def test_settings_that_cannot_be(settings: dict, reported: str) -> None:
    with pytest.raises(UserError, match=reported):
        make(**settings)
    gate = make(safe_command=[0.25, 1.0])
    with pytest.raises(UserError, match=reported):
        gate.change(SafetySettings(**settings))
    assert gate.safe == [0.25, 1.0], 'the old settings stay'


def test_hold_repeats_the_last_command_in_order() -> None:
    gate = make(hold=True, safe_command=[0.25, 1.0])
    assert sent(gate, [9.0, 9.0], 0.0) == [0.25, 1.0], 'nothing to hold yet'
    assert sent(gate, [0.5, 1.5], 0.1) == [0.5, 1.5]
    assert sent(gate, [np.nan, 1.5], 0.2) == [0.5, 1.5]
    assert sent(gate, None, 0.3, 'stale') == [0.5, 1.5]
    gate.start(1.0)
    assert sent(gate, None, 1.0, 'stale') == [0.5, 1.5], (
        'what the robot got last, whatever we were'
    )


def test_slew_rate() -> None:
    gate = make(slew_rate=[1.0, 2.0])
    assert sent(gate, [1.0, 0.5], 0.1) == pytest.approx([0.1, 0.5])
    assert sent(gate, [1.0, 2.0], 0.2) == pytest.approx([0.2, 0.7])
    assert sent(gate, [1.0, 2.0], 9.0) == pytest.approx([0.3, 0.9]), "one period's worth, no more"
    assert sent(gate, [1.0, 2.0], 9.05) == pytest.approx([0.35, 1.0])
    assert sent(gate, None, 9.1, 'stale') == [0.0, 0.5], 'the safe command goes out at once'
    assert sent(gate, [1.0, 2.0], 9.2) == pytest.approx([0.1, 0.7]), 'and slewing goes on from it'


def test_ramp_in() -> None:
    gate = make(ramp_in=2.0, safe_command=[-1.0, 1.0])
    gate.start(10.0)
    assert sent(gate, [1.0, 2.0], 10.0) == [-1.0, 1.0]
    assert sent(gate, [1.0, 2.0], 11.0) == pytest.approx([0.0, 1.5])
    assert sent(gate, [1.0, 2.0], 12.0) == [1.0, 2.0]
    rng = np.random.default_rng(0)
    gate.start(10.0)
    for now in np.linspace(10.0, 13.0, 500):
        command = np.array(sent(gate, rng.uniform(LOW, HIGH).tolist(), now))
        assert ((command >= LOW) & (command <= HIGH)).all()


def test_a_ramp_at_work_keeps_its_length() -> None:
    gate = make(ramp_in=2.0)
    gate.start(10.0)
    assert sent(gate, [1.0, 2.0], 10.0) == [0.0, 0.5]
    gate.change(SafetySettings(ramp_in=100.0))
    assert sent(gate, [1.0, 2.0], 11.0) == pytest.approx([0.5, 1.25])
    gate.change(SafetySettings(ramp_in=0.0))
    assert sent(gate, [1.0, 2.0], 11.5) == pytest.approx([0.75, 1.625])
    gate.start(20.0)
    assert sent(gate, [1.0, 2.0], 20.0) == [1.0, 2.0]


def test_after_a_stop_it_goes_on_from_what_is_held() -> None:
    stop = StopLatch()
    gate = make(stop, hold=True, ramp_in=1.0, slew_rate=[0.5, 0.5])
    gate.start(-10.0)
    for i in range(100):
        held = sent(gate, [0.8, 1.0], 0.1 * i)
    assert held == pytest.approx([0.8, 1.0])
    stop.press(True)
    assert sent(gate, [-1.0, 1.0], 10.0) == held
    stop.press(False)
    stop.arm()
    gate.ramp()
    assert sent(gate, [-1.0, 1.0], 10.1) == held, 'no leap'
    assert sent(gate, [-1.0, 1.0], 10.2) == pytest.approx([0.75, 1.0])
    assert sent(gate, None, 10.3, 'stale') == pytest.approx([0.75, 1.0])


def test_a_ramp_lasts_as_long_whatever_keeps_commands_from_going_out() -> None:
    """A source that is late, a fault in the middle, a command that is lost."""
    gate = make(ramp_in=2.0, safe_command=[-1.0, 1.0])
    gate.start(10.0)
    for now in (10.5, 15.0):
        assert sent(gate, None, now, 'stale') == [-1.0, 1.0]
    assert sent(gate, [1.0, 2.0], 15.1) == [-1.0, 1.0]
    assert sent(gate, [1.0, 2.0], 16.1) == pytest.approx([0.0, 1.5])
    assert sent(gate, None, 16.2, 'stale') == [-1.0, 1.0]
    assert sent(gate, [1.0, 2.0], 16.9) == [-1.0, 1.0], 'it begins again'
    gate.take_back()
    assert sent(gate, [1.0, 2.0], 17.9) == [-1.0, 1.0]
    assert sent(gate, [1.0, 2.0], 18.9) == pytest.approx([0.0, 1.5])
    assert sent(gate, [1.0, 2.0], 19.9) == [1.0, 2.0]
    gate.take_back()
    assert sent(gate, [1.0, 0.5], 19.8) == pytest.approx([0.9, 0.525]), 'not over yet'
    assert sent(gate, [1.0, 2.0], 20.0) == [1.0, 2.0]
    assert sent(gate, None, 20.1, 'stale') == [-1.0, 1.0]
    assert sent(gate, [1.0, 2.0], 20.2) == [1.0, 2.0], 'a ramp that is over stays over'


def test_what_was_sent_last_is_brought_within_other_limits() -> None:
    before = SafetyGate([-1.0], [1.0], PERIOD, StopLatch(), SafetySettings(hold=True))
    assert sent(before, [0.9], 0.1) == [0.9]
    settings = SafetySettings(hold=True)
    gate = SafetyGate([-0.5], [0.5], PERIOD, StopLatch(), settings, last=before.last)
    assert sent(gate, None, 0.2, 'stale') == [0.5]


def test_stop_holds_until_released_and_armed() -> None:
    stop = StopLatch()
    gate = make(stop)
    good = [0.5, 1.0]
    assert sent(gate, good, 0.0) == good
    stop.press(True)
    command, fault = gate.check(good, '', 0.1)
    assert (command is gate.safe, fault) == (True, 'topic stop is true')
    with pytest.raises(UserError, match='expected it to be released first'):
        stop.arm()
    stop.press(False)
    command, fault = gate.check(good, '', 0.2)
    assert command is gate.safe
    assert '~/arm' in fault
    stop.arm()
    assert sent(gate, good, 0.3) == good
    stop.press(False)
    assert sent(gate, good, 0.4) == good, 'a release without a stop is none'
