"""Kernels for matrix products of bytes: constant right operands packed beforehand, computed ones by further steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from heddle.backends.llvm import matrices
from heddle.backends.llvm.choices import Choices
from heddle.backends.llvm.dots import INT32, Dot, Zero
from heddle.backends.llvm.matrices import Schedule
from heddle.backends.llvm.products import located
from heddle.backends.llvm.tails import fits, less, operands_of, tail_of
from heddle.core.codegen.affine import Affine, flatten
from heddle.core.codegen.kernels import gemm, tiles
from heddle.core.codegen.kernels.arithmetic import arithmetic_of
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Step
from heddle.core.codegen.lower.quantization import number
from heddle.core.codegen.narrow import storage_type
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, template
from heddle.core.codegen.tensor import Compute, load, part, walk
from heddle.core.codegen.values import I8, I16, I32
from heddle.core.ir import Names, Value, tensor
from heddle.core.ops.scalar import Expr, cast
from numpy.typing import NDArray

Array = NDArray[Any]


def dot_of(step: Compute) -> Expr | None:
    """The sums of products of bytes in a computation."""
    return next((item for item in walk(step.body) if item.op == "dot"), None)


def accepts_dot_tail(step: Compute) -> bool:
    """Whether a kernel can compute what stands around the sums in a step."""
    leaf = dot_of(step)
    if leaf is None or not fits(step.body, leaf, (I8, I32)):
        return False
    return _places(step, leaf) is not None


def _places(step: Compute, leaf: Expr) -> list[tuple[Expr, Place, int]] | None:
    """Where what else a step reads lies along (batch, row) and by column, and at which byte it begins; None if it is
    written or read in another order than the sums are in."""
    dot: Dot = leaf.value
    shape = (*dot.source.shape[:-1], dot.shape[-1])
    if step.at is not None or tuple(axis.extent for axis in step.axes) != shape or step.output.shape != shape:
        return None
    dense = {axis: prod(shape[i + 1 :]) for i, axis in enumerate(step.axes)}
    batch = len(dot.shape) - 2
    found = []
    for item in operands_of(step.body, leaf):
        value = item.value.source
        axes = [axis for axis in step.axes if axis.extent != 1]
        strided = located(value, flatten(item.value.indices, value.shape), axes)
        if strided is None:
            return None
        steps = {axis: strided.steps.get(axis, 0) for axis in step.axes}
        groups = (step.axes[:batch], step.axes[batch:-1], step.axes[-1:])
        strides = []
        for group in groups:
            wide = [axis for axis in group if axis.extent != 1]
            own, whole = [steps[axis] for axis in wide], [dense[axis] for axis in wide]
            inner = whole[-1] if whole else 1
            if any(own) and any(a * inner != b * own[-1] for a, b in zip(own, whole, strict=True)):
                return None
            strides.append(own[-1] if own else 0)
        *outer, column = strides
        if column not in (0, 1):
            return None
        kind = storage_type(value.dtype)
        found.append((item, Place((*outer[1 - bool(batch) :],), column, kind), strided.origin * kind.bits // 8))
    return found


def dot_kernels(
    steps: Sequence[Step], tables: dict[Value, Array], names: Names, target: Target, choices: Choices
) -> list[Step]:
    """The steps with every product of bytes done by a kernel, of bytes as the machine wants them."""
    maker = _Maker(tables, names, target, choices)
    made: list[Step] = []
    for step in steps:
        if isinstance(step, Compute) and (leaf := dot_of(step)) is not None:
            made += maker.steps(step, leaf)
        else:
            made.append(step)
    return made


class _Maker:
    """Makes the steps of products; remembers operands that were held for several."""

    def __init__(self, tables: dict[Value, Array], names: Names, target: Target, choices: Choices) -> None:
        self.tables, self.names, self.target, self.choices = tables, names, target, choices
        self.held: dict[tuple[Any, ...], Value] = {}

    def steps(self, step: Compute, leaf: Expr) -> list[Step]:
        dot: Dot = leaf.value
        places = _places(step, leaf)
        assert places is not None, f"{step.node}: {step} has no kernel"
        tail = tail_of(self.target, step.body, leaf, [(item, place) for item, place, _ in places])
        pointers = [Argument(item.value.source, start) for item, _, start in places]
        if dot.weights is not None:
            return self._by_constants(step, dot, dot.weights, tail, pointers)
        return self._by_computed(step, dot, tail, pointers)

    def _by_constants(
        self, step: Compute, dot: Dot, weights: Array, tail: Tail, pointers: list[Argument]
    ) -> list[Step]:
        target, source = self.target, dot.source
        narrow = target.vnni and weights.min() >= -128 and weights.max() <= 127
        scalar = I8 if narrow else I16
        depth, columns = dot.shape[-2:]
        each = arithmetic_of(target, scalar).depth
        filled = -(-depth // each) * each
        batch = dot.shape[:-2]
        rows = prod(source.shape[:-1]) // prod(batch)
        # Tiles take bytes as they are; few rows are better done by vectors.
        in_place = narrow and target.tiles_of_bytes and filled == depth and rows >= tiles.ROWS // 2
        a, made = (source, []) if in_place else self._left(source, filled, "uint8" if narrow else "int16", 0, step.node)
        problem = _problem(step, dot, filled, scalar, signed=in_place and source.dtype.name == "int8")
        if narrow and source.dtype.name == "int8" and not in_place:
            sums = weights.sum(axis=-2, dtype=np.int32) * 128
            excess = self._table(f"{step.output.name}.excess", sums)
            tail = less(tail, Place((*((columns,) if batch else ()), 0), 1, I32))
            pointers = [Argument(excess), *pointers]
        schedule: Schedule = self.choices(problem)
        parts = weights.reshape(-1, depth, columns).astype(np.int8 if narrow else np.int16)
        packed, panel = matrices.packed(parts, problem, target, schedule)
        problem = replace(problem, b_batch=(panel,) if batch else ())
        b = self._table(f"{step.output.name}.packed", packed)
        return [*made, self._product(step, problem, schedule, tail, a, b, pointers)]

    def _by_computed(self, step: Compute, dot: Dot, tail: Tail, pointers: list[Argument]) -> list[Step]:
        """Both sides become words less their zero points: no byte and no difference of two is longer than 9 bits."""
        depth, columns = dot.shape[-2:]
        arithmetic = arithmetic_of(self.target, I16)
        filled = -(-depth // arithmetic.depth) * arithmetic.depth
        wide = -(-columns // arithmetic.lanes) * arithmetic.lanes
        a, left = self._left(dot.source, filled, "int16", dot.zeros[0], step.node)
        b, right = self._right(dot, arithmetic.depth, wide, step.node)
        problem = _problem(step, dot, filled, I16)
        strides = (filled * wide,) if dot.shape[:-2] else ()
        problem = replace(problem, b=(arithmetic.depth * wide, 1), b_batch=strides)
        return [*left, *right, self._product(step, problem, self.choices(problem), tail, a, b, pointers)]

    def _product(
        self,
        step: Compute,
        problem: gemm.Gemm,
        schedule: Schedule,
        tail: Tail,
        a: Value,
        b: Value,
        pointers: Sequence[Argument],
    ) -> Step:
        reads = [a, b, *(pointer.value for pointer in pointers)]
        arguments = [Argument(a), Argument(b), Argument(step.output), *pointers, Argument(step.output)]

        def functions(name: str) -> list[Function]:
            return matrices.product(name, self.target, problem, schedule, tail)

        return template(step.output, reads, arguments, functions, None, step.node)

    def _left(self, source: Value, filled: int, kind: str, zero: Zero, node: str) -> tuple[Value, list[Step]]:
        """A left operand of bytes in words less a zero point, or of signed bytes in unsigned ones that are 128 greater;
        and the step that makes it, if it is not there yet.

        What fills up the last step of the reduction is left as it is: what it is multiplied with is zero.
        """
        key = (source, kind, zero)
        if key in self.held:
            return self.held[key], []
        held = self.held[key] = self.names.fresh(f"{source.name}.held", tensor(kind, *source.shape[:-1], filled))

        def body(*where: Any) -> Expr:
            element = load(source, *where)
            if kind == "uint8" and source.dtype.name == "int8":
                return cast(cast(element, INT32) + 128, held.dtype)
            return cast(element if zero == 0 else _centred(element, zero, None), held.dtype)

        return held, [part(held, source.shape, lambda *where: where, body, node)]

    def _right(self, dot: Dot, each: int, wide: int, node: str) -> tuple[Value, list[Step]]:
        """A right operand in words less its zero point, the `each` words of a step of one column side by side, rows
        filled up to whole vectors with whatever is there; and the steps that make it."""
        source, zero, (*batch, depth, columns) = dot.right, dot.zeros[1], dot.shape
        assert source is not None
        key = (source, "right", zero)
        if key in self.held:
            return self.held[key], []
        kind = "int32" if each == 2 else "int16"
        rows = -(-depth // each)
        held = self.held[key] = self.names.fresh(f"{source.name}.held", tensor(kind, *batch, rows, wide))
        single = [0] * (len(source.shape) - len(dot.shape))

        def word(*where: Any) -> Expr:
            *outer, k, column = where
            return _centred(load(source, *single, *outer, k, column), zero, column)

        def body(*where: Any) -> Expr:
            *outer, k, column = where
            if each == 1:
                return cast(word(*where), held.dtype)
            first, second = (word(*outer, k * 2 + i, column) for i in range(2))
            return (first & 0xFFFF) | second * (1 << 16)

        def last(*where: Any) -> Expr:
            *outer, column = where
            return word(*outer, depth - 1, column) & 0xFFFF

        made = [part(held, (*batch, depth // each, columns), lambda *where: where, body, node)]
        if depth % each:
            made.append(part(held, (*batch, columns), lambda *w: (*w[:-1], rows - 1, w[-1]), last, node))
        return held, list(made)

    def _table(self, stem: str, array: Array) -> Value:
        value = self.names.fresh(stem, tensor(array.dtype, *array.shape))
        self.tables[value] = array
        return value


def _centred(element: Expr, zero: Zero, column: Affine | None) -> Expr:
    """A byte less its zero point, in 32 bits; a zero point by column is that of this one."""
    wide = cast(element, INT32)
    if isinstance(zero, int):
        return wide - zero if zero else wide
    return wide - cast(number(zero) if zero.tensor.size == 1 else load(zero, column or 0), INT32)


def _problem(step: Compute, dot: Dot, filled: int, scalar: Any, *, signed: bool = False) -> gemm.Gemm:
    """The product of operands whose rows are filled up to whole steps, with constants on the right."""
    batch, columns = dot.shape[:-2], dot.shape[-1]
    count = prod(batch)
    rows = prod(dot.source.shape[:-1]) // count
    return gemm.Gemm(
        m=rows,
        n=columns,
        k=filled,
        a=(filled, 1),
        out=Place((*((rows * columns,) if batch else ()), columns), 1, storage_type(step.output.dtype)),
        batch=(count,) if batch else (),
        a_batch=(rows * filled,) if batch else (),
        scalar=scalar,
        signed=signed,
    )
