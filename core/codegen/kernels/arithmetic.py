"""How one step of a contraction multiplies and adds, for each number format and machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, F64, Type, Value


@dataclass(frozen=True)
class Arithmetic:
    """A step takes `depth` neighbours along the reduction from one row of A and, for each lane, as many from B.

    `a` and `b` are the element types; `a_step` is the scalar that a step loads from A and broadcasts, `b_step` the
    vector that it loads from B; `step(f, accumulator, a, b)` gives the new accumulator.
    """

    key: str
    a: Type
    b: Type
    a_step: Type
    b_step: Type
    accumulator: Type
    depth: int
    step: Callable[[Function, Value, Value, Value], Value]

    @property
    def lanes(self) -> int:
        return self.accumulator.lanes


def floating(target: Target, scalar: Type = F32) -> Arithmetic:
    """Multiplication and addition of floats, fused where the machine can."""
    assert scalar in (F32, F64)
    lanes = target.lanes(scalar.bits // 8)
    vector = scalar.of(lanes)

    def fused(f: Function, accumulator: Value, a: Value, b: Value) -> Value:
        return f.fma(a, b, accumulator)

    def separate(f: Function, accumulator: Value, a: Value, b: Value) -> Value:
        return f.add(accumulator, f.mul(a, b))

    return Arithmetic(scalar.scalar, scalar, scalar, scalar, vector, vector, 1, fused if target.fused else separate)
