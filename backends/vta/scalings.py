"""Scales to multipliers and shifts, zero points to biases, rectifiers and clips to bounds of the drain."""

from __future__ import annotations

import numpy as np
from heddle.backends.vta.layers import Scaling, Tensor, scaled
from heddle.core.errors import BackendError
from heddle.core.pattern import Match
from numpy.typing import NDArray


def number(match: Match, name: str, default: float) -> float:
    """A constant of one element, or the default where it is absent."""
    array = match.array(name)
    return default if array is None else float(array.astype(np.float64).reshape(()))


def bounds(match: Match, output: Tensor) -> tuple[int, int]:
    """The quantized bounds of the result: those of its type, narrowed by a rectifier or a clip."""
    low, high = output.low, output.high
    if match.node("relu") is not None:
        low = max(low, output.zero_point)
    if match.node("clip") is not None:
        for name, side in (("low", max), ("high", min)):
            array = match.array(name)
            if array is None:
                continue
            bound = round(float(array.reshape(())) / output.scale) + output.zero_point
            bound = min(max(bound, output.low), output.high)
            low, high = (side(low, bound), high) if name == "low" else (low, side(high, bound))
    return low, high


def scaling(match: Match, output: Tensor, ratios: NDArray[np.float64], bias: NDArray[np.int64]) -> Scaling:
    """The drain of a result whose channels have these ratios to its scale."""
    if bias.size and (bias.min() < -(2**31) or bias.max() >= 2**31):
        raise BackendError(f"vta: {output.name}: a bias of {np.abs(bias).max()} does not fit 32 bits")
    pairs = {ratio: scaled(ratio) for ratio in set(ratios.tolist())}
    chosen = [pairs[ratio] for ratio in ratios.tolist()]
    multiplier, shift = np.array([m for m, _ in chosen], np.int64), np.array([s for _, s in chosen], np.int64)
    return Scaling(bias.astype(np.int32), multiplier, shift, output.zero_point, *bounds(match, output))


def uniform(match: Match, output: Tensor, ratio: float, bias: int) -> Scaling:
    """The drain of a result all of whose channels have one ratio and one bias."""
    return scaling(match, output, np.full(output.channels, ratio), np.full(output.channels, bias, np.int64))


def unchanged(source: Tensor, zero_point: int, low: int, high: int, lanes: int = 0) -> Scaling:
    """A drain that gives what it gets, but for another zero point, which all further channels up to `lanes` get."""
    channels, more = source.channels, max(lanes - source.channels, 0)

    def each(value: int) -> NDArray[np.int64]:
        return np.pad(np.full(channels, value, np.int64), (0, more))

    bias = each(-source.zero_point).astype(np.int32)
    return Scaling(bias, each(1 << 30), each(30), zero_point, low, high)
