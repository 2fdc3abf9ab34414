"""From the scalar expression around a contraction to the tail that its kernel applies to its accumulators."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from heddle.backends.llvm.fusion import OPAQUE
from heddle.backends.llvm.held import hold, hold_whole, release
from heddle.backends.llvm.requantizing import is_nearest, nearest, whole_of
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.narrow import register_type
from heddle.core.codegen.numeric import Context, apply, literal
from heddle.core.codegen.target import Target
from heddle.core.codegen.tensor import walk
from heddle.core.codegen.values import F32, I8, PTR, Type, Value
from heddle.core.codegen.vmath import AVAILABLE
from heddle.core.ops.scalar import Expr
from heddle.core.runtime.abi import MATH


def operands_of(body: Expr, leaf: Expr) -> list[Expr]:
    """The loads that an expression makes outside of its contraction `leaf`, each once, in a fixed order."""
    found: list[Expr] = []
    stack = [body]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if id(item) in seen or item is leaf:
            continue
        seen.add(id(item))
        if item.op == "load":
            found.append(item)
        stack.extend(reversed(item.args))
    return found


def fits(body: Expr, leaf: Expr, integers: Sequence[Type] = (I8,)) -> bool:
    """Whether everything around the contraction is arithmetic that vectors can do without calling anything, and its
    result a float or one of these integers."""
    inside = {id(item) for item in walk(leaf)} - {id(leaf)}
    for item in walk(body):
        if id(item) in inside or item is leaf or item.op in ("load", "const"):
            continue
        if item.op in OPAQUE or item.op in ("index", "local", "arg", "pow", "mod", "fmod"):
            return False
        if item.op in MATH and (item.op, register_type(item.dtype)) not in AVAILABLE:
            return False
    return register_type(body.dtype) in (F32, *integers)


def tail_of(
    target: Target, body: Expr, leaf: Expr, places: Sequence[tuple[Expr, Place]], held: Collection[Expr] = ()
) -> Tail:
    """The tail that computes `body` from the value of `leaf` and of the loads that `places` names.

    The expressions in `held` are in memory as images hold them.
    """
    numbers = {id(item) for item in held}

    def value_of(f: Function, item: Expr, read: Value) -> Value:
        return release(f, target, item.dtype, read) if id(item) in numbers else read

    def emit(f: Function, accumulator: Value, operands: Sequence[Value]) -> Value:
        done: dict[int, Value] = {id(leaf): value_of(f, leaf, accumulator)}
        for (load, _), value in zip(places, operands, strict=True):
            done[id(load)] = value_of(f, load, value)
        context, lanes = Context(f, target, Value("null", PTR)), accumulator.type.lanes
        whole = whole_of(body) if id(body) in numbers else None
        if whole is not None:
            return hold_whole(f, target, body.dtype, _evaluate(context, whole, done, lanes))
        result = _evaluate(context, body, done, lanes)
        return hold(f, target, body.dtype, result) if id(body) in numbers else result

    return Tail(emit, tuple(place for _, place in places))


def less(tail: Tail, excess: Place) -> Tail:
    """The tail of sums that are too great by `excess`."""

    def emit(f: Function, accumulator: Value, operands: Sequence[Value]) -> Value:
        return tail.emit(f, f.sub(accumulator, operands[0]), operands[1:])

    return Tail(emit, (excess, *tail.operands))


def scaled(tail: Tail, scale: Place) -> Tail:
    """The tail of integers that go on to `tail` as floats, times `scale`."""

    def emit(f: Function, accumulator: Value, operands: Sequence[Value]) -> Value:
        return tail.emit(f, f.mul(f.convert("sitofp", accumulator, F32), operands[0]), operands[1:])

    return Tail(emit, (scale, *tail.operands))


def scaled_and_shifted(tail: Tail, scale: Place, shift: Place) -> Tail:
    """The tail of integers that go on to `tail` as floats, times `scale`, plus `shift`, rounded once where the machine
    can."""

    def emit(f: Function, accumulator: Value, operands: Sequence[Value]) -> Value:
        real = f.intrinsic("fmuladd", f.convert("sitofp", accumulator, F32), operands[0], operands[1])
        return tail.emit(f, real, operands[2:])

    return Tail(emit, (scale, shift, *tail.operands))


def _evaluate(c: Context, item: Expr, done: dict[int, Value], lanes: int) -> Value:
    found = done.get(id(item))
    if found is None:
        if item.op == "const":
            found = literal(item.value, item.dtype, lanes)
        elif is_nearest(item):
            found = nearest(c.f, _evaluate(c, item.args[0].args[0], done, lanes))
        else:
            args = [_evaluate(c, arg, done, lanes) for arg in item.args]
            found = apply(c, item.op, item.dtype, item.args[-1].dtype, args)
        done[id(item)] = found
    return found
