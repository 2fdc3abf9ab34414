"""Recognising matrix products among computations, whatever order their elements lie in, and choosing their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from heddle.backends.llvm import matrices
from heddle.backends.llvm.choices import BFLOAT16, Choices
from heddle.backends.llvm.matrices import Schedule
from heddle.backends.llvm.tails import fits, operands_of, tail_of
from heddle.core.codegen.affine import Affine, Axis, flatten, unflatten
from heddle.core.codegen.kernels import gemm, tiled
from heddle.core.codegen.kernels.tail import Place
from heddle.core.codegen.lower import Step
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, template
from heddle.core.codegen.tensor import Compute, Load, load, part, walk
from heddle.core.codegen.values import BF16
from heddle.core.ir import Names, TensorType, Value, tensor
from heddle.core.ops.scalar import Expr, cast, const
from numpy.typing import NDArray

F32 = np.dtype(np.float32)
Array = NDArray[Any]


@dataclass(frozen=True)
class Strided:
    """A tensor as it is read or written: where it begins and its step along each axis, in elements."""

    value: Value
    origin: int
    steps: dict[Axis, int]


@dataclass(frozen=True, eq=False)
class Product:
    """A sum of products over `depth`: `left` varies along `rows`, `right` along `columns`, both along `batch`.

    `body` is the whole expression, `leaf` the sum in it, `operands` what else is read.
    """

    left: Strided
    right: Strided
    out: Strided
    rows: list[Axis]
    columns: list[Axis]
    batch: list[Axis]
    depth: Axis
    body: Expr
    leaf: Expr
    operands: list[tuple[Expr, Strided]]


def match_product(step: Compute) -> Product | None:
    """The product that a computation is, with a tail around it; None if it is none that a kernel takes."""
    leaves = {id(item): item for item in walk(step.body) if item.op == "fold"}
    if len(leaves) != 1 or step.output.dtype != F32:
        return None
    (leaf,) = leaves.values()
    factors = _factors(leaf)
    if factors is None or not fits(step.body, leaf):
        return None
    if any(axis.extent == 0 for axis in (*step.axes, *leaf.value.axes)):
        return None
    outer = [axis for axis in step.axes if axis.extent != 1]
    inner = [axis for axis in leaf.value.axes if axis.extent != 1] or list(leaf.value.axes[:1])
    if len(inner) != 1:
        return None
    everything = [*outer, *inner]
    left, right = (_strided(factor.value, everything) for factor in factors)
    out = located(step.output, flatten(step.target, step.output.shape), outer)
    operands = [(item, _strided(item.value, outer)) for item in operands_of(step.body, leaf)]
    if left is None or right is None or out is None or any(s is None or s.value.dtype != F32 for _, s in operands):
        return None
    known = [(item, strided) for item, strided in operands if strided is not None]
    rows = [a for a in outer if left.steps[a] and not right.steps[a]]
    columns = [a for a in outer if right.steps[a] and not left.steps[a]]
    batch = [a for a in outer if left.steps[a] and right.steps[a]]
    if not rows and not columns:
        return None  # no element is read twice: loops walk along the sums as quickly
    if len(rows) + len(columns) + len(batch) != len(outer):
        return None
    if not any(out.steps[a] == 1 for a in columns) and (columns or any(out.steps[a] == 1 for a in rows)):
        if not any(out.steps[a] == 1 for a in rows):
            return None
        left, right, rows, columns = right, left, columns, rows
    return Product(left, right, out, rows, columns, batch, inner[0], step.body, leaf, known)


def _factors(leaf: Expr) -> tuple[Expr, Expr] | None:
    """The two loads whose products are summed, in float32."""
    initial, body = leaf.args
    meaning = leaf.value.combine
    adds = meaning.op == "add" and sorted(arg.value for arg in meaning.args if arg.op == "arg") == [0, 1]
    if not adds or initial.op != "const" or initial.value != 0 or body.op != "mul" or body.dtype != F32:
        return None
    a, b = body.args
    return (a, b) if a.op == b.op == "load" else None


def _strided(load: Load, axes: Sequence[Axis]) -> Strided | None:
    return located(load.source, flatten(load.indices, load.source.shape), axes)


def located(value: Value, offset: Affine, axes: Sequence[Axis]) -> Strided | None:
    """The steps of an offset; None if it is more than a sum of multiples of these axes."""
    if any(not isinstance(atom, Axis) or atom not in axes for atom, _ in offset.terms):
        return None
    return Strided(value, offset.constant, {axis: offset.stride(axis) or 0 for axis in axes})


# -- kernels -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dimension:
    """Axes of a product that are walked as one: its extent and the innermost axis, whose steps are its own."""

    extent: int
    axis: Axis


class Products:
    """Makes the steps that compute products by kernels; remembers left operands that were rounded for several."""

    def __init__(self, tables: dict[Value, Array], names: Names, target: Target, choices: Choices) -> None:
        self.tables, self.names, self.target, self.choices = tables, names, target, choices
        self.rounded: dict[tuple[Any, ...], Value] = {}

    def steps(self, step: Compute) -> list[Step] | None:
        """The steps that compute a product; None if it is none, or lies in memory as no kernel takes it."""
        product = match_product(step)
        if product is None:
            return None
        tensors = [product.left, product.right, product.out, *(strided for _, strided in product.operands)]
        rows = _merged(product.rows, product.out, tensors)
        columns = _merged(product.columns, product.out, tensors)
        n = columns.pop() if columns else None
        m = max(rows, key=lambda d: d.extent, default=None)
        batch = [*_merged(product.batch, product.out, tensors), *columns, *(d for d in rows if d is not m)]
        right, constant = product.right, self.tables.get(product.right.value)
        b = (right.steps[product.depth], right.steps[n.axis] if n else 1)
        if constant is None and 1 not in b:
            return None
        lanes = [(item, s, s.steps[n.axis] if n else 0) for item, s in product.operands]
        if any(lane not in (0, 1) for _, _, lane in lanes):
            return None
        where = [*batch, *([m] if m else [])]
        missing = () if m else (0,)

        def place(strided: Strided, lane: int) -> Place:
            return Place((*(strided.steps[d.axis] for d in where), *missing), lane, origin=strided.origin)

        problem = gemm.Gemm(
            m=m.extent if m else 1,
            n=n.extent if n else 1,
            k=product.depth.extent,
            a=(product.left.steps[m.axis] if m else 0, product.left.steps[product.depth]),
            out=place(product.out, 1),
            b=None if constant is not None else b,
            batch=tuple(d.extent for d in batch),
            a_batch=tuple(product.left.steps[d.axis] for d in batch),
            b_batch=tuple(right.steps[d.axis] for d in batch),
        )
        places = [(item, place(strided, lane)) for item, strided, lane in lanes]
        tail = tail_of(self.target, product.body, product.leaf, places)
        left, origin = product.left.value, product.left.origin * 4
        before: list[Step] = []
        if constant is not None and self.choices.halves:
            left, problem, before = self._halved(product.left, product.depth, where, problem)
            origin = 0
        schedule: Schedule = self.choices(problem)
        weights, offset = right.value, right.origin * 4
        if constant is not None:
            packed, steps = self._packed(constant, right, batch, product.depth, n, problem, schedule)
            weights = self.names.fresh(f"{right.value.name}.packed", TensorType(packed.dtype, packed.shape))
            self.tables[weights] = packed
            offset = 0
            problem = replace(problem, b_batch=steps)
        room = gemm.scratch_bytes(self.target, problem)
        scratch = self.names.fresh(f"{step.output.name}.scratch", tensor("uint8", room)) if room else None
        operands = [item.value.source for item, _ in places]
        arguments = [
            Argument(left, origin),
            Argument(weights, offset),
            Argument(step.output),
            *map(Argument, operands),
            Argument(scratch or step.output),
        ]
        # Partial sums would wait there while the operand is still to be read.
        at_once = isinstance(schedule, tiled.Schedule) or schedule.depth >= problem.k
        made = template(
            step.output,
            [left, weights, *operands],
            arguments,
            lambda name: matrices.product(name, self.target, problem, schedule, tail),
            scratch,
            step.node,
            [item.value.source for item, where in places if where == problem.out and at_once],
        )
        return [*before, made]

    def _halved(
        self, left: Strided, depth: Axis, where: Sequence[_Dimension], problem: gemm.Gemm
    ) -> tuple[Value, gemm.Gemm, list[Step]]:
        """A left operand rounded to bfloat16, row by row, its rows filled up to whole steps; the product of that; and
        the steps that make it, if it is not there yet."""
        filled = depth.extent + depth.extent % 2
        moving = [d for d in where if left.steps[d.axis]]
        shape = (*(d.extent for d in moving), filled)
        strides = [left.steps[d.axis] for d in moving]
        key = (left.value, left.origin, shape, *strides, left.steps[depth])
        before: list[Step] = []
        if key not in self.rounded:
            held = self.names.fresh(f"{left.value.name}.rounded", TensorType(BFLOAT16, shape))
            self.rounded[key] = held

            def element(*indices: Affine) -> Expr:
                flat = Affine((), left.origin)
                for index, stride in zip(indices, (*strides, left.steps[depth]), strict=True):
                    flat = flat + index * stride
                return cast(load(left.value, *unflatten(flat, left.value.shape)), BFLOAT16)

            before.append(part(held, (*shape[:-1], depth.extent), lambda *indices: indices, element))
            if filled > depth.extent:
                nothing = const(0.0, BFLOAT16)
                last = part(held, shape[:-1], lambda *indices: (*indices, depth.extent), lambda *_: nothing)
                before.append(last)
        dense = {d: prod(shape[i + 1 :]) for i, d in enumerate(moving)}
        steps = [dense.get(d, 0) for d in where]
        row = steps.pop() if len(steps) > len(problem.batch) else 0
        halved = replace(problem, k=filled, a=(row, 1), a_batch=tuple(steps), scalar=BF16)
        return self.rounded[key], halved, before

    def _packed(
        self,
        constant: Array,
        right: Strided,
        batch: Sequence[_Dimension],
        depth: Axis,
        n: _Dimension | None,
        problem: gemm.Gemm,
        schedule: Schedule,
    ) -> tuple[Array, tuple[int, ...]]:
        """A constant right operand packed, once for each step of the batch along which it varies; its steps there."""
        flat = np.ascontiguousarray(constant).reshape(-1)
        size = flat.itemsize
        varying = [d for d in batch if right.steps[d.axis]]
        shape = [d.extent for d in varying] + [depth.extent, n.extent if n else 1]
        strides = [right.steps[d.axis] * size for d in varying]
        strides += [right.steps[depth] * size, right.steps[n.axis] * size if n else size]
        view = np.lib.stride_tricks.as_strided(flat[right.origin :], shape, strides, writeable=False)
        parts = view.reshape(-1, *shape[-2:])
        if problem.scalar == BF16:
            parts = np.pad(parts, ((0, 0), (0, problem.k - depth.extent), (0, 0))).astype(BFLOAT16)
        packed, step = matrices.packed(parts, problem, self.target, schedule)
        steps: list[int] = []
        for d in reversed(batch):
            steps.insert(0, step if right.steps[d.axis] else 0)
            step *= d.extent if right.steps[d.axis] else 1
        return packed, tuple(steps)


def _merged(axes: Sequence[Axis], out: Strided, tensors: Sequence[Strided]) -> list[_Dimension]:
    """Axes in the order in which the output is written, those that run through every tensor evenly made one."""
    found: list[_Dimension] = []
    for axis in sorted(axes, key=lambda a: -abs(out.steps[a])):
        last = found[-1] if found else None
        if last and all(t.steps[last.axis] == t.steps[axis] * axis.extent for t in tensors):
            found[-1] = _Dimension(last.extent * axis.extent, axis)
        else:
            found.append(_Dimension(axis.extent, axis))
    return found
