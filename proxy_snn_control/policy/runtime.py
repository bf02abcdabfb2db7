"""The policy as a function from observation to action, in NumPy alone."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike

from .errors import ObservationError
from .file import PolicySpec, Tensors, read_policy
from .neurons import NEURONS, run


class Policy:
    """A spiking policy (Xu et al. 2025, Section 4.1): encoder, spiking layers, decoder.

    It has no memory from one action to the next. Use one instance per control loop: `spikes` and
    `potentials` are those of the last `act()`.

    Attributes:
        spec: sizes, neuron, time steps, limits, names, provenance.
        quantiles: float32 [levels, observations], what each observation dimension was in
            training, at `spec.observation_quantile_levels` (0 and 1 are its range).
        spikes: per layer from the encoder on, float32 [T, neurons] of zeros and ones; empty for
            a policy that does not spike.
        potentials: per layer after the encoder, membrane potentials float32 [T, neurons].
    """

    def __init__(self, spec: PolicySpec, tensors: Tensors) -> None:
        """Build a policy on `tensors` as they are: later changes to the arrays show at once."""
        self.spec = spec
        self.quantiles = tensors["observation.quantiles"]
        self._layers = [
            (tensors[f"layers.{i}.weight"].T, tensors[f"layers.{i}.bias"])
            for i in range(len(spec.hidden) + 1)
        ]
        self._neuron = NEURONS[spec.neuron]
        if spec.spiking:
            self._mu, self._sigma = tensors["encoder.mu"], tensors["encoder.sigma"]
            self._encoder_threshold = np.float32(spec.encoder_threshold)
            self._constants = tuple(
                np.float32(spec.neuron_constants[name]) for name in self._neuron.constants
            )
            self._decoder = tensors["decoder.weight"], tensors["decoder.bias"]
        self._low = _inside(spec.action_low, np.inf)
        self._high = _inside(spec.action_high, -np.inf)
        self._fan_out = spec.layer_sizes[1:]
        self.spikes: list[np.ndarray] = []
        self.potentials: list[np.ndarray] = []

    def act(self, observation: ArrayLike) -> np.ndarray:
        """Compute the action for one observation.

        Args:
            observation: [observation_size], in the units of the training task.

        Returns:
            float32 [action_size], within [action_low, action_high].

        Raises:
            ObservationError: wrong shape, not numbers, or a value that is NaN or infinite. The
                policy stays usable.
        """
        checked = self._checked(observation)
        squashed = self._spiking(checked) if self.spec.spiking else self._ordinary(checked)
        action = self._low + (squashed + 1) * ((self._high - self._low) / 2)
        # Rounding may step over a limit by one unit in the last place: a limit is a limit.
        return np.clip(action, self._low, self._high)

    @property
    def synaptic_operations(self) -> int:
        """Synaptic operations of the last `act()`: spikes times the synapses each one reaches."""
        return sum(
            int(spikes.sum()) * fan_out
            for spikes, fan_out in zip(self.spikes, self._fan_out, strict=False)
        )

    @property
    def spike_count(self) -> int:
        """Spikes of the last `act()`, those of the encoder among them."""
        return sum(int(spikes.sum()) for spikes in self.spikes)

    def _checked(self, observation: ArrayLike) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):  # too large for float32 becomes infinite: seen below
                array = np.asarray(observation, dtype=np.float32)
        except (TypeError, ValueError):
            raise ObservationError(
                f"observation is no array of numbers, expected {self.spec.observation_size} numbers"
            ) from None
        if array.shape != (self.spec.observation_size,):
            raise ObservationError(
                f"observation has shape {array.shape}, expected ({self.spec.observation_size},)"
            )
        if not np.isfinite(array).all():
            i = int(np.flatnonzero(~np.isfinite(array))[0])
            names = self.spec.observation_names
            raise ObservationError(
                f"observation[{i}]{f' ({names[i]})' if names else ''} is {array[i]}, "
                "expected a finite number"
            )
        return array

    def _spiking(self, observation: np.ndarray) -> np.ndarray:
        spikes = self._encode(observation)
        self.spikes, self.potentials = [spikes], []
        with np.errstate(over="ignore", invalid="ignore"):  # a DN's potential may run away
            for weight, bias in self._layers:
                spikes, potential = run(self._neuron, self._constants, spikes @ weight + bias)
                self.spikes.append(spikes)
                self.potentials.append(potential)
        return self._decode(spikes)

    def _ordinary(self, observation: np.ndarray) -> np.ndarray:
        """A network of rectified linear units on the observation as it is, then tanh."""
        *hidden, (weight, bias) = self._layers
        for hidden_weight, hidden_bias in hidden:
            observation = np.maximum(observation @ hidden_weight + hidden_bias, 0)
        squashed: np.ndarray = np.tanh(observation @ weight + bias)
        return squashed

    def _encode(self, observation: np.ndarray) -> np.ndarray:
        """Population encoder (Eq. 10 and 11): Gaussian receptive fields, soft-reset neurons."""
        squashed = np.tanh(observation)[:, None]
        stimulation = np.exp(-((squashed - self._mu) ** 2) / (2 * self._sigma**2)).ravel()
        potential = np.zeros_like(stimulation)
        spikes = np.empty((self.spec.time_steps, stimulation.size), dtype=np.float32)
        for spike in spikes:
            potential += stimulation
            np.greater(potential, self._encoder_threshold, out=spike)
            potential -= self._encoder_threshold * spike
        return spikes

    def _decode(self, spikes: np.ndarray) -> np.ndarray:
        """Decoder (Eq. 12): a linear read-out per action of its population's mean spike count."""
        weight, bias = self._decoder
        rate = spikes.mean(axis=0).reshape(weight.shape)
        squashed: np.ndarray = np.tanh((rate * weight).sum(axis=1) + bias)
        return squashed


def _inside(limits: tuple[float, ...], direction: float) -> np.ndarray:
    """Limits as float32, moved by one unit in the last place where rounding put them outside."""
    exact = np.array(limits)
    rounded = exact.astype(np.float32)
    outside = rounded < exact if direction > 0 else rounded > exact
    return np.where(outside, np.nextafter(rounded, np.float32(direction)), rounded)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Load a policy file.

    Raises:
        PolicyFileError: the file is missing or is not a valid policy file; says which and why.
    """
    return Policy(*read_policy(path))
