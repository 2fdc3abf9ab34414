"""The windows of convolutions and poolings, over two dimensions whatever the model has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from heddle.core.ir import Node, Value
from heddle.core.ops.pooling import counted
from heddle.core.ops.windows import Window, window_over
from heddle.core.pattern import Match
from numpy.typing import NDArray


def window_of(node: Node, x: Value, kernel: Sequence[int]) -> Window:
    """The window of a convolution or pooling of `x`; of one dimension, it is the second of two."""
    attrs, sizes = node.attrs, x.shape[2:]
    strides, dilations, pads = (tuple(attrs.get(name) or ()) or None for name in ("strides", "dilations", "pads"))
    auto_pad, ceil_mode = attrs.get("auto_pad", "NOTSET"), attrs.get("ceil_mode", 0)
    found = window_over(node.op, sizes, tuple(kernel), strides, dilations, pads, auto_pad, ceil_mode)
    if len(sizes) == 2:
        return found
    return Window(
        (1, *found.kernel), (1, *found.strides), (1, *found.dilations),
        (0, *found.before), (0, *found.after), (1, *found.out),
    )  # fmt: skip


def pool_window(match: Match) -> Window:
    """The window of a matched pooling."""
    node = match.node("pool")
    assert node is not None
    return window_of(node, match["x"], node.attrs["kernel_shape"])


def elements_seen(match: Match, padding: bool = False) -> NDArray[Any]:
    """How many elements each window of a matched pooling holds, with or without the padding."""
    sizes = match["x"].shape[2:]
    return counted(sizes if len(sizes) == 2 else (1, *sizes), pool_window(match), padding)


def taken(window: Window) -> dict[str, Any]:
    """A window as layers have it."""
    return {"strides": window.strides, "dilations": window.dilations, "pads": (*window.before, *window.after)}


def count_of(match: Match) -> int | None:
    """How many elements every window of a matched average counts; None where they differ."""
    counts = elements_seen(match, bool(match.attr("pool", "count_include_pad")))
    return int(counts.flat[0]) if np.ptp(counts) == 0 and counts.flat[0] else None
