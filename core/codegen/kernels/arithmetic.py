"""How one step of a contraction multiplies and adds, for each number format and machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, F64, I8, I16, I32, Type, Value, constant


@dataclass(frozen=True)
class Arithmetic:
    """A step takes `depth` neighbours along the reduction from one row of A and, for each lane, as many from B.

    `a` and `b` are the element types; `a_step` is the scalar that a step loads from A and broadcasts, `b_step` the
    vector that it loads from B; `step(f, accumulator, a, b)` gives the new accumulator. `widen` is what is done to the
    scalar before it is broadcast.
    """

    key: str
    a: Type
    b: Type
    a_step: Type
    b_step: Type
    accumulator: Type
    depth: int
    step: Callable[[Function, Value, Value, Value], Value]
    widen: Callable[[Function, Value], Value] = lambda f, a: a

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


def integers(target: Target) -> Arithmetic:
    """Products of unsigned bytes (A) and signed bytes (B), summed exactly in 32 bits.

    With VNNI a step takes four bytes; without, two, and B is laid out in 16 bits: the instruction of AVX2 that
    multiplies bytes saturates, so it is of no use.
    """
    lanes = target.lanes(4)
    accumulator = I32.of(lanes)
    if target.vnni:

        def dot(f: Function, total: Value, a: Value, b: Value) -> Value:
            return f.call("llvm.x86.avx512.vpdpbusd.512", accumulator, (total, f.bitcast(a, I8.of(4 * lanes)), b))

        return Arithmetic("vnni", I8, I8, I32, I8.of(4 * lanes), accumulator, 4, dot)

    pairs = I16.of(2 * lanes)

    def widened(f: Function, a: Value) -> Value:
        low, high = f.convert("trunc", a, I8), f.convert("trunc", f.binary("lshr", a, constant(8, I16)), I8)
        upper = f.binary("shl", f.convert("zext", high, I32), constant(16, I32))
        return f.binary("or", f.convert("zext", low, I32), upper)

    def multiply(f: Function, total: Value, a: Value, b: Value) -> Value:
        a = f.bitcast(a, pairs)
        name = {32: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.sse2.pmadd.wd"}.get(target.vector_bytes)
        if target.x86 and name is not None:
            return f.add(total, f.call(name, accumulator, (a, b)))
        sides = []
        for first in (0, 1):
            picks = range(first, 2 * lanes, 2)
            left, right = (f.convert("sext", f.shuffle(x, None, list(picks)), I32) for x in (a, b))
            sides.append(f.mul(left, right))
        return f.add(total, f.add(*sides))

    return Arithmetic("pairs", I8, I16, I16, pairs, accumulator, 2, multiply, widened)
