"""Reductions along axes: one fold each, from which numpy's meaning and the generated loops both come."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from heddle.core.ir import Type
from heddle.core.ops import scalar as s
from heddle.core.ops.registry import Operand, Reduction, op
from heddle.core.ops.scalar import Expr, argument
from heddle.core.ops.shapes import Axes, reduced_type
from numpy.typing import NDArray

Array = NDArray[Any]


def reduction_type(data: Operand, axes: Operand | None, *, keepdims: int, noop_with_empty_axes: int) -> Type:
    if axes is not None and axes.value is None:
        count = -1 if axes.dims is None or isinstance(axes.dims[0], str) else axes.dims[0]
        if count == 0:
            return reduced_type(data.tensor, () if noop_with_empty_axes else None, bool(keepdims))
        return reduced_type(data.tensor, count, bool(keepdims))
    return reduced_type(data.tensor, _axes(None if axes is None else axes.value, noop_with_empty_axes), bool(keepdims))


def _axes(axes: Array | None, noop: int) -> Axes:
    """The axes that an operand names; None for all of them."""
    if axes is None or axes.size == 0:
        return () if noop else None
    return tuple(int(axis) for axis in axes.reshape(-1))


def fold(reduction: Reduction, data: Array, axes: tuple[int, ...] | None, keepdims: bool) -> Array:
    """An array reduced along axes; floats narrower than 32 bits are summed in 32."""
    each = reduction.each(argument(0, data.dtype))
    wide = s.widened(each.dtype)
    combine = reduction.combine(argument(0, wide), argument(1, wide))
    function = cast(np.ufunc, s.MEANING[combine.op])
    if axes is not None:
        axes = tuple(axis % data.ndim for axis in axes)
    count = int(np.prod([data.shape[axis] for axis in (range(data.ndim) if axes is None else axes)], dtype=np.int64))
    with np.errstate(all="ignore"):
        total = function.reduce(
            s.evaluate(each, [data]).astype(wide, copy=False),
            axis=axes,
            keepdims=keepdims,
            initial=np.asarray(reduction.initial(wide)).astype(wide)[()],
            dtype=wide,
        )
    return np.asarray(s.evaluate(s.cast(reduction.finish(argument(0, wide), count), data.dtype), [np.asarray(total)]))


def _define(name: str, reduction: Reduction) -> None:
    @op(name, infer=reduction_type, reduction=reduction)
    def reduce(data: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
        return fold(reduction, data, _axes(axes, noop_with_empty_axes), bool(keepdims))


def _square(x: Expr) -> Expr:
    return x * x


def _add(a: Expr, b: Expr) -> Expr:
    return a + b


def _root(total: Expr, count: int) -> Expr:
    return s.sqrt(total if s.is_floating(total.dtype) else s.cast(total, "float64"))


_define("ReduceSum", Reduction(lambda dtype: 0, _add))
_define("ReduceMean", Reduction(lambda dtype: 0, _add, finish=lambda total, count: total / count))
_define("ReduceProd", Reduction(lambda dtype: 1, lambda a, b: a * b))
_define("ReduceMax", Reduction(s.lowest, s.maximum))
_define("ReduceMin", Reduction(s.highest, s.minimum))
_define("ReduceL1", Reduction(lambda dtype: 0, _add, each=s.absolute))
_define("ReduceL2", Reduction(lambda dtype: 0, _add, each=_square, finish=_root))
_define("ReduceSumSquare", Reduction(lambda dtype: 0, _add, each=_square))
_define("ReduceLogSum", Reduction(lambda dtype: 0, _add, finish=lambda total, count: s.log(total)))


@op("ReduceLogSumExp", infer=reduction_type)
def reduce_log_sum_exp(
    data: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """Shifted by the greatest element, so that nothing overflows."""
    over = _axes(axes, noop_with_empty_axes)
    wide = data.astype(s.widened(data.dtype))
    with np.errstate(all="ignore"):
        top = np.max(wide, axis=over, keepdims=True, initial=-np.inf)
        shift = np.where(np.isfinite(top), top, np.zeros_like(top))
        total = np.log(np.sum(np.exp(wide - shift), axis=over, keepdims=True)) + shift
    return np.asarray(total if keepdims else np.squeeze(total, axis=over)).astype(data.dtype)


# -- the position of the greatest and the least -----------------------------------------------------------------


def arg_type(data: Operand, *, axis: int, keepdims: int, select_last_index: int) -> Type:
    reduced = reduced_type(data.tensor, (axis,), bool(keepdims))
    return type(reduced)(np.dtype(np.int64), reduced.dims)


def _position(data: Array, axis: int, keepdims: int, last: int, best: Any) -> Array:
    found = data.shape[axis] - 1 - best(np.flip(data, axis), axis=axis) if last else best(data, axis=axis)
    return np.asarray(np.expand_dims(found, axis) if keepdims else found).astype(np.int64)


@op("ArgMax", infer=arg_type)
def arg_max(data: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    return _position(data, axis, keepdims, select_last_index, np.argmax)


@op("ArgMin", infer=arg_type)
def arg_min(data: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    return _position(data, axis, keepdims, select_last_index, np.argmin)


# -- running folds ----------------------------------------------------------------------------------------------


def running_type(x: Operand, axis: Operand, **_: Any) -> Type:
    return x.type


def _running(function: np.ufunc, x: Array, axis: int, exclusive: int, reverse: int) -> Array:
    data = np.flip(x, axis) if reverse else x
    total = function.accumulate(data, axis=axis, dtype=x.dtype)
    if exclusive:
        ahead = np.take(total, range(x.shape[axis] - 1), axis=axis)
        first = np.full_like(np.take(total, [0], axis=axis), function.identity)
        total = np.concatenate([first, ahead], axis=axis)
    return np.ascontiguousarray(np.flip(total, axis) if reverse else total)


@op("CumSum", infer=running_type)
def cum_sum(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array:
    return _running(np.add, x, int(axis.reshape(-1)[0]), exclusive, reverse)


@op("CumProd", infer=running_type)
def cum_prod(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array:
    return _running(np.multiply, x, int(axis.reshape(-1)[0]), exclusive, reverse)
