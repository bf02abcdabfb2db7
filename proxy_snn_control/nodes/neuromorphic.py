# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The neuromorphic node: a policy's layers on a simulated chip, at a controller's request.

It runs in Lava's environment (`make lava`) and receives neither observations nor commands: the
controller encodes, sends the request, decodes, checks and publishes, so that every command passes
the controller's gate, and an answer that is late or never comes costs no command. Request and
answer are spikes (control/spikes.py). A request that comes while an inference runs waits in a
queue of length one, so that the next one is always the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import time

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from proxy_snn_control.control.counts import Latencies
from proxy_snn_control.control.spikes import labels_of, spikes_message, spikes_of
from proxy_snn_control.neuromorphic.chip import float_layers, Layer
from proxy_snn_control.neuromorphic.fixed import fixed_layers
from proxy_snn_control.neuromorphic.network import Several
from proxy_snn_control.neuromorphic.processes import NetworkError
from proxy_snn_control.nodes.messages import diagnostics, RELIABLE
from proxy_snn_control.nodes.process import declare, Parameter, run, STEADY, value_of
from proxy_snn_control.nodes.publishing import publish
from proxy_snn_control.policy import Policy, PolicyFile, read_policy, UserError
from proxy_snn_control.policy.energy import typical_observations
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import UInt8MultiArray

PARAMETERS = (
    Parameter(
        'policy', '', 'The policy file; its neurons must spike. Several, with commas between.'
    ),
    Parameter(
        'precision',
        'float',
        "float for the runtime's own spikes, fixed for the arithmetic of Loihi 2.",
    ),
)
PRECISIONS = ('float', 'fixed')


class Neuromorphic(Node):
    """Answers the encoder's spikes with those of every layer after it.

    A request names its policy by the SHA-256 of the file. One that is for another than
    those that run here, or does not fit it, is logged and not answered.
    """

    def __init__(self) -> None:
        super().__init__('neuromorphic')
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        path, precision = value_of(self, 'policy'), value_of(self, 'precision')
        if not path:
            raise UserError('parameter policy is empty, expected the path of a policy file')
        if precision not in PRECISIONS:
            raise UserError(
                f'parameter precision is {precision!r}, expected {" or ".join(PRECISIONS)}'
            )
        names = [path] if os.path.exists(path) else path.split(',')
        files = [read_policy(name.strip()) for name in names]
        self._specs = [file.spec for file in files]
        self._checksums = [file.digest for file in files]
        self._fault, self._latencies = '', Latencies()
        self._network = Several(
            [(_layers(file, precision), file.spec.time_steps) for file in files]
        )
        for i, spec in enumerate(self._specs):
            self._network.infer(i, np.zeros((spec.time_steps, spec.layer_sizes[0]), bool))
        self._diagnostics = self.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        self._answers = self.create_publisher(UInt8MultiArray, '~/answer', RELIABLE)
        self.create_subscription(UInt8MultiArray, '~/request', self._on_request, RELIABLE)
        self.create_timer(1.0, self._publish_diagnostics, clock=STEADY)
        self.get_logger().info(f'policy {path} ({self._short()}), {precision} point')

    def close(self) -> None:
        """End Lava's processes."""
        self._network.close()
        self._publish_diagnostics()

    def _on_request(self, message: UInt8MultiArray) -> None:
        received = time.monotonic()
        label, checksum = labels_of(message)
        try:
            if checksum not in self._checksums:
                raise UserError(
                    f'a request is for policy {checksum[:12]!r}, expected {self._short()}'
                )
            which = self._checksums.index(checksum)
            spec = self._specs[which]
            (spikes,) = spikes_of(message, spec.time_steps, spec.layer_sizes[:1])
            fired = self._network.infer(which, spikes)
        except UserError as error:
            self._fault = str(error)
            self.get_logger().error(f'{error}; not answered', throttle_duration_sec=1.0)
            return
        except NetworkError as error:
            self._fault = str(error)
            self.get_logger().fatal(str(error))
            self.exit_status = 1
            return
        publish(self._answers, spikes_message(fired, label, checksum))
        self._fault = ''
        self._latencies.add(time.monotonic() - received)

    def _short(self) -> str:
        return ' or '.join(checksum[:12] for checksum in self._checksums)

    def _publish_diagnostics(self) -> None:
        values = {
            'policy': value_of(self, 'policy'),
            'policy_sha256': ','.join(self._checksums),
            'precision': value_of(self, 'precision'),
            'answers': self._latencies.count,
            **self._latencies.milliseconds(),
        }
        publish(self._diagnostics, diagnostics(self, self._fault, values))


def _layers(file: PolicyFile, precision: str) -> list[Layer]:
    """Return a policy's layers in the precision of the parameter."""
    spec, tensors, _ = file
    if precision == 'float':
        return float_layers(spec, tensors)
    return fixed_layers(spec, tensors, typical_observations(Policy(spec, tensors)))


def main(arguments: Sequence[str]) -> int:
    """Run the neuromorphic node."""
    return run(Neuromorphic, arguments)
