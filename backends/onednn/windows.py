"""Where the windows of convolutions and pools lie, with every way of writing pads resolved from the shapes."""

from __future__ import annotations

from dataclasses import dataclass

from heddle.core.ir import Node
from heddle.core.pattern import attribute


@dataclass(frozen=True)
class Windows:
    """Window sizes, strides, dilations (1 is none), and the padding before and after each spatial axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


def windows(node: Node) -> Windows:
    """The windows of a convolution or pool, in any spelling; padding after is what makes the shapes right."""
    source, target = node.operands[0].shape[2:], node.results[0].shape[2:]
    if node.op.startswith("Global"):
        ones = (1,) * len(source)
        return Windows(source, ones, ones, (0,) * len(source), (0,) * len(source))
    axes = len(source)
    weights = 3 if node.op == "QLinearConv" else 1
    kernel = tuple(attribute(node, "kernel_shape") or node.operands[weights].shape[2:])
    strides = tuple(attribute(node, "strides") or (1,) * axes)
    dilations = tuple(attribute(node, "dilations") or (1,) * axes)
    transposed = node.op == "ConvTranspose"
    small, large = (source, target) if transposed else (target, source)
    needed = [
        (out - 1) * stride + (size - 1) * dilation + 1 - into
        for out, into, size, stride, dilation in zip(small, large, kernel, strides, dilations, strict=True)
    ]
    mode = attribute(node, "auto_pad")
    pads = tuple(attribute(node, "pads") or (0,) * (2 * axes)) if mode in ("NOTSET", "", None) else (0,) * (2 * axes)
    before, after = pads[:axes], pads[axes:]
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        odd = mode == "SAME_LOWER"
        before = tuple((max(0, total) + odd) // 2 for total in needed)
    reached = tuple(total - start for total, start in zip(needed, before, strict=True))
    # A transposed convolution cuts exactly as much; other windows may stop short of the padding that was given.
    after = reached if transposed else tuple(map(max, after, reached))
    return Windows(kernel, strides, dilations, before, after)
