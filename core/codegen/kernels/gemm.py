"""Matrix product, batched, of floats and of integers, with a constant (packed beforehand) or, of floats, a computed
right operand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import numpy as np
from heddle.core.codegen.kernels.arithmetic import Arithmetic, arithmetic_of
from heddle.core.codegen.kernels.blocking import balanced, chunks, each
from heddle.core.codegen.kernels.layout import transpose_registers
from heddle.core.codegen.kernels.micro import Block, Nest, micro
from heddle.core.codegen.kernels.shapes import block_cycles, register_blocks, rows_apart, vector_products
from heddle.core.codegen.kernels.store import Spot
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, I1, I16, Index, Type, Value, constant, prefix_mask
from numpy.typing import NDArray

WHOLE = 1 << 30
NEAR = 4
"""An A of so many times the second cache's size is still quickly had from the third."""
SHORTEST = 16


@dataclass(frozen=True)
class Gemm:
    """`out[batch, i, j] = tail(sum over k of A[batch, i, k] * B[batch, k, j])`.

    `a` holds A's strides in elements along (i, k), any; `a_batch` those along each dimension of `batch`. With `b` None,
    B is a constant that `pack` has laid out, the same for the whole batch; else `b` holds its strides along (k, j),
    one of which is 1, and `b_batch` those along the batch. `out` has strides along (*batch, i); its elements along j
    are neighbours.

    Integers are held as `arithmetic_of` has them and summed in 32 bits. Elements of A along k are neighbours then, and
    `k` counts whole steps; a computed B lies in rows of steps, filled up to whole vectors, with the elements of a
    column's step side by side, and `b` holds the stride from one step to the next, and 1. Bytes of A are `signed` only
    where there are tiles, which take either.
    """

    m: int
    n: int
    k: int
    a: tuple[int, int]
    out: Place
    b: tuple[int, int] | None = None
    batch: tuple[int, ...] = ()
    a_batch: tuple[int, ...] = ()
    b_batch: tuple[int, ...] = ()
    scalar: Type = F32
    signed: bool = False

    @property
    def turned(self) -> bool:
        """Whether B is computed and lies with its columns apart, so that it is packed at run time."""
        return self.b is not None and self.b[1] != 1


@dataclass(frozen=True)
class Schedule:
    """A block of `rows` x `vectors` accumulators, with steps unrolled by `unroll`.

    The reduction is cut to `depth` steps and rows to `band`, so that operands stay in a cache; B is prefetched
    `prefetch` steps ahead (0: left to the machine).
    """

    rows: int
    vectors: int
    unroll: int = 4
    depth: int = WHOLE
    band: int = WHOLE
    prefetch: int = 0


def gemm(
    name: str,
    target: Target,
    problem: Gemm,
    schedule: Schedule,
    tail: Tail = NOTHING,
    *,
    internal: bool = True,
    whole: bool = False,
) -> list[Function]:
    """The functions of the kernel, its entry last: `(a, b, out, operands..., scratch)`; see `scratch_bytes`.

    Its pieces are blocks of the output, unless it is `whole`. The places of the tail's operands have strides along
    (*batch, i). With a `depth` below k, partial sums wait in the output: its scalar must be the problem's, and no
    operand may share its memory.
    """
    arithmetic = arithmetic_of(target, problem.scalar)
    lanes = arithmetic.lanes
    places = {"out": problem.out, **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    entry = entry_function(name, target, list(places), internal)
    pieces = Pieces(entry, 0 if whole else _multiplications(problem) / vector_products(target, problem.scalar))
    parts = balanced(problem.k, schedule.depth)
    blocks = _Blocks(name, target, problem, schedule, tail)
    packers = [_packer(f"{name}.pack", target, problem, schedule)] if problem.turned else []

    def one(base: Mapping[str, Value]) -> None:
        b = entry["scratch"] if problem.turned else base["b"]
        packed = entry.variable(constant(0, I1))

        def pack_b() -> None:
            for packer in packers:
                entry.invoke(packer, [base["b"], entry["scratch"]])

        def block(rows: int, row: Index, width: int, left: Index, start: int, depth: int) -> None:
            if packers and pieces.shared:  # each thread packs for itself, when it has a block to compute
                with entry.unless(entry.get(packed)):
                    pack_b()
                    entry.set(packed, constant(1, I1))
            panel = _panel(entry, problem, arithmetic, b, left, start, -(-width // lanes) * lanes)
            a = displaced(entry, base["a"], ((row, problem.a[0]), (start, problem.a[1])), problem.scalar)
            spots = [
                displaced(entry, base[key], ((row, place.strides[-1]), (left, place.lane)), place.scalar)
                for key, place in places.items()
            ]
            callee = blocks.make(rows, width, start, start + depth)
            entry.invoke(callee, [a, panel, *spots[: len(callee.parameters) - 2]])

        if not pieces.shared:
            pack_b()
        for band, top in each(entry, chunks(problem.m, schedule.band)):
            # Partial sums wait in the output, so that all parts of the reduction are one thread's.
            with pieces.one() if len(parts) > 1 else nullcontext():
                start = 0
                for depth in parts:
                    for width, left in each(entry, chunks(problem.n, schedule.vectors * lanes)):
                        for rows, i in each(entry, balanced(band, schedule.rows)):
                            with nullcontext() if len(parts) > 1 else pieces.one():
                                block(rows, entry.plus(top, i), width, left, start, depth)
                    start += depth

    batched(entry, problem, places, one)
    return [*packers, *blocks.made.values(), entry]


def _multiplications(problem: Gemm) -> int:
    return prod(problem.batch) * problem.m * problem.n * problem.k


def scratch_bytes(target: Target, problem: Gemm) -> int:
    """The working memory that the kernel wants: B packed, where that is done at run time."""
    if not problem.turned:
        return 0
    lanes = target.lanes(problem.scalar.bits // 8)
    return -(-problem.n // lanes) * lanes * problem.k * problem.scalar.bits // 8


def pack(b: NDArray[Any], problem: Gemm, target: Target, schedule: Schedule) -> NDArray[Any]:
    """A constant B of [k, n] in panels of the schedule's width, each with its steps together, filled up with zeros."""
    arithmetic = arithmetic_of(target, problem.scalar)
    lanes, depth = arithmetic.lanes, arithmetic.depth
    kind = np.dtype(np.int16) if arithmetic.b == I16 else b.dtype
    k, n = b.shape
    panels, left = [], 0
    for width in chunks(n, schedule.vectors * lanes):
        panel = np.zeros((-(-k // depth) * depth, -(-width // lanes) * lanes), kind)
        panel[:k, :width] = b[:, left : left + width]
        panels.append(panel.reshape(-1, depth, panel.shape[1]).transpose(0, 2, 1).ravel())
        left += width
    return np.concatenate(panels)


@cache
def default(problem: Gemm, target: Target) -> Schedule:
    """The schedule that the model of the machine prefers."""
    size, arithmetic = problem.scalar.bits // 8, arithmetic_of(target, problem.scalar)
    most = rows_apart(problem.a[0] * size)
    blocks = (block for block in register_blocks(target, arithmetic.between) if block[0] <= most)
    rows, vectors = min(blocks, key=lambda block: _cost(problem, target, *block))
    # A shorter band would have B come from afar more often than a whole A does.
    band = max(SHORTEST * rows, target.l2 // 2 // (problem.k * size) // rows * rows)
    near = problem.m * problem.k * size <= NEAR * target.l2
    return Schedule(rows, vectors, arithmetic.unroll, band=WHOLE if near or band >= problem.m else band)


def _cost(problem: Gemm, target: Target, rows: int, vectors: int) -> float:
    arithmetic = arithmetic_of(target, problem.scalar)
    widths = [-(-width // arithmetic.lanes) for width in chunks(problem.n, vectors * arithmetic.lanes)]
    return block_cycles(target, balanced(problem.m, rows), widths, problem.k // arithmetic.depth)


@cache
def cycles(problem: Gemm, target: Target) -> float:
    """What the model of the machine expects of the default schedule."""
    schedule = default(problem, target)
    return _cost(problem, target, schedule.rows, schedule.vectors) * prod(problem.batch)


def candidates(problem: Gemm, target: Target) -> list[Schedule]:
    """The schedules worth measuring, the default first."""
    first = default(problem, target)
    blocks = register_blocks(target, arithmetic_of(target, problem.scalar).between)[:8]
    found = [first] + [replace(first, rows=rows, vectors=vectors) for rows, vectors in blocks]
    found += [replace(schedule, prefetch=16 - schedule.prefetch) for schedule in found]
    if problem.out.scalar == problem.scalar and problem.k >= 512:
        found += [replace(first, depth=256), replace(first, depth=384), replace(first, depth=768)]
    found += [replace(first, band=band) for band in (WHOLE, 4 * first.rows, 16 * first.rows)]
    return list(dict.fromkeys(found))


def entry_function(name: str, target: Target, outputs: Sequence[str], internal: bool) -> Function:
    """The beginning of a kernel that takes `(a, b, outputs..., scratch)`."""
    parameters = [("a", "ptr noalias readonly"), ("b", "ptr noalias readonly"), (outputs[0], "ptr")]
    parameters += [(key, "ptr readonly") for key in outputs[1:]]
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    return Function(name, [*parameters, ("scratch", "ptr noalias")], internal=internal, attributes=attributes)


def displaced(f: Function, base: Value, terms: Sequence[tuple[Index, int]], element: Type) -> Value:
    """The address at the sum of index times stride."""
    offset: Index = 0
    for index, stride in terms:
        offset = f.plus(offset, f.times(index, stride))
    return f.gep(base, offset, element)


def _panel(f: Function, problem: Gemm, arithmetic: Arithmetic, b: Value, left: Index, start: int, width: int) -> Value:
    """Where the columns from `left` on begin at element `start` of the reduction."""
    if problem.b is None or problem.turned:
        return displaced(f, b, ((left, problem.k), (start, width)), arithmetic.b)
    if not problem.scalar.floating:
        return displaced(f, b, ((left, arithmetic.depth), (start // arithmetic.depth, problem.b[0])), arithmetic.b)
    return displaced(f, b, ((left, 1), (start, problem.b[0])), problem.scalar)


class _Blocks:
    """The microkernels of one product, each made when it is first called for."""

    def __init__(self, name: str, target: Target, problem: Gemm, schedule: Schedule, tail: Tail) -> None:
        self.name, self.target, self.problem, self.schedule, self.tail = name, target, problem, schedule, tail
        self.arithmetic = arithmetic_of(target, problem.scalar)
        self.made: dict[Block, Function] = {}

    def make(self, rows: int, width: int, start: int, stop: int) -> Function:
        problem, lanes, depth = self.problem, self.arithmetic.lanes, self.arithmetic.depth
        vectors = -(-width // lanes)
        last = stop == problem.k
        spots = tuple(
            Spot(tuple(i * place.strides[-1] for i in range(rows)), lanes * place.lane, place.lane, place.scalar)
            for place in (problem.out, *(self.tail.operands if last else ()))
        )
        together = problem.b is None or problem.turned
        packed = together or not problem.scalar.floating
        key = Block(
            rows=tuple(i * problem.a[0] for i in range(rows)),
            vectors=vectors,
            nests=(Nest((), (stop - start) // depth, problem.a[1] * depth),),
            b=vectors * lanes * depth if together else (problem.b or (0, 0))[0],
            b_vector=lanes * depth,
            unroll=self.schedule.unroll,
            spots=spots,
            lanes=width - (vectors - 1) * lanes,
            packed=packed,
            first=start == 0,
            last=last,
            prefetch=self.schedule.prefetch,
        )
        if key not in self.made:
            label = f"{self.name}.block{len(self.made)}"
            self.made[key] = micro(label, self.target, self.arithmetic, key, self.tail if last else NOTHING)
        return self.made[key]


def batched(entry: Function, problem: Gemm, places: Mapping[str, Place], one: Any) -> None:
    """Emit `one` for every element of the batch, with the pointers of that element."""
    strides = {"a": problem.a_batch, "b": problem.b_batch or (0,) * len(problem.batch)}
    scalars = {"a": problem.scalar, "b": problem.scalar}
    base = {"a": entry["a"], "b": entry["b"]}
    for key, place in places.items():
        strides[key], scalars[key] = place.strides, place.scalar
        base[key] = entry.gep(entry[key], place.origin, place.scalar)

    def nest(dimension: int, base: Mapping[str, Value]) -> None:
        if dimension == len(problem.batch):
            one(base)
            return
        for _, i in each(entry, [1] * problem.batch[dimension]):
            moved = {key: displaced(entry, base[key], ((i, strides[key][dimension]),), scalars[key]) for key in base}
            nest(dimension + 1, moved)

    nest(0, base)


def _packer(name: str, target: Target, problem: Gemm, schedule: Schedule) -> Function:
    """`(b, packed)`: lay out a B whose columns are apart in panels, transposing squares in registers."""
    assert problem.b is not None
    f = Function(name, [("b", "ptr noalias readonly"), ("packed", "ptr noalias")], internal=True, attributes="nounwind")
    lanes = target.lanes(problem.scalar.bits // 8)
    along, apart = problem.b
    zero = Value("zeroinitializer", problem.scalar.of(lanes))

    def square(source: Value, packed: Value, columns: int, depth: int, width: int) -> None:
        rows = []
        for j in range(lanes):
            if j >= columns:
                rows.append(zero)
                continue
            address = f.gep(source, j * apart, problem.scalar)
            if along == 1 and depth == lanes:
                rows.append(f.load(zero.type, address))
            elif along == 1:
                rows.append(f.masked_load(zero.type, address, prefix_mask(depth, lanes)))
            else:
                row = zero
                for k in range(depth):
                    row = f.insert(row, f.load(problem.scalar, f.gep(address, k * along, problem.scalar)), k)
                rows.append(row)
        for k, row in enumerate(transpose_registers(f, rows)[:depth]):
            f.store(row, f.gep(packed, k * width, problem.scalar))

    for size, left in each(f, chunks(problem.n, schedule.vectors * lanes)):
        width = -(-size // lanes) * lanes
        for columns, j in each(f, chunks(size, lanes)):
            for depth, k in each(f, chunks(problem.k, lanes)):
                source = displaced(f, f["b"], ((f.plus(left, j), apart), (k, along)), problem.scalar)
                packed = displaced(f, f["packed"], ((left, problem.k), (k, width), (j, 1)), problem.scalar)
                square(source, packed, columns, depth, width)
    return f
