"""Moving values between layouts: transposition in registers."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import Value


def transpose_registers(f: Function, rows: Sequence[Value]) -> list[Value]:
    """The transpose of a square of as many vectors as each has lanes, a power of two, by exchanging halves."""
    lanes = rows[0].type.lanes
    assert len(rows) == lanes, f"{len(rows)} rows of {lanes} lanes are no square"
    square = list(rows)
    distance = lanes // 2
    while distance:
        low = [lane + (lanes - distance) * bool(lane & distance) for lane in range(lanes)]
        high = [lane + (distance if not lane & distance else lanes) for lane in range(lanes)]
        for i in range(lanes):
            if not i & distance:
                a, b = square[i], square[i + distance]
                square[i], square[i + distance] = f.shuffle(a, b, low), f.shuffle(a, b, high)
        distance //= 2
    return square
