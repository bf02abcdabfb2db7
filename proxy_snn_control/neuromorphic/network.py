# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A policy's layers as Lava process networks: the straightforward one, and the quick one.

Both run on Lava's runtime under the Loihi protocol, in the same T + L time steps an inference
(chip.py), and give the same spikes.

- `Straightforward`: a Dense and a LIFReset for each layer, an Injector before them and an
  Extractor behind, all of Lava's own library. This is what would be put on a chip. In fixed point
  Lava's bit-accurate models run it; in floating point models of ours do, which add in float32 and
  in the runtime's order, where Lava's own take float64 and another order.
- `Quick`: one process that holds all layers, and steps them as the chip does. Nearly all the time
  of the first goes into messages between processes, some forty for every time step. Here one
  message has an inference's spikes, which the layers get step by step, as from the processor
  embedded in a chip; another message has all answers.
"""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any

# By another name, for flake8-deprecated takes `implements` for Zope's.
from lava.magma.core.decorator import implements as implementation_of
from lava.magma.core.decorator import requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.dense.models import PyDenseModelBitAcc
from lava.proc.dense.process import Dense
from lava.proc.io.extractor import Extractor, PyLoihiExtractorModel
from lava.proc.io.injector import Injector, PyLoihiInjectorModel
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset
from lava.utils.weightutils import SignMode
import numpy as np

from . import chip
from .chip import (
    answers,
    BIAS_EXPONENT,
    Chip,
    DECAY_BITS,
    FloatNeurons,
    FloatSynapses,
    Layer,
    reset_offset,
    with_axons,
)
from .processes import RunningNetwork


@implementation_of(proc=Dense, protocol=LoihiProtocol)
@requires(CPU)
class DenseInOrder(PyLoihiProcessModel):
    """Lava's Dense in float32, adding in the runtime's order; the last axon brings the biases."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, bool)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.float32)
    a_buff: np.ndarray = LavaPyType(np.ndarray, np.float32)
    weights: np.ndarray = LavaPyType(np.ndarray, np.float32)
    num_message_bits: np.ndarray = LavaPyType(np.ndarray, int)
    synapses: Any = None

    def run_spk(self) -> None:
        """Send what the spikes of the step before bring, and take in those of this one."""
        self.synapses = self.synapses or FloatSynapses(self.weights)
        self.a_out.send(self.a_buff)
        self.a_buff = self.synapses.gather(self.s_in.recv().astype(bool))


@implementation_of(proc=LIFReset, protocol=LoihiProtocol)
@requires(CPU)
class LIFResetInOrder(PyLoihiProcessModel):
    """Lava's LIFReset in float32."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool)
    u: np.ndarray = LavaPyType(np.ndarray, np.float32)
    v: np.ndarray = LavaPyType(np.ndarray, np.float32)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, np.float32)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, np.float32)
    du: float = LavaPyType(float, float)
    dv: float = LavaPyType(float, float)
    vth: float = LavaPyType(float, float)
    neurons: Any = None

    def run_spk(self) -> None:
        """Reset if an inference begins, and take one step."""
        self.neurons = self.neurons or FloatNeurons(
            self.bias_mant, (1 - self.du, 1 - self.dv), self.vth
        )
        interval = self.proc_params['reset_interval']
        if self.time_step % interval == self.proc_params['reset_offset'] % interval:
            self.neurons.reset()
        self.s_out.send(self.neurons.step(self.a_in.recv()))


class DynamicNeurons(AbstractProcess):
    """A layer of dynamic neurons, as a process of our own: Lava's library has none."""

    def __init__(self, layer: Layer, reset_interval: int, reset_offset: int) -> None:
        super().__init__(layer=layer, reset_interval=reset_interval, reset_offset=reset_offset)
        self.a_in = InPort(shape=(len(layer.weights),))
        self.s_out = OutPort(shape=(len(layer.weights),))


@implementation_of(proc=DynamicNeurons, protocol=LoihiProtocol)
@requires(CPU)
class DynamicNeuronsModel(PyLoihiProcessModel):
    """Steps them in float32."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.float32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool)
    neurons: Any = None

    def run_spk(self) -> None:
        """Reset if an inference begins, and take one step."""
        layer = self.proc_params['layer']
        self.neurons = self.neurons or chip.DynamicNeurons(layer.drive, layer.constants)
        interval = self.proc_params['reset_interval']
        if self.time_step % interval == self.proc_params['reset_offset'] % interval:
            self.neurons.reset()
        self.s_out.send(self.neurons.step(self.a_in.recv()))


FIXED = {
    Injector: PyLoihiInjectorModel,
    Dense: PyDenseModelBitAcc,
    LIFReset: PyLifResetModelBitAcc,
    Extractor: PyLoihiExtractorModel,
}
FLOATING = {
    **FIXED,
    Dense: DenseInOrder,
    LIFReset: LIFResetInOrder,
    DynamicNeurons: DynamicNeuronsModel,
}


class Straightforward:
    """Dense and LIFReset for each layer, of Lava's library; dynamic neurons are our own."""

    def __init__(
        self, layers: Sequence[Layer], time_steps: int, *, every_layer: bool = False
    ) -> None:
        """Start it.

        Args:
            layers: the policy's, all of the same precision.
            time_steps: T.
            every_layer: extract the spikes of all layers, not only the last one's; the others are
                then zeros. It takes an Extractor more for each.
        """
        self._layers, self._period = layers, time_steps + len(layers)
        self._injector = Injector((layers[0].weights.shape[1],), self._period)
        self._extractors: list[Extractor | None] = []
        spikes = self._injector.out_port
        for i, layer in enumerate(layers):
            synapses, neurons = library_processes(layer, i, self._period)
            spikes.connect(synapses.s_in)
            synapses.a_out.connect(neurons.a_in)
            spikes = neurons.s_out
            extractor = None
            if every_layer or i == len(layers) - 1:
                extractor = Extractor((len(layer.weights),), self._period)
                spikes.connect(extractor.in_port)
            self._extractors.append(extractor)
        self._network = RunningNetwork(self._injector, FIXED if layers[0].fixed else FLOATING)

    def infer(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Run one inference.

        Args:
            spikes: the encoder's, bool [T, neurons].

        Returns:
            Each layer's spikes, bool [T, neurons].

        Raises:
            NetworkError: a process of the network has ended.
        """
        for row in with_axons(spikes, self._layers):
            self._injector.send(row.astype(float))
        self._network.run(self._period)
        fired = []
        for extractor, layer in zip(self._extractors, self._layers, strict=True):
            steps = np.zeros((self._period, len(layer.weights)), bool)
            if extractor:
                port = extractor.out_port.external_pipe_csp_recv_port
                for step in steps:
                    self._network.wait_for(port)
                    step[:] = port.recv()
            fired.append(steps)
        return answers(fired, self._layers)

    def close(self) -> None:
        """End its processes."""
        self._network.close()


def library_processes(
    layer: Layer, index: int, period: int
) -> tuple[Dense, LIFReset | DynamicNeurons]:
    """Return a layer, the `index`-th from 0, as processes of Lava's library, as far as it goes.

    Lava writes a decay as what goes and not as what remains, and in fixed point one less of it for
    the current.
    """
    one = 1 << DECAY_BITS if layer.fixed else 1
    current, voltage = layer.decays
    synapses = Dense(weights=layer.weights, weight_exp=layer.exponent, sign_mode=SignMode.MIXED)
    if layer.constants:
        return synapses, DynamicNeurons(layer, period, reset_offset(index, period))
    neurons = LIFReset(
        shape=(len(layer.weights),),
        du=one - current - layer.fixed,
        dv=one - voltage,
        vth=layer.threshold,
        bias_mant=layer.drive,
        bias_exp=BIAS_EXPONENT if layer.fixed else 0,
        reset_interval=period,
        reset_offset=reset_offset(index, period),
    )
    return synapses, neurons


class AllLayers(AbstractProcess):
    """All layers of one policy or several in one process.

    Its ports are pipes to and from the host, one message an inference: in, which policy is
    selected, bool [policies], and then its spikes, bool [T + L, axons]; out, bool [T + L, all
    layers' neurons]. Messages have the length of the longest.
    """

    def __init__(self, policies: Sequence[tuple[Sequence[Layer], int]]) -> None:
        super().__init__(policies=policies)
        given = max(math.prod(_shapes(*policy)[0]) for policy in policies)
        fired = max(math.prod(_shapes(*policy)[1]) for policy in policies)
        self.spikes = InPort(shape=(len(policies) + given,))
        self.fired = OutPort(shape=(fired,))
        self.spikes.flag_external_pipe(buffer_size=1)
        self.fired.flag_external_pipe(buffer_size=1)


def _shapes(layers: Sequence[Layer], time_steps: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of what goes in and what comes out in an inference: [T + L, axons], [T + L, neurons]."""
    period = time_steps + len(layers)
    neurons = sum(len(layer.weights) for layer in layers)
    return (period, layers[0].weights.shape[1]), (period, neurons)


@implementation_of(proc=AllLayers, protocol=LoihiProtocol)
@requires(CPU)
class AllLayersModel(PyLoihiProcessModel):
    """Steps the layers of the selected policy once in every time step."""

    spikes: PyInPort = LavaPyType(PyInPort.VEC_DENSE, bool)
    fired: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.policies = proc_params['policies']
        self.chips = [Chip(*policy) for policy in self.policies]
        self.incoming: Any = None
        self.which = 0
        self.outgoing: list[np.ndarray] = []

    def run_spk(self) -> None:
        """Take one step: receive the message before the first one, send it after the last."""
        if not self.outgoing:
            message = self.spikes.recv()
            self.which = int(np.argmax(message[: len(self.chips)]))
            shape, _ = _shapes(*self.policies[self.which])
            begin = len(self.chips)
            end = begin + math.prod(shape)
            self.incoming = message[begin:end].reshape(shape)
        fired = self.chips[self.which].step(self.incoming[len(self.outgoing)])
        self.outgoing.append(np.concatenate(fired))
        if len(self.outgoing) == len(self.incoming):
            message = np.zeros(self.fired.shape, bool)
            answer = np.concatenate(self.outgoing)
            message[: len(answer)] = answer
            self.fired.send(message)
            self.outgoing = []


class Several:
    """Several policies on one Lava runtime, run one at a time; each as in `Quick`."""

    def __init__(self, policies: Sequence[tuple[Sequence[Layer], int]]) -> None:
        """Start it.

        Args:
            policies: layers and T of each.
        """
        self._policies, self._process = policies, AllLayers(policies)
        self._network = RunningNetwork(self._process, {AllLayers: AllLayersModel})

    def infer(self, which: int, spikes: np.ndarray) -> list[np.ndarray]:
        """Run one inference of one policy, as `Straightforward.infer`.

        Args:
            which: its place among the policies, from 0.
            spikes: the encoder's, bool [T, neurons].

        Returns:
            Each layer's spikes, bool [T, neurons].

        Raises:
            NetworkError: a process of the network has ended.
        """
        layers, _ = self._policies[which]
        shape_in, shape_out = _shapes(*self._policies[which])
        message = np.zeros(self._process.spikes.shape, bool)
        message[which] = True
        begin = len(self._policies)
        end = begin + math.prod(shape_in)
        message[begin:end] = with_axons(spikes, layers).ravel()
        self._process.spikes.external_pipe_csp_send_port.send(message)
        self._network.run(shape_in[0])
        port = self._process.fired.external_pipe_csp_recv_port
        self._network.wait_for(port)
        fired = port.recv()[: math.prod(shape_out)].reshape(shape_out)
        ends = np.cumsum([len(layer.weights) for layer in layers])[:-1]
        return answers(np.split(fired, ends, axis=1), layers)

    def policy(self, which: int) -> OneOf:
        """Return the layers of one policy, for a `ChipPolicy`."""
        return OneOf(self, which)

    def close(self) -> None:
        """End its processes."""
        self._network.close()


class OneOf:
    """One policy's layers among `Several`."""

    def __init__(self, several: Several, which: int) -> None:
        self._several, self._which = several, which

    def infer(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Run one inference, as `Straightforward.infer`."""
        return self._several.infer(self._which, spikes)

    def close(self) -> None:
        """Do nothing: `Several.close` ends the processes of all."""


class Quick:
    """All layers in one process; otherwise as `Straightforward`, with the spikes of each layer."""

    def __init__(self, layers: Sequence[Layer], time_steps: int) -> None:
        """Start it; arguments as of `Straightforward`."""
        self._alone = Several([(layers, time_steps)])

    def infer(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Run one inference, as `Straightforward.infer`."""
        return self._alone.infer(0, spikes)

    def close(self) -> None:
        """End its processes."""
        self._alone.close()
