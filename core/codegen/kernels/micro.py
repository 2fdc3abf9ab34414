"""The microkernel: a block of accumulators in registers, fed by one nest of reduction loops.

It serves matrix products and convolutions alike: they differ only in where the rows of a block begin in A, in the
loops of the reduction, and in where results are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heddle.core.codegen.kernels.arithmetic import Arithmetic
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Tail
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Value, prefix_mask

LEAF = "noinline nounwind"


@dataclass(frozen=True)
class Loop:
    """A loop of the reduction: its extent, and the strides in elements of A and of B."""

    extent: int
    a: int
    b: int


@dataclass(frozen=True)
class Nest:
    """`loops`, outside in, and within them `steps` steps whose stride in A is `a`; all from the given elements on."""

    loops: tuple[Loop, ...]
    steps: int
    a: int
    a_start: int = 0
    b_start: int = 0


@dataclass(frozen=True)
class Block:
    """One register block: `rows` broadcasts from A (given as displacements) times `vectors` from B.

    The reduction is done by `nests`, one after the other, their steps unrolled by `unroll`. In B a step is `b`
    elements after the one before it, and its vectors are `b_vector` apart. `first`: accumulators begin at zero, else
    at the partial sums in the output. `last`: the tail is applied, else partial sums are stored. Of the last vector
    only `lanes` lanes belong to the result: memory of the others is left alone if `masked`, else filled with zeros.
    B is prefetched `prefetch` steps ahead (0: not at all), and A at the displacements `ahead` in each turn of an
    outermost loop.
    """

    rows: tuple[int, ...]
    vectors: int
    nests: tuple[Nest, ...]
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
    ahead: tuple[int, ...] = ()


def micro(name: str, target: Target, arithmetic: Arithmetic, block: Block, tail: Tail) -> Function:
    """The function `(a, b, out, operands...)` that computes one block; every displacement is a constant of the code."""
    names = [f"x{i}" for i in range(len(tail.operands))]
    out = "ptr noalias" if block.last and not tail.operands else "ptr"  # it may take an operand's place
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

    def steps(part: Nest, a: Value, b: Value) -> None:
        whole = part.steps - part.steps % block.unroll
        if whole > block.unroll:
            with f.loop(0, whole, block.unroll, (NO_UNROLL,)) as k:
                a_k = f.gep(a, f.times(k, part.a), arithmetic.a)
                b_k = f.gep(b, f.times(k, block.b), arithmetic.b)
                for u in range(block.unroll):
                    step(a_k, b_k, u * part.a, u)
        for u in range(whole if whole > block.unroll else 0, part.steps):
            step(a, b, u * part.a, u)

    def nest(part: Nest, loops: Sequence[Loop], a: Value, b: Value) -> None:
        if not loops:
            steps(part, a, b)
            return
        outer = loops[0]
        if outer.extent == 1:
            nest(part, loops[1:], a, b)
            return
        with f.loop(0, outer.extent, 1, (NO_UNROLL,)) as i:
            a_i = f.gep(a, f.times(i, outer.a), arithmetic.a)
            if len(loops) == len(part.loops):
                for displacement in block.ahead:
                    f.prefetch(f.gep(a_i, displacement, arithmetic.a, inbounds=False))
            nest(part, loops[1:], a_i, f.gep(b, f.times(i, outer.b), arithmetic.b))

    for part in block.nests:
        a = f.gep(f["a"], part.a_start, arithmetic.a)
        nest(part, part.loops, a, f.gep(f["b"], part.b_start, arithmetic.b))
    results = [[f.get(accumulator) for accumulator in row] for row in accumulators]
    pointers = [f["out"], *(f[x] for x in names)]
    store(f, tail if block.last else NOTHING, block.spots, pointers, results, block.lanes, masked=block.masked)
    return f


def _initial(f: Function, arithmetic: Arithmetic, block: Block, i: int, j: int) -> Value:
    type = arithmetic.accumulator
    if block.first:
        return Value("zeroinitializer", type)
    spot = block.spots[0]
    address = f.gep(f["out"], spot.rows[i] + j * spot.vector, spot.scalar)
    if block.masked and _partial(block, j, type.lanes):
        return f.masked_load(type, address, prefix_mask(block.lanes, type.lanes))
    return f.load(type, address)


def _partial(block: Block, j: int, lanes: int) -> bool:
    return j == block.vectors - 1 and block.lanes < lanes


def _load_b(f: Function, arithmetic: Arithmetic, block: Block, b: Value, displacement: int, j: int) -> Value:
    address = f.gep(b, displacement + j * block.b_vector, arithmetic.b)
    type = arithmetic.b_step
    if block.packed:
        return f.load(type, address, type.bits * type.lanes // 8)
    if _partial(block, j, type.lanes):
        return f.masked_load(type, address, prefix_mask(block.lanes, type.lanes))
    return f.load(type, address)
