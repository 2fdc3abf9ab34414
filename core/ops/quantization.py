"""Quantization: to integers and back, and products of quantized tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, dtype_name, dtype_named, tensor
from heddle.core.ir.types import DType
from heddle.core.ops import scalar as s
from heddle.core.ops.cast import SATURATING, saturated
from heddle.core.ops.convolution import GEOMETRY, along_channels, convolve, convolved_type
from heddle.core.ops.matmul import product_dims
from heddle.core.ops.registry import DTypeName, Operand, elementwise, op
from heddle.core.ops.scalar import Expr
from numpy.typing import NDArray

Array = NDArray[Any]
INT32 = np.dtype(np.int32)


def channel_axis(*, axis: int, block_size: int = 0, **_: Any) -> int | None:
    """Where scales and zero points lie; None when they are given by blocks."""
    return None if block_size else axis


@elementwise("QuantizeLinear", along=channel_axis)
def quantize_linear(
    x: Expr,
    y_scale: Expr,
    y_zero_point: Expr | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: DTypeName | None = None,
    precision: DTypeName | None = None,
    saturate: int = 1,
) -> Expr:
    """`x / y_scale` in the precision of the scale, rounded to even, plus the zero point, saturated."""
    dtype = y_zero_point.dtype if y_zero_point is not None else dtype_named(output_dtype or "uint8")
    if output_dtype is not None and dtype_name(dtype) != output_dtype:
        raise GraphError(f"output_dtype is {output_dtype}, the zero point is {dtype_name(dtype)}")
    ratio_dtype = dtype_named(precision) if precision else y_scale.dtype
    ratio = s.cast(x, ratio_dtype) / s.cast(y_scale, ratio_dtype)
    if dtype_name(dtype) in SATURATING:
        return saturated(ratio, dtype) if saturate else s.cast(ratio, dtype)
    return quantized(s.cast(ratio, s.widened(ratio_dtype)), dtype, y_zero_point)


def quantized(x: Expr, dtype: DType, zero_point: Expr | None) -> Expr:
    """A number that is already divided by its scale, in a quantized dtype."""
    if not s.is_integer(dtype):
        return s.cast(x if zero_point is None else x + s.cast(zero_point, x.dtype), dtype)
    whole = s.round_even(x)
    whole = whole if zero_point is None else whole + s.cast(zero_point, x.dtype)
    low, high = s.finite_range(dtype)
    return s.cast(s.minimum(s.maximum(whole, low), high), dtype)


@elementwise("DequantizeLinear", along=channel_axis)
def dequantize_linear(
    x: Expr,
    x_scale: Expr,
    x_zero_point: Expr | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: DTypeName | None = None,
) -> Expr:
    """`(x - x_zero_point) * x_scale`; the difference is exact."""
    dtype = dtype_named(output_dtype) if output_dtype else x_scale.dtype
    return s.cast(dequantized(x, s.cast(x_scale, s.widened(x_scale.dtype)), x_zero_point), dtype)


def dequantized(x: Expr, scale: Expr, zero_point: Expr | None) -> Expr:
    """The number that a quantized one stands for, in the dtype of the scale."""
    between = INT32 if s.is_integer(x.dtype) else scale.dtype
    centred = s.cast(x, between)
    centred = centred if zero_point is None else centred - s.cast(zero_point, between)
    return s.cast(centred, scale.dtype) * scale


def dynamic_type(x: Operand) -> tuple[Type, ...]:
    return TensorType(np.dtype(np.uint8), x.dims), tensor("float32"), tensor("uint8")


@op("DynamicQuantizeLinear", infer=dynamic_type)
def dynamic_quantize_linear(x: Array) -> tuple[Array, Array, Array]:
    """To uint8, by the range of the data, which always holds zero."""
    low = np.minimum(x.min(initial=0), np.float32(0))
    high = np.maximum(x.max(initial=0), np.float32(0))
    scale = np.asarray((high - low) / np.float32(255), np.float32)
    inverse = scale if scale else np.float32(1)
    zero_point = np.clip(np.rint(-low / inverse), 0, 255).astype(np.uint8)
    y = np.clip(np.rint(x / inverse) + np.float32(zero_point), 0, 255).astype(np.uint8)
    return y, scale, zero_point


# -- products of integers ---------------------------------------------------------------------------------------


def centred(x: Array, zero_point: Array | None) -> Array:
    """The integers less their zero point, in 32 bits."""
    wide = x.astype(INT32)
    return wide if zero_point is None else wide - zero_point.astype(INT32)


def requantized(total: Array, multiplier: Array, zero_point: Array) -> Array:
    """Sums of products, scaled in float32, rounded to even and saturated to the zero point's dtype."""
    low, high = s.finite_range(zero_point.dtype)
    whole = np.rint(total.astype(np.float32) * multiplier.astype(np.float32)) + zero_point.astype(np.float32)
    return np.asarray(np.clip(whole, low, high)).astype(zero_point.dtype)


def _rows(vector: Array | None) -> Array | None:
    """A vector of one number per row, shaped to broadcast; anything else as it is."""
    return vector if vector is None or vector.ndim != 1 else vector.reshape(-1, 1)


def matmul_integer_type(a: Operand, b: Operand, a_zero_point: Operand | None, b_zero_point: Operand | None) -> Type:
    return TensorType(INT32, product_dims(a, b, "MatMulInteger"))


@op("MatMulInteger", infer=matmul_integer_type)
def matmul_integer(a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None) -> Array:
    return np.asarray(np.matmul(centred(a, _rows(a_zero_point)), centred(b, b_zero_point)))


def qlinear_matmul_type(
    a: Operand,
    a_scale: Operand,
    a_zero_point: Operand,
    b: Operand,
    b_scale: Operand,
    b_zero_point: Operand,
    y_scale: Operand,
    y_zero_point: Operand,
) -> Type:
    return TensorType(y_zero_point.dtype, product_dims(a, b, "QLinearMatMul"))


@op("QLinearMatMul", infer=qlinear_matmul_type)
def qlinear_matmul(
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
) -> Array:
    total = np.matmul(centred(a, _rows(a_zero_point)), centred(b, b_zero_point))
    left = a_scale.reshape(-1, 1) if a_scale.ndim == 1 else a_scale
    wide = [scale.astype(np.float32) for scale in (left, b_scale, y_scale)]
    return requantized(total, np.asarray(wide[0] * wide[1] / wide[2]), y_zero_point)


def conv_integer_type(
    x: Operand, w: Operand, x_zero_point: Operand | None, w_zero_point: Operand | None, **attributes: Any
) -> Type:
    return convolved_type("ConvInteger", x, w, INT32, **attributes)


@op("ConvInteger", infer=conv_integer_type, shared=GEOMETRY)
def conv_integer(
    x: Array,
    w: Array,
    x_zero_point: Array | None = None,
    w_zero_point: Array | None = None,
    **geometry: Any,
) -> Array:
    """Padding stands for zero, hence for the zero point."""
    filters = centred(w, _per_filter(w_zero_point, w.ndim))
    return convolve(centred(x, x_zero_point), filters, **geometry)


def _per_filter(vector: Array | None, rank: int) -> Array | None:
    if vector is None or vector.ndim == 0 or vector.size == 1:
        return None if vector is None else vector.reshape(())
    return vector.reshape(-1, *[1] * (rank - 1))


def qlinear_conv_type(
    x: Operand,
    x_scale: Operand,
    x_zero_point: Operand,
    w: Operand,
    w_scale: Operand,
    w_zero_point: Operand,
    y_scale: Operand,
    y_zero_point: Operand,
    b: Operand | None,
    **attributes: Any,
) -> Type:
    return convolved_type("QLinearConv", x, w, y_zero_point.dtype, **attributes)


@op("QLinearConv", infer=qlinear_conv_type, shared=GEOMETRY)
def qlinear_conv(
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    b: Array | None = None,
    **geometry: Any,
) -> Array:
    """The bias is an integer in units of `x_scale * w_scale`."""
    filters = centred(w, _per_filter(w_zero_point, w.ndim))
    total = convolve(centred(x, x_zero_point.reshape(())), filters, **geometry)
    if b is not None:
        total = total + along_channels(b, total.ndim)
    multiplier = np.asarray(x_scale * w_scale / y_scale)
    multiplier = along_channels(multiplier, total.ndim) if multiplier.size > 1 else multiplier.reshape(())
    return requantized(total, multiplier, y_zero_point.reshape(()))
