"""What a processor can do in a second, from what its target says; `heddle calibrate` replaces this by measurement."""

from __future__ import annotations

from heddle.core.codegen.target import Target
from heddle.core.plugin import Figures

_CLOCK = 3e9
"""Cycles per second of a core at work; not read from the machine, where it changes by the moment, and plans with it."""

_KERNELS = 0.7
"""The share of the peak that kernels of contractions reach."""

_BANDWIDTH = 1.5e10
"""Bytes per second between one core and memory."""

_LAUNCH = 2e-6
"""Seconds of a call through Python."""


def figures_of(target: Target) -> Figures:
    """The figures of one core: multiply-adds of floats in its vectors, products of bytes where there are such."""
    begun = _KERNELS * _CLOCK * target.multiplies_per_cycle * (2 if target.fused else 1)
    operations = {"*": begun * target.lanes(4), "float64": begun * target.lanes(8), "int64": begun * target.lanes(8)}
    if target.vnni:
        operations |= dict.fromkeys(("int8", "uint8"), 4 * begun * target.lanes(4))
    if target.tiles_of_bytes:
        operations |= dict.fromkeys(("int8", "uint8"), _KERNELS * _CLOCK * 2 * 16 * 16 * 64 / 16)
    return Figures(operations, _BANDWIDTH, _LAUNCH)
