"""How one step of a contraction multiplies and adds, for each number format and machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heddle.core.codegen.kernels import played
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import BF16, F32, F64, I8, I16, I32, Type, Value


@dataclass(frozen=True)
class Arithmetic:
    """A step takes `depth` neighbours along the reduction from one row of A and, for each lane, as many from B.

    `a` and `b` are the element types; `a_step` is the scalar that a step loads from A and broadcasts, `b_step` the
    vector that it loads from B; `step(f, accumulator, a, b)` gives the new accumulator. `unroll` steps are best
    written one after another. Besides accumulators and vectors of B a step wants registers for `between` values.
    """

    key: str
    a: Type
    b: Type
    a_step: Type
    b_step: Type
    accumulator: Type
    depth: int
    step: Callable[[Function, Value, Value, Value], Value]
    unroll: int = 4
    between: int = 1

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

    step, between = (fused, 1) if target.fused else (separate, 2)
    return Arithmetic(scalar.scalar, scalar, scalar, scalar, vector, vector, 1, step, between=between)


def integers(target: Target) -> Arithmetic:
    """Products of bytes, summed exactly in 32 bits.

    With VNNI a step takes four of them, unsigned in A and signed in B. The older instruction that multiplies bytes
    saturates, so without VNNI both sides lie in memory as 16-bit words, of which a step takes two.
    """
    lanes = target.lanes(4)
    accumulator = I32.of(lanes)
    if target.vnni:

        def dot(f: Function, total: Value, a: Value, b: Value) -> Value:
            if target.played:
                return played.bytes_dot(f, total, f.bitcast(a, I8.of(4 * lanes)), b)
            return f.call("llvm.x86.avx512.vpdpbusd.512", accumulator, (total, f.bitcast(a, I8.of(4 * lanes)), b))

        return Arithmetic("vnni", I8, I8, I32, I8.of(4 * lanes), accumulator, 4, dot)
    return words(target)


def halves(target: Target) -> Arithmetic:
    """Products of bfloat16, two in a step, summed as floats: by one instruction where there is one, else widened."""
    lanes = target.lanes(4)
    accumulator, pairs = F32.of(lanes), BF16.of(2 * lanes)

    def dot(f: Function, total: Value, a: Value, b: Value) -> Value:
        if target.bf16:
            factors = f.bitcast(a, pairs), f.bitcast(b, pairs)
            return f.call("llvm.x86.avx512bf16.dpbf16ps.512", accumulator, (total, *factors))
        return played.pairs_dot(f, total, a, b, target.fused)

    between = 1 if target.bf16 else 4
    return Arithmetic("bf16", BF16, BF16, I32, I32.of(lanes), accumulator, 2, dot, unroll=2, between=between)


def arithmetic_of(target: Target, scalar: Type) -> Arithmetic:
    """The arithmetic whose left operand is held in memory as this type."""
    if scalar == BF16:
        return halves(target)
    if scalar.floating:
        return floating(target, scalar)
    return words(target) if scalar == I16 else integers(target)


def words(target: Target) -> Arithmetic:
    """Products of signed 16-bit words, summed in 32 bits, which wrap."""
    lanes = target.lanes(4)
    accumulator = I32.of(lanes)
    if not target.x86:

        def multiply(f: Function, total: Value, a: Value, b: Value) -> Value:
            return f.add(total, f.mul(f.convert("sext", a, I32), f.convert("sext", b, I32)))

        return Arithmetic("words", I16, I16, I16, I16.of(lanes), accumulator, 1, multiply, between=2)
    pairs = I16.of(2 * lanes)

    def pair(f: Function, total: Value, a: Value, b: Value) -> Value:
        return f.add(total, pairs_of_products(f, f.bitcast(a, pairs), b))

    # LLVM gathers the sums of more steps, and runs out of registers.
    return Arithmetic("pairs", I16, I16, I32, pairs, accumulator, 2, pair, unroll=2, between=2)


def pairs_of_products(f: Function, a: Value, b: Value) -> Value:
    """Sums of two neighbouring products of signed words, on x86."""
    return f.call(_PAIRS[a.type.lanes * 2], I32.of(a.type.lanes // 2), (a, b))


_PAIRS = {16: "llvm.x86.sse2.pmadd.wd", 32: "llvm.x86.avx2.pmadd.wd", 64: "llvm.x86.avx512.pmaddw.d.512"}
