"""The microkernel: a block of accumulators in registers, fed by one nest of reduction loops.

It serves matrix products and convolutions alike: they differ only in where the rows of a block begin in A, in the
loops of the reduction, and in where results are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heddle.core.codegen.kernels.arithmetic import Arithmetic
from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Type, Value, prefix_mask

LEAF = "noinline nounwind"


@dataclass(frozen=True)
class Loop:
    """A loop of the reduction: its extent, and the strides in elements of A and in steps of B."""

    extent: int
    a: int
    b: int


@dataclass(frozen=True)
class Spot:
    """Where a block lies in the output or in an operand of the tail: each row's displacement, the displacement from
    one vector to the next, and whether lanes lie side by side (1) or are all one element (0)."""

    rows: tuple[int, ...]
    vector: int
    lane: int
    scalar: Type


@dataclass(frozen=True)
class Block:
    """One register block: `rows` broadcasts from A times `vectors` from B.

    `loops` run outside in; within them `steps` steps of strides `a` and `b` (in steps of B: the block's vectors of
    one step) are unrolled by `unroll`; `b_vector` is the distance of one step's neighbouring vectors, in elements.
    `first`: accumulators begin at zero, else at the partial sums in the output. `last`: the tail is applied, else
    partial sums are stored. Of the last vector only `lanes` lanes are part of the result: the others are left alone
    in memory if `masked`, else stored as zero.
    """

    rows: tuple[int, ...]
    vectors: int
    loops: tuple[Loop, ...]
    steps: int
    a: int
    b: int
    b_vector: int
    unroll: int
    spots: tuple[Spot, ...]
    lanes: int
    masked: bool = True
    packed: bool = True
    first: bool = True
    last: bool = True
    prefetch: int = 0


def micro(name: str, target: Target, arithmetic: Arithmetic, block: Block, tail: Tail) -> Function:
    """The function `(a, b, out, operands...)` that computes one block; every displacement is a constant of the code."""
    names = [f"x{i}" for i in range(len(tail.operands))]
    out = "ptr noalias" if block.last else "ptr"
    f = Function(
        name,
        [("a", "ptr readonly"), ("b", "ptr readonly"), ("out", out), *((x, "ptr readonly") for x in names)],
        internal=True,
        attributes=f'{LEAF} "prefer-vector-width"="{target.vector_bytes * 8}"',
    )
    accumulators = [
        [f.variable(_initial(f, arithmetic, block, i, j)) for j in range(block.vectors)] for i in range(len(block.rows))
    ]

    def step(a: Value, b: Value, displacement: int, ahead: int) -> None:
        row = [_load_b(f, arithmetic, block, b, ahead * block.b, j) for j in range(block.vectors)]
        if block.prefetch:
            for j in range(block.vectors):
                distance = (ahead + block.prefetch) * block.b + j * block.b_vector
                f.prefetch(f.gep(b, distance, arithmetic.b, inbounds=False))
        for i, start in enumerate(block.rows):
            address = f.gep(a, start + displacement, arithmetic.a)
            scalar = f.load(arithmetic.a_step, address, arithmetic.a.bits // 8)
            spread = f.splat(scalar, arithmetic.lanes)
            for j in range(block.vectors):
                f.set(accumulators[i][j], arithmetic.step(f, f.get(accumulators[i][j]), spread, row[j]))

    def steps(a: Value, b: Value) -> None:
        whole = block.steps - block.steps % block.unroll
        if whole > block.unroll:
            with f.loop(0, whole, block.unroll, (NO_UNROLL,)) as k:
                a_k = f.gep(a, f.times(k, block.a), arithmetic.a)
                b_k = f.gep(b, f.times(k, block.b), arithmetic.b)
                for u in range(block.unroll):
                    step(a_k, b_k, u * block.a, u)
        rest = range(whole if whole > block.unroll else 0, block.steps)
        for u in rest:
            step(a, b, u * block.a, u)

    def nest(loops: Sequence[Loop], a: Value, b: Value) -> None:
        if not loops:
            steps(a, b)
            return
        outer = loops[0]
        if outer.extent == 1:
            nest(loops[1:], a, b)
            return
        with f.loop(0, outer.extent, 1, (NO_UNROLL,)) as i:
            nest(loops[1:], f.gep(a, f.times(i, outer.a), arithmetic.a), f.gep(b, f.times(i, outer.b), arithmetic.b))

    nest(block.loops, f["a"], f["b"])
    operands = _Operands(f, block, [f[x] for x in names], arithmetic.lanes)
    for i in range(len(block.rows)):
        for j in range(block.vectors):
            result = f.get(accumulators[i][j])
            if block.last:
                result = tail.emit(f, result, operands.at(i, j))
            _store(f, block, result, i, j)
    return f


def _partial(block: Block, j: int, lanes: int) -> bool:
    return j == block.vectors - 1 and block.lanes < lanes


def _address(f: Function, base: Value, spot: Spot, i: int, j: int) -> Value:
    return f.gep(base, spot.rows[i] + j * spot.vector, spot.scalar)


def _initial(f: Function, arithmetic: Arithmetic, block: Block, i: int, j: int) -> Value:
    type = arithmetic.accumulator
    if block.first:
        return Value("zeroinitializer", type)
    address = _address(f, f["out"], block.spots[0], i, j)
    if block.masked and _partial(block, j, type.lanes):
        return f.masked_load(type, address, prefix_mask(block.lanes, type.lanes))
    return f.load(type, address)


def _load_b(f: Function, arithmetic: Arithmetic, block: Block, b: Value, displacement: int, j: int) -> Value:
    address = f.gep(b, displacement + j * block.b_vector, arithmetic.b)
    type = arithmetic.b_step
    if block.packed:
        return f.load(type, address, target_alignment(type))
    if _partial(block, j, type.lanes):
        return f.masked_load(type, address, prefix_mask(block.lanes, type.lanes))
    return f.load(type, address)


def target_alignment(type: Type) -> int:
    """The alignment of a whole vector of this type in packed weights, in bytes."""
    return max(1, type.bits * type.lanes // 8)


class _Operands:
    """The tail's operands at a place of the block, each loaded once where rows or vectors share it."""

    def __init__(self, f: Function, block: Block, pointers: Sequence[Value], lanes: int) -> None:
        self.f, self.block, self.pointers, self.lanes = f, block, pointers, lanes
        self.loaded: dict[tuple[int, int, bool], Value] = {}

    def at(self, i: int, j: int) -> list[Value]:
        spots = self.block.spots[1:]
        return [self._load(number, spot, i, j) for number, spot in enumerate(spots)]

    def _load(self, number: int, spot: Spot, i: int, j: int) -> Value:
        partial = self.block.masked and bool(spot.lane) and _partial(self.block, j, self.lanes)
        key = (number, spot.rows[i] + j * spot.vector, partial)
        if key not in self.loaded:
            address = _address(self.f, self.pointers[number], spot, i, j)
            type = spot.scalar.of(self.lanes)
            if not spot.lane:
                self.loaded[key] = self.f.splat(self.f.load(spot.scalar, address), self.lanes)
            elif partial:
                self.loaded[key] = self.f.masked_load(type, address, prefix_mask(self.block.lanes, self.lanes))
            else:
                self.loaded[key] = self.f.load(type, address)
        return self.loaded[key]


def _store(f: Function, block: Block, result: Value, i: int, j: int) -> None:
    address = _address(f, f["out"], block.spots[0], i, j)
    if not _partial(block, j, result.type.lanes):
        f.store(result, address)
        return
    mask = prefix_mask(block.lanes, result.type.lanes)
    if block.masked:
        f.masked_store(result, address, mask)
    else:
        f.store(f.select(mask, result, Value("zeroinitializer", result.type)), address)
