# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The policy on a simulated chip: in NumPy here, and as real Lava processes in Lava's environment.

Lava runs on Python 3.10 alone, so its tests run lava_child.py in the environment that `make lava`
makes. Where there is none they are skipped, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import hashlib
import json
import os
from pathlib import Path
import re
import signal
import subprocess
import time
from typing import Any

from conftest import NodeProcess, random_policy, Stage, TASK
import numpy as np
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.neuromorphic.chip import (
    Chip,
    FixedSynapses,
    float_layers,
    SHIFT,
    STATE_LIMIT,
    with_axons,
)
from proxy_snn_control.neuromorphic.fixed import fixed_layers, INPUT_LIMIT
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.nodes.demo import node_command
from proxy_snn_control.policy import load_policy, Policy, read_policy, UserError, write_policy
import pytest

ROOT = Path(__file__).parents[1]
LAVA_PYTHON = ROOT / '.venv-lava/bin/python'
CHILD = [str(LAVA_PYTHON), str(Path(__file__).with_name('lava_child.py'))]
TRAINED = [ROOT / f'benchmarks/policies/{name}.safetensors' for name in (
    'lif-HalfCheetah-v4', 'clif-HalfCheetah-v4', 'lif-Ant-v4',
)]  # fmt: skip

DN = ROOT / 'benchmarks/policies/dn-HalfCheetah-v4.safetensors'

needs_lava = pytest.mark.skipif(
    not LAVA_PYTHON.exists(),
    reason='did not run with Lava: there is no .venv-lava; `make lava` makes it with Python 3.10',
)


def rollout(policy: Policy, count: int) -> np.ndarray:
    """Observations of the policy's own task, float32 [count, observations], with some noise."""
    spec, rng = policy.spec, np.random.default_rng(0)
    environment = make_environment(spec.provenance['env'])
    rows: list[np.ndarray] = []
    ended = True
    while len(rows) < count:
        if ended:
            observation, _ = environment.reset(seed=len(rows))
        rows.append(observation.astype(np.float32))
        action = policy.act(observation) + rng.normal(0, 0.1, spec.action_size)
        action = np.clip(action, spec.action_low, spec.action_high).astype(np.float32)
        observation, _, terminal, truncated, _ = environment.step(action)
        ended = terminal or truncated
    environment.close()
    return np.array(rows)


def on_chip(spec: Any, tensors: Any) -> ChipPolicy:
    return ChipPolicy(spec, tensors, Chip(float_layers(spec, tensors), spec.time_steps))


def assert_same(ours: Policy, theirs: Policy, observations: np.ndarray) -> None:
    for observation in observations:
        np.testing.assert_array_equal(ours.act(observation), theirs.act(observation))
        for one, other in zip(ours.spikes, theirs.spikes, strict=True):
            np.testing.assert_array_equal(one, other)
        assert ours.synaptic_operations == theirs.synaptic_operations


@pytest.mark.parametrize('path', [*TRAINED, DN], ids=lambda path: path.stem)
def test_the_chip_is_the_runtime_to_the_last_bit(path: Path) -> None:
    policy = load_policy(path)
    assert policy.compiled
    assert_same(on_chip(*read_policy(path)[:2]), policy, rollout(policy, 2000))


@pytest.mark.parametrize(
    'shape',
    [
        {'hidden': ()},
        {'hidden': (1,)},
        {'hidden': (1, 300, 7), 'neuron': 'clif'},
        {'time_steps': 1},
        {'time_steps': 16, 'neuron': 'clif'},
        {'time_steps': 16, 'neuron': 'dn', 'hidden': (40, 33)},
        {'time_steps': 1, 'neuron': 'dn', 'hidden': ()},
        {'observations': 40, 'actions': 3},
        {'decoder_population': 1},
        {'neuron_constants': {'voltage_decay': 0.0, 'threshold': 0.3}},
        {
            'neuron': 'clif',
            'neuron_constants': {'current_decay': 1.0, 'voltage_decay': 0.93, 'threshold': 2.0},
        },
    ],
    ids=str,
)
def test_the_chip_is_the_runtime_for_any_shape(shape: dict[str, Any]) -> None:
    spec, tensors = random_policy(**shape)
    observations = np.random.default_rng(1).normal(0, 2, (50, spec.observation_size))
    assert_same(on_chip(spec, tensors), Policy(spec, tensors), observations)


def test_other_neurons_are_refused() -> None:
    observations = [np.zeros(9)]
    spec, tensors = random_policy(neuron='relu')
    with pytest.raises(UserError, match="neuron is 'relu', expected 'lif', 'clif' or 'dn'"):
        float_layers(spec, tensors)
    for neuron in ('dn', 'relu'):
        spec, tensors = random_policy(neuron=neuron)
        with pytest.raises(UserError, match=f"'{neuron}', expected 'lif' or 'clif': fixed point"):
            fixed_layers(spec, tensors, observations)


@pytest.mark.parametrize('path', TRAINED, ids=lambda path: path.stem)
def test_fixed_point_keeps_nearly_all_spikes(path: Path) -> None:
    policy = load_policy(path)
    observations = rollout(policy, 900)
    spec, tensors, _ = read_policy(path)
    layers = fixed_layers(spec, tensors, observations[:600])
    fixed = ChipPolicy(spec, tensors, Chip(layers, spec.time_steps))
    lost, actions = [], []
    for observation in observations[600:]:
        actions.append(fixed.act(observation) - policy.act(observation))
        lost.append(np.mean(fixed.spikes[-1] != policy.spikes[-1]))
    assert np.mean(lost) < 0.05
    assert np.mean(np.abs(actions)) < 0.1


@pytest.mark.parametrize('neuron', ['lif', 'clif'])
@pytest.mark.parametrize('scale', [0.0, 1e-6, 1e-3, 1.0, 30.0])
def test_in_fixed_point_nothing_overflows(neuron: str, scale: float) -> None:
    spec, tensors = random_policy(neuron=neuron, hidden=(64, 64))
    for name in tensors:
        if name.startswith('layers'):
            tensors[name] *= np.float32(scale)
    layers = fixed_layers(spec, tensors, np.random.default_rng(0).normal(0, 1, (50, 9)))
    decay = spec.neuron_constants.get('current_decay', 0.0)
    memory = sum(decay**t for t in range(spec.time_steps))
    for layer in layers:
        assert layer.weights.dtype == np.int32
        assert abs(layer.weights).max() <= 254
        assert not (layer.weights % 2).any()
        # Every axon whose weight is positive, and every one whose weight is negative.
        for sign in (1, -1):
            heaviest = (
                np.clip(sign * layer.weights, 0, None).sum(axis=1).max() * 2.0**layer.exponent
            )
            assert heaviest < INPUT_LIMIT
            assert heaviest * 2**SHIFT * memory < STATE_LIMIT
        everything = FixedSynapses(layer.weights, layer.exponent).gather(
            np.ones(layer.weights.shape[1], bool)
        )
        assert abs(everything).max() < INPUT_LIMIT


def test_the_neurons_always_on_fire_at_every_step() -> None:
    spec, tensors = random_policy()
    tensors['layers.1.bias'] *= 20  # needs more than one axon
    layers = fixed_layers(spec, tensors, np.random.default_rng(0).normal(0, 1, (50, 9)))
    assert layers[1].always_on > 1
    chip = Chip(layers, spec.time_steps)
    nothing = np.zeros((spec.time_steps, spec.layer_sizes[0]), bool)
    for _ in range(3):
        for row in with_axons(nothing, layers):
            for layer, fired in zip(layers, chip.step(row), strict=True):
                own = layer.neurons
                assert fired[own:].all()


def test_a_threshold_lost_beside_its_weights_is_refused() -> None:
    spec, tensors = random_policy(neuron_constants={'voltage_decay': 0.75, 'threshold': 1e-6})
    with pytest.raises(UserError, match='layer 0 of the policy has the threshold 1e-06'):
        fixed_layers(spec, tensors, [np.zeros(9)])


def lava(*arguments: object) -> dict[str, Any]:
    """Run lava_child.py and take its answer."""
    done = subprocess.run(
        [*CHILD, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def environment() -> dict[str, str]:
    """Ours, for another Python: the ROS wheels' marks in it are for this one."""
    ours = {**os.environ, 'PYTHONPATH': str(ROOT)}
    for name in ('_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'LD_LIBRARY_PATH'):
        ours.pop(name, None)
    return ours


@pytest.fixture
def segments() -> Iterator[None]:
    """Leave no named shared memory or semaphore of Python's behind."""
    before = python_segments()
    yield
    until = time.monotonic() + 5
    while (left := python_segments() - before - segments_in_use()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


def python_segments() -> set[str]:
    names = os.listdir('/dev/shm')
    return {name for name in names if name.startswith(('psm_', 'wnsm_', 'sem.mp-', 'pym-'))}


def segments_in_use() -> set[str]:
    """Those that a living process has mapped: other tests, and other programs, make some too."""
    found: set[str] = set()
    for maps in Path('/proc').glob('[0-9]*/maps'):
        with contextlib.suppress(OSError):
            found |= set(re.findall(r' /dev/shm/(\S+)$', maps.read_text(), re.MULTILINE))
    return found


@needs_lava
@pytest.mark.timeout(240)
def test_lava_fires_the_runtime_s_spikes(tmp_path: Path, segments: None) -> None:
    """Of trained policies, all on one runtime, asked in any order."""
    paths, count = [*TRAINED[:2], DN], 1000
    for path in paths:
        np.save(tmp_path / f'{path.stem}.npy', rollout(load_policy(path), count))
    found = lava('several', tmp_path, *paths)
    assert found['inferences'] == count * len(paths)
    assert min(found['fired']) > 100_000
    assert (found['spikes'], found['actions']) == (0, 0)


NETWORKS = [('straightforward', 'float'), ('straightforward', 'fixed'), ('quick', 'fixed')]


@needs_lava
@pytest.mark.parametrize(
    ('path', 'kind', 'precision'),
    [*((path, *network) for path in TRAINED[:2] for network in NETWORKS), (DN, *NETWORKS[0])],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_every_network_fires_the_same_spikes(
    path: Path, kind: str, precision: str, tmp_path: Path
) -> None:
    # In fixed point the straightforward network is Lava's own bit-accurate models throughout.
    np.save(tmp_path / 'observations.npy', rollout(load_policy(path), 100))
    found = lava('compare', path, tmp_path / 'observations.npy', kind, precision)
    assert (found['inferences'], found['spikes'], found['actions']) == (100, 0, 0)


@needs_lava
def test_several_policies_run_on_one_lava_runtime(tmp_path: Path, segments: None) -> None:
    """Of any shape, asked in any order, with as many processes as for one."""
    shapes: tuple[dict[str, Any], ...] = (
        {'hidden': (16,), 'time_steps': 3},
        {'neuron': 'dn', 'observations': 5, 'actions': 2},
        {'neuron': 'clif', 'hidden': (40, 33, 8), 'time_steps': 7},
        {'time_steps': 1},
        {'hidden': (), 'neuron': 'clif'},
        {'history': 3, 'previous_action': True},
    )
    paths, rng = (
        [tmp_path / f'{i}.safetensors' for i in range(len(shapes))],
        np.random.default_rng(0),
    )
    for path, shape in zip(paths, shapes, strict=True):
        spec, tensors = random_policy(**shape)
        if spec.history > 1:
            tensors['normalise.mean'] = np.full(9, 5, np.float32)
            tensors['normalise.scale'] = np.full(9, 0.3, np.float32)
        write_policy(path, spec, tensors)
        np.save(path.with_suffix('.npy'), rng.normal(0, 4, (40, spec.observation_size)))
    found = lava('several', tmp_path, *paths)
    assert found['inferences'] == 40 * len(shapes)
    assert min(found['fired']) > 100
    assert (found['spikes'], found['actions']) == (0, 0)
    assert found['processes'] == found['processes_of_one']


@needs_lava
@pytest.mark.parametrize('shape', [{'time_steps': 1}, {'hidden': (), 'neuron': 'clif'}], ids=str)
def test_lava_s_own_processes_run_any_shape(tmp_path: Path, shape: dict[str, Any]) -> None:
    np.save(tmp_path / 'o.npy', np.random.default_rng(0).normal(0, 2, (40, 9)))
    write_policy(tmp_path / 'p.safetensors', *random_policy(**shape))
    path, observations = tmp_path / 'p.safetensors', tmp_path / 'o.npy'
    found = lava('compare', path, observations, 'straightforward', 'fixed')
    assert (found['spikes'], found['actions']) == (0, 0)


@needs_lava
def test_starts_and_stops_leave_nothing(policy_file: Path, segments: None) -> None:
    found = lava('cycle', policy_file, 20)
    assert found['last']['children'] == 0
    assert found['last'] == found['first']


@needs_lava
def test_a_lost_process_is_reported_within_a_second(policy_file: Path, segments: None) -> None:
    found = lava('lose_one', policy_file)
    assert found['children'] == 0
    assert len(found['seconds']) == 2
    assert max(found['seconds']) < 2


@needs_lava
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=str)
@pytest.mark.parametrize('kind', ['quick', 'straightforward'])
def test_no_process_outlives_the_one_that_started_it(
    policy_file: Path, kind: str, number: signal.Signals, segments: None
) -> None:
    with subprocess.Popen(
        [*CHILD, 'hold', str(policy_file), kind],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        children = json.loads(process.stdout.readline())['children']
        assert len(children) >= 2
        time.sleep(0.1)
        process.send_signal(number)
        try:
            process.wait(20)
        finally:
            process.kill()
        deadline = time.monotonic() + 5
        while any(map(alive, children)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(alive, children))


def second_of(policy_file: Path) -> Path:
    return policy_file.with_name('second.safetensors')


@pytest.fixture
def node(stage: Stage, policy_file: Path) -> NodeProcess:
    """Return the neuromorphic node on a random policy and one of dynamic neurons, beside Lava."""
    write_policy(second_of(policy_file), *random_policy(neuron='dn', observations=4, time_steps=3))
    both = {'policy': f'{policy_file},{second_of(policy_file)}'}
    process = NodeProcess(
        [str(LAVA_PYTHON), *node_command('neuromorphic', '', both)[1:]],
        {**environment(), 'ROS_DOMAIN_ID': stage.environment['ROS_DOMAIN_ID']},
        stage.folder / 'neuromorphic.log',
    )
    stage.processes.append(process)
    return process


class Asker:
    """Asks the neuromorphic node for spikes, as a controller does."""

    def __init__(self, stage: Stage, policy_file: Path) -> None:
        from proxy_snn_control.nodes.messages import RELIABLE
        from std_msgs.msg import UInt8MultiArray

        self.checksum = hashlib.sha256(policy_file.read_bytes()).hexdigest()
        self._stage, self._name = stage, 'neuromorphic'
        self._answers = stage.subscribe(UInt8MultiArray, 'neuromorphic/answer', RELIABLE)
        self._requests = stage.node.create_publisher(
            UInt8MultiArray, 'neuromorphic/request', RELIABLE
        )
        stage.meet('neuromorphic/answer')

    def ask(self, message: Any, seconds: float = 5.0) -> Any:
        """Return the answer to a message of spikes; None if there is none in that time."""
        self._answers.clear()
        self._requests.publish(message)
        self._stage.until(lambda: bool(self._answers), seconds)
        return self._answers[0] if self._answers else None


@needs_lava
def test_the_node_answers_with_the_runtime_s_spikes(
    stage: Stage, node: NodeProcess, policy_file: Path
) -> None:
    from proxy_snn_control.control.spikes import labels_of, spikes_message, spikes_of

    asker, second = Asker(stage, policy_file), second_of(policy_file)
    rng = np.random.default_rng(0)
    for i in range(60):
        # The last ones are for the first policy.
        path = second if i % 2 and i < 50 else policy_file
        spec, tensors, checksum = read_policy(path)
        host, policy = ChipPolicy(spec, tensors), Policy(spec, tensors)
        observation = rng.normal(0, 1, spec.observation_size)
        request = spikes_message([host.encode(observation)], f'{i}', checksum)
        answer = asker.ask(request)
        assert labels_of(answer) == (f'{i}', checksum)
        fired = spikes_of(answer, spec.time_steps, spec.layer_sizes[1:])
        np.testing.assert_array_equal(host.decode(fired), policy.act(observation))
        assert host.spike_counts == policy.spike_counts

    others = [
        (
            spikes_message([host.encode(observation)], 'x', 'f' * 64),
            "a request is for policy 'ffff",
        ),
        (spikes_message([np.ones((5, 4), bool)], 'x', asker.checksum), 'message of spikes has 3'),
        (type(request)(), "a request is for policy ''"),
    ]
    for wrong, sentence in others:
        assert asker.ask(wrong, 1.2) is None
        assert sentence in node.output
    assert asker.ask(request) is not None
    assert node.end(signal.SIGINT) == 0
    assert not node.survivors()


@needs_lava
def test_a_killed_node_takes_lava_along(
    stage: Stage, node: NodeProcess, policy_file: Path, segments: None
) -> None:
    Asker(stage, policy_file)
    assert len(node.survivors()) >= 3  # all are there
    node.end(signal.SIGKILL)
    assert not node.survivors()


def controlled(stage: Stage, policy_file: Path, **parameters: Any) -> NodeProcess:
    """Return a controller whose layers the neuromorphic node runs, active."""
    given = {'policy': policy_file, 'autostart': 'true', 'backend': 'lava', **parameters}
    controller = stage.start('controller', **given)
    assert stage.until(lambda: 'trained on' in controller.output), controller.output
    return controller


class Diagnostics:
    """What the controller's diagnostics report."""

    def __init__(self, stage: Stage) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        self._received = stage.subscribe(DiagnosticArray, '/diagnostics')

    def __call__(self, key: str) -> str:
        for message in reversed(self._received):
            for status in message.status:
                if status.name == '/controller':
                    return {pair.key: pair.value for pair in status.values}.get(key, '')
        return ''


@needs_lava
def test_lockstep_with_lava_gives_the_returns_of_evaluate(
    stage: Stage, node: NodeProcess, policy_file: Path
) -> None:
    from proxy_snn_control.control.messages import number_array
    from proxy_snn_control.learning.evaluate import evaluate
    from proxy_snn_control.nodes.messages import EPISODE_RETURNS, RELIABLE
    from std_msgs.msg import Float64, Float64MultiArray

    diagnostics, episodes = Diagnostics(stage), 20
    returns = stage.subscribe(Float64, 'sim/episode_return', EPISODE_RETURNS)
    controlled(stage, policy_file, lockstep='true', backend_deadline=5.0)
    # Controller and node have to find each other first; until then the fallback acts.
    observations = stage.node.create_publisher(Float64MultiArray, 'observation', RELIABLE)

    def met() -> bool:
        observations.publish(number_array(np.ones(9), ''))
        stage.spin(0.05)
        return diagnostics('backend') == 'lava' and int(diagnostics('commands')) > 10

    def settled() -> bool:
        """All that `met` published is answered."""
        answered = diagnostics('commands')
        stage.spin(2.0)
        return diagnostics('commands') == answered

    assert stage.until(met), stage.outputs()
    assert stage.until(settled)
    assert diagnostics('backend') == 'lava'
    before = diagnostics('backend_fallbacks'), int(diagnostics('commands'))
    # It goes on until the test ends: twenty episodes are over before the two have found each
    # other.
    stage.start('sim', env=TASK, seed=11)
    assert stage.until(lambda: len(returns) >= episodes), stage.outputs()
    alone = evaluate(load_policy(policy_file), make_environment(TASK), episodes, 11)
    assert alone
    assert [message.data for message in returns[:episodes]] == alone.returns
    assert stage.until(lambda: int(diagnostics('commands')) > before[1] + 50)
    assert diagnostics('backend_fallbacks') == before[0], "every command was Lava's"


@needs_lava
def test_killed_in_the_middle_of_an_episode(
    stage: Stage, node: NodeProcess, policy_file: Path
) -> None:
    """At 50 Hz: every observation has one command, the policy's, whoever ran the layers."""
    from proxy_snn_control.control.messages import label_of, number_array
    from proxy_snn_control.nodes.messages import RELIABLE
    from std_msgs.msg import Float64MultiArray

    diagnostics, sent = Diagnostics(stage), list[np.ndarray]()
    commands = stage.subscribe(Float64MultiArray, 'command')
    observations = stage.node.create_publisher(Float64MultiArray, 'observation', RELIABLE)
    Asker(stage, policy_file)
    parameters = {'lockstep': 'true', 'backend_deadline': 0.015, 'observation_timeout': 60.0}
    controller = controlled(stage, policy_file, **parameters)
    stage.meet('command')
    rng = np.random.default_rng(0)

    def feed() -> None:
        if len(commands) < len(sent):
            return  # only the newest observation waits for a controller that is late
        sent.append(rng.normal(0, 1, 9))
        observations.publish(number_array(sent[-1], str(len(sent) - 1)))

    def given_up() -> int:
        return controller.output.count('did not answer in time')

    assert stage.until(lambda: observations.get_subscription_count() > 0)
    stage.spin(0.3)
    stage.node.create_timer(0.02, feed)
    assert stage.until(lambda: len(commands) > 50)
    assert stage.until(
        lambda: diagnostics('backend') == 'lava' and int(diagnostics('commands')) > 50
    )
    before, begin = given_up(), len(commands)
    node.end(signal.SIGKILL)
    assert stage.until(lambda: len(commands) > begin + 100)
    assert given_up() <= before + 1, 'one command waited for it, no other did'
    assert stage.until(lambda: diagnostics('backend') == 'fallback')
    again = NodeProcess(node.command, node.environment, stage.folder / 'again.log')
    stage.processes.append(again)
    assert stage.until(lambda: diagnostics('backend') == 'lava'), again.output
    stage.spin(1.0)
    policy = load_policy(policy_file)
    answered = [int(label_of(command)) for command in commands]
    assert answered == list(range(answered[0], answered[0] + len(answered))), 'each once, in order'
    for number, command in zip(answered, commands, strict=True):
        assert command.data.tolist() == policy.act(sent[number]).astype(float).tolist()


@needs_lava
def test_without_the_node_the_fallback_acts(stage: Stage, policy_file: Path) -> None:
    from proxy_snn_control.control.messages import number_array
    from proxy_snn_control.nodes.messages import RELIABLE, SENSOR_DATA
    from std_msgs.msg import Float64MultiArray

    commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
    observations = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    stage.node.create_timer(0.02, lambda: observations.publish(number_array(np.ones(9), '')))
    controlled(stage, policy_file, backend_fallback='safe', safe_command='[0.25]')
    assert stage.until(lambda: len(commands) > 20)
    assert {tuple(command.data) for command in commands} == {(0.25,)}
    relu = policy_file.with_name('relu.safetensors')
    write_policy(relu, *random_policy(neuron='relu'))
    alone = stage.start('controller', policy=relu, backend='lava', autostart='true')
    assert alone.wait(20) == 1
    assert "the policy's neuron is relu, expected lif or clif or dn" in alone.output


@needs_lava
@pytest.mark.parametrize(
    ('parameters', 'sentence'),
    [
        ({}, 'parameter policy is empty'),
        ({'policy': 'nowhere'}, 'nowhere: no such file'),
        (
            {'policy': TRAINED[0], 'precision': 'half'},
            "parameter precision is 'half', expected float or fixed",
        ),
        (
            {'policy': DN, 'precision': 'fixed'},
            "neuron is 'dn', expected 'lif' or 'clif': fixed point has no other",
        ),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_one_sentence(parameters: dict[str, Any], sentence: str) -> None:
    done = subprocess.run(
        [str(LAVA_PYTHON), *node_command('neuromorphic', '', parameters)[1:]],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert 'Traceback' not in done.stderr


def alive(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state != 'Z'
