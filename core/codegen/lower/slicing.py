"""Tensors cut, joined, padded and repeated along their axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from heddle.core.codegen.affine import Affine
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, indirect, load, position
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr, cast, const, maximum, minimum, where
from heddle.core.ops.slicing import slice_of


@lowers("Slice")
def slice_(op: Lowering) -> None:
    rank = len(op[0].shape)
    given = op.known(3)
    if op.operand(3) is not None and given is None:
        raise op.refuse("the list of axes is computed when the model runs, and must be constant")
    axes = [int(a) % rank for a in given.reshape(-1)] if given is not None else list(range(op[1].shape[0]))
    begin: list[Affine] = [Affine() for _ in range(rank)]
    step: list[int] = [1] * rank
    for number, at in enumerate(axes):
        begin[at], step[at] = _start(op, number, at)

    def body(*indices: Affine) -> Expr:
        return load(op[0], *(b + i * s for b, i, s in zip(begin, indices, step, strict=True)))

    op.compute(op.output, body)


def _start(op: Lowering, number: int, at: int) -> tuple[Affine, int]:
    """The first element along an axis and the step; a start that is only known when the model runs must fit."""
    starts, ends = op.known(1), op.known(2)
    steps = op.known(4) if op.operand(4) is not None else np.ones(len(op[1].shape) and op[1].shape[0], np.int64)
    if steps is None:
        raise op.refuse("the steps are computed when the model runs, and must be constant")
    size, step = op[0].shape[at], int(steps.reshape(-1)[number])
    if starts is not None and ends is not None:
        cut = slice_of(size, int(starts.reshape(-1)[number]), int(ends.reshape(-1)[number]), step)
        return Affine((), cut.start if size else 0), step
    start, end = (cast(load(op[i], number), I64) for i in (1, 2))
    start, end = (where(x < 0, x + size, x) for x in (start, end))
    low, high = (0, size) if step > 0 else (-1, size - 1)
    first = maximum(minimum(start, high), 0)
    last = maximum(minimum(end, high), low)
    count = maximum((last - first + (step - (1 if step > 0 else -1))) / step, 0)
    made = op.output.shape[at]
    op.check([], count.differs(made), f"axis {at} gives not {made} elements, for which the model was compiled")
    most = size - (made - 1) * step if step > 0 else size
    return indirect(minimum(first, max(most - 1, 0)), size), step


@lowers("Concat")
def concat(op: Lowering) -> None:
    at = op.attrs["axis"] % len(op.output.shape)
    offset = 0
    for value in op.node.operands:
        place_in(op, op.output, value, at, offset)
        offset += value.shape[at]


def place_in(op: Lowering, output: Value, source: Value, at: int, offset: int) -> None:
    """Copy a value into an output, from an offset of one axis on."""

    def target(*indices: Affine) -> list[Affine]:
        return [i + offset if number == at else i for number, i in enumerate(indices)]

    op.part(output, source.shape, target, lambda *indices: load(source, *indices))


@lowers("Split")
def split(op: Lowering) -> None:
    at = op.attrs["axis"] % len(op[0].shape)
    offset = 0
    if op.operand(1) is not None and op.known(1) is None and any(value is None for value in op.node.outputs):
        raise op.refuse("the sizes are computed when the model runs, and an output is not used")
    sizes = op.known(1)
    every = op.node.outputs
    for number, value in enumerate(every):
        if value is not None:
            _window(op, value, at, offset)
            offset += value.shape[at]
        elif sizes is not None:
            offset += int(sizes.reshape(-1)[number])
        else:
            offset += -(-op[0].shape[at] // (op.attrs["num_outputs"] or len(every)))


def _window(op: Lowering, output: Value, at: int, offset: int) -> None:
    def body(*indices: Affine) -> Expr:
        return load(op[0], *(i + offset if number == at else i for number, i in enumerate(indices)))

    op.compute(output, body)


@lowers("Pad")
def pad(op: Lowering) -> None:
    source, rank = op[0], len(op[0].shape)
    pads = [int(p) for p in op.demand(1, "the list of pads").reshape(-1)]
    if op.operand(3) is not None:
        axes = [int(a) % rank for a in op.demand(3, "the list of axes").reshape(-1)]
    else:
        axes = list(range(rank))
    before = [0] * rank
    after = [0] * rank
    for at, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        before[at], after[at] = low, high
    mode = op.attrs["mode"]
    if mode == "constant":
        given = op.operand(2)
        fill = const(0, source.dtype) if given is None else load(given, *(0 for _ in given.shape))
        padded(op, op.output, source, before, after, fill)
        return
    cut = [max(-b, 0) for b in before]
    kept = [n - c - max(-a, 0) for n, c, a in zip(source.shape, cut, after, strict=True)]
    if min(kept, default=1) <= 0:
        raise op.refuse(f"mode {mode!r} cannot pad an axis without elements")

    def body(*indices: Affine) -> Expr:
        inside = [_mirrored(i - max(b, 0), n, mode) + c for i, b, n, c in zip(indices, before, kept, cut, strict=True)]
        return load(source, *inside)

    op.compute(op.output, body)


def _mirrored(index: Affine, size: int, mode: str) -> Affine:
    """The element that stands for one beyond the border."""
    if index.low >= 0 and index.high < size:
        return index
    if mode == "wrap":
        return index % size
    if mode == "edge" or size == 1:
        return indirect(position(index), size)
    turn = index % (2 * size - 2)
    return indirect(minimum(position(turn), position(2 * size - 2 - turn)), size)


def padded(
    op: Lowering, output: Value, source: Value, before: Sequence[int], after: Sequence[int], fill: Expr
) -> Value:
    """A value with a border of one number; a negative border cuts. Gives the output."""
    cut = [max(-b, 0) for b in before]
    kept = [max(n - c - max(-a, 0), 0) for n, c, a in zip(source.shape, cut, after, strict=True)]
    if any(b > 0 for b in before) or any(a > 0 for a in after) or math.prod(kept) == 0:
        op.compute(output, lambda *indices: fill)

    def target(*indices: Affine) -> list[Affine]:
        return [i + max(b, 0) for i, b in zip(indices, before, strict=True)]

    def body(*indices: Affine) -> Expr:
        return load(source, *(i + c for i, c in zip(indices, cut, strict=True)))

    op.part(output, kept, target, body)
    return output


@lowers("CenterCropPad")
def center_crop_pad(op: Lowering) -> None:
    rank = len(op[0].shape)
    before, after = [0] * rank, [0] * rank
    for at in range(rank):
        have, want = op[0].shape[at], op.output.shape[at]
        low = -((have - want) // 2) if want <= have else (want - have) // 2
        before[at], after[at] = low, want - have - low
    padded(op, op.output, op[0], before, after, const(0, op.output.dtype))


@lowers("Trilu")
def trilu(op: Lowering) -> None:
    given = op.operand(1)
    diagonal = const(0, I64) if given is None else cast(load(given, *(0 for _ in given.shape)), I64)

    def body(*indices: Affine) -> Expr:
        distance = position(indices[-1] - indices[-2])
        keep = distance >= diagonal if op.attrs["upper"] else distance <= diagonal
        return where(keep, load(op[0], *indices), const(0, op.output.dtype))

    op.compute(op.output, body)


@lowers("ReverseSequence")
def reverse_sequence(op: Lowering) -> None:
    batch, time = op.attrs["batch_axis"], op.attrs["time_axis"]

    def body(*indices: Affine) -> Expr:
        length = cast(load(op[1], indices[batch]), I64)
        here = position(indices[time])
        source = where(here < length, length - here - 1, here)
        moved = indirect(source, op[0].shape[time])
        return load(op[0], *(moved if number == time else i for number, i in enumerate(indices)))

    op.compute(op.output, body)
