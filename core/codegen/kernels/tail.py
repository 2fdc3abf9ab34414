"""The protocol by which a fused elementwise tail is applied to a kernel's accumulators before they are stored.

A kernel walks its output along axes that it names (a GEMM: batch, row, column; a blocked image: batch, channel block,
row, column of pixels). The output and each operand of the tail say by strides where they lie along those axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import F32, Type, Value

Emit = Callable[[Function, Value, Sequence[Value]], Value]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies along the axes of a kernel's output.

    `strides` has an entry in elements for every axis but that of the lanes, in the kernel's order; `lane` is 1 where
    neighbouring lanes are neighbours in memory and 0 where one element serves them all; `origin` is the element at
    which the walk begins, as inside a halo.
    """

    strides: tuple[int, ...]
    lane: int = 1
    scalar: Type = F32
    origin: int = 0


@dataclass(frozen=True)
class Tail:
    """What happens to each vector of results: `emit(function, accumulator, operands)` gives what is stored.

    `operands` become further pointers of the kernel, after its output, and reach `emit` as vectors of as many lanes
    as the accumulator. `emit` must give the scalar type of the kernel's output and depend on nothing but its
    arguments. `key` names the computation: equal keys, equal code.
    """

    emit: Emit
    operands: tuple[Place, ...] = ()
    key: str = ""


def _plain(function: Function, accumulator: Value, operands: Sequence[Value]) -> Value:
    return accumulator


NOTHING: Tail = Tail(_plain)
"""The tail that stores accumulators as they are."""
