"""Transposed convolutions as plain ones: each residue of output positions by the stride is a convolution of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Phase:
    """Along one axis: outputs `first`, `first + stride`, ...: which taps they need, and the window that those are.

    `taps` are in the order of the inputs that they meet; a window without taps has one, of weight zero.
    """

    first: int
    count: int
    taps: tuple[int, ...]
    dilation: int
    pads: tuple[int, int]


def phases(size: int, kernel: int, stride: int, dilation: int, before: int, out: int) -> Iterator[Phase]:
    """The phases of one axis of an input of `size`, padded by `before`; output `out` is the sum of `in * tap`.

    Output y gets input i through tap k where y + before = i * stride + k * dilation.
    """
    for first in range(min(stride, out)):
        count = -(-(out - first) // stride)
        taps = [k for k in reversed(range(kernel)) if (first + before - k * dilation) % stride == 0]
        offsets = [(first + before - k * dilation) // stride for k in taps] or [0]
        step = dilation // math.gcd(dilation, stride)
        extent = offsets[-1] - offsets[0] + 1
        yield Phase(first, count, tuple(taps), step, (-offsets[0], count - 1 + extent + offsets[0] - size))


def window_weights(weights: np.ndarray, rows: Phase, columns: Phase) -> np.ndarray:
    """The weights [output][input][height][width] of two phases, without the taps that neither needs."""
    if not rows.taps or not columns.taps:
        return np.zeros((*weights.shape[:2], max(len(rows.taps), 1), max(len(columns.taps), 1)), weights.dtype)
    return np.ascontiguousarray(weights[:, :, list(rows.taps)][:, :, :, list(columns.taps)])
