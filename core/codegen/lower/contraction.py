"""Contractions as plain nests of loops."""

from __future__ import annotations

import numpy as np
from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import load, total
from heddle.core.ir import Value
from heddle.core.ir.types import DType
from heddle.core.ops.scalar import Expr, cast, is_floating


def accumulator(dtype: DType) -> DType:
    """The dtype in which elements of a dtype are summed."""
    return np.dtype(np.float32) if is_floating(dtype) and dtype.itemsize < 4 else dtype


@lowers("MatMul")
def matmul(op: Lowering) -> None:
    a, b = op[0], op[1]
    wide = accumulator(a.dtype)

    def body(*indices: Affine) -> Expr:
        return cast(product(a, b, indices, wide), op.output.dtype)

    op.compute(op.output, body)


def product(a: Value, b: Value, indices: tuple[Affine, ...], wide: DType) -> Expr:
    """An element of numpy's matmul, summed in a wider dtype."""
    rest = list(indices)
    column = rest.pop() if len(b.shape) > 1 else None
    row = rest.pop() if len(a.shape) > 1 else None
    k = axis(a.shape[-1], "k")
    left = load(a, *_batch(a, rest), *(() if row is None else (row,)), k)
    right = load(b, *_batch(b, rest), k, *(() if column is None else (column,)))
    return total([k], cast(left, wide) * cast(right, wide))


def _batch(value: Value, indices: list[Affine]) -> list[Affine | int]:
    shape = value.shape[:-2]
    aligned = indices[len(indices) - len(shape) :]
    return [0 if size == 1 else index for size, index in zip(shape, aligned, strict=True)]
