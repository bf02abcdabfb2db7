# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The controller as a process, beside a bare rclpy node that answers as soon as it can.

    pip install -c constraints.txt '.[ros,sim]'
    python benchmarks/closed_loop.py --out F.md                  # all but the soak
    python benchmarks/closed_loop.py --beside OLDER_CHECKOUT     # its controller in the same turns
    python benchmarks/closed_loop.py --only soak --seconds 3600

A driver, this process, sends observations that the policy meets in its task and notes when the
command comes back. The echo has the controller's executor, topics, message and delivery; it sends
the first numbers of the observation back and does nothing else. Both run all the time and take
turns at being driven, so what the machine does besides hits both. So does, if one is named, the
controller of an older checkout. Every command is known by its numbers, which are computed before:
one that answers nothing shows. The driver sends and takes messages as bytes, so little of what is
measured is its own; where it may it runs with real-time priority, as what drives a robot does. Run
nothing else meanwhile.
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, ExitStack, suppress
import gc
import itertools
import os
from pathlib import Path
import platform
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

from lifecycle_msgs.srv import ChangeState
import numpy as np
from page import heading, processor, write
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.nodes.demo import node_command, stay_on_loopback, stop_process
from proxy_snn_control.nodes.loading import load_loop
from proxy_snn_control.nodes.parameters import PARAMETERS
from proxy_snn_control.policy import load_policy, Policy
from rcl_interfaces.srv import ListParameters
import rclpy
from rclpy.experimental import EventsExecutor
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

HERE = Path(__file__).parent
POLICY = HERE / 'policies' / 'lif-HalfCheetah-v4.safetensors'
OBSERVATIONS = 3000
BEST_EFFORT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
)
# Deeper than the publisher's, so that no command is lost because the driver was busy.
RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE
)
# Between its turns a controller receives nothing, which is no fault here.
PATIENCE = 3000.0
WAKE_NS = 150_000  # a sleep may end so late: what is left of it is waited for
WARM_UP = 200
LATE_MS = 2.0
PARTS = ('latency', 'loop', 'rate', 'ten', 'memory', 'soak')
SECONDS = {'latency': 60, 'loop': 0, 'rate': 60, 'ten': 60, 'memory': 0, 'soak': 3600}

# A program by itself: what it imports is what a bare node needs.
ECHO = """
import sys, time
import rclpy
from rclpy.experimental import EventsExecutor
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float64MultiArray

def profile(reliability):
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)

def answer(message):
    command = Float64MultiArray()
    command.data = message.data[:ACTIONS]
    commands.publish(command)

ACTIONS = int(sys.argv[1])
rclpy.init(args=sys.argv[2:])
node = rclpy.create_node("echo")
commands = node.create_publisher(
    Float64MultiArray, "command", profile(ReliabilityPolicy.RELIABLE))
node.create_subscription(
    Float64MultiArray, "observation", answer, profile(ReliabilityPolicy.BEST_EFFORT))
executor = EventsExecutor()
executor.add_node(node)
print(f"[INFO] [{time.time()}] [echo]: policy none", flush=True)
while rclpy.ok():
    executor.spin_once(timeout_sec=0.1)
"""


class Observations:
    """Observations of the policy's own task, and how each is answered."""

    def __init__(self, policy: Policy, labelled: bool) -> None:
        environment = make_environment(policy.spec.provenance['env'])
        size = policy.spec.action_size
        self.messages: list[bytes] = []
        self.echoed: list[bytes] = []
        self.commanded: list[bytes] = []
        done, episode = True, 0
        while len(self.messages) < OBSERVATIONS:
            if done:
                observation, _ = environment.reset(seed=episode)
                episode += 1
            action = policy.act(observation)
            echoed = observation[:size].astype(float).tobytes()
            commanded = action.astype(float).tobytes()
            if echoed not in self.echoed and commanded not in self.commanded:
                message = Float64MultiArray(data=array('d', observation))
                if labelled:
                    label = f'observation {len(self.messages)}'
                    message.layout.dim = [MultiArrayDimension(label=label)]
                self.messages.append(serialize_message(message))
                self.echoed.append(echoed)
                self.commanded.append(commanded)
            observation, _, terminated, truncated, _ = environment.step(action)
            done = terminated or truncated
        environment.close()
        self.answer_bytes = size * 8


class Stage:
    """A ROS domain of its own with the driver's node on it, and the processes that play."""

    domains = itertools.count(os.getpid() * 7)

    def __init__(self, stack: ExitStack, policy: Path) -> None:
        self.policy = policy
        self.actions = load_policy(policy).spec.action_size
        domain = 1 + next(self.domains) % 100
        self._stack, self._environment = stack, {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # What a controller leaves behind when it is killed is nobody else's.
        self._environment['ROS_HOME'] = str(self._folder)
        # As installed: where this forbids to write bytecode, every start compiles the package.
        self._environment.pop('PYTHONDONTWRITEBYTECODE', None)
        context = rclpy.Context()
        rclpy.init(
            args=[],
            context=context,
            domain_id=domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        stack.callback(context.try_shutdown)
        self.node = rclpy.create_node('driver', context=context)
        stack.callback(self.node.destroy_node)
        self.executor = EventsExecutor(context=context)
        self.executor.add_node(self.node)

    def start(
        self, name: str, namespace: str, root: Path = HERE.parent, **parameters: Any
    ) -> Process:
        """Start a node of the package, of the checkout at `root`, or the echo."""
        if name == 'echo':
            command = [sys.executable, '-c', ECHO, str(self.actions), '--ros-args']
            command += ['-r', f'__ns:={namespace}']
        else:
            command = node_command(name, namespace, parameters)
        log = self._folder / namespace.replace('/', '_')
        process = Process(command, self._environment, log, root)
        self._stack.callback(stop_process, process.popen)
        return process

    def controller(self, namespace: str, root: Path = HERE.parent, **parameters: Any) -> Process:
        """Start a controller."""
        parameters = {'autostart': 'true', 'observation_timeout': PATIENCE, **parameters}
        return self.start('controller', namespace, root, policy=self.policy, **parameters)

    def spin(self, seconds: float) -> None:
        """Take what comes for a while."""
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> bool:
        """Take what comes until something is so; whether it is."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.executor.spin_once(timeout_sec=min(left, 0.01))
        return True

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """Call a service as soon as it is found."""
        client = self.node.create_client(kind, service)
        end = time.monotonic() + 30
        while True:
            if not self.until(client.service_is_ready, end - time.monotonic()):
                raise SystemExit(f'{service} does not answer')
            # Found here is not yet found there, and an answer may be lost: ask again then.
            future = client.call_async(request)
            if self.until(future.done, 0.2):
                return future.result()

    def transition(self, namespace: str, label: str) -> None:
        """Trigger a lifecycle transition of a controller."""
        request = ChangeState.Request()
        request.transition.label = label
        self.call(ChangeState, f'{namespace}/controller/change_state', request)


class Process:
    """A process that is measured."""

    def __init__(
        self, command: list[str], environment: dict[str, str], log: Path, root: Path
    ) -> None:
        self.log = log
        with open(log, 'wb') as file:
            self.began = time.time()
            self.popen = subprocess.Popen(
                command,
                env={**environment, 'PYTHONPATH': str(root)},
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def seconds_until_up(self) -> float | None:
        """From the start of the process to its log line when all is loaded; by its own clock."""
        found = re.search(r'\[INFO\] \[([\d.]+)\] \[[^]]*\]: policy ', self.log.read_text())
        return float(found[1]) - self.began if found else None

    def megabytes(self) -> tuple[float, float]:
        """Resident memory: all of it, and with what is shared divided among those who share."""
        about = Path(f'/proc/{self.popen.pid}/smaps_rollup').read_text()
        rss, pss = (re.search(rf'^{name}: +(\d+)', about, re.M) for name in ('Rss', 'Pss'))
        assert rss and pss
        return int(rss[1]) / 1024, int(pss[1]) / 1024


class Peer:
    """A controller or an echo as the driver sees it: what it was sent, and when it answered."""

    def __init__(self, stage: Stage, namespace: str, known: Observations, echo: bool) -> None:
        self._messages = known.messages
        self._answers = known.echoed if echo else known.commanded
        self._size = known.answer_bytes
        self._stage = stage
        node = stage.node
        self._publisher = node.create_publisher(
            Float64MultiArray, f'{namespace}/observation', BEST_EFFORT
        )
        self._subscription = node.create_subscription(
            Float64MultiArray, f'{namespace}/command', self._on_command, RELIABLE, raw=True
        )
        self._waiting: dict[bytes, int] = {}
        self._next = 0
        self.sent: list[int] = []
        self.received: list[int] = []
        self.unmatched = 0

    def send(self) -> None:
        """Send the next observation."""
        i, self._next = self._next, (self._next + 1) % len(self._messages)
        self._waiting[self._answers[i]] = len(self.sent)
        self.received.append(0)
        self.sent.append(time.monotonic_ns())
        self._publisher.publish(self._messages[i])

    def _on_command(self, message: bytes) -> None:
        now = time.monotonic_ns()
        size = self._size
        number = self._waiting.pop(message[-size:], None)
        if number is None:
            self.unmatched += 1
        else:
            self.received[number] = now

    def meet(self) -> None:
        """Wait until the other side answers, then send some more to have it warm."""
        for _ in range(1000):
            self.send()
            self._stage.spin(0.03)
            if any(self.received):
                break
        else:
            raise SystemExit('there is no answer')
        for _ in range(WARM_UP):
            self.send()
            self._stage.spin(0.002)
        self.forget()

    def forget(self) -> None:
        """Begin to count."""
        self._stage.spin(0.1)
        self._waiting.clear()
        self.sent, self.received, self.unmatched = [], [], 0

    def milliseconds(self) -> np.ndarray:
        """From sending to receiving, for each observation; infinite where nothing came back."""
        sent, received = np.array(self.sent), np.array(self.received)
        return np.where(received > 0, (received - sent) / 1e6, np.inf)


def drive(stage: Stage, peers: Sequence[Peer], rate: float, seconds: float) -> float:
    """Send each peer an observation at each tick; the fraction of ticks the driver was late for.

    A tick is late if it begins a quarter of a period after its time, or not at all: those that
    passed while the driver had no processor are left out, for to send them in a burst would flood.
    """
    clock, spin_once = time.monotonic_ns, stage.executor.spin_once
    period, sent_in_time, i = 1e9 / rate, 0, 0
    count, start = round(seconds * rate), clock() + 1_000_000
    while i < count:
        due = start + round(i * period)
        while (left := due - clock()) > WAKE_NS:
            spin_once(timeout_sec=(left - WAKE_NS) / 1e9)
        while clock() < due:
            spin_once(timeout_sec=0.0)
        behind = clock() - due
        sent_in_time += behind < period / 4
        for peer in peers:
            peer.send()
        i += 1 + int(behind // period)
    stage.spin(0.1)
    return 1 - sent_in_time / count


@contextmanager
def at_the_plants_rate() -> Iterator[None]:
    """Run this thread before others, as what drives a robot does, and without its collector.

    Its threads that already run, and all processes it starts, stay as they are. Without the right
    to it everything stays as it is, and "driver late" grows.
    """
    gc.collect()
    gc.freeze()
    gc.disable()  # its pauses would be taken for the contenders'
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    with suppress(OSError):
        os.sched_setscheduler(0, policy, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        gc.enable()
        gc.unfreeze()


@contextmanager
def staged(policy: Path) -> Iterator[Stage]:
    """Set a stage."""
    with ExitStack() as stack:
        yield Stage(stack, policy)


def take_turns(
    stage: Stage, contenders: dict[str, list[Peer]], rate: float, seconds: float, block: float
) -> dict[str, float]:
    """Drive one contender after the other, again and again, until each had so many seconds.

    Returns:
        For each the fraction of ticks that the driver was late for.
    """
    late: dict[str, list[float]] = {name: [] for name in contenders}
    rounds = max(1, round(seconds / block))
    for i in range(rounds):
        order = list(contenders)
        # Anew in each round: DDS's own threads must have their turn, or leases run out.
        with at_the_plants_rate():
            for name in order if i % 2 else order[::-1]:
                late[name].append(drive(stage, contenders[name], rate, seconds / rounds))
        stage.spin(0.1)
    return {name: float(np.mean(each)) for name, each in late.items()}


def pair(stage: Stage, known: Observations, beside: Path | None) -> dict[str, list[Peer]]:
    """Start an echo, a controller and perhaps an older one, and wait until all answer."""
    stage.start('echo', '/bare')
    stage.controller('/ours')
    peers = {
        'bare echo': [Peer(stage, '/bare', known, True)],
        'controller': [Peer(stage, '/ours', known, False)],
    }
    if beside is not None:
        stage.controller('/older', beside)
        peers['older controller'] = [Peer(stage, '/older', known, False)]
    for (peer,) in peers.values():
        peer.meet()
    for (peer,) in peers.values():
        peer.forget()
    return peers


def percentiles(milliseconds: np.ndarray, *wanted: float) -> np.ndarray:
    """Percentiles that are times that were measured: there is nothing between one and never."""
    return np.percentile(milliseconds, wanted, method='inverted_cdf')


def times(contenders: dict[str, list[Peer]]) -> dict[str, np.ndarray]:
    """Milliseconds of each contender, all its peers together."""
    return {
        name: np.concatenate([peer.milliseconds() for peer in peers])
        for name, peers in contenders.items()
    }


def measure_latency(policy: Path, known: Observations, options: argparse.Namespace) -> list[str]:
    """Observation to command at one or more rates, each well within what both can do."""
    lines = [
        '## Observation to command',
        '',
        "From before the driver publishes to its callback, milliseconds. Aims: the controller's",
        "median at most 1.2 times the echo's, its 99th percentile at most 1.4 times. `unmatched`",
        'counts commands that answer no observation.',
        '',
        (
            '| observations a second | | median | 99th | 99.9th | no answer | unmatched '
            "| driver late | median over the echo's (1.2) | 99th over the echo's (1.4) |"
        ),
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    with staged(policy) as stage:
        contenders = pair(stage, known, options.beside)
        for rate in options.rates:
            for peers in contenders.values():
                peers[0].forget()
            late = take_turns(stage, contenders, rate, options.seconds / len(options.rates), 2.0)
            found = times(contenders)
            base = percentiles(found['bare echo'], 50, 99)
            for name, each in found.items():
                median, high, highest = percentiles(each, 50, 99, 99.9)
                ratios = (median, high) / base
                lines.append(
                    f'| {rate:g} | {name} | {median:.3f} | {high:.3f} | {highest:.3f} '
                    f'| {np.isinf(each).mean():.2%} | {contenders[name][0].unmatched} '
                    f'| {late[name]:.2%} | {ratios[0]:.2f} | {ratios[1]:.2f} |'
                )
    return lines


def measure_loop(policy: Path, known: Observations, options: argparse.Namespace) -> list[str]:
    """Message to command in this process, without ROS; with warm caches and with empty ones."""
    values = {each.name: each.default for each in PARAMETERS}
    values |= {'policy': str(policy), 'plugins': [], 'observation_timeout': PATIENCE}
    ends: list[int] = []

    def send(numbers: Sequence[float], label: str) -> None:
        loop.commands.payload(numbers, label, None)
        ends.append(time.perf_counter_ns())

    loop = load_loop(values, StopLatch(), send, lambda question: None, lambda topic: None)
    loop.activate()
    action = np.zeros(loop.policy.spec.action_size, np.float32)
    others = np.zeros(10_000_000)
    lines = [
        '## The loop by itself',
        '',
        "From a message's bytes to the command's, without ROS and DDS, medians in microseconds.",
        "At 50 or 200 a second other programs use the processor's caches in between: `empty` is",
        'after a pass over 80 MB of something else.',
        '',
        '| caches | message to command | of it the policy |',
        '|---|---|---|',
    ]
    for name, empty in (('warm', False), ('empty', True)):
        found: list[tuple[int, int]] = []
        for message in known.messages[:1000]:
            for whole in (True, False):
                if empty:
                    others += 1.0
                begin = time.perf_counter_ns()
                if whole:
                    assert loop.take(0, message)
                    loop.answer()
                    in_all = ends.pop() - begin
                else:
                    loop.policy.act(loop.inputs.observation(()), action)
                    found.append((in_all, time.perf_counter_ns() - begin))
        medians = np.median(found, axis=0) / 1e3
        lines.append(f'| {name} | {medians[0]:.0f} | {medians[1]:.0f} |')
    return lines


def measure_rate(policy: Path, known: Observations, options: argparse.Namespace) -> list[str]:
    """1,000 observations a second."""
    rate, block = 1000.0, 15.0
    with staged(policy) as stage:
        contenders = pair(stage, known, options.beside)
        late = take_turns(stage, contenders, rate, options.seconds, block)
        found = times(contenders)
    lines = [
        '## 1,000 a second',
        '',
        f'{options.seconds:g} s each, in turns of {block:g} s. Aims: at least 999 commands a',
        f'second, under 0.1% later than {LATE_MS:g} ms or not at all where the echo manages that.',
        'What the driver was late for it may not have sent: that lowers the commands a second of',
        'both, but not how many of those sent were answered.',
        '',
        (
            '| | commands a second (999) | of 1,000 sent, answered '
            '| later than 2 ms or never (0.1%) | never | unmatched | median, ms | 99th, ms '
            '| 99.9th, ms | driver late |'
        ),
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    for name, each in found.items():
        answered = np.isfinite(each).mean()
        median, high, highest = percentiles(each, 50, 99, 99.9)
        lines.append(
            f'| {name} | {np.isfinite(each).sum() / options.seconds:.1f} '
            f'| {answered * rate:.1f} | {(each > LATE_MS).mean():.3%} '
            f'| {1 - answered:.3%} | {contenders[name][0].unmatched} '
            f'| {median:.3f} | {high:.3f} | {highest:.3f} | {late[name]:.2%} |'
        )
    return lines


def measure_ten(policy: Path, known: Observations, options: argparse.Namespace) -> list[str]:
    """Ten controllers at 50 observations a second, beside ten echoes."""
    rate, count, block = 50.0, 10, 5.0
    with staged(policy) as stage:
        for i in range(count):
            stage.start('echo', f'/bare{i}')
            stage.controller(f'/ours{i}')
        contenders = {
            'ten bare echoes': [Peer(stage, f'/bare{i}', known, True) for i in range(count)],
            'ten controllers': [Peer(stage, f'/ours{i}', known, False) for i in range(count)],
        }
        for peers in contenders.values():
            for peer in peers:
                peer.meet()
        for peers in contenders.values():
            for peer in peers:
                peer.forget()
        late = take_turns(stage, contenders, rate, options.seconds, block)
        found = times(contenders)
    lines = [
        '## Ten at 50 a second',
        '',
        f'{options.seconds:g} s each, in turns of {block:g} s; all ten observations go out at',
        'once, the most that ten robots can send. A deadline is missed if a command has not come',
        "back after one period, 20 ms. Aim: no deadline missed beyond the echoes'.",
        '',
        (
            "| | commands | deadlines missed (the echoes') | median, ms | 99th, ms | slowest, ms "
            '| driver late |'
        ),
        '|---|---|---|---|---|---|---|',
    ]
    for name, each in found.items():
        median, high = percentiles(each, 50, 99)
        lines.append(
            f'| {name} | {np.isfinite(each).sum()} of {len(each)} | {(each > 1e3 / rate).sum()} '
            f'| {median:.3f} | {high:.3f} | {each.max():.1f} | {late[name]:.2%} |'
        )
    return lines


def measure_start(policy: Path, known: Observations, options: argparse.Namespace) -> list[str]:
    """Memory of a controller at work, and how long it takes to start, in fresh processes."""
    found: dict[str, list[tuple[float, ...]]] = {'bare echo': [], 'controller': []}
    for i in range(options.starts + 1):
        for name, echo in (('bare echo', True), ('controller', False)):
            with staged(policy) as stage:
                stage.spin(0.5)
                # Once as it starts by itself, at work afterwards ...
                process = stage.start('echo', '/self') if echo else stage.controller('/self')
                peer = Peer(stage, '/self', known, echo)
                peer.meet()
                own = process.seconds_until_up()
                if own is None:
                    raise SystemExit(f'the {name} did not report that it is up')
                memory = process.megabytes()
                stop_process(process.popen)
                # ... and once from outside, where it must be discovered first.
                if echo:
                    process = stage.start('echo', '/parameters')
                    stage.call(
                        ListParameters,
                        '/parameters/echo/list_parameters',
                        ListParameters.Request(),
                    )
                else:
                    process = stage.controller('/parameters', autostart='false')
                    stage.transition('/parameters', 'configure')
                if i:  # the first one found modules and bytecode not yet in the disk's cache
                    found[name].append((*memory, own, time.time() - process.began))
    medians = {name: np.median(each, axis=0) for name, each in found.items()}
    lines = [
        '## Memory and start',
        '',
        f"Medians of {options.starts} fresh processes of each, the files in the disk's cache and",
        'the modules as bytecode, as an installation has them.',
        f'Memory after {WARM_UP} commands. Up: from the start of the process, so with the',
        'interpreter and all imports, to when it can be activated (the echo: to its first spin),',
        'by its own clock. Answered: to when another process, which has to find it first, has its',
        'answer, from a controller to `configure`, from an echo to `list_parameters`. Aims: at',
        'most 60 MB more resident memory than the echo; ready to activate within 0.3 s.',
        '',
        '| | resident, MB | proportional, MB | up, s (0.3) | answered, s |',
        '|---|---|---|---|---|',
    ]
    for name, (rss, pss, own, answered) in medians.items():
        lines.append(f'| {name} | {rss:.1f} | {pss:.1f} | {own:.2f} | {answered:.2f} |')
    more = medians['controller'] - medians['bare echo']
    lines.append(
        f'| more than the echo (60) | {more[0]:.1f} | {more[1]:.1f} | {more[2]:.2f} '
        f'| {more[3]:.2f} |'
    )
    return lines


def measure_soak(policy: Path, known: Observations, options: argparse.Namespace) -> list[str]:
    """Measure whether memory grows over hours of work."""
    rate = 500.0
    with staged(policy) as stage:
        env = load_policy(policy).spec.provenance['env']
        processes = {
            'sim': stage.start('sim', '/loop', env=env, mode='realtime'),
            'controller of the sim': stage.controller('/loop'),
            'controller of the driver': stage.controller('/ours'),
            'bare echo': stage.start('echo', '/bare'),
        }
        peers = {
            'controller of the driver': Peer(stage, '/ours', known, False),
            'bare echo': Peer(stage, '/bare', known, True),
        }
        received = {'observation': 0, 'command': 0}

        def count(name: str) -> Callable[[Any], None]:
            def receive(message: bytes) -> None:
                received[name] += 1

            return receive

        for name in received:
            qos = BEST_EFFORT if name == 'observation' else RELIABLE
            stage.node.create_subscription(
                Float64MultiArray, f'/loop/{name}', count(name), qos, raw=True
            )
        stage.until(lambda: all(received.values()))
        for peer in peers.values():
            peer.meet()
        received.update(observation=0, command=0)
        lost = dict.fromkeys(peers, 0)
        unmatched = dict.fromkeys(peers, 0)
        sent = dict.fromkeys(peers, 0)
        samples: dict[str, list[float]] = {name: [] for name in processes}
        at: list[float] = []
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < options.seconds:
            for name, peer in peers.items():
                drive(stage, [peer], rate, 0.4)
                lost[name] += int(np.isinf(peer.milliseconds()).sum())
                sent[name] += len(peer.sent)
                unmatched[name] += peer.unmatched
                peer.forget()
            at.append(elapsed)
            for name, process in processes.items():
                if process.popen.poll() is not None:
                    raise SystemExit(f'the {name} ended:\n{process.log.read_text()}')
                samples[name].append(process.megabytes()[0])
    lines = [
        '## Soak',
        '',
        (
            f'It ran for {at[-1] / 60:.1f} minutes: the task in real time with a controller, and '
            f'beside them another controller and an echo, driven in turns at {rate:g} '
            'observations a second, 0.4 s each. Resident memory about once a second, slopes by '
            'least squares. `unmatched` counts commands that answer no observation.'
        ),
        '',
        (
            '| | MB at first | MB at last | MB an hour, all of it | MB an hour, second half '
            '| commands lost | unmatched |'
        ),
        '|---|---|---|---|---|---|---|',
    ]
    for name, each in samples.items():
        half = len(at) // 2
        slopes = [float(np.polyfit(at[i:], each[i:], 1)[0]) * 3600 for i in (0, half)]
        counted = '| | |'
        if name in peers:
            counted = f'| {lost[name]} of {sent[name]} | {unmatched[name]} |'
        elif name != 'sim':
            missing = received['observation'] - received['command']
            counted = f'| {missing} of {received["observation"]} | |'
        lines.append(
            f'| {name} | {each[0]:.1f} | {each[-1]:.1f} | {slopes[0]:.2f} | {slopes[1]:.2f} '
            + counted
        )
    grown = max(each[-1] - each[len(at) // 2] for each in samples.values())
    lines += [
        '',
        f'The most that any grew in the second half: {grown:.2f} MB. '
        + ('**Flat.**' if grown < 1 else '**Not flat.**'),
    ]
    return lines


MEASURES = {
    'latency': measure_latency,
    'loop': measure_loop,
    'rate': measure_rate,
    'ten': measure_ten,
    'memory': measure_start,
    'soak': measure_soak,
}


def main() -> int:
    """Measure, print, and write the page with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', choices=PARTS, action='append', help='a part; may be repeated')
    parser.add_argument('--seconds', type=float, help='for each contender of a part, or the soak')
    parser.add_argument('--rates', type=float, nargs='+', default=[50.0, 200.0])
    parser.add_argument('--starts', type=int, default=7)
    parser.add_argument('--labelled', action='store_true', help="observations as the sim's")
    parser.add_argument('--policy', type=Path, default=POLICY)
    parser.add_argument(
        '--beside', type=Path, help='an older checkout, whose controller takes turns too'
    )
    parser.add_argument('--out', type=Path, help='the page to write')
    options = parser.parse_args()
    if options.beside is not None:
        options.beside = options.beside.absolute()
        if not (options.beside / 'proxy_snn_control').is_dir():
            parser.error(f'--beside is {options.beside}, expected a checkout of this repository')
    stay_on_loopback()
    policy = load_policy(options.policy)
    known = Observations(policy, options.labelled)
    lines = [
        *heading('Closed loop', 'an idle computer'),
        (
            f'{platform.machine()}, {processor()}, {os.cpu_count()} cores; Python '
            f'{platform.python_version()}, {rclpy.get_rmw_implementation_identifier()}. '
            f'`{options.policy.name}`, runtime '
            f'{"compiled" if policy.compiled else "with NumPy alone"}; {OBSERVATIONS} '
            f'observations of its own rollouts{", with labels" if options.labelled else ""}.'
        ),
    ]
    seconds = options.seconds
    for part in options.only or PARTS[:-1]:
        options.seconds = SECONDS[part] if seconds is None else seconds
        lines += ['', *MEASURES[part](options.policy.absolute(), known, options)]
    print('\n'.join(lines))
    if options.out:
        write(options.out, lines)
    return 0


if __name__ == '__main__':
    sys.exit(main())
