# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""From parameters and files to a loop: everything is read and checked before anything acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import time
from typing import Any

from proxy_snn_control.control.backend import Native, Neuromorphic
from proxy_snn_control.control.command import CommandMap
from proxy_snn_control.control.limits import JointLimit, MAX_BYTES, read_urdf
from proxy_snn_control.control.loop import Loop, Send
from proxy_snn_control.control.observation import Inputs
from proxy_snn_control.control.robot import CommandTopic, load_robot, plain_robot
from proxy_snn_control.control.safety import SafetyGate
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.control.wiring import Wiring
from proxy_snn_control.nodes.parameters import check_choices, safety_settings
from proxy_snn_control.policy import plugins, Policy, read_policy, UserError
from proxy_snn_control.policy.files import read_file

# How often commands go out if neither the rate nor the policy sets it.
DEFAULT_PERIOD = 0.02


def load_loop(
    values: dict[str, Any],
    stop: StopLatch,
    send: Send,
    ask: Callable[[Any], object],
    last: Callable[[CommandTopic], Sequence[float] | None],
    clock: Callable[[], float] = time.monotonic,
) -> Loop:
    """Read and check the files and parameters; nothing that acts is changed, so any thread may.

    A network drive can keep it waiting, and a policy of another neuron for its code.

    Args:
        values: the parameters'.
        stop: the stop.
        send: sends a command; returns whether it went out.
        ask: sends a request to the neuromorphic node.
        last: what was sent last to a command topic, if anything was.
        clock: the time in seconds; it only goes forward.

    Raises:
        UserError: a file or a parameter is not as it should be.
    """
    path = values['policy']
    if not path:
        raise UserError('parameter policy is empty, expected the path of a policy file')
    check_choices(values)
    plugins.load(values['plugins'])
    rate, lockstep = values['rate'], values['lockstep']
    if 0 < rate < 1e-3:
        raise UserError(f'parameter rate is {rate}, expected 0 or 0.001 and more')
    spec, tensors, checksum = read_policy(path)
    policy = Policy(spec, tensors)
    timeout = values['observation_timeout']
    if values['robot']:
        robot = load_robot(values['robot'], spec, timeout, lockstep)
    else:
        robot = plain_robot(spec, timeout, lockstep)
    joints = joint_limits(robot.command)
    commands = CommandMap(robot.command, joints)
    period = 1 / rate if rate > 0 else spec.control_period or DEFAULT_PERIOD
    inputs = Inputs(robot, repeats=lockstep, period=period, freshest=rate > 0)
    inputs.forget(clock())  # silence counts from now
    gate = SafetyGate(
        commands.low,
        commands.high,
        period,
        stop,
        safety_settings(values),
        robot.command.interface,
        joints,
        last(robot.command),
    )
    backend: Native | Neuromorphic = Native(policy)
    if values['backend'] == 'lava':
        fallback = policy if values['backend_fallback'] == 'native' else None
        backend = Neuromorphic(spec, tensors, checksum, fallback, ask)
    wiring = Wiring(policy, robot.given_by_source(), robot.vectors())
    if values['wiring'] == 'require' and not wiring.has_model:
        raise UserError(
            f"policy file {path}: parameter wiring is 'require', but {wiring.scope}; expected a "
            'policy file with transition.whitening, or wiring warn or none'
        )
    loop = Loop(
        policy,
        checksum,
        robot,
        inputs,
        commands,
        gate,
        stop,
        wiring,
        backend,
        period,
        clock,
        send,
    )
    loop.at_rate = rate > 0
    loop.watches_wiring = values['wiring'] != 'none'
    loop.requires_wiring = values['wiring'] == 'require'
    loop.checks_period = not lockstep
    return loop


def differences(new: Loop, old: Loop) -> str:
    """In what another policy's loop differs from the one at work, to end a sentence; or ""."""
    specs = new.policy.spec, old.policy.spec
    sizes = [(spec.observation_size, spec.action_size) for spec in specs]
    if sizes[0] != sizes[1]:
        return (
            f'has {sizes[0][0]} observations and {sizes[0][1]} actions, expected {sizes[1][0]} '
            f'and {sizes[1][1]}'
        )
    wrong = []
    if any(
        getattr(specs[0], name) != getattr(specs[1], name)
        for name in ('observation_names', 'action_names')
    ):
        wrong.append('names')
    if any(
        getattr(specs[0], name) != getattr(specs[1], name)
        for name in ('action_low', 'action_high')
    ):
        wrong.append('limits')
    if specs[0].control_period != specs[1].control_period:
        wrong.append('control period')
    if wrong:
        return f'its {" and ".join(wrong)} are not those of the active policy, expected the same'
    settings = [(each.robot, each.period, type(each.backend)) for each in (new, old)]
    if settings[0] != settings[1]:
        return (
            'other parameters or the robot file were changed since configure; cleanup and '
            'configure apply them'
        )
    return ''


def joint_limits(command: CommandTopic) -> list[JointLimit]:
    """Limits by the URDF of a robot file of the command's joints, [outputs]."""
    if not command.urdf:
        return []
    path = command.urdf
    text = read_file('urdf', path, MAX_BYTES).decode(errors='replace')
    names = [output.joint for output in command.outputs]
    if '' in names:
        raise UserError(
            f'urdf {path}: an output of the command has no joint, expected one in each'
        )
    found = read_urdf(text, path, names)
    return [found[name] for name in names]
