"""Choosing kernel, packing and schedule of each step that works on images.

Images are turned to and from plain memory only where another kind of step needs that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from heddle.backends.llvm.choices import BFLOAT16, Choices
from heddle.backends.llvm.convolutions import F32, Sliding, sliding_of
from heddle.backends.llvm.fusion import read_by
from heddle.backends.llvm.held import hold, largest_sum, release
from heddle.backends.llvm.images import Blocked, Images, loads_of, operand_kind
from heddle.backends.llvm.requantizing import linear_part, simplified
from heddle.backends.llvm.tails import less, operands_of, scaled, scaled_and_shifted, tail_of
from heddle.core.codegen.affine import Affine, flatten, unflatten
from heddle.core.codegen.kernels import conv, depthwise, tiled, winograd
from heddle.core.codegen.kernels.image import Image, Window, per_channel
from heddle.core.codegen.kernels.layout import clear_halo, repack
from heddle.core.codegen.kernels.mapped import mapped
from heddle.core.codegen.kernels.pool import Pool, pool, whole_pool
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Step
from heddle.core.codegen.narrow import storage_type, to_storage
from heddle.core.codegen.pieces import by_caller
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, Functions, template
from heddle.core.codegen.tensor import Check, Compute, load, part
from heddle.core.codegen.values import BF16, I32
from heddle.core.codegen.values import Value as Register
from heddle.core.ir import Graph, Names, TensorType, Value, tensor
from heddle.core.ops.scalar import Expr, const
from numpy.typing import NDArray

Array = NDArray[Any]
FEW = 4
"""As many channels as this lie side by side in a first layer's input, instead of filling a part of a vector."""


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
        self.images = Images(graph, self.steps, names, target)
        self.turned: dict[tuple[Value, int], Blocked] = {}
        self.plain = {*graph.inputs, *tables}
        self.made: list[Step] = []
        self.padded: dict[tuple[Value, int, int], Value] = {}
        self.copies: dict[tuple[Value, int, Image, int], Blocked] = {}

    def run(self) -> list[Step]:
        """Steps in which every contraction over images is a kernel."""
        if not any(isinstance(step, Compute) and sliding_of(step) for step in self.steps):
            return self.steps
        for step in self.steps:
            self._emit(step)
        for value in self.graph.outputs:
            self._make_plain(value)
        return self.made

    # -- steps -------------------------------------------------------------------------------------------------

    def _emit(self, step: Step) -> None:
        if isinstance(step, Compute):
            found = sliding_of(step)
            if found is not None:
                self._emit_sliding(step, *found)
                return
            if step.output in self.images.blocked:
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
        if value in self.plain or value not in self.images.blocked:
            return
        self.plain.add(value)
        self._repack(value, self.images.blocked[value], self.images.plain(value), 0)

    def _make_blocked(self, value: Value, block: int, fill: int | None = None) -> Blocked:
        """A value in blocks, made from plain memory where it is not there yet; `fill` is what its halo must hold."""
        found = self.images.blocked.get(value)
        if found is not None and found.image.block == block:
            if fill in (None, self.images.fills.get(value, 0)) or not any(found.image.halo):
                return found
            block = -block  # a copy of its own, with another halo
        if (value, block) not in self.turned:
            self._make_plain(value)
            plain = self.images.plain(value)
            made = self.images.allocate(value, self.images.image(value, abs(block)))
            if made.image == plain.image and value.dtype == F32:
                return plain
            self._repack(value, plain, made, self.images.fills.get(value, 0) if fill is None else fill)
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
        source, channel = self.images.part(step) or (step.output, 0)
        whole, part = self.images.blocked[step.output], self.images.blocked[source]
        if part.value is whole.value:
            return
        held = Blocked(self.images.within(whole.image, source), whole.value, self.images.offset(whole.image, channel))
        self._repack(source, part, held, self.images.fills.get(step.output, 0))

    def _emit_map(self, step: Compute) -> None:
        """Elementwise work: the first image that is read goes in as the accumulator."""
        operands = loads_of(step.body)
        first = next(i for i in operands if operand_kind(step, i) == "image" and i.value.source in self.images.blocked)
        places, pointers = self._operands(step, [item for item in operands if item is not first])
        source, out = self._make_blocked(first.value.source, self.lanes), self.images.blocked[step.output]
        tail = self._tail(step, first, places, out)
        fill = self.images.fills.get(step.output, 0)

        def functions(name: str) -> list[Function]:
            return _clearing(name, out.image, fill, 1, lambda n: mapped(n, self.target, source.image, out.image, tail))

        reads = [source.value, *(argument.value for argument in pointers)]
        arguments = [source.argument, out.argument, *pointers]
        self.made.append(template(out.value, reads, arguments, functions, node=step.node))

    def _tail(self, step: Compute, leaf: Expr, places: Sequence[tuple[Expr, Place]], out: Blocked | None) -> Tail:
        """The tail of a step; `out` is None where its results go to plain memory."""
        images = [item for item, _ in places if operand_kind(step, item) == "image"]
        held = [*images, leaf] if out is None else [*images, leaf, step.body]
        return tail_of(self.target, step.body, leaf, places, held)

    def _operands(self, step: Compute, items: Sequence[Expr]) -> tuple[list[tuple[Expr, Place]], list[Argument]]:
        """Where the operands of a tail lie beside an image, and pointers to them."""
        places: list[tuple[Expr, Place]] = []
        pointers: list[Argument] = []
        for item in items:
            value = item.value.source
            offset = flatten(item.value.indices, value.shape)
            kind = operand_kind(step, item)
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
        if array is None and stride == 1 and channels % self.lanes == 0:
            return Argument(value, start * value.dtype.itemsize)
        key = (value, start, stride)
        if key not in self.padded and array is not None:
            chosen = array.reshape(-1)[start : start + stride * channels : stride]
            self.padded[key] = self.channels(f"{value.name}.channels", chosen)
        elif key not in self.padded:
            self.padded[key] = self._gathered(value, start, stride, channels)
        return Argument(self.padded[key])

    def _gathered(self, value: Value, start: int, stride: int, channels: int) -> Value:
        """What is computed for each channel, side by side, with room behind it for whole vectors to be read."""
        held = self.names.fresh(f"{value.name}.channels", tensor(value.dtype, self._filled(channels)))

        def body(channel: Affine) -> Expr:
            return load(value, *unflatten(channel * stride + start, value.shape))

        self.made.append(part(held, (channels,), lambda channel: (channel,), body))
        return held

    def _filled(self, channels: int) -> int:
        return -(-channels // self.lanes) * self.lanes

    def _absorbed(self, step: Compute, leaf: Expr, sliding: Sliding) -> tuple[Expr, Sliding]:
        """A larger part of a step for the sums of bytes to stand for: a constant added to them and a number that they
        are multiplied with go into their scale. Rounded otherwise, so not where sums are kept to their definition."""
        form = sliding.quantized
        if self.choices.strict or form is None or form.scale is None:
            return leaf, sliding
        part, added, factor = linear_part(step.body, leaf)
        constant = np.zeros(1, np.float32) if added is None else self._channels_of(step, added)
        if constant is None:
            return leaf, sliding
        with np.errstate(over="ignore"):
            scale, shift = ((x.astype(np.float64) * factor).astype(np.float32) for x in (form.scale, constant))
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            return leaf, sliding
        return part, replace(sliding, quantized=replace(form, scale=scale, shift=None if added is None else shift))

    def _channels_of(self, step: Compute, item: Expr) -> Array | None:
        """A constant with an element for each channel."""
        value, channels = item.value.source, step.axes[1]
        array = self.tables.get(value)
        if array is None or operand_kind(step, item) != "channel":
            return None
        offset = flatten(item.value.indices, value.shape)
        start, stride = offset.constant, offset.stride(channels) or 0
        return array.reshape(-1)[start : start + stride * channels.extent : stride]

    def _number(self, item: Expr) -> Expr | None:
        """The number that a load of a constant with one element gives."""
        array = self.tables.get(item.value.source)
        return None if array is None or array.size != 1 else const(array.item(), item.dtype)

    def _reciprocal(self, divisor: Expr) -> Expr | None:
        """What multiplies in place of a known divisor: rounded, so not where sums are kept to their definition."""
        if self.choices.strict or divisor.op != "const" or divisor.dtype != F32:
            return None
        with np.errstate(divide="ignore", over="ignore"):
            inverse = np.reciprocal(np.float32(divisor.value))
        return const(float(inverse), F32) if np.finfo(F32).tiny <= abs(inverse) < np.inf else None

    def channels(self, stem: str, array: Array) -> Value:
        """A constant with an element per channel, filled up to whole vectors."""
        filled = np.zeros(self._filled(array.size), array.dtype)
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
        few = sliding.kind == "conv" and channels <= FEW and sliding.source not in self.images.blocked
        block = (FEW if sliding.quantized or self._in_halves(sliding) else channels) if few else self.lanes
        fill = self.images.fill(sliding) if sliding.kind == "conv" else None
        source = self._make_blocked(sliding.source, block, fill)
        if sliding.quantized is not None:
            step = replace(step, body=simplified(step.body, leaf, self._reciprocal, self._number))
            leaf, sliding = self._absorbed(step, leaf, sliding)
        places, pointers = self._operands(step, operands_of(step.body, leaf))
        tail = self._tail(step, leaf, places, None if whole else self.images.blocked[step.output])
        if whole:
            self._emit_whole(step, sliding, source, tail, pointers)
            return
        out = self.images.blocked[step.output]
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
        alone = alone and sliding.groups > 1
        if self._in_halves(sliding) and not alone:
            weights = weights.astype(BFLOAT16)
            problem = replace(problem, source=replace(source.image, scalar=BF16, outer=0))
        room, whole = 0, True
        if alone:
            single = depthwise.Depthwise(source.image, out.image, window)
            plan = self.choices(single)
            packed = depthwise.pack(weights, single, target, plan)
            make: Functions = partial(depthwise.depthwise, target=target, problem=single, schedule=plan, tail=tail)
        elif isinstance(schedule := self.choices(problem), tiled.Schedule):
            problem = tiled.interleaved(problem)
            packed = tiled.pack(weights, problem)
            make = partial(tiled.conv, target=target, problem=problem, schedule=schedule, tail=tail)
        elif isinstance(schedule, winograd.Schedule):
            packed = winograd.pack(weights, problem, target, schedule)
            room = winograd.scratch_bytes(problem, schedule)
            make = partial(winograd.winograd, target=target, problem=problem, schedule=schedule, tail=tail)
        else:
            packed = conv.pack(weights, problem, target, schedule)
            whole = schedule.split >= source.image.blocks
            make = partial(conv.conv, target=target, problem=problem, schedule=schedule, tail=tail)
        if not alone:
            source = self._copied(source, problem.source, self.images.fill(sliding))
        table = self.table(f"{sliding.weights.name}.packed", packed)
        scratch = self.names.fresh(f"{step.output.name}.scratch", tensor("uint8", room)) if room else None
        last = Argument(scratch or table)
        self._add(step, [source.argument, Argument(table)], [last], out, pointers, make, scratch, whole)

    def _copied(self, source: Blocked, wanted: Image, fill: int) -> Blocked:
        """An image as a kernel wants it, with channels side by side or in bfloat16, made once for all its readers."""
        if source.image == wanted:
            return source
        key = source.value, source.offset, wanted, fill
        if key not in self.copies:
            narrowed = source.image.scalar != wanted.scalar
            dtype = BFLOAT16 if narrowed else source.value.dtype
            held = Blocked(wanted, self.names.fresh(f"{source.value.name}.copy", TensorType(dtype, (wanted.size,))))
            change = self._narrowed if narrowed else None

            def functions(name: str) -> list[Function]:
                return repack(name, self.target, source.image, wanted, fill=fill, change=change, internal=False)

            self.made.append(template(held.value, [source.value], [source.argument, held.argument], functions))
            self.copies[key] = held
        return self.copies[key]

    def _narrowed(self, f: Function, value: Register) -> Register:
        return to_storage(f, self.target, BFLOAT16, value)

    def _in_halves(self, sliding: Sliding) -> bool:
        """Whether a convolution's products are of bfloat16."""
        return self.choices.halves and sliding.quantized is None

    def _without_steps(self, step: Compute, sliding: Sliding, source: Blocked, out: Blocked) -> tuple[Blocked, Window]:
        """For a window of one element that steps over others, the elements that it sees, side by side: those are one
        row, which is cut into blocks without waste."""
        window, image = sliding.window, source.image
        if window.taps > 1 or window.stride == (1, 1) or any(window.pads) or image.block != self.lanes:
            return source, window
        height, width = out.image.height, out.image.width
        seen = Image(image.channels, height, width, image.block, batch=image.batch, scalar=image.scalar)
        held = self.images.allocate(sliding.source, seen)
        problem = Pool(image, seen, window, "max")  # the greatest of one element is that element

        def functions(name: str) -> list[Function]:
            return pool(name, self.target, problem, internal=False)

        self.made.append(
            template(held.value, [source.value], [source.argument, held.argument], functions, node=step.node)
        )
        return held, Window((1, 1))

    def _dequantizing(self, sliding: Sliding, weights: Array, tail: Tail) -> tuple[Tail, list[Argument]]:
        """The tail of sums of bytes, and the vectors by channel that it needs."""
        assert sliding.quantized is not None
        assert sliding.weights is not None
        totals = weights.astype(np.int64).sum(axis=(1, 2, 3)) * self.images.fill(sliding)
        if sliding.quantized.bias is not None:
            totals = totals - sliding.quantized.bias
        pointers = [Argument(self.channels(f"{sliding.weights.name}.shift", totals.astype(np.int32)))]
        if sliding.quantized.scale is not None:
            pointers.append(Argument(self.channels(f"{sliding.weights.name}.scale", sliding.quantized.scale)))
            if sliding.quantized.shift is not None:
                pointers.append(Argument(self.channels(f"{sliding.weights.name}.bias", sliding.quantized.shift)))
                tail = scaled_and_shifted(tail, per_channel(self.lanes), per_channel(self.lanes))
            else:
                tail = scaled(tail, per_channel(self.lanes))
        return less(tail, per_channel(self.lanes, I32)), pointers

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
        held = {image.value: image for image in self.images.blocked.values()}

        def alike(pointer: Argument) -> bool:
            """Whether an operand lies as the output does."""
            operand = held.get(pointer.value)
            return operand is not None and (operand.image, operand.offset) == (out.image, out.offset) == (out.image, 0)

        def functions(name: str) -> list[Function]:
            return _clearing(name, out.image, self.images.fills.get(step.output, 0), len(before), make)

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
