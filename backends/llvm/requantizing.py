"""Quantized values within a tail, with fewer instructions: whole numbers in 32 bits from one rounding to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from heddle.backends.llvm.held import BYTES
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.tensor import folded, walk
from heddle.core.codegen.values import I32, Value
from heddle.core.ops.scalar import Expr, cast, const, finite_range, maximum, minimum, round_even

FLOAT32, INT32 = np.dtype(np.float32), np.dtype(np.int32)


def simplified(
    body: Expr, leaf: Expr, reciprocal: Callable[[Expr], Expr | None], known: Callable[[Expr], Expr | None]
) -> Expr:
    """The same expression, for sums in `leaf` that are finite: bytes are clamped before they are rounded, and are not
    bounded more widely before that; those that are read again at once stay whole numbers of 32 bits; to divide by what
    has a `reciprocal` is to multiply; and what is `known` to be a number is written as one.
    """
    done: dict[int, Expr] = {id(leaf): leaf}

    def visit(item: Expr) -> Expr:
        if id(item) not in done:
            made = (known(item) or item) if item.op == "load" else _simpler(_with(item, visit), reciprocal)
            done[id(item)] = folded(made)
        return done[id(item)]

    return visit(body)


def linear_part(body: Expr, leaf: Expr) -> tuple[Expr, Expr | None, float]:
    """The largest part of an expression that is (`leaf` + a load) * a number, each optional and read nowhere else; the
    load, and the number."""
    readers: dict[int, list[Expr]] = {}
    for item in walk(body):
        for arg in item.args:
            readers.setdefault(id(arg), []).append(item)

    def reader(item: Expr, op: str, other: str) -> Expr | None:
        found = readers.get(id(item), [])
        fits = len(found) == 1 and item is not body and found[0].op == op and found[0].dtype == FLOAT32
        return found[0] if fits and found[0].args[0] is item and found[0].args[1].op == other else None

    added = reader(leaf, "add", "load")
    multiple = reader(added or leaf, "mul", "const")
    return multiple or added or leaf, added and added.args[1], float(multiple.args[1].value) if multiple else 1.0


def whole_of(item: Expr) -> Expr | None:
    """The whole number of 32 bits, within the range of its bytes, that an expression of bytes narrows."""
    if item.op != "cast" or item.dtype.name not in BYTES or item.args[0].op != "add":
        return None
    inner = item.args[0]
    return inner if inner.dtype == INT32 and is_nearest(inner.args[0]) else None


def is_nearest(item: Expr) -> bool:
    """Whether an expression is the whole number nearest to a float."""
    return item.op == "cast" and item.dtype == INT32 and item.args[0].op == "round_even" and _single(item.args[0])


def nearest(f: Function, value: Value) -> Value:
    """The whole numbers nearest to floats, even ones where two are, in the rounding mode that every caller has."""
    result = I32.of(value.type.lanes)
    return f.call(f"llvm.lrint.{result.suffix}.{value.type.suffix}", result, (value,))


def _with(item: Expr, visit: Callable[[Expr], Expr]) -> Expr:
    args = tuple(visit(arg) for arg in item.args)
    return item if all(new is old for new, old in zip(args, item.args, strict=True)) else replace(item, args=args)


def _simpler(item: Expr, reciprocal: Callable[[Expr], Expr | None]) -> Expr:
    if item.op == "div" and item.dtype == FLOAT32:
        factor = reciprocal(item.args[1])
        return item if factor is None else item.args[0] * factor
    if item.op != "cast":
        return item
    if item.dtype == INT32:
        whole = whole_of(item.args[0])
        return item if whole is None else whole
    return _clamped_first(item) if item.dtype.name in BYTES else item


def _clamped_first(item: Expr) -> Expr:
    """Bytes of a number that is rounded, shifted by a whole number and clamped: of one clamped, rounded and shifted."""
    low, high = finite_range(item.dtype)
    inner = item
    for op, bound in (("cast", None), ("min", high), ("max", low)):
        if inner.op != op or (bound is not None and (inner.args[1].op, inner.args[1].value) != ("const", bound)):
            return item
        inner = inner.args[0]
    if inner.op != "add" or inner.args[0].op != "round_even" or not _single(inner):
        return item
    (rounded, shift), whole = inner.args, _whole_number(inner.args[1])
    if whole is None:
        return item
    bounds = folded(low - shift), folded(high - shift)
    within = minimum(maximum(_unbounded(rounded.args[0], *bounds), bounds[0]), bounds[1])
    return cast(cast(round_even(within), INT32) + whole, item.dtype)


def _unbounded(item: Expr, low: Expr, high: Expr) -> Expr:
    """A multiple of a number that is bounded, without bounds that are as wide, once rounded, as `low` and `high`."""
    if item.op not in ("mul", "div") or any(one.op != "const" for one in (item.args[1], low, high)):
        return item
    number, factor = item.args
    while factor.value > 0 and number.op in ("min", "max") and number.args[1].op == "const":
        end = np.rint(folded(replace(item, args=(number.args[1], factor))).value)
        if not (end >= high.value if number.op == "min" else end <= low.value):
            break
        number = number.args[0]
    return replace(item, args=(number, factor))


def _whole_number(item: Expr) -> Expr | None:
    """A float that is a whole number by its making, as an integer."""
    if item.op == "const" and float(item.value).is_integer():
        return const(int(item.value), INT32)
    return folded(cast(item.args[0], INT32)) if item.op == "cast" and item.args[0].dtype.name in BYTES else None


def _single(item: Expr) -> bool:
    return item.dtype == FLOAT32
