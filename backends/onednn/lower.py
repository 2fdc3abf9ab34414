"""From a region's graph to a program: each operator with what follows it fused, views, layouts, and constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from heddle.backends.libraries.chains import Chain
from heddle.backends.libraries.strides import channels_last, dense
from heddle.backends.onednn.eltwise import eltwise
from heddle.backends.onednn.images import Images
from heddle.backends.onednn.layouts import Layout, image_layout, in_blocks, same_order
from heddle.backends.onednn.library import DST, SRC
from heddle.backends.onednn.memory import bytes_of
from heddle.backends.onednn.program import Place, Post, Primitive, Tensor
from heddle.backends.onednn.quantization import Array, Multiplier, Quantized, dequantized, real_array
from heddle.core.ir import Graph, Node, Value, dtype_name

UNPLACED = "value"
"""The kind of a place that is still only a name; `place` in `memory` decides."""


class Lowering:
    """A region on its way: tensors and primitives so far, and which tensor holds each value."""

    def __init__(self, graph: Graph, wide: bool, images: Images) -> None:
        self.graph = graph
        self.images = images
        self.tensors: list[Tensor] = []
        self.primitives: list[Primitive] = []
        self.constants: dict[str, Array] = {}
        self.held: dict[Value, int] = {}
        self.quantized = dequantized(graph)
        self.multiplier = Multiplier(graph, self.quantized, wide)
        self.columns: dict[Value, int] = {}
        self.copies: dict[tuple[int, tuple[int, ...]], int] = {}
        self.outputs = {value: number for number, value in enumerate(graph.outputs)}
        for number, value in enumerate(graph.inputs):
            self.held[value] = self.add(value.shape, dtype_name(value.dtype), None, Place("input", number))

    # -- tensors -------------------------------------------------------------------------------------------------

    def add(self, dims: tuple[int, ...], dtype: str, strides: tuple[int, ...] | None, place: Place | None) -> int:
        """A new tensor, dense unless strides are given, in memory of its own unless a place is."""
        number = len(self.tensors)
        dims = dims or (1,)
        where = Place(UNPLACED, number) if place is None else place
        self.tensors.append(Tensor(dims, dtype, dense(dims) if strides is None else strides, where))
        return number

    def constant(self, array: Array) -> int:
        """A tensor of a constant; equal arrays may be several."""
        name = f"c{len(self.constants):05}"
        self.constants[name] = np.ascontiguousarray(array.reshape(array.shape or (1,)))
        return self.add(array.shape, dtype_name(array.dtype), None, Place("constant", name))

    def view(self, tensor: int, dims: tuple[int, ...], strides: tuple[int, ...] | None = None) -> int:
        """The same memory with other dimensions; dense unless strides are given."""
        one = self.tensors[tensor]
        return self.add(dims, one.dtype, strides, one.place)

    def array(self, value: Value | None) -> Array | None:
        return None if value is None else self.graph.constants.get(value)

    def tensor(self, value: Value) -> int:
        """The tensor that holds a value, as it lies; constants and quantized values are made real."""
        if value not in self.held:
            array = self.array(value)
            if array is not None:
                self.held[value] = self.constant(array)
            elif value in self.columns:
                self._in_rows(value)
            else:
                self._dequantize(value)
        return self.held[value]

    def plain(self, value: Value) -> int:
        """The tensor of a value in row-major memory."""
        return self.laid(self.tensor(value), dense)

    def laid(self, tensor: int, layout: Callable[[tuple[int, ...]], tuple[int, ...]]) -> int:
        """The same elements in this layout: the tensor itself, or a copy that later readers share."""
        one = self.tensors[tensor]
        wanted = layout(one.dims)
        if one.strides == wanted:
            return tensor
        key = (tensor, wanted)
        if key not in self.copies and same_order(one.dims, one.strides, wanted):
            # The library knows a layout by its strides, those of axes of one element too.
            self.copies[key] = self.view(tensor, one.dims, wanted)
        if key not in self.copies:
            self.copies[key] = self.add(one.dims, one.dtype, wanted, None)
            self.run("reorder", {SRC: tensor, DST: self.copies[key]})
        return self.copies[key]

    def layout(self, tensor: int) -> Layout:
        """How a tensor's elements lie: as those of an image, else `dense`."""
        one = self.tensors[tensor]
        return image_layout(one.dims, one.strides)

    def image(self, value: Value) -> int:
        """The tensor of a value with its channels last or in blocks."""
        tensor = self.tensor(value)
        return tensor if self.layout(tensor) is in_blocks else self.laid(tensor, channels_last)

    def strided(self, value: Value) -> int:
        """The tensor of a value with a stride for each axis."""
        tensor = self.tensor(value)
        return self.laid(tensor, dense) if self.layout(tensor) is in_blocks else tensor

    def result(self, value: Value, like: tuple[int, ...] | None = None) -> int:
        """A tensor for a value that a primitive is about to write; straight in the output where the layout allows."""
        dims = value.shape or (1,)
        strides = dense(dims) if like is None else like
        direct = value in self.outputs and same_order(dims, strides, dense(dims))
        place = Place("output", self.outputs[value]) if direct else None
        self.held[value] = self.add(dims, dtype_name(value.dtype), strides, place)
        return self.held[value]

    # -- values whose columns lie in blocks: images of one line, with rows as pixels and columns as channels -----------

    def in_columns(self, value: Value) -> int:
        """The tensor of a value so; a copy that later readers share, where nothing has made it so."""
        if value not in self.columns:
            dims = _columns(value)
            self.columns[value] = self.laid(self.view(self.plain(value), dims, channels_last(dims)), in_blocks)
        return self.columns[value]

    def result_in_columns(self, value: Value) -> int:
        """A tensor so for a value that a primitive is about to write; who reads it otherwise has it copied."""
        dims = _columns(value)
        self.columns[value] = self.add(dims, dtype_name(value.dtype), in_blocks(dims), None)
        return self.columns[value]

    def _in_rows(self, value: Value) -> None:
        """Copy such a value row by row."""
        dims = _columns(value)
        target = self.view(self.result(value), dims, channels_last(dims))
        self.run("reorder", {SRC: self.columns[value], DST: target})

    # -- the program -----------------------------------------------------------------------------------------------

    def join(self, parts: Sequence[int], whole: int) -> bool:
        """Have tensors be made where they lie one after the other inside another; False where that cannot be.

        Each must have memory of its own, all of it, which nothing else has moved.
        """
        places = [self.tensors[part].place for part in parts]
        target = self.tensors[whole].place
        if target.kind != UNPLACED or any(place.kind != UNPLACED for place in places):
            return False
        roots = [self.tensors[int(place.at)] for place in places]
        sizes = [bytes_of(self.tensors[part]) for part in parts]
        if len({place.at for place in places}) < len(parts) or sizes != list(map(bytes_of, roots)):
            return False
        inside = 0
        for place, size in zip(places, sizes, strict=True):
            for number, one in enumerate(self.tensors):
                if one.place.at == place.at and one.place.kind == UNPLACED:
                    self.tensors[number] = replace(one, place=Place(UNPLACED, target.at, one.place.inside + inside))
            inside += size
        return True

    def run(self, kind: str, arguments: Mapping[int, int], algorithm: str = "", **more: Any) -> None:
        self.primitives.append(Primitive(kind, dict(arguments), algorithm, **more))

    def finish(self) -> None:
        """Copy to the outputs what lies elsewhere."""
        for value, number in self.outputs.items():
            at = self.tensor(value)
            one = self.tensors[at]
            if one.place == Place("output", number):
                continue
            target = self.add(value.shape, one.dtype, None, Place("output", number))
            source = at if one.dims == (value.shape or (1,)) else self.view(self.laid(at, dense), value.shape)
            self.run("reorder", {SRC: source, DST: target})

    # -- quantized values ----------------------------------------------------------------------------------------

    def _dequantize(self, value: Value) -> None:
        """Make a quantized value real."""
        one = self.quantized[value]
        array = self.array(one.raw)
        if array is not None:
            self.held[value] = self.constant(real_array(one, array))
            return
        source = self.tensor(one.raw)
        target = self.result(value, self.tensors[source].strides)
        self.run("reorder", {SRC: source, DST: target}, **self.scaling({SRC: one}))

    def scaling(self, operands: Mapping[int, Quantized]) -> dict[str, Any]:
        """The scales and zero points of a primitive's arguments, each one number."""
        scales = {arg: (0, self.constant(one.scale.reshape(1))) for arg, one in operands.items()}
        zeros = {
            arg: (0, self.constant(one.zero.astype(np.int32).reshape(1)))
            for arg, one in operands.items()
            if one.zero.any()
        }
        return {"scales": scales, "zero_points": zeros}


def _columns(value: Value) -> tuple[int, ...]:
    *rows, columns = value.shape
    return (1, columns, prod(rows))


def fused(
    lowering: Lowering, chain: Chain, after: Sequence[Node], operand: Callable[[Value, tuple[int, ...]], int]
) -> tuple[Post, ...]:
    """The post-operations of a chain; `operand` gives the tensor of what one reads beside a whole of this shape."""
    posts = []
    for node in after:
        found = eltwise(node, lowering.graph)
        if found is None:
            found = Post(node.op.lower(), tensor=operand(chain.other(node), node.results[0].shape))
        posts.append(found)
    return tuple(posts)


def operand_tensor(lowering: Lowering, layout: Layout, other: Value, whole: tuple[int, ...]) -> int:
    """The tensor of a broadcast operand with as many axes as the whole, which has this layout."""
    tensor = lowering.tensor(other)
    if len(lowering.tensors[tensor].dims) != len(whole):
        dims = (1,) * (len(whole) - len(other.shape)) + tuple(other.shape)
        tensor = lowering.view(lowering.laid(tensor, dense), dims)
    if layout is in_blocks and lowering.tensors[tensor].dims[1:] != tuple(whole[1:]):
        layout = dense  # fewer elements are found by their strides
    return lowering.laid(tensor, layout)
