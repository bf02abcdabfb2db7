"""Neuron models in NumPy: what a spiking layer does with its input current.

Each model is a class with its constants as plain named numbers and one method that runs all time
steps of one inference. A layer never looks back at the layers before it, so a whole layer may run
its T time steps before the next layer starts: the spikes are the same as stepping all layers
together.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np


class LIF:
    """Leaky integrate-and-fire neurons with hard reset to 0 (Xu et al. 2025, Eq. 4 and 5).

    One time step, input current I and spike of the step before s'::

        V = voltage_decay * V * (1 - s') + I
        s = 1 where V > threshold else 0

    V and s' are 0 at the start of every inference.
    """

    constants: ClassVar[dict[str, float]] = {"voltage_decay": 0.75, "threshold": 0.5}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "voltage_decay": (0.0, 1.0),
        "threshold": (1e-6, 1e6),
    }

    def __init__(self, voltage_decay: float, threshold: float) -> None:
        self.voltage_decay = np.float32(voltage_decay)
        self.threshold = np.float32(threshold)

    def run(self, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run T time steps.

        Args:
            current: float32 [T, neurons], overwritten: it becomes the membrane potential.

        Returns:
            spikes float32 [T, neurons] of zeros and ones, and membrane potential float32
            [T, neurons] before the reset.
        """
        potential = current
        spikes = np.empty_like(current)
        np.greater(potential[0], self.threshold, out=spikes[0])
        for t in range(1, len(current)):
            potential[t] += self.voltage_decay * potential[t - 1] * (1 - spikes[t - 1])
            np.greater(potential[t], self.threshold, out=spikes[t])
        return spikes, potential


NEURONS = {"lif": LIF}
