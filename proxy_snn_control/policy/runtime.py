# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The policy as a function from observation to action."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import ObservationError
from .file import NORMALISATION, PolicySpec, read_policy, Tensors
from .input import Input
from .native import compiled_pass, CompiledNetwork, fits
from .neurons import run
from .plugins import NEURONS


class Policy:
    """A spiking policy (Xu et al. 2025, Section 4.1): encoder, spiking layers, decoder.

    It keeps no state from one action to the next, unless it reads earlier observations or its
    previous action (`spec.history`, `spec.previous_action`); `reset` clears these. It may be built
    in any thread; use one instance per control loop, for `spikes`, `potentials` and the counts are
    those of the last `act()`.

    Attributes:
        spec: sizes, neuron, time steps, limits, names, provenance.
        quantiles: float32 [levels, observations], what each observation dimension was in
            training, at `spec.observation_quantile_levels` (0 and 1 are its range).
        whitening: float32 [z, z], how observations followed each other in training
            (docs/policy_file.md), or None where the file has none.
        digest: SHA-256 of the bytes of the file it was read from; empty if it was not.
        compiled: whether compiled code computes the actions (event.py), or NumPy.
    """

    def __init__(
        self, spec: PolicySpec, tensors: Tensors, digest: str = '', *, compiled: bool = True
    ) -> None:
        """Build a policy on `tensors`, float32 with the names and shapes of `spec.tensor_shapes`.

        Args:
            spec: what the policy is.
            tensors: its weights; call `refresh` after changing them in place.
            digest: of the file they were read from.
            compiled: False to compute with NumPy even where the compiled pass is available.
        """
        self.spec, self.digest, self._tensors = spec, digest, tensors
        self.quantiles = tensors['observation.quantiles']
        self.whitening = tensors.get('transition.whitening')
        limits = limits_of(spec)
        self._input: Input | None = None  # the observation itself
        if self.remembers or self.normalises:
            mean_scale = None
            if self.normalises:
                mean_scale = tensors[NORMALISATION[0]], tensors[NORMALISATION[1]]
            previous = limits if spec.previous_action else None
            self._input = Input(spec.observation_size, spec.history, previous, mean_scale)
        quick = spec.spiking and compiled and fits(spec)
        function = compiled_pass(spec.neuron) if quick else None
        self.compiled = function is not None
        self._fan_out = spec.layer_sizes[1:]
        if not spec.spiking:
            self._use(OrdinaryNetwork(spec, tensors, limits))
        elif function:
            self._use(CompiledNetwork(spec, tensors, limits, function))
        else:
            self._use(SpikingNetwork(spec, tensors, limits))

    def _use(self, network: Any) -> None:
        self._network, self._action = network, network.action
        size = self.spec.observation_size
        self._observation = np.zeros(size) if self._input else network.observation

    @property
    def tensors(self) -> Tensors:
        """Its weights by name, as the policy file has them."""
        return self._tensors

    @property
    def activations(self) -> list[np.ndarray]:
        """Return the output of each layer of a policy that does not spike, of the last `act()`.

        From the input on, float32 [neurons]; the last is in (-1, 1). Empty for one that spikes.
        """
        return [] if self.spec.spiking else self._network.activations

    @property
    def normalises(self) -> bool:
        """Whether observations are normalised by the statistics of training."""
        return NORMALISATION[0] in self._tensors

    @property
    def remembers(self) -> bool:
        """Whether actions depend on observations and actions since the last `reset`."""
        return self.spec.history > 1 or self.spec.previous_action

    def reset(self) -> None:
        """Begin an episode: discard earlier observations and the previous action."""
        if self._input:
            self._input.reset()

    def act(self, observation: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the action for one observation.

        Args:
            observation: [observation_size], in the units of the training task.
            out: float32 [action_size] to put the action in, so that nothing is allocated.

        Returns:
            float32 [action_size], within [action_low, action_high]; `out` if that was given.

        Raises:
            ObservationError: wrong shape, not numbers, or a value that is NaN or infinite in
                float32. The policy stays usable.
        """
        self._run(observation)
        if self._input:
            self._input.acted(self._action)
        if out is None:
            return self._action.copy()
        out[...] = self._action
        return out

    def act_for(self, other: Policy, out: np.ndarray) -> None:
        """Compute the action for the last observation of `other`, a policy of the same file.

        Args:
            other: it stores the action as its own previous one.
            out: float32 [action_size], for the action.
        """
        np.copyto(self._network.observation, other._network.observation)
        self._network.run()
        if other._input:
            other._input.acted(self._action)
        out[...] = self._action

    def warm_up(self) -> None:
        """Run the network once more on the last observation, so that the caches hold its weights.

        Actions, spikes, counts and the history stay as they are.
        """
        self._network.run()

    def _run(self, observation: ArrayLike) -> None:
        """Read an observation and run the network on it."""
        if not isinstance(observation, np.ndarray):
            observation = self._as_array(observation)
        if observation.shape != self._observation.shape:
            raise ObservationError(
                f'observation has shape {observation.shape}, expected {self._observation.shape}'
            )
        try:
            np.copyto(self._observation, observation, 'same_kind')
        except TypeError:
            raise self._no_numbers() from None
        wrong = self._input.observe(self._observation) if self._input else -1
        if wrong < 0:
            if self._input:
                np.copyto(self._network.observation, self._input.values)
            wrong = self._network.run()
        if wrong >= 0:
            names = self.spec.observation_names
            with np.errstate(over='ignore'):
                value = np.float32(self._observation[wrong])
            expected = 'a finite number'
            if np.isfinite(value):
                expected += ' also when it is normalised'
            raise ObservationError(
                f'observation[{wrong}]{f" ({names[wrong]})" if names else ""} is {value}, '
                f'expected {expected}'
            )

    def refresh(self) -> None:
        """Use the weights that were changed in place."""
        self._network.refresh()

    @property
    def spikes(self) -> list[np.ndarray]:
        """Spikes of the last `act()`: per layer from the encoder on, float32 [T, neurons].

        Empty for a policy that does not spike.
        """
        return self._network.spikes

    @property
    def potentials(self) -> list[np.ndarray]:
        """Membrane potentials of the last `act()`, before the reset.

        Per layer after the encoder, float32 [T, neurons].
        """
        return self._network.potentials

    @property
    def spike_counts(self) -> list[int]:
        """How many spikes each layer fired in the last `act()`, from the encoder on."""
        return self._network.counts.tolist()

    @property
    def spike_count(self) -> int:
        """Spikes of the last `act()`, those of the encoder among them."""
        return sum(self.spike_counts)

    @property
    def synaptic_operations(self) -> int:
        """Synaptic operations of the last `act()`: spikes times the synapses each one reaches."""
        return sum(
            count * fan_out
            for count, fan_out in zip(self.spike_counts, self._fan_out, strict=False)
        )

    def _as_array(self, observation: ArrayLike) -> np.ndarray:
        try:
            return np.asarray(observation, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self._no_numbers() from None

    def _no_numbers(self) -> ObservationError:
        return ObservationError(
            f'observation is no array of numbers, expected {self.spec.observation_size} numbers'
        )


class SpikingNetwork:
    """The same network as `CompiledNetwork`, with the same members, in NumPy alone."""

    def __init__(
        self, spec: PolicySpec, tensors: Tensors, limits: tuple[np.ndarray, np.ndarray]
    ) -> None:
        self._spec, self._tensors, self._limits = spec, tensors, limits
        self._neuron = NEURONS[spec.neuron]
        # Arrays without dimensions: NumPy would convert a plain number at every use.
        self._constants = tuple(
            np.array(spec.neuron_constants[name], np.float32) for name in self._neuron.constants
        )
        self._encoder_threshold = np.array(spec.encoder_threshold, np.float32)
        self._time_steps = np.array(spec.time_steps, np.float32)
        self.observation = np.zeros(spec.input_size)
        self.action = np.zeros(spec.action_size, np.float32)
        self.spikes = [np.zeros((spec.time_steps, n), np.float32) for n in spec.layer_sizes]
        self._currents = [np.zeros_like(layer) for layer in self.spikes[1:]]
        self._potentials = [list(np.zeros_like(layer)) for layer in self.spikes[1:]]
        self.refresh()

    def refresh(self) -> None:
        """Copy the weights as they are now."""
        self._mu = self._tensors['encoder.mu'].astype(np.float64)
        self._width = -2 * self._tensors['encoder.sigma'].astype(np.float64) ** 2
        # In the order in which a product reads them: it takes a quarter of the time.
        self._layers = [
            (
                np.ascontiguousarray(self._tensors[f'layers.{i}.weight'].T),
                self._tensors[f'layers.{i}.bias'],
            )
            for i in range(len(self._spec.hidden) + 1)
        ]

    @property
    def potentials(self) -> list[np.ndarray]:
        """Potentials before the reset, per layer after the encoder, float32 [T, neurons]."""
        return [np.stack(layer) for layer in self._potentials]

    @property
    def counts(self) -> np.ndarray:
        """Spikes per layer from the encoder on, int64."""
        return np.array([np.count_nonzero(layer) for layer in self.spikes])

    def run(self) -> int:
        """Compute the action; returns which observation is not finite, or -1 if all are."""
        with np.errstate(over='ignore', invalid='ignore'):  # a DN's potential may diverge
            observation = self.observation.astype(np.float32)
            if (wrong := _not_finite(observation)) >= 0:
                return wrong
            self.encode(observation)
            self.fire()
            self.decode()
        return -1

    def fire(self) -> None:
        """Fill in the layers' spikes from the encoder's."""
        for (weight, bias), before, current, after, potentials in zip(
            self._layers,
            self.spikes,
            self._currents,
            self.spikes[1:],
            self._potentials,
            strict=False,
        ):
            np.dot(before, weight, out=current)
            current += bias
            run(self._neuron, self._constants, current, after, potentials)

    def decode(self) -> None:
        """Fill in the action from the last layer's spikes (Eq. 12)."""
        rate = np.add.reduce(self.spikes[-1], axis=0) / self._time_steps
        weight, bias = self._tensors['decoder.weight'], self._tensors['decoder.bias']
        read_out = np.add.reduce(rate.reshape(weight.shape) * weight, axis=1) + bias
        scale(np.tanh(read_out), self._limits, self.action)

    def encode(self, observation: np.ndarray) -> None:
        """Encode by populations (Eq. 10 and 11): Gaussian receptive fields, soft-reset neurons."""
        distance = np.tanh(observation.astype(np.float64))[:, None] - self._mu
        distance *= distance
        distance /= self._width
        stimulation = np.exp(distance).astype(np.float32).ravel()
        potential, threshold = stimulation.copy(), self._encoder_threshold
        spent = np.empty_like(potential)
        for spike in self.spikes[0]:
            spike[:] = potential > threshold
            np.multiply(spike, threshold, out=spent)
            potential -= spent
            potential += stimulation


class OrdinaryNetwork:
    """A network of rectified linear units on the observation as it is, then tanh."""

    spikes: list[np.ndarray]
    potentials: list[np.ndarray]
    activations: list[np.ndarray]

    def __init__(
        self, spec: PolicySpec, tensors: Tensors, limits: tuple[np.ndarray, np.ndarray]
    ) -> None:
        self._limits = limits
        self._layers = [
            (tensors[f'layers.{i}.weight'].T, tensors[f'layers.{i}.bias'])
            for i in range(len(spec.hidden) + 1)
        ]
        self.observation = np.zeros(spec.input_size)
        self.action = np.zeros(spec.action_size, np.float32)
        self.counts = np.zeros(len(spec.layer_sizes), np.int64)
        self.spikes, self.potentials, self.activations = [], [], []

    def refresh(self) -> None:
        """Do nothing: the weights are used where they are."""

    def run(self) -> int:
        """Compute the action; returns which observation is not finite, or -1 if all are."""
        with np.errstate(over='ignore'):
            signal = self.observation.astype(np.float32)
        if (wrong := _not_finite(signal)) >= 0:
            return wrong
        *hidden, (weight, bias) = self._layers
        self.activations = [signal]
        for hidden_weight, hidden_bias in hidden:
            signal = np.maximum(signal @ hidden_weight + hidden_bias, 0)
            self.activations.append(signal)
        squashed = np.tanh(signal @ weight + bias)
        self.activations.append(squashed)
        scale(squashed, self._limits, self.action)
        return -1


def _not_finite(observation: np.ndarray) -> int:
    finite = np.isfinite(observation)
    return -1 if finite.all() else int(np.argmin(finite))


def scale(squashed: np.ndarray, limits: tuple[np.ndarray, np.ndarray], action: np.ndarray) -> None:
    """Scale (-1, 1) to the action limits, into `action`."""
    low, high = limits
    np.add(low, (squashed + 1) * ((high - low) / 2), out=action)
    # Rounding may exceed a limit by one unit in the last place.
    np.maximum(action, low, out=action)
    np.minimum(action, high, out=action)


def limits_of(spec: PolicySpec) -> tuple[np.ndarray, np.ndarray]:
    """Return the action's limits as float32 [actions], both within those of the specification."""
    return limits_within(spec.action_low, spec.action_high)


def limits_within(
    low: tuple[float, ...], high: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits as float32, both within those given."""
    return _inside(low, np.inf), _inside(high, -np.inf)


def _inside(limits: tuple[float, ...], direction: float) -> np.ndarray:
    """Limits as float32, moved by one unit in the last place where rounding put them outside."""
    exact = np.array(limits)
    rounded = exact.astype(np.float32)
    outside = rounded < exact if direction > 0 else rounded > exact
    return np.where(outside, np.nextafter(rounded, np.float32(direction)), rounded)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Load a policy file, given by its path or its name on the shelf (shelf.py).

    Args:
        path: of the file, or a name such as "half_cheetah".

    Raises:
        PolicyFileError: the file is missing or is not a valid policy file; names which and why.
    """
    return Policy(*read_policy(path))
