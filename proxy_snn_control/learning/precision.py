"""What numbers the dense products of an update are computed in: see spiking/dense.py."""

from __future__ import annotations

import torch


def has_bfloat16_units() -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than float32 ones.

    With AMX up to eight times faster, with AVX-512's bfloat16 instructions twice.
    """
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def resolve(precision: str, device: torch.device) -> str:
    """Turn "auto" into what is quickest here without loss: bfloat16 if it has units, or float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cpu" and has_bfloat16_units() else "float32"
