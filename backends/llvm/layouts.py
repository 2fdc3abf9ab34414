"""Assigning blocked layouts to images, and choosing kernel, packing and schedule of each step that works on them.

Images that convolutions and pooling make are kept in blocks of a vector of channels, with the halo that their readers
want; they are turned to and from plain memory only where another kind of step needs that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from heddle.backends.llvm.choices import Choices
from heddle.backends.llvm.convolutions import F32, Sliding, is_direct, sliding_of
from heddle.backends.llvm.fusion import Uses, identity, is_pointwise, read_by
from heddle.backends.llvm.held import held_number, held_type, hold, largest_sum, release
from heddle.backends.llvm.products import located
from heddle.backends.llvm.tails import dequantizing, fits, operands_of, tail_of
from heddle.core.codegen.affine import flatten, of_axis
from heddle.core.codegen.kernels import conv, depthwise, winograd
from heddle.core.codegen.kernels.image import Image, Window
from heddle.core.codegen.kernels.layout import clear_halo, repack
from heddle.core.codegen.kernels.mapped import mapped
from heddle.core.codegen.kernels.pool import Pool, pool, whole_pool
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Step
from heddle.core.codegen.narrow import storage_type
from heddle.core.codegen.pieces import by_caller
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, Functions, template
from heddle.core.codegen.tensor import Check, Compute
from heddle.core.codegen.values import F32 as FLOAT
from heddle.core.codegen.values import I16, I32
from heddle.core.codegen.values import Value as Register
from heddle.core.ir import Graph, Names, TensorType, Value, tensor
from heddle.core.ops.scalar import Expr
from numpy.typing import NDArray

Array = NDArray[Any]
HELD = ("float32", "uint8", "int8")
"""The dtypes of images."""
FEW = 4
"""As many channels as this lie side by side in a first layer's input, instead of filling a part of a vector."""


@dataclass(frozen=True)
class Blocked:
    """An image in memory: its geometry, the value that holds it and at which byte.

    `plain` memory has the numbers as they are, other memory as `held` has them.
    """

    image: Image
    value: Value
    offset: int = 0
    plain: bool = False

    @property
    def argument(self) -> Argument:
        return Argument(self.value, self.offset)


def accepts_tail(step: Compute) -> bool:
    """Whether an image kernel can compute what stands around a contraction in a step."""
    found = sliding_of(step)
    if found is None:
        return False
    leaf, sliding = found
    if not is_direct(step, leaf) or not fits(step.body, leaf):
        return False
    return all(_operand_kind(step, item, sliding.kind.startswith("whole")) for item in operands_of(step.body, leaf))


def _operand_kind(step: Compute, item: Expr, whole: bool = False) -> str | None:
    """How an operand lies beside an image: `single`, `channel`, `image`, or None for any other way."""
    value, indices = item.value.source, item.value.indices
    if value.dtype.name not in (*HELD, "int32"):
        return None
    axes = [axis for axis in step.axes if axis.extent != 1]
    strided = located(value, flatten(indices, value.shape), axes)
    if strided is None:
        return None
    moving = [axis for axis in axes if strided.steps[axis]]
    if not moving:
        return "single"
    if moving == [step.axes[1]]:
        return "channel"
    if identity(indices, step.axes) and value.shape == step.output.shape and not whole and value.dtype.name in HELD:
        return "image"
    return None


class Layouts:
    """The steps of a region on their way to kernels over images."""

    def __init__(
        self,
        graph: Graph,
        steps: Sequence[Step],
        tables: dict[Value, Array],
        names: Names,
        target: Target,
        choices: Choices,
    ) -> None:
        self.graph, self.steps, self.tables, self.names = graph, list(steps), tables, names
        self.target, self.choices, self.lanes = target, choices, target.lanes(4)
        self.uses = Uses.of(steps, graph.outputs)
        self.halos: dict[Value, tuple[int, int, int, int]] = {}
        self.fills: dict[Value, int] = {}
        self.blocked: dict[Value, Blocked] = {}
        self.turned: dict[tuple[Value, int], Blocked] = {}
        self.plain = {*graph.inputs, *tables}
        self.made: list[Step] = []
        self.padded: dict[tuple[Value, int, int], Value] = {}

    def run(self) -> list[Step]:
        """Steps in which every contraction over images is a kernel."""
        self._plan()
        if not any(isinstance(step, Compute) and sliding_of(step) for step in self.steps):
            return self.steps
        for step in self.steps:
            self._emit(step)
        for value in self.graph.outputs:
            self._make_plain(value)
        return self.made

    # -- which values are images, and how they lie -------------------------------------------------------------

    def _plan(self) -> None:
        parts = self._concatenations()
        images: dict[Value, None] = {}
        for step in self.steps:
            if not isinstance(step, Compute):
                continue
            joined = step.output in parts and all(source in images for source, _ in parts[step.output])
            if joined or self._is_windowed(step) or self._is_map(step, images):
                images[step.output] = None
        for step in self.steps:
            found = sliding_of(step) if isinstance(step, Compute) else None
            if found is not None and found[1].kind == "conv":
                sliding = found[1]
                # Only a Compute slides, and `found` is None of every other step.
                bare, out = self._image(sliding.source), self._image(step.output)  # type: ignore[union-attr]
                reach = sliding.window.reach(bare, out)
                before = self.halos.get(sliding.source, (0, 0, 0, 0))
                # The greater of each of four numbers is four numbers.
                self.halos[sliding.source] = tuple(map(max, reach, before))  # type: ignore[assignment]
                self.fills.setdefault(sliding.source, self._fill(sliding))
        for value in images:
            if value in parts and value not in self.blocked:
                self._place_parts(value, parts[value])
        for value in images:
            if value not in self.blocked:
                self.blocked[value] = self._allocate(value, self._image(value))

    def _is_windowed(self, step: Compute) -> bool:
        found = sliding_of(step)
        return found is not None and not found[1].kind.startswith("whole")

    def _is_map(self, step: Compute, images: dict[Value, None]) -> bool:
        """Whether a step is elementwise work on an image, so that its result may be one as well."""
        if (
            not is_pointwise(step)
            or len(step.output.shape) != 4
            or step.output.dtype.name not in HELD
            or not _whole(step)
        ):
            return False
        operands = _loads_of(step.body)
        kinds = [_operand_kind(step, item) for item in operands]
        if None in kinds or not fits(step.body, Expr("nothing", F32)):
            return False
        return any(kind == "image" and item.value.source in images for kind, item in zip(kinds, operands, strict=True))

    def _concatenations(self) -> dict[Value, list[tuple[Value, int]]]:
        """Values that are put together along channels out of others, each at a multiple of a vector."""
        found: dict[Value, list[tuple[Value, int]] | None] = {}
        for step in self.steps:
            if isinstance(step, Compute) and step.at is not None:
                part = self._part(step)
                if part is None or found.get(step.output, []) is None:
                    found[step.output] = None
                else:
                    # The branch above has taken the outputs that are None.
                    found.setdefault(step.output, []).append(part)  # type: ignore[union-attr]
        return {value: parts for value, parts in found.items() if parts}

    def _part(self, step: Compute) -> tuple[Value, int] | None:
        assert step.at is not None
        if step.body.op != "load" or len(step.output.shape) != 4 or step.output.dtype.name not in HELD:
            return None
        source, axes = step.body.value.source, step.axes
        if not identity(step.body.value.indices, axes) or source.shape != tuple(a.extent for a in axes):
            return None
        shift = step.at[1] - of_axis(axes[1])
        same = all(step.at[i] == of_axis(axes[i]) for i in (0, 2, 3))
        if not same or shift.known is None or shift.known % self.lanes:
            return None
        return source, shift.known

    def _place_parts(self, value: Value, parts: Sequence[tuple[Value, int]]) -> None:
        whole = self._allocate(value, self._image(value))
        self.blocked[value] = whole
        producers = {s.output: s for s in self.steps if isinstance(s, Compute) and self._is_windowed(s)}
        for source, channel in parts:
            offset = self._offset(whole.image, channel)
            own = source in producers and self.uses.only(source) is not None and source not in self.halos
            if own and source not in self.blocked:
                self.blocked[source] = Blocked(self._within(whole.image, source), whole.value, offset)
                self.fills[source] = self.fills.get(value, 0)

    def _offset(self, whole: Image, channel: int) -> int:
        """The byte at which a channel begins."""
        return channel // self.lanes * whole.plane * whole.scalar.bits // 8

    def _within(self, whole: Image, part: Value) -> Image:
        """The channels of one part, in the memory of a larger image."""
        return replace(whole, channels=part.shape[1], outer=whole.blocks)

    def _image(self, value: Value, block: int | None = None) -> Image:
        n, channels, height, width = value.shape
        halo = self.halos.get(value, (0, 0, 0, 0))
        return Image(channels, height, width, block or self.lanes, halo, n, held_type(self.target, value.dtype))

    def _plain(self, value: Value) -> Blocked:
        n, channels, height, width = value.shape
        image = Image(channels, height, width, 1, batch=n, scalar=storage_type(value.dtype))
        return Blocked(image, value, plain=True)

    def _allocate(self, value: Value, image: Image) -> Blocked:
        dtype = "int16" if image.scalar == I16 else value.dtype
        return Blocked(image, self.names.fresh(f"{value.name}.blocked", tensor(dtype, image.size)))

    # -- steps -------------------------------------------------------------------------------------------------

    def _emit(self, step: Step) -> None:
        if isinstance(step, Compute):
            found = sliding_of(step)
            if found is not None:
                self._emit_sliding(step, *found)
                return
            if step.output in self.blocked:
                if step.at is None:
                    self._emit_map(step)
                else:
                    self._emit_part(step)
                return
        for value in dict.fromkeys(read_by(step)):
            self._make_plain(value)
        if not isinstance(step, Check):
            self.plain.add(step.output)
        self.made.append(step)

    def _make_plain(self, value: Value) -> None:
        """See to it that a value is there in plain memory."""
        if value in self.plain or value not in self.blocked:
            return
        self.plain.add(value)
        self._repack(value, self.blocked[value], self._plain(value), 0)

    def _make_blocked(self, value: Value, block: int, fill: int | None = None) -> Blocked:
        """A value in blocks, made from plain memory where it is not there yet; `fill` is what its halo must hold."""
        found = self.blocked.get(value)
        if found is not None and found.image.block == block:
            if fill in (None, self.fills.get(value, 0)) or not any(found.image.halo):
                return found
            block = -block  # a copy of its own, with another halo
        if (value, block) not in self.turned:
            self._make_plain(value)
            plain = self._plain(value)
            made = self._allocate(value, self._image(value, abs(block)))
            if made.image == plain.image and value.dtype == F32:
                return plain
            self._repack(value, plain, made, self.fills.get(value, 0) if fill is None else fill)
            self.turned[value, block] = made
        return self.turned[value, block]

    def _repack(self, value: Value, source: Blocked, out: Blocked, fill: int) -> None:
        def change(f: Function, read: Register) -> Register:
            return (hold if source.plain else release)(f, self.target, value.dtype, read)

        changed = change if source.plain != out.plain and value.dtype != F32 else None

        def functions(name: str) -> list[Function]:
            return repack(name, self.target, source.image, out.image, fill=fill, change=changed, internal=False)

        self.made.append(template(out.value, [source.value], [source.argument, out.argument], functions))

    def _emit_part(self, step: Compute) -> None:
        source, channel = self._part(step) or (step.output, 0)
        whole, part = self.blocked[step.output], self.blocked[source]
        if part.value is whole.value:
            return
        held = Blocked(self._within(whole.image, source), whole.value, self._offset(whole.image, channel))
        self._repack(source, part, held, self.fills.get(step.output, 0))

    def _emit_map(self, step: Compute) -> None:
        """Elementwise work: the first image that is read goes in as the accumulator."""
        operands = _loads_of(step.body)
        first = next(i for i in operands if _operand_kind(step, i) == "image" and i.value.source in self.blocked)
        places, pointers = self._operands(step, [item for item in operands if item is not first])
        source, out = self._make_blocked(first.value.source, self.lanes), self.blocked[step.output]
        tail = self._tail(step, first, places, out)
        fill = self.fills.get(step.output, 0)

        def functions(name: str) -> list[Function]:
            return _clearing(name, out.image, fill, 1, lambda n: mapped(n, self.target, source.image, out.image, tail))

        reads = [source.value, *(argument.value for argument in pointers)]
        arguments = [source.argument, out.argument, *pointers]
        self.made.append(template(out.value, reads, arguments, functions, node=step.node))

    def _tail(self, step: Compute, leaf: Expr, places: Sequence[tuple[Expr, Place]], out: Blocked | None) -> Tail:
        """The tail of a step; `out` is None where its results go to plain memory."""
        images = [item for item, _ in places if _operand_kind(step, item) == "image"]
        held = [*images, leaf] if out is None else [*images, leaf, step.body]
        return tail_of(self.target, step.body, leaf, places, held)

    def _operands(self, step: Compute, items: Sequence[Expr]) -> tuple[list[tuple[Expr, Place]], list[Argument]]:
        """Where the operands of a tail lie beside an image, and pointers to them."""
        places: list[tuple[Expr, Place]] = []
        pointers: list[Argument] = []
        for item in items:
            value = item.value.source
            offset = flatten(item.value.indices, value.shape)
            kind = _operand_kind(step, item)
            if kind == "image":
                blocked = self._make_blocked(value, self.lanes)
                places.append((item, blocked.image.place()))
                pointers.append(blocked.argument)
            elif kind == "single":
                self._make_plain(value)
                places.append((item, Place((0, 0, 0, 0), 0, storage_type(value.dtype))))
                pointers.append(Argument(value, offset.constant * value.dtype.itemsize))
            else:
                self._make_plain(value)
                places.append((item, Place((0, self.lanes, 0, 0), 1, storage_type(value.dtype))))
                stride = offset.stride(step.axes[1]) or 0
                pointers.append(self._per_channel(value, offset.constant, stride, step.axes[1].extent))
        return places, pointers

    def _per_channel(self, value: Value, start: int, stride: int, channels: int) -> Argument:
        """A vector with an element per channel, filled up to whole vectors."""
        array = self.tables.get(value)
        if array is None:
            return Argument(value, start * value.dtype.itemsize)
        key = (value, start, stride)
        if key not in self.padded:
            chosen = array.reshape(-1)[start : start + stride * channels : stride]
            self.padded[key] = self.channels(f"{value.name}.channels", chosen)
        return Argument(self.padded[key])

    def channels(self, stem: str, array: Array) -> Value:
        """A constant with an element per channel, filled up to whole vectors."""
        filled = np.zeros(-(-array.size // self.lanes) * self.lanes, array.dtype)
        filled[: array.size] = array
        return self.table(stem, filled)

    def table(self, stem: str, array: Array) -> Value:
        """A constant of the region."""
        value = self.names.fresh(stem, TensorType(array.dtype, array.shape))
        self.tables[value] = array
        return value

    # -- contractions ------------------------------------------------------------------------------------------

    def _emit_sliding(self, step: Compute, leaf: Expr, sliding: Sliding) -> None:
        whole = sliding.kind.startswith("whole")
        channels = sliding.source.shape[1]
        few = sliding.kind == "conv" and channels <= FEW and sliding.source not in self.blocked
        block = (FEW if sliding.quantized else channels) if few else self.lanes
        source = self._make_blocked(sliding.source, block, self._fill(sliding) if sliding.kind == "conv" else None)
        places, pointers = self._operands(step, operands_of(step.body, leaf))
        tail = self._tail(step, leaf, places, None if whole else self.blocked[step.output])
        if whole:
            self._emit_whole(step, sliding, source, tail, pointers)
            return
        out = self.blocked[step.output]
        if sliding.kind == "conv":
            self._emit_conv(step, sliding, source, out, tail, pointers)
            return
        # Convolutions have returned above: the kind is one of a pool.
        problem = Pool(source.image, out.image, sliding.window, sliding.kind, sliding.padded)  # type: ignore[arg-type]
        self._add(step, [source.argument], [], out, pointers, lambda name: pool(name, self.target, problem, tail))

    def _emit_whole(
        self, step: Compute, sliding: Sliding, source: Blocked, tail: Tail, pointers: Sequence[Argument]
    ) -> None:
        kind = "max" if sliding.kind == "whole max" else "average"
        tail = replace(tail, operands=tuple(replace(p, strides=p.strides[:2]) for p in tail.operands))
        place = Place((source.image.channels, self.lanes), 1, storage_type(step.output.dtype))

        def functions(name: str) -> list[Function]:
            # `kind` is one of the two literals.
            return whole_pool(name, self.target, source.image, place, kind, tail, internal=False)  # type: ignore[arg-type]

        reads = [source.value, *(argument.value for argument in pointers)]
        arguments = [source.argument, Argument(step.output), *pointers]
        self.plain.add(step.output)
        self.made.append(template(step.output, reads, arguments, functions, node=step.node))

    def _emit_conv(
        self, step: Compute, sliding: Sliding, source: Blocked, out: Blocked, tail: Tail, pointers: Sequence[Argument]
    ) -> None:
        assert sliding.weights is not None
        weights, target = self.tables[sliding.weights], self.target
        small = sliding.quantized is not None and largest_sum(weights, sliding.source.dtype, target) < 1 << 25
        source, window = self._without_steps(step, sliding, source, out)
        problem = conv.Conv(source.image, out.image, window, sliding.groups, small)
        if sliding.quantized is not None:
            tail, before = self._dequantizing(sliding, weights, tail)
            pointers = [*before, *pointers]
        alone = sliding.groups == source.image.channels == out.image.channels and source.image.block == self.lanes
        room, whole = 0, True
        if alone and sliding.groups > 1:
            single = depthwise.Depthwise(source.image, out.image, window)
            plan = self.choices(single)
            packed = depthwise.pack(weights, single)
            make: Functions = lambda name: depthwise.depthwise(name, target, single, plan, tail)  # noqa: E731
        elif isinstance(schedule := self.choices(problem), winograd.Schedule):
            filtered = schedule
            packed = winograd.pack(weights, problem, target, filtered)
            room = winograd.scratch_bytes(problem, filtered)
            make = lambda name: winograd.winograd(name, target, problem, filtered, tail)  # noqa: E731
        else:
            packed = conv.pack(weights, problem, target, schedule)
            whole = schedule.split >= source.image.blocks
            make = lambda name: conv.conv(name, target, problem, schedule, tail)  # noqa: E731
        table = self.table(f"{sliding.weights.name}.packed", packed)
        scratch = self.names.fresh(f"{step.output.name}.scratch", tensor("uint8", room)) if room else None
        last = Argument(scratch or table)
        self._add(step, [source.argument, Argument(table)], [last], out, pointers, make, scratch, whole)

    def _without_steps(self, step: Compute, sliding: Sliding, source: Blocked, out: Blocked) -> tuple[Blocked, Window]:
        """For a window of one element that steps over others, the elements that it sees, side by side: those are one
        row, which is cut into blocks without waste."""
        window, image = sliding.window, source.image
        if window.taps > 1 or window.stride == (1, 1) or any(window.pads) or image.block != self.lanes:
            return source, window
        height, width = out.image.height, out.image.width
        seen = Image(image.channels, height, width, image.block, batch=image.batch, scalar=image.scalar)
        held = self._allocate(sliding.source, seen)
        problem = Pool(image, seen, window, "max")  # the greatest of one element is that element

        def functions(name: str) -> list[Function]:
            return pool(name, self.target, problem, internal=False)

        self.made.append(
            template(held.value, [source.value], [source.argument, held.argument], functions, node=step.node)
        )
        return held, Window((1, 1))

    def _fill(self, sliding: Sliding) -> int:
        """What stands for zero in the memory of a convolution's source."""
        if sliding.quantized is None:
            return 0
        return held_number(self.target, sliding.source.dtype, sliding.quantized.zero_point)

    def _dequantizing(self, sliding: Sliding, weights: Array, tail: Tail) -> tuple[Tail, list[Argument]]:
        """The tail of sums of bytes, and the two vectors by channel that it needs."""
        assert sliding.quantized is not None
        assert sliding.weights is not None
        totals = weights.astype(np.int64).sum(axis=(1, 2, 3)) * self._fill(sliding)
        if sliding.quantized.bias is not None:
            totals = totals - sliding.quantized.bias
        shift = self.channels(f"{sliding.weights.name}.shift", totals.astype(np.int32))
        scale = self.channels(f"{sliding.weights.name}.scale", sliding.quantized.scale)
        places = (Place((0, self.lanes, 0, 0), 1, kind) for kind in (I32, FLOAT))
        return dequantizing(tail, *places), [Argument(shift), Argument(scale)]

    def _add(
        self,
        step: Compute,
        before: Sequence[Argument],
        after: Sequence[Argument],
        out: Blocked,
        pointers: Sequence[Argument],
        make: Functions,
        scratch: Value | None = None,
        whole: bool = True,
    ) -> None:
        """The step of a kernel `(before..., out, operands..., after...)`, which clears its output's halo first.

        `whole`: each of its elements is written once, so that it may take the place of an operand.
        """
        arguments = [*before, out.argument, *pointers, *after]
        reads = [a.value for a in (*before, *pointers)]
        held = {image.value: image for image in self.blocked.values()}

        def alike(pointer: Argument) -> bool:
            """Whether an operand lies as the output does."""
            operand = held.get(pointer.value)
            return operand is not None and (operand.image, operand.offset) == (out.image, out.offset) == (out.image, 0)

        def functions(name: str) -> list[Function]:
            return _clearing(name, out.image, self.fills.get(step.output, 0), len(before), make)

        over = [pointer.value for pointer in pointers if alike(pointer)] if whole else []
        self.made.append(template(out.value, reads, arguments, functions, scratch, step.node, over))


def _clearing(name: str, out: Image, fill: int, position: int, make: Functions) -> list[Function]:
    """A kernel that fills the halo of its parameter number `position` before it does its work."""
    functions = make(f"{name}.work")
    work = functions[-1]
    entry = Function(name, [(key, "ptr") for key, _ in work.parameters], attributes="nounwind")
    arguments = [entry[key] for key, _ in work.parameters]
    with by_caller(entry):
        clear_halo(entry, out, arguments[position], fill)
    entry.invoke(work, arguments)
    entry.division = work.division
    return [*functions, entry]


def _loads_of(body: Expr) -> list[Expr]:
    """Every load of an expression, as expressions."""
    return [body] if body.op == "load" else operands_of(body, Expr("nothing", F32))


def _whole(step: Compute) -> bool:
    """Whether a step computes its output in order, every element."""
    return step.at is None and step.output.shape == tuple(axis.extent for axis in step.axes)
