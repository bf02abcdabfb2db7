"""What numbers the dense products of an update are computed in.

`float32` is exact to float32's rounding. `bfloat16` rounds the factors of every dense product to
bfloat16 and sums in float32; weights, optimisers and everything that is not a product stay float32.
That is eight times quicker where the processor has AMX, and slower elsewhere, where the rounding is
done by hand to get the same numbers. Spikes are not rounded either way: see spiking/fused.py.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
# The addend of a sum-and-product is no factor, but is given in bfloat16 by autocast all the same.
_PRODUCTS = {_aten.mm.default, _aten.bmm.default, _aten.addmm.default, _aten.baddbmm.default}


def has_bfloat16_units() -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than float32 ones."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def resolve(precision: str, device: torch.device) -> str:
    """Turn "auto" into what is quickest here without loss: bfloat16 with AMX, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cpu" and has_bfloat16_units() else "float32"


def products(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Compute dense products in `precision` within this context, backward passes too."""
    if precision == "float32":
        return nullcontext()
    if device.type == "cpu" and not has_bfloat16_units():
        return RoundedProducts()
    # Weights change within the context: a cast must not be kept.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


class RoundedProducts(TorchDispatchMode):
    """Round factors and results of dense products to bfloat16, with float32 arithmetic between."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute one operation."""
        if func not in _PRODUCTS:
            return func(*args, **(kwargs or {}))
        return _round(func(*map(_round, args), **(kwargs or {})))


def _round(value: Any) -> Any:
    return value.bfloat16().float() if isinstance(value, Tensor) else value
