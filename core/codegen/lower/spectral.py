"""Discrete Fourier transforms as sums over tables of sines and cosines."""

from __future__ import annotations

import numpy as np
from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Array, Lowering, lowers
from heddle.core.codegen.tensor import load, position, total
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr, cast, const, where, widened


def _turns(rows: int, columns: int, length: int, sign: float) -> tuple[Array, Array]:
    """The cosine and the sine of `sign * 2 pi r c / length`."""
    angle = (
        sign * 2 * np.pi * (np.arange(rows)[:, None] * np.arange(columns)[None, :] % max(length, 1)) / max(length, 1)
    )
    return np.cos(angle), np.sin(angle)


@lowers("DFT")
def dft(op: Lowering) -> None:
    x = op[0]
    rank = len(x.shape)
    at = -2 if op.operand(2) is None else int(op.demand(2, "the axis").reshape(-1)[0])
    at = at % rank
    inverse, onesided = bool(op.attrs["inverse"]), bool(op.attrs["onesided"])
    given = None if op.operand(1) is None else int(op.demand(1, "the length").reshape(-1)[0])
    if inverse and onesided:
        _real_inverse(op, x, at, given or 2 * (x.shape[at] - 1))
        return
    length = x.shape[at] if given is None else given
    seen, wide = min(length, x.shape[at]), widened(x.dtype)
    scale = 1 / length if inverse else 1.0
    cos, sin = (scale * t for t in _turns(seen, op.output.shape[at], length, 1 if inverse else -1))
    tables = [op.table(name, table.astype(wide)) for name, table in (("cos", cos), ("sin", sin))]

    def body(*indices: Affine) -> Expr:
        n = axis(seen, "n")

        def element(component: int) -> Expr:
            where_ = [n if number == at else i for number, i in enumerate(indices[:-1])]
            return cast(load(x, *where_, component), wide)

        c, s = (load(table, n, indices[at]) for table in tables)
        real, imaginary = element(0) * c, element(0) * s
        if x.shape[-1] == 2:
            real, imaginary = real - element(1) * s, imaginary + element(1) * c
        which = position(indices[-1]).equals(0)
        return cast(total([n], where(which, real, imaginary)), op.output.dtype)

    op.compute(op.output, body)


def _real_inverse(op: Lowering, x: Value, at: int, length: int) -> None:
    """A real signal from the half of its spectrum."""
    seen, wide = min(length // 2 + 1, x.shape[at]), widened(x.dtype)
    cos, sin = _turns(seen, length, length, 1)
    twice = np.full((seen, 1), 2.0)
    twice[0] = 1
    if length % 2 == 0 and seen == length // 2 + 1:
        twice[-1] = 1
    tables = [op.table(name, (t * twice / length).astype(wide)) for name, t in (("cos", cos), ("sin", sin))]

    def body(*indices: Affine) -> Expr:
        k = axis(seen, "k")
        where_ = [k if number == at else i for number, i in enumerate(indices[:-1])]
        c, s = (load(table, k, indices[at]) for table in tables)
        real = cast(load(x, *where_, 0), wide) * c
        imaginary = const(0, wide) if x.shape[-1] == 1 else cast(load(x, *where_, 1), wide) * s
        return cast(total([k], real - imaginary), op.output.dtype)

    op.compute(op.output, body)


@lowers("STFT")
def stft(op: Lowering) -> None:
    """The transform of each frame of a signal, seen through a window."""
    signal, window = op[0], op.operand(2)
    step = int(op.demand(1, "the step between frames").reshape(-1)[0])
    if op.operand(3) is not None:
        length = int(op.demand(3, "the length of a frame").reshape(-1)[0])
    else:
        length = signal.shape[1] if window is None else window.shape[0]
    wide = widened(signal.dtype)
    cos, sin = _turns(length, op.output.shape[2], length, -1)
    tables = [op.table(name, table.astype(wide)) for name, table in (("cos", cos), ("sin", sin))]

    def body(b: Affine, frame: Affine, k: Affine, component: Affine) -> Expr:
        n = axis(length, "n")

        def element(number: int) -> Expr:
            at = (b, frame * step + n, number) if len(signal.shape) == 3 else (b, frame * step + n)
            value = cast(load(signal, *at), wide)
            return value if window is None else value * cast(load(window, n), wide)

        c, s = (load(table, n, k) for table in tables)
        real, imaginary = element(0) * c, element(0) * s
        if len(signal.shape) == 3 and signal.shape[2] == 2:
            real, imaginary = real - element(1) * s, imaginary + element(1) * c
        return cast(total([n], where(position(component).equals(0), real, imaginary)), op.output.dtype)

    op.compute(op.output, body)
