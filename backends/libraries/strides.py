"""The strides of tensors, as libraries are told them."""

from __future__ import annotations

from math import prod

Numbers = tuple[int, ...]


def dense(dims: Numbers) -> Numbers:
    """The strides of row-major memory."""
    return tuple(prod(dims[axis + 1 :]) for axis in range(len(dims)))


def channels_last(dims: Numbers) -> Numbers:
    """The strides of memory in which channels lie side by side."""
    _, channels, *spatial = dims
    inner = tuple(channels * stride for stride in dense(tuple(spatial)))
    return (channels * prod(spatial), 1, *inner)
