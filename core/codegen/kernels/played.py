"""What processors' instructions for dot products and matrix tiles do, said in plain vectors, for those without them."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.codegen.kernels.tiles import DEPTH, Form, Shape, check
from heddle.core.codegen.llvm import NO_UNROLL, Function, Variable
from heddle.core.codegen.values import F32, I8, I32, Type, Value, constant

TILE = 16 * DEPTH


def bytes_dot(f: Function, total: Value, a: Value, b: Value, signed: bool = False) -> Value:
    """In each lane of `total` the sum of four products of bytes is added; those of `b` are signed."""
    for part in range(4):
        lanes = range(part, 4 * total.type.lanes, 4)
        left = f.convert("sext" if signed else "zext", f.shuffle(a, None, lanes), I32)
        total = f.add(total, f.mul(left, f.convert("sext", f.shuffle(b, None, lanes), I32)))
    return total


def pairs_dot(f: Function, total: Value, a: Value, b: Value, fused: bool = True) -> Value:
    """In each lane of `total` the sum of two products of bfloat16 is added; `a` and `b` hold pairs as i32."""
    for half in (_low, _high):
        left, right = half(f, a), half(f, b)
        total = f.fma(left, right, total) if fused else f.add(total, f.mul(left, right))
    return total


def _low(f: Function, pairs: Value) -> Value:
    return f.bitcast(f.binary("shl", pairs, constant(16, pairs.type)), pairs.type.like("float"))


def _high(f: Function, pairs: Value) -> Value:
    return f.bitcast(f.binary("and", pairs, constant(-1 << 16, pairs.type)), pairs.type.like("float"))


class Played:
    """Tiles kept on the stack; shapes that the processor would refuse are refused when code is made."""

    def __init__(self) -> None:
        self.shapes: Sequence[Shape] = ()
        self.places: list[Variable] = []

    def configure(self, f: Function, shapes: Sequence[Shape]) -> None:
        self.shapes = shapes
        self.places = [f.slot(I8, TILE) for _ in shapes]

    def zero(self, f: Function, tile: int) -> None:
        f.fill(self.places[tile].address, 0, TILE)

    def load(self, f: Function, tile: int, address: Value, stride: int) -> None:
        rows, size = self.shapes[tile]
        with f.loop(0, rows, 1, (NO_UNROLL,)) as row:
            f.copy(self._row(f, tile, row), f.gep(address, f.times(row, stride), I8), size)

    def dot(self, f: Function, form: Form, total: int, a: int, b: int) -> None:
        check(self.shapes, total, a, b)
        lanes = form.total.of(DEPTH // 4)
        with f.loop(0, self.shapes[total][0], 1, (NO_UNROLL,)) as row:
            at = self._row(f, total, row)
            with f.loop(0, self.shapes[a][1] // 4, 1, (NO_UNROLL,)) as k:
                four = f.load(I32, f.gep(self._row(f, a, row), f.times(k, 4), I8))
                left, right = f.splat(four, lanes.lanes), f.load(I32.of(lanes.lanes), self._row(f, b, k))
                f.store(self._step(f, form, f.load(lanes, at), left, right), at)

    def save(self, f: Function, tile: int, address: Value, stride: int) -> None:
        rows, size = self.shapes[tile]
        with f.loop(0, rows, 1, (NO_UNROLL,)) as row:
            f.copy(f.gep(address, f.times(row, stride), I8), self._row(f, tile, row), size)

    def release(self, f: Function) -> None:
        self.places = []

    def _row(self, f: Function, tile: int, row: Value) -> Value:
        return f.gep(self.places[tile].address, f.times(row, DEPTH), I8)

    def _step(self, f: Function, form: Form, total: Value, left: Value, right: Value) -> Value:
        if form.total == F32:
            return pairs_dot(f, total, left, right)
        fours: Type = I8.of(DEPTH)
        return bytes_dot(f, total, f.bitcast(left, fours), f.bitcast(right, fours), form.signed)
