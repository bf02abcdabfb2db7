# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A policy for other programs: as an ONNX model, or its spiking core as a NIR graph.

docs/exchange.md describes what each format holds. What a format cannot express is refused.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from typing import Any

import numpy as np

from .errors import UserError
from .file import NORMALISATION, PolicySpec, read_policy, Tensors
from .files import replacing, write_bytes
from .plugins import NEURONS
from .runtime import limits_of

# Seconds per simulation step. The method has no unit of time; snnTorch's reader of NIR takes this.
NIR_STEP = 1e-4
ONNX_OPSET, ONNX_IR = 17, 8  # of 2022: old enough for the runtimes that robots have


def export(policy: str | os.PathLike[str], kind: str, out: str | os.PathLike[str]) -> None:
    """Write a policy file in another format.

    Args:
        policy: the policy file.
        kind: "nir" or "onnx".
        out: where to write; what is there is replaced whole or not at all.

    Raises:
        PolicyFileError: the policy file is missing or not a valid one.
        UserError: the format cannot express this policy, or the file cannot be written.
        ModuleNotFoundError: the format's own package (nir, onnx) is not installed.
    """
    spec, tensors, _ = read_policy(policy)
    if kind == 'nir':
        import nir

        with replacing(out) as temporary:
            nir.write(str(temporary), nir_graph(spec, tensors))
    else:
        write_bytes(out, onnx_model(spec, tensors).SerializeToString())


def nir_graph(spec: PolicySpec, tensors: Tensors) -> Any:
    """Express the layers after the encoder as a NIR graph (Pedersen et al., Nature Comm. 2024).

    Input is the encoder's spikes, output the last layer's. NIR is in continuous time; by Euler's
    method with `NIR_STEP`, current before potential, its neurons are those of docs/policy_file.md.

    Args:
        spec: what the policy is.
        tensors: its weights, by the names and shapes of `spec.tensor_shapes`.

    Returns:
        A nir.NIRGraph of input, affine_0, neurons_0, affine_1, ..., output.

    Raises:
        UserError: NIR has no node for these neurons, or a decay is 1.
        ModuleNotFoundError: the package nir is not installed.
    """
    if spec.neuron not in ('lif', 'clif'):
        raise UserError(
            f'a policy of {spec.neuron} neurons cannot be written as NIR, which has no node for '
            'them; expected lif or clif'
        )
    for name in ('voltage_decay', 'current_decay'):
        if spec.neuron_constants.get(name) == 1:
            raise UserError(
                f'a policy with {name} 1 cannot be written as NIR, whose neurons leak; expected '
                'less than 1'
            )
    import nir

    sizes = spec.layer_sizes
    nodes: dict[str, Any] = {'input': nir.Input({'input': np.array([sizes[0]])})}
    for i, size in enumerate(sizes[1:]):
        weight, bias = tensors[f'layers.{i}.weight'], tensors[f'layers.{i}.bias']
        neurons, gain = _nir_neurons(spec, size)
        nodes[f'affine_{i}'] = nir.Affine(weight * np.float32(gain), bias * np.float32(gain))
        nodes[f'neurons_{i}'] = neurons
    nodes['output'] = nir.Output({'output': np.array([sizes[-1]])})
    names = list(nodes)
    return nir.NIRGraph(
        nodes,
        list(itertools.pairwise(names)),
        metadata={
            'policy': _header(spec),
            'time_step': NIR_STEP,
            'time_steps': spec.time_steps,
            **{name: array for name, array in tensors.items() if not name.startswith('layers.')},
        },
    )


def _nir_neurons(spec: PolicySpec, size: int) -> tuple[Any, float]:
    """Return a layer's NIR node, and the factor for its weights and bias.

    Euler's method multiplies the input by dt / tau. A LIF node's resistance r could undo that, but
    Norse ignores r; so the weights do.
    """
    import nir

    def full(value: float) -> np.ndarray:
        return np.full(size, value, np.float32)

    constants = spec.neuron_constants
    voltage = 1 / (1 - constants['voltage_decay'])  # the time constant in steps
    rest = {'v_leak': full(0), 'v_reset': full(0), 'v_threshold': full(constants['threshold'])}
    if spec.neuron == 'lif':
        return nir.LIF(tau=full(voltage * NIR_STEP), r=full(1), **rest), voltage
    current = 1 / (1 - constants['current_decay'])
    neurons = nir.CubaLIF(
        tau_mem=full(voltage * NIR_STEP),
        tau_syn=full(current * NIR_STEP),
        r=full(voltage),
        w_in=full(current),
        **rest,
    )
    return neurons, 1.0


def onnx_model(spec: PolicySpec, tensors: Tensors) -> Any:
    """Express the whole policy as an ONNX model.

    Input `observation`, float32 [batch, history * observation_size], the oldest first, and where
    the policy reads it `previous_action`, float32 [batch, action_size] in [-1, 1]; output
    `action`, float32 [batch, action_size]. All T simulation steps stand in the graph one after the
    other. A NaN in an observation is not refused: it makes the action NaN.

    Args:
        spec: what the policy is.
        tensors: its weights, by the names and shapes of `spec.tensor_shapes`.

    Returns:
        An onnx.ModelProto, its metadata `policy` the policy file's header.

    Raises:
        ModuleNotFoundError: the package onnx is not installed.
    """
    import onnx

    graph = _Graph()
    sizes = {'observation': spec.history * spec.observation_size}
    signal = _normalised(graph, spec, tensors, _Value(graph, 'observation'))
    if spec.previous_action:
        sizes['previous_action'] = spec.action_size
        signal = graph.node('Concat', signal, _Value(graph, 'previous_action'), axis=1)
    squashed = (_spiking if spec.spiking else _ordinary)(graph, spec, tensors, signal)
    low, high = limits_of(spec)
    action = graph.constant(low) + (squashed + graph.constant(1)) * graph.constant(
        (high - low) / 2
    )
    # Rounding may exceed a limit by one unit in the last place.
    action = graph.node('Max', action, graph.constant(low))
    graph.node('Min', action, graph.constant(high), output='action')

    def tensor(name: str, size: int) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ['batch', size])

    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            'policy',
            [tensor(name, size) for name, size in sizes.items()],
            [tensor('action', spec.action_size)],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid('', ONNX_OPSET)],
        ir_version=ONNX_IR,
        producer_name='proxy_snn_control',
    )
    onnx.helper.set_model_props(model, {'policy': _header(spec)})
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and constants of an ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float32) -> _Value:
        import onnx

        name = f'constant{len(self.constants)}'
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return _Value(self, name)

    def node(self, kind: str, *inputs: _Value, output: str = '', **attributes: Any) -> _Value:
        import onnx

        output = output or f'value{len(self.nodes)}'
        names = [value.name for value in inputs]
        self.nodes.append(onnx.helper.make_node(kind, names, [output], **attributes))
        return _Value(self, output)


@dataclasses.dataclass(frozen=True)
class _Value:
    """A value of the graph; arithmetic with it adds nodes: a neuron's own equations write it."""

    graph: _Graph
    name: str

    def __add__(self, other: _Value) -> _Value:
        return self.graph.node('Add', self, other)

    def __sub__(self, other: _Value) -> _Value:
        return self.graph.node('Sub', self, other)

    def __mul__(self, other: _Value) -> _Value:
        return self.graph.node('Mul', self, other)

    def __truediv__(self, other: _Value) -> _Value:
        return self.graph.node('Div', self, other)

    def fires_above(self, threshold: _Value) -> _Value:
        fires = self.graph.node('Greater', self, threshold)
        return self.graph.node('Cast', fires, to=1)  # to float32


def _normalised(graph: _Graph, spec: PolicySpec, tensors: Tensors, observation: _Value) -> _Value:
    """Observations less the mean, times the scale, in this order and in float32 as everywhere."""
    if 'normalise.mean' not in tensors:
        return observation
    mean, scale = (graph.constant(np.tile(tensors[n], spec.history)) for n in NORMALISATION)
    return (observation - mean) * scale


def _ordinary(graph: _Graph, spec: PolicySpec, tensors: Tensors, signal: _Value) -> _Value:
    """Layers of rectified linear units, then tanh."""
    for i in range(len(spec.hidden) + 1):
        signal = _layer(graph, tensors, i)(signal)
        signal = graph.node('Relu' if i < len(spec.hidden) else 'Tanh', signal)
    return signal


def _layer(graph: _Graph, tensors: Tensors, i: int) -> Any:
    weight = graph.constant(tensors[f'layers.{i}.weight'])
    bias = graph.constant(tensors[f'layers.{i}.bias'])
    return lambda signal: graph.node('Gemm', signal, weight, bias, transB=1)


def _spiking(graph: _Graph, spec: PolicySpec, tensors: Tensors, observation: _Value) -> _Value:
    """Add encoder, spiking layers and decoder, up to tanh; steps as in docs/policy_file.md."""
    spikes = _encode(graph, spec, tensors, observation)
    neuron = NEURONS[spec.neuron]
    constants = {name: graph.constant(spec.neuron_constants[name]) for name in neuron.constants}
    for i in range(len(spec.hidden) + 1):
        layer, spike = _layer(graph, tensors, i), graph.constant(0)
        state = (spike,) * len(neuron.state)
        fired = []
        for before in spikes:
            state = neuron.step(layer(before), spike, state, tuple(constants.values()))
            spike = state[0].fires_above(constants['threshold'])
            fired.append(spike)
        spikes = fired
    rate = graph.node('Sum', *spikes) / graph.constant(spec.time_steps)
    shape = graph.constant([-1, spec.action_size, spec.decoder_population], np.int64)
    grouped = graph.node('Reshape', rate, shape) * graph.constant(tensors['decoder.weight'])
    axis = graph.constant([2], np.int64)
    read_out = graph.node('ReduceSum', grouped, axis, keepdims=0)
    return graph.node('Tanh', read_out + graph.constant(tensors['decoder.bias']))


def _encode(
    graph: _Graph, spec: PolicySpec, tensors: Tensors, observation: _Value
) -> list[_Value]:
    """Encode by populations (Eq. 10 and 11): T values [batch, encoder's neurons]."""
    # In float64, as everywhere: rounded to float32 its result is the same in every library.
    wide = graph.node('Cast', observation, to=11)
    column = graph.node('Unsqueeze', graph.node('Tanh', wide), graph.constant([2], np.int64))
    distance = column - graph.constant(tensors['encoder.mu'], np.float64)
    width = -2 * tensors['encoder.sigma'].astype(np.float64) ** 2
    exponent = distance * distance / graph.constant(width, np.float64)
    stimulation = graph.node('Cast', graph.node('Exp', exponent), to=1)
    stimulation = graph.node(
        'Reshape', stimulation, graph.constant([-1, spec.layer_sizes[0]], np.int64)
    )
    threshold, potential, spikes = graph.constant(spec.encoder_threshold), stimulation, []
    for _ in range(spec.time_steps):
        spikes.append(potential.fires_above(threshold))
        potential = potential - spikes[-1] * threshold + stimulation
    return spikes


def _header(spec: PolicySpec) -> str:
    return json.dumps(spec.header)
