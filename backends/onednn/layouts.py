"""How the elements of a tensor lie: row by row, with the channels of an image last, or with its channels in blocks."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from heddle.backends.libraries.strides import Numbers, channels_last, dense

Layout = Callable[[Numbers], Numbers]
"""The strides of a tensor of these dimensions."""

BLOCK = 8
"""How many channels lie side by side in a block: as many as a vector of AVX2 holds."""


def in_blocks(dims: Numbers) -> Numbers:
    """The strides of memory in which the channels of a block lie side by side: one more than axes, inside a block."""
    _, channels, *spatial = dims
    inner = tuple(BLOCK * stride for stride in dense(tuple(spatial)))
    return (channels * prod(spatial), BLOCK * prod(spatial), *inner, 1)


def blocked(dims: Numbers, strides: Numbers) -> bool:
    """Whether these are strides of channels in blocks."""
    return len(strides) > len(dims)


def image_layout(dims: Numbers, strides: Numbers) -> Layout:
    """The layout of images that strides are of, `dense` of all others."""
    if blocked(dims, strides):
        return in_blocks
    return channels_last if len(dims) > 2 and strides == channels_last(dims) else dense


def same_order(dims: Numbers, left: Numbers, right: Numbers) -> bool:
    """True when two strides put each element in the same place: those of axes of one element do not matter."""
    if blocked(dims, left) != blocked(dims, right):
        return prod(dims[2:]) == 1 and same_order(dims, *(_unblocked(dims, one) for one in (left, right)))
    return all(dim == 1 or a == b for dim, a, b in zip((*dims, 2), left, right, strict=False))


def _unblocked(dims: Numbers, strides: Numbers) -> Numbers:
    """The strides of blocks of single pixels, which lie row by row; others as they are."""
    return dense(dims) if blocked(dims, strides) else strides


def extent(dims: Numbers, strides: Numbers) -> int:
    """The elements from a tensor's first to its last."""
    if blocked(dims, strides):
        return prod(dims)
    return sum((dim - 1) * stride for dim, stride in zip(dims, strides, strict=True)) + 1
