# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What the tests share: policies without training, and a stage for real ROS processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, ExitStack
import fcntl
import importlib.util
import itertools
import os
from pathlib import Path
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np
from proxy_snn_control.nodes.demo import node_command, stay_on_loopback
from proxy_snn_control.policy import Policy, PolicySpec, read_policy, write_policy
from proxy_snn_control.policy.native import compiled_pass
from proxy_snn_control.policy.neurons import NEURONS
import pytest

# A script's background job ignores these, and so would the nodes of its tests.
for number in (signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
stay_on_loopback()
sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

TASK = 'InvertedDoublePendulum-v5'
# What an installation may go without: modules that the extras of setup.py bring.
OPTIONAL = (
    'gymnasium',
    'matplotlib',
    'mujoco',
    'nir',
    'onnx',
    'rclpy',
    'rerun_cli',
    'rosbags',
    'safetensors',
    'torch',
)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Skip a file of tests that imports what this installation goes without."""
    outcome: Any = yield
    report = outcome.get_result()
    error = report.call.excinfo.value.__cause__ if report.failed else None
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition('.')[0]
        # Messages come with rclpy.
        name = 'rclpy' if root.endswith(('_msgs', '_interfaces')) else root
        if name in OPTIONAL and importlib.util.find_spec(name) is None:
            report.outcome = 'skipped'
            report.longrepr = (report.nodeid, None, f'Skipped: could not import {root!r}')


def random_policy(
    observations: int = 9,
    actions: int = 1,
    hidden: tuple[int, ...] = (32, 24),
    seed: int = 0,
    **changes: Any,
) -> tuple[PolicySpec, dict[str, np.ndarray]]:
    """Return a valid policy with random weights that fires neither always nor never."""
    kind = NEURONS[changes.get('neuron', 'lif')]
    population = 10 if kind.state else 1
    fields: dict[str, Any] = {
        'observation_size': observations,
        'action_size': actions,
        'hidden': hidden,
        'time_steps': 5 if kind.state else 1,
        'neuron': 'lif',
        'neuron_constants': dict(kind.constants),
        'encoder_population': population,
        'encoder_threshold': 0.999,
        'decoder_population': population,
        'action_low': (-1.0,) * actions,
        'action_high': (1.0,) * actions,
        'observation_names': None,
        'action_names': None,
        'control_period': 0.05,
        'observation_quantile_levels': (0.0, 0.5, 1.0),
        'provenance': {'env': TASK},
        **changes,
    }
    spec = PolicySpec(**fields)
    rng = np.random.default_rng(seed)
    tensors = {
        name: rng.uniform(-1, 1, shape).astype(np.float32) * (2 / max(shape[-1], 4) ** 0.5)
        for name, shape in spec.tensor_shapes.items()
    }
    if spec.spiking:
        centres = np.linspace(-1, 1, spec.encoder_population, dtype=np.float32)
        tensors['encoder.mu'] = np.tile(centres, (spec.input_size, 1))
        tensors['encoder.sigma'] = np.full_like(tensors['encoder.mu'], 0.05**0.5)
    return spec, tensors


@pytest.fixture(scope='session', autouse=True)
def _passes() -> None:
    """Compile the runtime's passes, once for this computer, before a process is to be quick."""
    for name, neuron in NEURONS.items():
        if neuron.state:
            compiled_pass(name)


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Training makes denormal numbers zero in its process; the next test is another process's."""
    yield
    if 'torch' in sys.modules:
        sys.modules['torch'].set_flush_denormal(False)


@pytest.fixture
def policy() -> Policy:
    return Policy(*random_policy())


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    path = tmp_path / 'policy.safetensors'
    write_policy(path, *random_policy())
    return path


# Seconds that a test waits for what must happen: how soon it does is the machine's affair. Only a
# test that fails waits so long.
PATIENCE = 120.0
# Seconds after which a question is repeated that was asked before the other side knew who asks.
ASK_AGAIN = 0.2

CHEETAH = Path(__file__).parents[1] / 'benchmarks' / 'policies'


def rollout(
    policy: Policy,
    steps: int,
    seed: int,
    noise: float = 0.0,
    seen: Callable[[np.ndarray], np.ndarray] = np.array,
    done: Callable[[np.ndarray], np.ndarray] = np.array,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let a policy act on HalfCheetah.

    Args:
        policy: the policy.
        steps: how many, without an end of the episode between them.
        seed: of the episode and of the noise.
        noise: standard deviation of what is added to actions; infinite for random ones.
        seen: what the policy gets to see of an observation.
        done: what the task gets to do of an action.

    Returns:
        Observations as seen, actions as the policy's, observations that followed, as seen.
    """
    from proxy_snn_control.learning.tasks import make_environment

    environment = make_environment('HalfCheetah-v4')
    rng = np.random.default_rng(seed)
    observation, _ = environment.reset(seed=seed)
    rows = []
    for _ in range(steps):
        before = seen(observation)
        if np.isinf(noise):
            action = rng.uniform(-1, 1, 6)
        else:
            action = np.clip(policy.act(before) + noise * rng.normal(size=6), -1, 1)
        observation = environment.step(done(action).astype(np.float32))[0]
        rows.append((before, action, seen(observation)))
    first, second, third = (np.array(column) for column in zip(*rows, strict=True))
    return first, second, third


@pytest.fixture(scope='session')
def cheetah_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained HalfCheetah policy that knows how observations follow each other.

    It was trained before policy files had this; random, exploring and wild steps stand for those
    of its training.
    """
    pytest.importorskip('mujoco')
    from proxy_snn_control.learning.transitions import whitening

    spec, tensors, _ = read_policy(CHEETAH / 'lif-HalfCheetah-v4.safetensors')
    policy = Policy(spec, tensors)
    noises = [np.inf, 0.1, 0.6] * 3
    parts = [rollout(policy, 900, 100 + i, noise) for i, noise in enumerate(noises)]
    steps = [np.concatenate(column) for column in zip(*parts, strict=True)]
    path = tmp_path_factory.mktemp('cheetah') / 'policy.safetensors'
    write_policy(path, spec, {**tensors, 'transition.whitening': whitening(*steps)})
    return path


class NodeProcess:
    """A process under test: its output, its end."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        log: Path,
        inherited: Sequence[int] = (),
    ) -> None:
        self.log = log
        self.command, self.environment = command, environment
        self._shared: set[str] = set()
        with open(log, 'wb') as file:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherited,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def end(self, number: signal.Signals) -> int:
        """Send a signal; return the exit status, which must come."""
        if number == signal.SIGKILL:
            self._note_shared_memory()
        self.process.send_signal(number)
        return self.wait()

    def kill_session(self) -> None:
        """Kill what is left of it and its children."""
        if self.process.poll() is None:
            self._note_shared_memory()
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _note_shared_memory(self) -> None:
        maps = Path(f'/proc/{self.process.pid}/maps')
        if maps.exists():
            self._shared |= {*re.findall(r'/dev/shm/fastdds_[0-9a-f]{16}\b', maps.read_text())}

    def remove_shared_memory(self) -> None:
        """Remove the segments of a killed process, which Fast DDS leaves behind: 0.5 MB each.

        Not its ports: their numbers begin at 7000 in all domains, and by now another process, of
        another test, may have one of them. Their files are small and are used again.
        """
        for path in self._shared:
            try:
                with open(f'{path}_el') as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held while its owner lives
                    Path(path).unlink(missing_ok=True)
                    Path(lock.name).unlink()
            except (FileNotFoundError, BlockingIOError):
                continue

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit status; of a process that does not end, show what it is at."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.abort()
            raise AssertionError(f'it did not end in {seconds:.0f} s: {self.output}') from None

    def abort(self) -> None:
        """End it, with the Python stacks of its threads in its output (PYTHONFAULTHANDLER)."""
        self.process.send_signal(signal.SIGABRT)
        self.process.send_signal(signal.SIGCONT)  # a test may have stopped it
        self.process.wait(PATIENCE)

    def survivors(self) -> list[str]:
        """Return the processes of its session that are still there a second after it ended."""
        deadline = time.monotonic() + 1
        command = ['ps', '-o', 'pid=,stat=,args=', '--sid', str(self.process.pid)]
        while True:
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            alive = [line for line in found.stdout.splitlines() if ' Z' not in line]
            if not alive or time.monotonic() > deadline:
                return alive
            time.sleep(0.05)


def insistent(publisher: Any) -> Any:
    """Return a publisher that tries again what the middleware of a busy machine does not take."""
    once = publisher.publish

    def publish(message: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return once(message)
            except RuntimeError:  # RCLError, or what the middleware itself throws
                if time.monotonic() > deadline:
                    raise

    publisher.publish = publish
    return publisher


class Stage:
    """A ROS domain of its own, with a node that subscribes and processes under test."""

    def __init__(self, domain: int, folder: Path, claim: int) -> None:
        from rcl_interfaces.srv import GetParameters
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.folder, self._question = folder, GetParameters
        self._claim = claim
        # What a controller leaves behind when it is killed belongs to this test alone.
        home = {'ROS_DOMAIN_ID': str(domain), 'ROS_HOME': str(folder / 'ros_home')}
        self.environment = {**os.environ, **home, 'PYTHONFAULTHANDLER': '1'}
        self.processes: list[NodeProcess] = []
        self._context = rclpy.Context()
        rclpy.init(
            args=[],
            context=self._context,
            domain_id=domain,
            signal_handler_options=rclpy.signals.SignalHandlerOptions.NO,
        )
        self.node = rclpy.create_node('observer', context=self._context)
        create = self.node.create_publisher
        self.node.create_publisher = lambda *given, **more: insistent(create(*given, **more))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def close(self) -> None:
        for each in self.processes:
            each.kill_session()
        self.node.destroy_node()
        self._executor.shutdown()
        self._context.try_shutdown()
        for each in self.processes:
            each.remove_shared_memory()

    def start(self, name: str, *ros: str, **parameters: Any) -> NodeProcess:
        """Start a node of this package with these parameters."""
        return self.launch([*node_command(name, '', parameters), *ros])

    def launch(self, command: list[str]) -> NodeProcess:
        log = self.folder / f'process{len(self.processes)}.log'
        process = NodeProcess(command, self.environment, log, [self._claim])
        self.processes.append(process)
        return process

    def spin(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return True
            self._executor.spin_once(timeout_sec=0.02)
        return condition()

    def subscribe(self, kind: Any, topic: str, qos: Any = 100) -> list[Any]:
        """Collect the messages of a topic."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def outputs(self) -> str:
        return '\n'.join(each.output for each in self.processes)

    def last_state(self) -> str:
        """End what is still there; return the outputs, with the Python stack of each end."""
        for each in self.processes:
            if each.process.poll() is None:
                each.abort()
        return '\n\n'.join(
            [f'ROS_DOMAIN_ID={self.environment["ROS_DOMAIN_ID"]}']
            + [
                f'{" ".join(each.command)}\n{each.output}[status {each.process.returncode}]'
                for each in self.processes
            ]
        )

    def meet(self, topic: str) -> None:
        """Wait until the publishers of a topic and the observer know of each other."""
        others: set[str] = set()

        def known() -> bool:
            infos = self.node.get_publishers_info_by_topic(topic)
            names = {f'{info.node_namespace.rstrip("/")}/{info.node_name}' for info in infos}
            others.update(names - {self.node.get_fully_qualified_name()})
            return bool(others) and not any('NODE_NAME_UNKNOWN' in name for name in names)

        assert self.until(known), f'no {topic}: {self.outputs()}'
        for name in others:
            if 'NODE_NAME_UNKNOWN' not in name:
                self.introduce(name)

    def introduce(self, node: str) -> None:
        """Wait until a node knows all that the observer has made up to now.

        That it is known here does not mean that we are known there, and until then DDS drops what
        is sent to us. A node learns of endpoints in the order in which they were made: one whose
        answer gets to a client that was made last knows all others.
        """
        client = self.node.create_client(self._question, f'{node}/get_parameters')
        assert self.until(client.service_is_ready), f'no node {node}: {self.outputs()}'
        asked: list[Any] = []
        again = time.monotonic()

        def answered() -> bool:
            nonlocal again
            if time.monotonic() >= again:
                again = time.monotonic() + ASK_AGAIN
                asked.append(client.call_async(self._question.Request()))
            return any(future.done() for future in asked)

        assert self.until(answered), f'no answer from {node}: {self.outputs()}'
        self.node.destroy_client(client)

    def call(self, kind: Any, service: str, request: Any = None) -> Any:
        """Call a service of a node, waiting for it first."""
        client = self.node.create_client(kind, service)
        assert self.until(client.service_is_ready), f'no service {service}: {self.outputs()}'
        self.introduce(service.rpartition('/')[0])
        future = client.call_async(request or kind.Request())
        assert self.until(future.done), f'no answer from {service}: {self.outputs()}'
        self.node.destroy_client(client)
        return future.result()

    def transition(self, label: str, node: str = 'controller') -> bool:
        """Trigger a lifecycle transition; whether it succeeded."""
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.label = label
        return bool(self.call(ChangeState, f'{node}/change_state', request).success)

    def state(self, node: str = 'controller') -> str:
        from lifecycle_msgs.srv import GetState

        return str(self.call(GetState, f'{node}/get_state').current_state.label)


# Domains 1 to 100. Every run of the tests begins somewhere else, and its workers (pytest-xdist)
# take turns.
_RUN = int(os.environ.get('PYTEST_XDIST_TESTRUNUID', f'{os.getpid() * 7:x}')[:8], 16)
_WORKER = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
_WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
_domains = itertools.count(_RUN + _WORKER, _WORKERS)


@contextmanager
def own_domain() -> Iterator[tuple[int, int]]:
    """Yield a domain that no other run of these tests on this machine has now, and its claim.

    The claim is a file descriptor. Whoever inherits it keeps the domain: what a killed run of the
    tests has left behind is in nobody's way.
    """
    for number in _domains:
        domain = 1 + number % 100
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                claim.bind(f'\0proxy_snn_control test domain {domain}')
            except OSError:
                continue
            yield domain, claim.fileno()
            return


@contextmanager
def new_stage(folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        domain, claim = stack.enter_context(own_domain())
        stage = Stage(domain, folder, claim)
        stack.callback(stage.close)
        yield stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    pytest.importorskip('rclpy')
    with new_stage(tmp_path) as stage:
        yield stage


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the processes of a failed test printed, and what those still there are at."""
    outcome: Any = yield
    report = outcome.get_result()
    stage = getattr(item, 'funcargs', {}).get('stage')
    if report.when == 'call' and report.failed and isinstance(stage, Stage):
        report.sections.append(('Processes of the test', stage.last_state()))
