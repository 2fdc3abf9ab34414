"""The processor's matrix tiles: up to eight of 16 rows of 64 bytes, whose products are summed in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import BF16, F32, I8, I32, I64, Type, Value, constant

COUNT, ROWS, COLUMNS, DEPTH = 8, 16, 16, 64

Shape = tuple[int, int]
"""Rows of a tile, and bytes of a row."""


@dataclass(frozen=True)
class Form:
    """An instruction: its name, the bytes of an element that is multiplied, the type of sums, and whether those of the
    left operand are signed."""

    name: str
    size: int
    total: Type
    signed: bool = True

    @property
    def step(self) -> int:
        """How many neighbours along the reduction lie in four bytes."""
        return 4 // self.size

    @property
    def most(self) -> int:
        """How many elements a row of a tile holds."""
        return DEPTH // self.size


def form_of(scalar: Type, signed: bool = False) -> Form:
    """The instruction for a left operand of a type; bytes are signed or not, those of the right operand always are."""
    if scalar == BF16:
        return Form("tdpbf16ps", 2, F32)
    return Form("tdpbssd" if signed else "tdpbusd", 1, I32, signed)


class Tiles(Protocol):
    """What can be done with tiles, by their numbers."""

    def configure(self, f: Function, shapes: Sequence[Shape]) -> None: ...

    def zero(self, f: Function, tile: int) -> None: ...

    def load(self, f: Function, tile: int, address: Value, stride: int) -> None: ...

    def dot(self, f: Function, form: Form, total: int, a: int, b: int) -> None: ...

    def save(self, f: Function, tile: int, address: Value, stride: int) -> None: ...

    def release(self, f: Function) -> None: ...


def check(shapes: Sequence[Shape], total: int, a: int, b: int) -> None:
    """Assert that tiles of these shapes can be multiplied: the processor raises an exception if they cannot."""
    assert len(shapes) <= COUNT, shapes
    assert all(0 < rows <= ROWS and 0 < size <= DEPTH for rows, size in shapes), shapes
    assert shapes[total] == (shapes[a][0], shapes[b][1]), (shapes, total, a, b)
    assert shapes[a][1] == 4 * shapes[b][0], (shapes, a, b)


class Amx:
    """The processor's own tiles. The process must have been given leave to use them."""

    def __init__(self) -> None:
        self.shapes: Sequence[Shape] = ()

    def configure(self, f: Function, shapes: Sequence[Shape]) -> None:
        """Palette 1: bytes to a row as 16-bit numbers from byte 16 on, rows as bytes from byte 48 on."""
        self.shapes = shapes
        table = [0] * 64
        table[0] = 1
        for tile, (rows, size) in enumerate(shapes):
            table[16 + 2 * tile], table[48 + tile] = size, rows
        f.call("llvm.x86.ldtilecfg", None, (f.table(table, I8),))

    def zero(self, f: Function, tile: int) -> None:
        f.call("llvm.x86.tilezero", None, (constant(tile, I8),))

    def load(self, f: Function, tile: int, address: Value, stride: int) -> None:
        f.call("llvm.x86.tileloadd64", None, (constant(tile, I8), address, constant(stride, I64)))

    def dot(self, f: Function, form: Form, total: int, a: int, b: int) -> None:
        check(self.shapes, total, a, b)
        f.call(f"llvm.x86.{form.name}", None, (constant(total, I8), constant(a, I8), constant(b, I8)))

    def save(self, f: Function, tile: int, address: Value, stride: int) -> None:
        f.call("llvm.x86.tilestored64", None, (constant(tile, I8), address, constant(stride, I64)))

    def release(self, f: Function) -> None:
        f.call("llvm.x86.tilerelease", None, ())
