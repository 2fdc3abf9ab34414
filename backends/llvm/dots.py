"""Matrix products of bytes, of which the right one may be constant: exact sums, with what follows fused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from heddle.backends.llvm.convolutions import Dequantized
from heddle.backends.llvm.held import BYTES
from heddle.core.codegen.affine import Affine, of_axis, only_axis
from heddle.core.codegen.affine import axis as fresh_axis
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.lower.quantization import number, requantized
from heddle.core.codegen.tensor import Compute, load
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr, cast, const
from numpy.typing import NDArray

Array = NDArray[Any]
INT32, FLOAT32 = np.dtype(np.int32), np.dtype(np.float32)
LARGEST = 255
"""No byte and no difference of two is of greater magnitude."""


Zero = Value | int
"""A zero point: a computed one is a single number, or on the right may have one for each column."""


@dataclass(frozen=True, eq=False)
class Dot:
    """Sums of products of a value's bytes, along its last axis, with whole numbers of `shape` [*batch, k, n]; `batch`
    is empty or the value's own.

    Those are constant `weights` of at most 9 bits, or the bytes of `right`: then both sides count less their `zeros`.
    """

    source: Value
    shape: tuple[int, ...]
    weights: Array | None = None
    right: Value | None = None
    zeros: tuple[Zero, Zero] = (0, 0)


@dataclass(frozen=True, eq=False)
class _Factors:
    """What an operator multiplies: bytes less a zero point, with constants or with bytes less a zero point of theirs;
    `scale` is that of both, single or by column."""

    source: Value
    zero_point: Zero
    right: Array | Value
    scale: Array
    right_zero: Zero = 0


def take_dot(op: Lowering, known: dict[Value, Dequantized]) -> bool:
    """Add the computation of a product of bytes; False, and nothing added, for any other node.

    `known` are the tensors that are made of integers.
    """
    if op.node.op in ("MatMul", "Gemm"):
        return _take_dequantized(op, known)
    if op.node.op == "QLinearMatMul":
        return _take_qlinear(op)
    return op.node.op == "MatMulInteger" and _take_integers(op)


def _take_dequantized(op: Lowering, known: dict[Value, Dequantized]) -> bool:
    x, w, bias = known.get(op[0]), known.get(op[1]), op.operand(2)
    if x is None or w is None or x.scale.size != 1 or op.output.dtype != FLOAT32:
        return False
    turned = op.node.op == "Gemm" and bool(op.attrs["transB"])
    if op.node.op == "Gemm" and (op.attrs["transA"] or op.attrs["alpha"] != 1 or op.attrs["beta"] != 1):
        return False
    rank = len(w.source.shape)
    columns = rank - (2 if turned else 1)
    if rank < 2 or (w.scale.size > 1 and w.axis != columns):
        return False
    integers = op.constants.get(w.source, op.tables.get(w.source))
    if integers is None and (turned or w.zero_point.size > 1):
        return False
    right: Array | Value = w.source
    if integers is not None:
        centred = integers.astype(np.int32) - _along(w.zero_point, columns, rank)
        right = np.swapaxes(centred, -1, -2) if turned else centred
    if bias is not None and bias.shape[-1:] != (right.shape[-1],):
        return False
    scale = (x.scale.reshape(()).astype(np.float64) * w.scale.reshape(-1)).astype(np.float32)
    zeros = int(x.zero_point.reshape(())), 0 if integers is not None else int(w.zero_point.reshape(()))
    factors = _Factors(x.source, zeros[0], right, scale, zeros[1])

    def finished(total: Expr, scaled: Expr, row: Expr | None) -> Expr:
        product = cast(total, FLOAT32) * scaled
        return product if row is None else product + row

    return _add(op, factors, finished, bias)


def _take_qlinear(op: Lowering) -> bool:
    scales = [op.known(i) for i in (1, 4, 6)]
    zeros = [op.known(i) for i in (2, 5, 7)]
    if len(op[3].shape) < 2 or any(array is None for array in (*scales, *zeros)):
        return False
    a_scale, b_scale, y_scale = (np.asarray(array) for array in scales)
    a_zero, y_zero = np.asarray(zeros[0]), np.asarray(zeros[2])
    single = a_scale.size == a_zero.size == y_scale.size == y_zero.size == 1
    if not single or a_scale.dtype != FLOAT32 or b_scale.ndim > 1 or b_scale.size not in (1, op[3].shape[-1]):
        return False
    found = _right(op, 3, 5)
    if found is None:
        return False
    scale = (a_scale.reshape(()) * b_scale.reshape(-1) / y_scale.reshape(())).astype(np.float32)
    factors = _Factors(op[0], int(a_zero.reshape(())), found[0], scale, found[1])
    zero, dtype = const(int(y_zero.reshape(())), INT32), op.output.dtype
    return _add(op, factors, lambda total, scaled, _: requantized(total, scaled, zero, dtype))


def _take_integers(op: Lowering) -> bool:
    a_zero, found = op.operand(2), _right(op, 1, 3)
    if found is None or (a_zero is not None and a_zero.tensor.size != 1):
        return False
    return _add(op, _Factors(op[0], a_zero or 0, found[0], np.ones(1, np.float32), found[1]), lambda total, *_: total)


def _right(op: Lowering, position: int, zero_position: int) -> tuple[Array | Value, Zero] | None:
    """A right operand: constants less their zero points, or what is computed and its zero point; None for zero points
    that are neither single nor by column, or are computed for constants."""
    value, zero, zeros, array = op[position], op.operand(zero_position), op.known(zero_position), op.known(position)
    if len(value.shape) < 2:
        return None
    if zero is not None and (len(zero.shape) > 1 or zero.tensor.size not in (1, value.shape[-1])):
        return None
    if array is None:
        known = zeros is not None and zeros.size == 1
        return value, int(np.asarray(zeros).reshape(())) if known else zero or 0
    if zero is not None and zeros is None:
        return None
    subtracted = np.zeros((), np.int32) if zeros is None else zeros
    return array.astype(np.int32) - _along(subtracted, array.ndim - 1, array.ndim), 0


def _along(values: Array, axis: int, rank: int) -> Array:
    """Numbers that belong to one axis of an array, or a single one, as integers to be broadcast."""
    integers = values.astype(np.int32).reshape(-1)
    return integers.reshape([-1 if i == axis else 1 for i in range(rank)]) if integers.size > 1 else integers


def _add(
    op: Lowering,
    factors: _Factors,
    finished: Callable[[Expr, Expr, Expr | None], Expr],
    bias: Value | None = None,
) -> bool:
    """Add the exact sums, as `finished` makes results of them and of a scale and a bias by column."""
    x, right = factors.source, factors.right
    depth, columns = right.shape[-2:]
    batched = len(right.shape) > 2 and right.shape[:-2] == x.shape[:-2]
    if x.dtype.name not in BYTES or len(x.shape) < 2 or 0 in op.output.shape or not depth:
        return False
    if not (batched or prod(right.shape[:-2]) == 1) or op.output.shape != (*x.shape[:-1], columns):
        return False
    if depth * LARGEST * LARGEST >= 1 << 31 or (isinstance(right, Value) and right.dtype.name not in BYTES):
        return False
    axes = tuple(only_axis(fresh_axis(size)) for size in op.output.shape)
    here = tuple(map(of_axis, axes))
    total = _sums(op, factors, right.shape if batched else (depth, columns), (*here[:-2], here[-1]))
    scale = const(float(factors.scale[0]), FLOAT32)
    if factors.scale.size > 1:
        scale = load(op.table("scale", factors.scale), here[-1])
    row = None
    if bias is not None:
        shape = bias.shape
        row = load(bias, *(0 if size == 1 else i for size, i in zip(shape, here[-len(shape) :], strict=True)))
    op.add(Compute(op.output, axes, finished(total, scale, row), node=op.label))
    return True


def _sums(op: Lowering, factors: _Factors, shape: tuple[int, ...], columns: tuple[Affine, ...]) -> Expr:
    """The sums of products; `shape` is that of the right side, and `columns` the indices of a batch's columns."""
    x, right, zero = factors.source, factors.right, factors.zero_point
    read = [load(x, *(0 for _ in x.shape))]
    if isinstance(right, Value):
        zeros = (zero, factors.right_zero)
        read += [load(value, *(0 for _ in value.shape)) for value in (right, *zeros) if isinstance(value, Value)]
        return Expr("dot", INT32, tuple(read), Dot(x, shape, right=right, zeros=zeros))
    weights = right.reshape(shape)
    total = Expr("dot", INT32, tuple(read), Dot(x, shape, weights))
    if zero == 0:
        return total
    # What the zero point adds to every sum of a column is the same.
    sums = op.table("sums", weights.sum(axis=-2, dtype=np.int32))
    zero_point = const(zero, INT32) if isinstance(zero, int) else cast(number(zero), INT32)
    return total - zero_point * load(sums, *columns[-len(shape) + 1 :])
