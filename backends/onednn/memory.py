"""Gives each tensor of a program its place in the workspace; those that do not live at once share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from heddle.backends.onednn.layouts import extent
from heddle.backends.onednn.program import Place, Primitive, Tensor
from heddle.core.dtypes import dtype_named
from heddle.core.runtime.overlay import before, overlay


def place(tensors: Sequence[Tensor], primitives: Sequence[Primitive]) -> tuple[tuple[Tensor, ...], int]:
    """The tensors with their offsets, and the bytes of the workspace. Tensors with one name are views of one memory."""
    touched: dict[int | str, list[int]] = {}
    for step, primitive in enumerate(primitives):
        for number in reads(primitive):
            where = tensors[number].place
            if where.kind == "value":
                touched.setdefault(where.at, []).append(step)
    sizes: dict[int | str, int] = {}
    for tensor in tensors:
        if tensor.place.at in touched and tensor.place.kind == "value":
            sizes[tensor.place.at] = max(sizes.get(tensor.place.at, 0), tensor.place.inside + bytes_of(tensor))
    names = list(touched)
    done = before([[step - 1] if step else [] for step in range(len(primitives))])
    offsets, total = overlay([sizes[name] for name in names], [touched[name] for name in names], done)
    at = dict(zip(names, offsets, strict=True))
    placed = tuple(
        replace(tensor, place=Place("workspace", at.get(tensor.place.at, 0) + tensor.place.inside))
        if tensor.place.kind == "value"
        else tensor
        for tensor in tensors
    )
    return placed, total


def reads(primitive: Primitive) -> list[int]:
    """Every tensor that a primitive touches."""
    posts = [post.tensor for post in primitive.post if post.tensor is not None]
    pairs = [*primitive.scales.values(), *primitive.zero_points.values()]
    return [*primitive.arguments.values(), *posts, *(tensor for _, tensor in pairs)]


def bytes_of(tensor: Tensor) -> int:
    """The bytes from a tensor's first element to its last."""
    return extent(tensor.dims, tensor.strides) * dtype_named(tensor.dtype).itemsize
