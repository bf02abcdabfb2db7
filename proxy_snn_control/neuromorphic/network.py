# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A policy's layers as Lava process networks: the straightforward one, and the quick one.

Both run on Lava's runtime under the Loihi protocol, in the same T + L time steps an inference
(chip.py), and give the same spikes.

- `Straightforward`: a Dense and a LIFReset for each layer, an Injector before them and an Extractor
  behind, all of Lava's own library. This is what would be put on a chip. In fixed point Lava's
  bit-accurate models run it; in floating point models of ours do, which add in float32 and in the
  runtime's order, where Lava's own take float64 and another order.
- `Quick`: one process that holds all layers, and steps them as the chip does. Nearly all the time
  of the first goes into messages between processes, some forty for every time step. Here an
  inference's spikes come in one message and are given to the layers step by step, as the processor
  embedded in a chip would, and all answers go out in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires
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

from .chip import (
    BIAS_EXPONENT,
    DECAY_BITS,
    Chip,
    FloatNeurons,
    FloatSynapses,
    Layer,
    answers,
    reset_offset,
    with_axons,
)
from .processes import RunningNetwork


@implements(proc=Dense, protocol=LoihiProtocol)
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


@implements(proc=LIFReset, protocol=LoihiProtocol)
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
        interval = self.proc_params["reset_interval"]
        if self.time_step % interval == self.proc_params["reset_offset"] % interval:
            self.neurons.reset()
        self.s_out.send(self.neurons.step(self.a_in.recv()))


FIXED = {
    Injector: PyLoihiInjectorModel,
    Dense: PyDenseModelBitAcc,
    LIFReset: PyLifResetModelBitAcc,
    Extractor: PyLoihiExtractorModel,
}
FLOATING = {**FIXED, Dense: DenseInOrder, LIFReset: LIFResetInOrder}


class Straightforward:
    """Dense and LIFReset for each layer, of Lava's library."""

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


def library_processes(layer: Layer, index: int, period: int) -> tuple[Dense, LIFReset]:
    """A layer, the `index`-th counted from 0, as processes of Lava's library.

    Lava writes a decay as what goes and not as what remains, and in fixed point one less of it for
    the current.
    """
    one = 1 << DECAY_BITS if layer.fixed else 1
    current, voltage = layer.decays
    synapses = Dense(weights=layer.weights, weight_exp=layer.exponent, sign_mode=SignMode.MIXED)
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
    """All layers of a policy in one process.

    Its ports are pipes to and from the host, one message an inference: in, bool [T + L, axons];
    out, bool [T + L, all layers' neurons].
    """

    def __init__(self, layers: Sequence[Layer], time_steps: int) -> None:
        super().__init__(layers=layers, time_steps=time_steps)
        period = time_steps + len(layers)
        self.spikes = InPort(shape=(period, layers[0].weights.shape[1]))
        self.fired = OutPort(shape=(period, sum(len(layer.weights) for layer in layers)))
        self.spikes.flag_external_pipe(buffer_size=1)
        self.fired.flag_external_pipe(buffer_size=1)


@implements(proc=AllLayers, protocol=LoihiProtocol)
@requires(CPU)
class AllLayersModel(PyLoihiProcessModel):
    """Steps the layers once in every time step."""

    spikes: PyInPort = LavaPyType(PyInPort.VEC_DENSE, bool)
    fired: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, bool)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        layers, time_steps = proc_params["layers"], proc_params["time_steps"]
        self.chip, self.period = Chip(layers, time_steps), time_steps + len(layers)
        self.incoming: Any = None
        self.outgoing: list[np.ndarray] = []

    def run_spk(self) -> None:
        """Take one step; the message is taken before the first one, and sent after the last."""
        if not self.outgoing:
            self.incoming = self.spikes.recv()
        fired = self.chip.step(self.incoming[len(self.outgoing)])
        self.outgoing.append(np.concatenate(fired))
        if len(self.outgoing) == self.period:
            self.fired.send(np.array(self.outgoing))
            self.outgoing = []


class Quick:
    """All layers in one process; otherwise as `Straightforward`, with the spikes of every layer."""

    def __init__(self, layers: Sequence[Layer], time_steps: int) -> None:
        """Start it; arguments as of `Straightforward`."""
        self._layers, self._period = layers, time_steps + len(layers)
        self._ends = np.cumsum([len(layer.weights) for layer in layers])[:-1]
        self._process = AllLayers(layers, time_steps)
        self._network = RunningNetwork(self._process, {AllLayers: AllLayersModel})

    def infer(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Run one inference, as `Straightforward.infer`."""
        self._process.spikes.external_pipe_csp_send_port.send(with_axons(spikes, self._layers))
        self._network.run(self._period)
        port = self._process.fired.external_pipe_csp_recv_port
        self._network.wait_for(port)
        return answers(np.split(port.recv(), self._ends, axis=1), self._layers)

    def close(self) -> None:
        """End its processes."""
        self._network.close()
