# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Critics: the package's own dense network, or any torch module that a plugin registers.

The package's own passes are written out (spiking/dense.py). A module's gradient comes from
autograd, and its networks run one after the other: slower, and nothing else differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import math

from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.plugins import CRITICS
from proxy_snn_control.spiking.actor import Sizes
from proxy_snn_control.spiking.dense import ReLUNetwork
from proxy_snn_control.spiking.weights import Weights
import torch
from torch import nn, Tensor
from torch.func import functional_call

# Observations, actions and hidden layers to a module from [batch, both] to [batch, 1].
Make = Callable[[int, int, tuple[int, ...]], nn.Module]


class ModuleCritics:
    """Torch modules as critics, two for each member, with the calls of `ReLUNetwork`.

    Attributes:
        weights: of every network, `weights.flat` [networks, numbers] among them.
    """

    def __init__(
        self, name: str, make: Make, sizes: Sequence[Sizes], hidden: tuple[int, ...]
    ) -> None:
        """Lay out the networks with zeros.

        Raises:
            UserError: what the plugin makes is no such module.
        """
        self._name, self._make, self._hidden = name, make, hidden
        self._sizes = [(each.observations, len(each.low)) for each in sizes for _ in range(2)]
        self._width = max(observations for observations, _ in self._sizes)
        # Templates: their own numbers are never used.
        self._modules = [self._module(row) for row in range(len(self._sizes))]
        self._shapes = [
            {part: tuple(p.shape) for part, p in module.named_parameters()}
            for module in self._modules
        ]
        self.weights = Weights(self._shapes)

    def start(self, row: int, rng: torch.Generator) -> None:
        """Draw one network's initial weights, as its module does."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=rng)))
            values = {name: p.detach() for name, p in self._module(row).named_parameters()}
        self.weights.put(row, self.weights.flat[row], values)

    def __call__(self, x: Tensor, flat: Tensor | None = None) -> Tensor:
        """Run x [networks, batch, inputs] to [networks, batch, 1].

        Args:
            x: the inputs.
            flat: weights to take instead of the networks' own; of every second network will do.
        """
        flat = self.weights.flat if flat is None else flat
        named, stride = self.weights.named(flat), len(self._modules) // len(flat)
        found = []
        for i, own in enumerate(x):
            row = i * stride
            observations, actions = self._sizes[row]
            inputs = own[:, : observations + actions]
            if observations < self._width:  # what is between the two is padding
                begin, end = self._width, self._width + actions
                inputs = torch.cat((own[:, :observations], own[:, begin:end]), dim=1)
            parameters = {
                part: named[part][i][tuple(slice(n) for n in shape)]
                for part, shape in self._shapes[row].items()
            }
            found.append(functional_call(self._modules[row], parameters, (inputs,)))
        return torch.stack(found)

    def with_pullback(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """As `ReLUNetwork.with_pullback`, by autograd."""
        flat = self.weights.flat
        with torch.enable_grad():
            result = self(x)

        def pullback(gradient: Tensor) -> Tensor:
            (found,) = torch.autograd.grad(result, flat, gradient)
            return found

        return result.detach(), pullback

    def _module(self, row: int) -> nn.Module:
        observations, actions = self._sizes[row]
        where = f'critic {self._name!r}'
        try:
            module = self._make(observations, actions, self._hidden)
        except Exception as error:  # a user's code may raise anything
            raise UserError(f'{where} cannot be made: {type(error).__name__}: {error}') from error
        if not isinstance(module, nn.Module):
            raise UserError(f'{where} makes {type(module).__name__}, expected a torch module')
        for name, _ in module.named_buffers():
            raise UserError(f'{where} has the buffer {name}, expected parameters alone')
        if not math.prod(p.dtype == torch.float32 for p in module.parameters()):
            raise UserError(f'{where} has parameters that are not float32')
        try:
            with torch.no_grad():
                result = module(torch.zeros(3, observations + actions))
        except Exception as error:
            raise UserError(f'{where} fails: {type(error).__name__}: {error}') from error
        if result.shape != (3, 1):
            raise UserError(
                f'{where} gives shape {tuple(result.shape)} for 3 inputs, expected (3, 1)'
            )
        return module


Critics = ReLUNetwork | ModuleCritics


def make_critics(config: TrainConfig, sizes: Sequence[Sizes], products: str) -> Critics:
    """Make two critics for each member, with zeros for weights.

    Raises:
        UserError: a plugin's critic is no usable module, or critic_norm does not go with it.
    """
    if config.critic != 'dense':
        if config.critic_norm != 'none':
            raise UserError(
                f'setting critic_norm is {config.critic_norm!r}, which critic {config.critic!r} '
                'of a plugin does not have: expected none, and the norm in the module'
            )
        return ModuleCritics(config.critic, CRITICS[config.critic], sizes, config.critic_hidden)
    inputs = [(each.observations, len(each.low)) for each in sizes for _ in range(2)]
    return ReLUNetwork(
        [(i, *config.critic_hidden, 1) for i in inputs],
        products,
        norm=config.critic_norm == 'layer',
    )


def how_learnt(config: TrainConfig) -> str:
    """Where the critics' gradient comes from, as a sentence; "" of the package's own."""
    if config.critic == 'dense':
        return ''
    return (
        f"critic {config.critic!r} is a torch module: its gradient is autograd's, which is slower "
        "than the written-out pass of the package's own"
    )
