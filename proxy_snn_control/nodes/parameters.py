# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The controller's parameters, declared once.

A change takes effect at the next configure, unless its description has it otherwise.
"""

from __future__ import annotations

import functools
from typing import Any

from proxy_snn_control.control.safety import SafetySettings
from proxy_snn_control.nodes.process import Parameter
from proxy_snn_control.policy import UserError

_writable = functools.partial(Parameter, read_only=False)
_seconds = functools.partial(_writable, low=0.0, high=3600.0)

PLUGINS = Parameter(
    'plugins',
    [''],
    "Python modules to import first, which register a policy's neuron or a task.",
)
PARAMETERS = (
    _writable(
        'policy', '', 'The policy file; a change takes effect at the next configure or ~/reload.'
    ),
    _writable(
        'robot',
        '',
        'The robot file (YAML): topics of the observation and of the command. Empty: '
        'Float64MultiArray on the topics observation and command.',
    ),
    _writable(
        'safe_command',
        [],
        'The command sent on any fault and at shutdown, one value per number of the command and '
        'in its units. If empty zeros, or for positions the last command. Changes take effect at '
        'once.',
    ),
    _writable(
        'safe_hold',
        False,
        'As the safe command, repeat the last one that was sent, once there is one. Changes '
        'take effect at once.',
    ),
    _writable(
        'start_command',
        [],
        "Where commands begin at the first activation, if the robot's positions are unknown; the "
        'safe command if empty. Changes take effect at once.',
    ),
    _writable(
        'slew_rate',
        [],
        'How far each number of the command may change in a second; no limit if empty. The safe '
        'command goes out without it. Changes take effect at once.',
    ),
    _writable(
        'acceleration',
        [],
        'How far that change may change in a second, for each number of the command; no limit if '
        'empty. The safe command goes out without it. Changes take effect at once.',
    ),
    _seconds(
        'ramp_in',
        0.0,
        'Seconds from the first command after activation, and after a stop, over which commands '
        "grow from what was sent last to the policy's; a fault meanwhile begins them again. "
        'Changes take effect at the next activation or stop.',
    ),
    _writable(
        'observation_timeout',
        0.5,
        'Seconds without a message of a source after which the safe command is sent; a source in '
        'the robot file may have its own.',
        low=0.001,
        high=3600.0,
    ),
    _writable(
        'rate',
        0.0,
        'Commands a second, each from the latest observation; 0 answers every observation.',
        low=0.0,
        high=10_000.0,
    ),
    _writable(
        'lockstep',
        False,
        'A sim waits for every command: subscribe to observations reliably (QoS), and do not '
        "compare their period with the policy's.",
    ),
    _writable('shadow', False, 'Publish to ~/shadow_command instead of the command topic.'),
    _writable(
        'wiring',
        'warn',
        'Compare what arrives with what the policy was trained on. warn: report differences; '
        'require: also do not activate before all is well, nor a policy that cannot be checked, '
        'and stop until ~/arm where the first motion shows a mistake; '
        'none: no check.',
        choices=('warn', 'require', 'none'),
    ),
    _writable(
        'rivals',
        'warn',
        'When others publish on a source or the command topic. warn: report who; stop: also send '
        'the safe command while they do. Changes take effect at once.',
        choices=('warn', 'stop'),
    ),
    _seconds(
        'stop_heartbeat',
        0.0,
        'Seconds within which every publisher of stop must publish again, or it counts as '
        'pressed; 0: no check.',
    ),
    _writable(
        'resume_after_crash',
        False,
        'Whether the controller may command without ~/arm if the last one of its name ended '
        'without a shutdown while active.',
    ),
    Parameter(
        'lock',
        False,
        'From the first configure on refuse to change parameters, ~/reload and ~/arm.',
    ),
    _seconds(
        'command_deadline',
        0.0,
        'The deadline in seconds that the command topic offers (QoS); 0 offers none.',
    ),
    _seconds(
        'command_lease',
        0.0,
        'The liveliness lease in seconds that the command topic offers (QoS); 0 offers none.',
    ),
    _writable(
        'backend',
        'native',
        'What runs the spiking layers: this process, or the neuromorphic node (lava).',
        choices=('native', 'lava'),
    ),
    _seconds(
        'backend_deadline',
        0.0,
        "Seconds to wait for the neuromorphic node's answer; 0: half a control period.",
    ),
    _writable(
        'backend_fallback',
        'native',
        'What commands if it does not answer in time: the native runtime, or the safe command.',
        choices=('native', 'safe'),
    ),
    PLUGINS,
    Parameter('autostart', False, 'Configure and activate at start; end if that fails.'),
)
SAFETY = ('safe_command', 'safe_hold', 'slew_rate', 'ramp_in', 'acceleration', 'start_command')


def check_choices(values: dict[str, Any]) -> None:
    """Refuse values that are none of those a parameter may have.

    Raises:
        UserError: one of them.
    """
    for parameter in PARAMETERS:
        value = values.get(parameter.name)
        if parameter.choices and value is not None and value not in parameter.choices:
            expected = ', '.join(parameter.choices)
            raise UserError(f'parameter {parameter.name} is {value!r}, expected one of {expected}')


def safety_settings(values: dict[str, Any]) -> SafetySettings:
    """Return the safety settings among parameters' values."""
    return SafetySettings(*(values[name] for name in SAFETY))
