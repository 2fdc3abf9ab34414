"""A vendor's inner instruction in generated loops: found where the loops mean what it means, tiled, and called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from heddle.core.codegen.affine import Affine, Axis, Quotient, axis, flatten, of_axis, only_axis, substitute
from heddle.core.codegen.emit import attributes
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Lowering, Step
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, Functions, template
from heddle.core.codegen.tensor import Compute, Load, load, rewrite, walk
from heddle.core.codegen.values import PTR, Index, Type, Value
from heddle.core.errors import BackendError
from heddle.core.ir import Graph, Names, TensorType, dtype_named
from heddle.core.ir import Value as Tensor
from heddle.core.ir.types import DType
from heddle.core.ops.scalar import Expr, argument
from heddle.core.runtime.artifact import JSON, Artifact
from heddle.core.runtime.symbols import KEY
from numpy.typing import NDArray

_ELEMENTS = {
    "float32": "float", "float64": "double", "float16": "half", "bfloat16": "bfloat", "int8": "i8", "uint8": "i8",
    "int16": "i16", "uint16": "i16", "int32": "i32", "uint32": "i32", "int64": "i64", "uint64": "i64",
}  # fmt: skip
"""LLVM's names of the element types."""

_COMMUTATIVE = frozenset({"add", "mul", "min", "max", "and", "or", "xor"})


@dataclass(frozen=True)
class Matrix:
    """One operand of an instruction: the address of its first element, and its steps along rows and columns."""

    address: Value
    element: Type
    rows: int
    columns: int

    def at(self, f: Function, row: Index, column: Index) -> Value:
        """The address of an element."""
        return f.gep(self.address, f.plus(f.times(row, self.rows), f.times(column, self.columns)), self.element)


Emit = Callable[[Function, Matrix, Matrix, Matrix], None]
"""Appends the instruction to a function under construction, over (accumulator, a, b)."""


@dataclass(frozen=True)
class Symbol:
    """An instruction that is a function of a library with C's calling convention, found when the code is loaded.

    `void name(T *acc, int64_t acc_row, const A *a, int64_t a_row, int64_t a_column, const B *b, int64_t b_row, int64_t
    b_column)` adds the product of one tile; steps are counted in elements, and those of `acc` along columns are 1. The
    library is named as `dlopen` takes it; `""` means what the process has loaded already.
    """

    library: str
    name: str

    def emit(self, f: Function, address: Value, acc: Matrix, a: Matrix, b: Matrix) -> None:
        """The call, through the address that loading has filled in."""
        steps = [[f.index(step) for step in (matrix.rows, matrix.columns)] for matrix in (acc, a, b)]
        (acc_row, _), a_steps, b_steps = steps
        f.call_pointer(address, None, [acc.address, acc_row, a.address, *a_steps, b.address, *b_steps])


@dataclass(frozen=True)
class Intrinsic:
    """An instruction that, for all i < m and j < n, does `acc[i, j] = meaning(acc[i, j], a[i, k], b[k, j])` for k < k.

    `meaning` is an ordinary function of three scalars; loops that compute the same are found by unification with it.
    `emit` writes it into the code, or is a function of a library. `dtypes` are those of a, b and the accumulator.
    `dense` demands that the elements of b and of the accumulator are neighbours along j.
    """

    name: str
    tile: tuple[int, int, int]
    meaning: Callable[[Expr, Expr, Expr], Expr]
    emit: Emit | Symbol
    dtypes: tuple[str, str, str] = ("float32", "float32", "float32")
    dense: bool = True


@dataclass(frozen=True, eq=False)
class _Nest:
    """Where an intrinsic fits a computation: its operands, and the axes that its tile lies along."""

    a: Load
    b: Load
    m: Axis
    n: Axis
    k: Axis
    around: tuple[Axis, ...]


@dataclass(eq=False)
class Intrinsics:
    """The strategy (see `compile_region`) that calls these intrinsics, the first that fits; `used` counts the calls.

    One object serves one region; `artifact` finishes what was compiled with it.
    """

    known: Sequence[Intrinsic]
    used: dict[str, int] = field(default_factory=dict)
    addresses: dict[Symbol, Tensor] = field(default_factory=dict)

    def artifact(self, made: Artifact, backend: str) -> Artifact:
        """A compiled region as a backend's artifact, with what was called, and what is to be found when it loads."""
        symbols: dict[str, JSON] = {
            table.name: [symbol.library, symbol.name]
            for symbol, table in self.addresses.items()
            if table.name in made.constants
        }
        noted: dict[str, JSON] = {"intrinsics": dict(self.used), **({KEY: symbols} if symbols else {})}
        return replace(made, backend=backend, meta={**made.meta, **noted})

    def take(self, lowering: Lowering) -> bool:
        return False

    def improve(
        self, graph: Graph, steps: Sequence[Step], tables: dict[Tensor, NDArray[Any]], names: Names, target: Target
    ) -> list[Step]:
        made: list[Step] = []
        for step in steps:
            made += self._improved(step, tables, names, target)
        return made

    def _improved(self, step: Step, tables: dict[Tensor, NDArray[Any]], names: Names, target: Target) -> Sequence[Step]:
        folds = [e for e in walk(step.body) if e.op == "fold"] if type(step) is Compute else []
        if len({id(item) for item in folds}) != 1:
            return [step]
        assert isinstance(step, Compute)
        axes, fold = in_groups(step.axes, folds[0])
        for before, each in ([], fold), packed(axes, fold, names):
            for intrinsic in self.known:
                nest = fit(intrinsic, axes, each)
                if nest is not None:
                    self.used[intrinsic.name] = self.used.get(intrinsic.name, 0) + 1
                    address = self._address(intrinsic, tables, names)
                    return [*before, *tiled(intrinsic, step, folds[0], axes, nest, names, target, address)]
        return [step]

    def _address(self, intrinsic: Intrinsic, tables: dict[Tensor, NDArray[Any]], names: Names) -> Tensor | None:
        """The constant that holds the address of a library's function; None for what is written into the code."""
        if not isinstance(intrinsic.emit, Symbol):
            return None
        if intrinsic.emit not in self.addresses:
            table = names.fresh(f"address.{intrinsic.emit.name}", TensorType(dtype_named("uint64"), (1,)))
            self.addresses[intrinsic.emit] = table
            tables[table] = np.zeros(1, np.uint64)
        return self.addresses[intrinsic.emit]


def in_groups(axes: Sequence[Axis], fold: Expr) -> tuple[tuple[Axis, ...], Expr]:
    """A sum with an outer axis made two wherever indices divide it: the groups of a convolution and their filters.

    What lies at a point of the new axes lies in the same place in memory.
    """
    divisors: dict[Axis, set[int]] = {axis: set() for axis in axes}
    for item in walk(fold):
        for index in item.value.indices if item.op == "load" else ():
            for atom, _ in index.terms:
                if isinstance(atom, Quotient) and len(atom.inner.terms) == 1 and not atom.inner.constant:
                    ((inner, factor),) = atom.inner.terms
                    if inner in divisors and factor == 1:
                        divisors[inner].add(atom.divisor)
    made: list[Axis] = []
    mapping: dict[Axis, Affine] = {}
    for one in axes:
        size = min(divisors[one], default=1)
        if len(divisors[one]) == 1 and one.extent % size == 0:
            group, within = axis(one.extent // size, "g"), axis(size, one.name)
            mapping[one] = group * size + within
            made += [only_axis(group), only_axis(within)]
        else:
            made.append(one)
    return tuple(made), rewrite(fold, mapping) if mapping else fold


def packed(axes: Sequence[Axis], fold: Expr, names: Names) -> tuple[list[Step], Expr]:
    """A sum whose operands have neighbours along the last axis of the output, and the copies that make them so.

    Where an operand's last index runs in steps, as in a convolution with a stride, the copy has a row of neighbours
    for each of the other axes that the index runs along.
    """
    steps: list[Step] = []
    _, element = fold.args
    for item in [item for item in walk(element) if item.op == "load"]:
        *front, last = item.value.indices
        factors = dict(last.terms)
        if not axes or factors.get(axes[-1], 1) == 1 or not all(isinstance(atom, Axis) for atom in factors):
            continue
        along = [*(atom for atom in factors if atom is not axes[-1]), axes[-1]]
        source = item.value.source
        places = [Axis(size) for size in source.shape[:-1]]
        inside = [Axis(one.extent, one.name) for one in along]
        shape = (*source.shape[:-1], *(one.extent for one in along))
        copy = names.fresh(f"{source.name}.packed", TensorType(item.dtype, shape))
        read = substitute(last, dict(zip(along, map(of_axis, inside), strict=True)), lambda expr: expr)
        steps.append(Compute(copy, (*places, *inside), load(source, *map(of_axis, places), read)))
        element = _swapped(element, item, load(copy, *front, *map(of_axis, along)))
    return steps, Expr(fold.op, fold.dtype, (fold.args[0], element), fold.value)


def fit(intrinsic: Intrinsic, outer: Sequence[Axis], fold: Expr) -> _Nest | None:
    """How an intrinsic's tile lies in a computation; None when it means something else, or the sizes do not divide."""
    initial, element = fold.args
    axes = (*outer, *fold.value.axes)
    if initial.op != "const" or initial.value != 0 or any(axis.extent == 0 for axis in axes):
        return None
    a, b, acc = (argument(i + 1, _dtype(name)) for i, name in enumerate(intrinsic.dtypes))
    acc = argument(0, acc.dtype)
    meaning = intrinsic.meaning(acc, a, b)
    if meaning.dtype != acc.dtype or fold.dtype != acc.dtype:
        return None
    computed = rewrite(fold.value.combine, arguments=[argument(0, fold.dtype), element])
    for bound in unified(meaning, computed, {}):
        if 1 not in bound or 2 not in bound:
            raise BackendError(f"intrinsic {intrinsic.name!r}: its meaning must read a and b")
        left, right = bound[1].value, bound[2].value
        a_steps, b_steps = _steps(left, axes), _steps(right, axes)
        if a_steps is None or b_steps is None:
            continue
        nest = _placed(intrinsic, outer, fold.value.axes, left, right, a_steps, b_steps)
        if nest is not None:
            return nest
    return None


def _placed(
    intrinsic: Intrinsic,
    outer: Sequence[Axis],
    inner: Sequence[Axis],
    a: Load,
    b: Load,
    a_steps: Mapping[Axis, int],
    b_steps: Mapping[Axis, int],
) -> _Nest | None:
    m, n, k = intrinsic.tile
    rows = [axis for axis in outer if a_steps[axis] and not b_steps[axis] and axis.extent % m == 0]
    columns = [axis for axis in outer if b_steps[axis] and not a_steps[axis] and axis.extent % n == 0]
    if intrinsic.dense:
        columns = [axis for axis in columns if b_steps[axis] == 1 and axis is outer[-1]]
    depths = [axis for axis in inner if a_steps[axis] and b_steps[axis] and axis.extent % k == 0]
    if not (rows and columns and depths):
        return None
    row, column, depth = (max(axes, key=lambda axis: axis.extent) for axes in (rows, columns, depths))
    chosen = (row, column, depth)
    around = tuple(axis for axis in (*outer, *inner) if axis not in chosen and axis.extent != 1)
    return _Nest(a, b, row, column, depth, around)


def tiled(
    intrinsic: Intrinsic,
    step: Compute,
    fold: Expr,
    axes: Sequence[Axis],
    nest: _Nest,
    names: Names,
    target: Target,
    address: Tensor | None = None,
) -> Sequence[Step]:
    """The computation as loops around the intrinsic; what is done to the sum follows as a step of its own.

    `axes` are those of the step, groups apart; `address` is the constant that holds the address of an intrinsic that is
    a library's function.
    """
    shape = tuple(axis.extent for axis in step.axes)
    whole = step.body is fold and step.at is None
    sums = step.output if whole else names.fresh(f"{step.output.name}.sum", TensorType(fold.dtype, shape))
    read = [nest.a.source, nest.b.source, *([] if address is None else [address])]
    arguments = [Argument(value) for value in (*read, sums)]
    kernel = template(sums, read, arguments, _functions(intrinsic, axes, nest, target), node=step.node)
    if whole:
        return [kernel]
    summed = load(sums, *map(of_axis, step.axes))
    return [kernel, Compute(step.output, step.axes, _swapped(step.body, fold, summed), step.at, step.node)]


def _functions(intrinsic: Intrinsic, outer: Sequence[Axis], nest: _Nest, target: Target) -> Functions:
    def functions(name: str) -> list[Function]:
        everything = (*nest.around, nest.m, nest.n, nest.k)
        a_type, b_type, acc_type = (Type(_ELEMENTS[dtype]) for dtype in intrinsic.dtypes)
        steps: dict[Axis, int] = {}
        size = 1
        for one in reversed(outer):
            steps[one] = size
            size *= one.extent
        a_steps, b_steps = (_steps(item, everything) or {} for item in (nest.a, nest.b))
        external = isinstance(intrinsic.emit, Symbol)
        pointers = ("a", "b", *(("address",) if external else ()), "acc")
        f = Function(name, [(pointer, "ptr") for pointer in pointers], attributes=attributes(target))
        address = f.load(PTR, f["address"]) if external else None
        f.fill(f["acc"], 0, size * acc_type.bits // 8)
        tile = dict(zip((nest.m, nest.n, nest.k), intrinsic.tile, strict=True))
        with ExitStack() as loops:
            at = {axis: loops.enter_context(f.loop(0, axis.extent, tile.get(axis, 1))) for axis in everything}

            def matrix(key: str, type: Type, start: int, steps: dict[Axis, int], rows: Axis, columns: Axis) -> Matrix:
                offset: Index = start
                for axis, index in at.items():
                    offset = f.plus(offset, f.times(index, steps.get(axis, 0)))
                return Matrix(f.gep(f[key], offset, type), type, steps.get(rows, 0), steps.get(columns, 0))

            matrices = (
                matrix("acc", acc_type, 0, steps, nest.m, nest.n),
                matrix("a", a_type, _offset(nest.a).constant, a_steps, nest.m, nest.k),
                matrix("b", b_type, _offset(nest.b).constant, b_steps, nest.k, nest.n),
            )
            if isinstance(intrinsic.emit, Symbol):
                assert address is not None
                intrinsic.emit.emit(f, address, *matrices)
            else:
                intrinsic.emit(f, *matrices)
        return [f]

    return functions


def unified(meaning: Expr, found: Expr, bound: Mapping[int, Expr]) -> Iterator[dict[int, Expr]]:
    """Every way in which an expression is the meaning, with what each argument stands for."""
    if meaning.op == "arg":
        number = int(meaning.value)
        fits = (found.op == "arg" and found.value == 0) if number == 0 else found.op == "load"
        if fits and meaning.dtype == found.dtype and bound.get(number, found) is found:
            yield {**bound, number: found}
        return
    same = (meaning.op, meaning.dtype, meaning.value, len(meaning.args)) == (
        found.op, found.dtype, found.value, len(found.args),
    )  # fmt: skip
    if not same:
        return
    orders = [found.args, found.args[::-1]] if meaning.op in _COMMUTATIVE else [found.args]
    for order in orders:
        yield from _all_unified(meaning.args, order, bound)


def _all_unified(
    meanings: Sequence[Expr], found: Sequence[Expr], bound: Mapping[int, Expr]
) -> Iterator[dict[int, Expr]]:
    if not meanings:
        yield dict(bound)
        return
    for first in unified(meanings[0], found[0], bound):
        yield from _all_unified(meanings[1:], found[1:], first)


def _offset(item: Load) -> Affine:
    return flatten(item.indices, item.source.shape)


def _steps(item: Load, axes: Sequence[Axis]) -> dict[Axis, int] | None:
    """The steps of a load along axes; None when it reads in any other way, as behind a condition."""
    offset = _offset(item)
    if any(not isinstance(atom, Axis) for atom, _ in offset.terms):
        return None
    return {axis: offset.stride(axis) or 0 for axis in axes}


def _swapped(expr: Expr, old: Expr, new: Expr) -> Expr:
    if expr is old:
        return new
    args = tuple(_swapped(arg, old, new) for arg in expr.args)
    return Expr(expr.op, expr.dtype, args, expr.value) if args else expr


def _dtype(name: str) -> DType:
    if name not in _ELEMENTS:
        raise BackendError(f"intrinsic: its dtype is {name!r}, it is one of {', '.join(_ELEMENTS)}")
    return dtype_named(name)
