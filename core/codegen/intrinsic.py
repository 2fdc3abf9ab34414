"""A vendor's inner instruction in generated loops: found where the loops mean what it means, tiled, and called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from heddle.core.codegen.affine import Axis
from heddle.core.codegen.emit import attributes
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Lowering, Step
from heddle.core.codegen.nest import exchanged
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, Functions, template
from heddle.core.codegen.tensor import Compute, load, walk
from heddle.core.codegen.tiling import Copies, Tile, Tiling, fit, flat, in_groups, steps
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
    `dense` demands that the elements of b are neighbours along j, as those of the accumulator always are. `lanewise`
    says that a has an element for each j as well, a neighbour of the last: it does `meaning(acc[i, j], a[i, k, j],
    b[k, j])`, as instructions over vectors of channels do, and is found where both operands change from channel to
    channel.
    """

    name: str
    tile: tuple[int, int, int]
    meaning: Callable[[Expr, Expr, Expr], Expr]
    emit: Emit | Symbol
    dtypes: tuple[str, str, str] = ("float32", "float32", "float32")
    dense: bool = True
    lanewise: bool = False

    @property
    def shape(self) -> Tile:
        """What is looked for in loops; BackendError when it cannot be there."""
        a, b, acc = map(_dtype, self.dtypes)
        meaning = self.meaning(argument(0, acc), argument(1, a), argument(2, b))
        if {item.value for item in walk(meaning) if item.op == "arg"} != {0, 1, 2}:
            raise BackendError(f"intrinsic {self.name!r}: its meaning must read acc, a and b")
        if meaning.dtype != acc:
            raise BackendError(
                f"intrinsic {self.name!r}: its meaning gives {meaning.dtype}, and its accumulator is {acc}; "
                "cast a and b to the accumulator's type"
            )
        return Tile(self.tile, meaning, self.lanewise, self.dense)


@dataclass(eq=False)
class Intrinsics:
    """The strategy (see `compile_region`) that calls these intrinsics, the first that fits; `used` counts the calls.

    `refused` says of each sum that none fits why not, by node and intrinsic; with `strict` that is a BackendError, for
    a backend whose patterns are to take nothing else. One object serves one region; `artifact` finishes what was
    compiled with it.
    """

    known: Sequence[Intrinsic]
    strict: bool = False
    used: dict[str, int] = field(default_factory=dict)
    refused: dict[str, dict[str, str]] = field(default_factory=dict)
    addresses: dict[Symbol, Tensor] = field(default_factory=dict)

    def artifact(self, made: Artifact, backend: str) -> Artifact:
        """A compiled region as a backend's artifact, with what was called, and what is to be found when it loads."""
        symbols: dict[str, JSON] = {
            table.name: [symbol.library, symbol.name]
            for symbol, table in self.addresses.items()
            if table.name in made.constants
        }
        noted: dict[str, JSON] = {"intrinsics": dict(self.used)}
        if self.refused:
            noted["refused"] = {node: dict(reasons) for node, reasons in self.refused.items()}
        if symbols:
            noted[KEY] = symbols
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
        if type(step) is not Compute:
            return [step]
        folds = {id(item): item for item in walk(step.body) if item.op == "fold"}
        if not folds:
            return [step]
        if len(folds) > 1:
            return self._refuse(step, {one.name: f"it has {len(folds)} sums in one step" for one in self.known})
        (fold,) = folds.values()
        outer, divided = in_groups(step.axes, fold)
        reasons: dict[str, str] = {}
        for intrinsic in self.known:
            copies = Copies(tables, names)
            tiling = fit(intrinsic.shape, outer, divided, copies)
            if isinstance(tiling, str):
                reasons[intrinsic.name] = tiling
                continue
            self.used[intrinsic.name] = self.used.get(intrinsic.name, 0) + 1
            address = self._address(intrinsic, tables, names)
            return [*copies.made, *tiled(intrinsic, step, fold, tiling, names, target, address)]
        return self._refuse(step, reasons)

    def _refuse(self, step: Compute, reasons: dict[str, str]) -> Sequence[Step]:
        self.refused[step.node] = reasons
        if self.strict:
            told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            raise BackendError(f"{step.node}: no instruction fits: {told}")
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


def tiled(
    intrinsic: Intrinsic,
    step: Compute,
    fold: Expr,
    tiling: Tiling,
    names: Names,
    target: Target,
    address: Tensor | None = None,
) -> Sequence[Step]:
    """The computation as loops around the intrinsic; what is done to the sum follows as a step of its own.

    `address` is the constant that holds the address of an intrinsic that is a library's function.
    """
    shape = tuple(axis.extent for axis, _ in tiling.sums)
    whole = step.body is fold and step.at is None and tuple(axis for axis, _ in tiling.sums) == step.axes
    sums = step.output if whole else names.fresh(f"{step.output.name}.sum", TensorType(fold.dtype, shape))
    read = [tiling.a.source, tiling.b.source, *([] if address is None else [address])]
    arguments = [Argument(value) for value in (*read, sums)]
    kernel = template(sums, read, arguments, _functions(intrinsic, tiling, target), node=step.node)
    if whole:
        return [kernel]
    summed = load(sums, *(index for _, index in tiling.sums))
    return [kernel, Compute(step.output, step.axes, exchanged(step.body, {fold: summed}), step.at, step.node)]


def _functions(intrinsic: Intrinsic, tiling: Tiling, target: Target) -> Functions:
    def functions(name: str) -> list[Function]:
        everything = (*tiling.around, *tiling.tile)
        a_type, b_type, acc_type = (Type(_ELEMENTS[dtype]) for dtype in intrinsic.dtypes)
        acc_steps: dict[Axis, int] = {}
        size = 1
        for one, _ in reversed(tiling.sums):
            acc_steps[one] = size
            size *= one.extent
        a_steps, b_steps = (steps(item, everything) or {} for item in (tiling.a, tiling.b))
        external = isinstance(intrinsic.emit, Symbol)
        pointers = ("a", "b", *(("address",) if external else ()), "acc")
        f = Function(name, [(pointer, "ptr") for pointer in pointers], attributes=attributes(target))
        address = f.load(PTR, f["address"]) if external else None
        f.fill(f["acc"], 0, size * acc_type.bits // 8)
        tile = dict(zip(tiling.tile, intrinsic.tile, strict=True))
        row, column, depth = tiling.tile
        with ExitStack() as loops:
            at = {axis: loops.enter_context(f.loop(0, axis.extent, tile.get(axis, 1))) for axis in everything}

            def matrix(key: str, type: Type, start: int, along: Mapping[Axis, int], m: Axis, n: Axis) -> Matrix:
                offset: Index = start
                for axis, index in at.items():
                    offset = f.plus(offset, f.times(index, along.get(axis, 0)))
                return Matrix(f.gep(f[key], offset, type), type, along.get(m, 0), along.get(n, 0))

            matrices = (
                matrix("acc", acc_type, 0, acc_steps, row, column),
                matrix("a", a_type, flat(tiling.a).constant, a_steps, row, depth),
                matrix("b", b_type, flat(tiling.b).constant, b_steps, depth, column),
            )
            if isinstance(intrinsic.emit, Symbol):
                assert address is not None
                intrinsic.emit.emit(f, address, *matrices)
            else:
                intrinsic.emit(f, *matrices)
        return [f]

    return functions


def _dtype(name: str) -> DType:
    if name not in _ELEMENTS:
        raise BackendError(f"intrinsic: its dtype is {name!r}, it is one of {', '.join(_ELEMENTS)}")
    return dtype_named(name)
