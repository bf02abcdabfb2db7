# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""How a node's process starts, spins and ends; the same for every node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import copy
from dataclasses import dataclass
import functools
import itertools
import re
import sys
import time
from typing import Any, Protocol

from proxy_snn_control.nodes import stopping
from proxy_snn_control.policy import UserError
from proxy_snn_control.policy.errors import one_line
from proxy_snn_control.policy.files import opened
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle, NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions

try:
    from rclpy.experimental import EventsExecutor as Executor  # the quickest; since Kilted
except ImportError:
    Executor = SingleThreadedExecutor

# Of timers that go on where simulated time stands still: they notice that it does.
STEADY = Clock(clock_type=ClockType.STEADY_TIME)
SPIN_SECONDS = 0.1
# For all the last messages of a node to reach those who subscribe.
ACKNOWLEDGE_SECONDS = 0.5
# Options of --ros-args that name a file for ROS to read, and how large one may be.
FILES = ('--params-file', '--log-config-file')
MAX_FILE_BYTES = 2**20
# How rclpy's errors begin where the middleware does not take a message. The last one is what the
# middleware itself throws.
UNSENT = ('Failed to publish', 'failed to send response', 'Caught an unknown exception')


@dataclass(frozen=True)
class Parameter:
    """A node parameter, declared once: what it is, what it may be, whether it can change."""

    name: str
    default: Any
    description: str
    read_only: bool = True
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False  # whether it may be of another type than its default


def declare(node: Node, parameters: Sequence[Parameter]) -> None:
    """Declare all of a node's parameters, with their descriptions and ranges.

    Raises:
        rclpy.exceptions.ParameterException: a given value is of the wrong type, out of range, or
            text that is more than one printable line.
        UserError: a parameter is given that the node does not have: its value would be missed.
    """
    node.add_on_set_parameters_callback(check_text)
    for parameter in parameters:
        descriptor = ParameterDescriptor(
            description=parameter.description,
            read_only=parameter.read_only,
            additional_constraints=', '.join(parameter.choices),
            dynamic_typing=parameter.dynamic,
        )
        if isinstance(parameter.default, list):
            _declare_list(node, parameter, descriptor)
            continue
        if parameter.low is not None and isinstance(parameter.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=parameter.low, to_value=parameter.high)
            ]
        elif parameter.low is not None:
            descriptor.integer_range = [
                IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high or 0))
            ]
        node.declare_parameter(parameter.name, parameter.default, descriptor)
    known = list(node.get_parameters_by_prefix(''))
    for name in node._parameter_overrides:  # no public attribute has what was given
        if not node.has_parameter(name):
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            hint = f'; did you mean {near[0]}?' if near else ''
            raise UserError(f'parameter {name!r} does not exist{hint}')


def _declare_list(node: Node, parameter: Parameter, descriptor: ParameterDescriptor) -> None:
    """Declare a list that is empty by default: of numbers, or if that is [''] of texts.

    rclpy takes an empty list for one of bytes, so it gets the type first. Without a value then, no
    client could read any of the node's parameters together with it.
    """
    types = rclpy.Parameter.Type
    kind = types.STRING_ARRAY if parameter.default else types.DOUBLE_ARRAY
    writable = copy.copy(descriptor)
    writable.read_only = False
    node.declare_parameter(parameter.name, kind, writable)
    if node.get_parameter_or(parameter.name).value is None:
        node.set_parameters([rclpy.Parameter(parameter.name, kind, [])])
    descriptor.type = kind.value
    node.set_descriptor(parameter.name, descriptor)


def check_text(parameters: list[Any]) -> SetParametersResult:
    """Text of parameters goes into messages and logs: it must not move a terminal's cursor."""
    for parameter in parameters:
        value = parameter.value
        texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if not all(text.isprintable() for text in texts if isinstance(text, str)):
            reason = f'parameter {parameter.name} is {value!r}, expected printable text'
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def await_receipt(*publishers: Publisher) -> None:
    """Wait, not for long, until whoever subscribes has a node's last messages."""
    deadline = time.monotonic() + ACKNOWLEDGE_SECONDS
    for publisher in publishers:
        left = max(0.0, deadline - time.monotonic())
        publisher.wait_for_all_acked(Duration(seconds=left))


def value_of(node: Node, name: str) -> Any:
    """Return the present value of a parameter."""
    return node.get_parameter(name).value


class RunnableNode(Protocol):
    """What `run` asks of a node besides being one."""

    exit_status: int | None

    def close(self) -> None:
        """Put everything in order; called once, whatever ended the node."""


def run(
    make_node: Callable[[], Any],
    arguments: Sequence[str],
    start: Callable[[Any], None] = lambda node: None,
    work: Callable[[Any, Callable[[float], None]], None] | None = None,
) -> int:
    """Run a node until a signal stops it, it sets `exit_status`, or it fails.

    rclpy's own signal handlers end the context before a last message can go out, so ours only set
    a flag and the node publishes its last message before the context is shut down.

    Args:
        make_node: builds the node; a UserError there ends the process with its sentence, and so
            does a signal without one: a node that is only built has nothing to put in order.
        arguments: the command line, for ROS.
        start: called with the node once signals are only noted; from here on it may act.
        work: called with the node and a function that lets ROS work for at most so many seconds;
            by default ROS works until the node is stopped.

    Returns:
        The exit status: 0 after a clean stop, 1 after an error.
    """
    try:
        for option, value in itertools.pairwise(arguments):
            if option in FILES:
                with opened('parameter file', value, MAX_FILE_BYTES):
                    pass  # ROS would wait for a pipe
        rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        # rclpy raises bare and private types for --ros-args it cannot read, parameter files too.
        print(f'ROS arguments: {sentence(error)}', file=sys.stderr)
        return 1
    node = None
    try:
        try:
            node = make_node()
        except (NameValidationException, rclpy_implementation.RCLError) as error:
            # Names given by remapping, of nodes, namespaces and topics, are only now known whole.
            raise UserError(sentence(error)) from error
        stopping.ready()
        executor = Executor()
        executor.add_node(node)
        start(node)
        (work or _spin)(node, functools.partial(_spin_once, executor, node))
        status: int = node.exit_status or 0
    except (UserError, ParameterException) as error:
        status = 1
        _report(node, sentence(error))
    except Exception as error:
        status = 1
        _report(node, f'stopped by a defect: {type(error).__name__}: {sentence(error)}')
        raise
    finally:
        if node is not None:
            try:
                node.close()
            except UserError as error:  # of a task that does not end as it should
                status = 1
                _report(node, sentence(error))
            node.destroy_node()
        rclpy.try_shutdown()
    return status


def _spin(node: RunnableNode, spin: Callable[[float], None]) -> None:
    while not stopping.requested() and node.exit_status is None:
        spin(SPIN_SECONDS)
        failure: Exception | None = getattr(node, 'failure', None)
        if failure is not None:  # in a task, which an executor does not survive raising it
            raise failure


def _spin_once(executor: Any, node: Node, seconds: float) -> None:
    """Let ROS work; a message of rclpy's own that is not sent ends no node (see publishing.py).

    Those are answers of services, and events of parameters and transitions.
    """
    try:
        executor.spin_once(timeout_sec=seconds)
    except RuntimeError as error:
        node.get_logger().error(f'an answer or an event is lost: {unsent(error)}')


def unsent(error: RuntimeError) -> str:
    """Return why rclpy could not send a message of its own; raise what has another cause."""
    if isinstance(error, InvalidHandle) or not str(error).startswith(UNSENT):
        raise error
    return sentence(error)


def sentence(error: Exception) -> str:
    """Return an error's text, in one line, without places in the sources of ROS."""
    return one_line(re.sub(r', at /\S+:\d+|[\s^]*$', '', ' '.join(str(error).split())))


def _report(node: Node | None, text: str) -> None:
    if node is None:
        print(text, file=sys.stderr)
    else:
        node.get_logger().fatal(text)
