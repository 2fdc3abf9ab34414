"""What patterns demand beyond their conditions, each with the reason for which it refuses."""

from __future__ import annotations

from math import prod

import numpy as np
from heddle.backends.libraries.checks import Check, shapes_known
from heddle.backends.onednn.windows import windows
from heddle.core.ir import Node
from heddle.core.pattern import Match, attribute

EXACT = 2**24
"""Integers up to here, and their sums, are exact in float32."""
MOST_AXES = 6
"""Tensors of more axes fall off the library's fast paths."""
known = shapes_known(MOST_AXES)


def both(*checks: Check) -> Check:
    """The first reason that any of these gives, after the shapes are known."""

    def all_hold(match: Match) -> str | None:
        return known(match) or next((reason for check in checks if (reason := check(match))), None)

    return all_hold


def main(match: Match) -> Node:
    """The node that gives the pattern's result."""
    return match.nodes[-1]


def windows_fit(match: Match) -> str | None:
    """Padding that the library knows: none is negative, and no window of a pool lies in it wholly."""
    node = main(match)
    found = windows(node)
    if any(edge < 0 for edge in (*found.before, *found.after)):
        return f"pads are {found.before} and {found.after}, takes 0 or more in each place"
    if node.op in ("MaxPool", "AveragePool"):
        reach = [(k - 1) * d + 1 for k, d in zip(found.kernel, found.dilations, strict=True)]
        edges = zip(found.before, found.after, reach, strict=True)
        if any(before >= size or after >= size for before, after, size in edges):
            return f"pads are {found.before} and {found.after}, takes less than the window {tuple(reach)}"
    return None


def averages_fit(match: Match) -> str | None:
    """Averages whose windows are counted alike."""
    found = windows(main(match))
    if any(step != 1 for step in found.dilations):
        return f"dilations are {found.dilations}, takes 1 in each place"
    if attribute(main(match), "ceil_mode") and any(found.after):
        return "ceil_mode is 1, takes 0: the library counts the last windows differently"
    return None


def broadcasts(match: Match) -> str | None:
    """The library broadcasts its second operand only."""
    node = main(match)
    out = node.results[0].shape
    left, right = (operand.shape for operand in node.operands)
    if not out:
        return "the operands are scalars, takes at least one axis"
    if left == out or (right == out and node.op in ("Add", "Mul", "Max", "Min")):
        return None
    if right == out and node.op == "Sub" and node.operands[0] in match.graph.constants and prod(left) == 1:
        return None  # a number less the rest is a multiple and a sum
    return f"the operands {left} and {right} are both broadcast to {out}, takes a first one of that shape"


def alike(match: Match) -> str | None:
    """All operands have the result's shape."""
    node = main(match)
    shapes = {operand.shape for operand in (*node.operands, *node.results)}
    if len(shapes) != 1 or not node.results[0].shape:
        return f"the operands are {', '.join(str(one.type) for one in node.operands)}, takes one shape with axes"
    return None


def all_real(match: Match) -> str | None:
    """Variadic operands are float32."""
    found = match.outputs[0]
    return None if found.dtype == np.float32 else f"the result is {found.type}, takes float32"


def per_tensor(match: Match) -> str | None:
    """One scale, and words as they are, unless a constant is dequantized."""
    scale, zero = match.array("scale"), match.array("zero_point")
    if match.array("x") is not None:
        return None
    if scale is None or scale.size != 1 or (zero is not None and zero.size != 1):
        return "scale has several values, takes one: only constants are scaled per channel"
    if match["x"].dtype == np.int32 and zero is not None and zero.any():
        return f"zero_point is {int(zero.reshape(()))}, takes 0 of int32: the difference may have 33 bits"
    return None


def eight_bits(match: Match) -> str | None:
    """Quantized results are bytes."""
    result = match.outputs[0]
    return None if result.dtype in (np.int8, np.uint8) else f"the result is {result.type}, takes int8 or uint8"


def scales_only(match: Match) -> str | None:
    """Spatial axes alone are resized, by exactly the factors that the shapes have."""
    node = main(match)
    source, target = match["x"].shape, match.outputs[0].shape
    if source[:2] != target[:2]:
        return f"the result is {target} of {source}, takes spatial axes only"
    if attribute(node, "axes"):
        return "axes are given, takes scales or sizes of all"
    scales = match.array("scales")
    if scales is not None and any(round(s * f) != t for s, t, f in zip(source, target, scales, strict=True)):
        return f"scales are {scales.tolist()}, takes those of the shapes {source} and {target}"
    if attribute(node, "mode") == "nearest" and any(t % s for s, t in zip(source, target, strict=True)):
        return f"the result is {target} of {source}, takes whole factors where mode is nearest"
    return None


def whole_sums(match: Match) -> str | None:
    """Sums of products of bytes that float32 holds exactly, whatever the bytes are that are not known."""
    known_b, zero = match.array("b"), match.array("b_zero_point")
    if known_b is None:
        column = match["a"].shape[-1] * _largest(match, "b")
    else:
        distance = np.abs(known_b.astype(np.int64) - (0 if zero is None else int(zero.reshape(()))))
        column = int(distance.sum(axis=-2).max())
    reached = _largest(match, "a") * column
    return None if reached <= EXACT else f"sums of products reach {reached}, takes at most {EXACT}: exact so far"


def _largest(match: Match, name: str) -> int:
    """The greatest distance of a byte from its zero point."""
    limits, array = np.iinfo(match[name].dtype), match.array(f"{name}_zero_point")
    zero = 0 if array is None else int(array.reshape(()))
    return max(limits.max - zero, zero - limits.min)


def scales_of_columns(match: Match) -> str | None:
    """Scales of weights: one, or one for each output channel."""
    scale, w = match.array("w_scale"), match["w"]
    zero = match.array("w_zero_point")
    assert scale is not None
    channels = w.shape[0] if main(match).op == "QLinearConv" else w.shape[-1]
    sizes = {scale.size} | ({zero.size} if zero is not None else set())
    if sizes <= {1, channels} and (len(w.shape) == 2 or main(match).op == "QLinearConv" or sizes == {1}):
        return None
    return f"w_scale has {scale.size} values, takes 1 or {channels}, and 1 of several matrices"
