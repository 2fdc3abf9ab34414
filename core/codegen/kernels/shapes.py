"""Which register blocks a machine can hold, and what they cost by a simple model of its pipelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import gcd

from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Type

LOADS_PER_CYCLE = 2
LATENCY = 4
FROM_L2 = 0.25
FROM_L1 = 0.05
WAYS = 6
PAGE = 4096
CALL = 24


def fits(target: Target, between: int, rows: int, vectors: int) -> bool:
    """Whether accumulators, a row of B and `between` more values fit in the registers."""
    return rows * vectors + vectors + between <= target.vector_registers


@cache
def register_blocks(target: Target, between: int) -> tuple[tuple[int, int], ...]:
    """The (rows, vectors) blocks worth trying, those most used first."""
    blocks = []
    for vectors in (2, 3, 4, 1, 6, 8):
        rows = next((rows for rows in range(30, 0, -1) if fits(target, between, rows, vectors)), 0)
        blocks += [(size, vectors) for size in (rows, rows - 2) if size > 0 and rows * vectors >= 4]
    return tuple(blocks)


def step_cycles(target: Target, rows: int, vectors: int) -> float:
    """Cycles of one step of a block: bound by multiplications, by loads, or by the chain of dependent additions.

    B comes from the second cache, a vector at a time, and A from the first, an element at a time; some of that shows.
    """
    loads = (rows + vectors) / LOADS_PER_CYCLE
    return max(rows * vectors / target.multiplies_per_cycle, loads, float(LATENCY)) + FROM_L2 * vectors + FROM_L1 * rows


def block_cycles(target: Target, row_parts: Sequence[int], vector_parts: Sequence[int], steps: int) -> float:
    """Cycles of a whole product cut into blocks of these sizes."""
    return sum(
        (step_cycles(target, rows, vectors) * steps + CALL + 2 * rows * vectors) * down * across
        for rows, down in Counter(row_parts).items()
        for vectors, across in Counter(vector_parts).items()
    )


def vector_products(target: Target, scalar: Type) -> int:
    """How many products of a scalar type begin in a cycle at best."""
    return target.lanes(scalar.bits // 8) * target.multiplies_per_cycle


def rows_apart(stride: int) -> int:
    """How many rows that are `stride` bytes apart the first cache holds at once: those that are a multiple of a page
    apart all fall into one of its sets, of which it has few ways."""
    return WAYS * (PAGE // gcd(PAGE, stride)) if stride else PAGE
