"""From the scalar expression around a contraction to the tail that its kernel applies to its accumulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heddle.backends.llvm.fusion import OPAQUE
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.narrow import register_type
from heddle.core.codegen.numeric import Context, apply, literal
from heddle.core.codegen.target import Target
from heddle.core.codegen.tensor import walk
from heddle.core.codegen.values import F32, PTR, Value
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


def fits(body: Expr, leaf: Expr) -> bool:
    """Whether everything around the contraction is arithmetic that vectors can do without calling anything."""
    inside = {id(item) for item in walk(leaf)} - {id(leaf)}
    for item in walk(body):
        if id(item) in inside or item is leaf or item.op in ("load", "const"):
            continue
        if item.op in OPAQUE or item.op in ("index", "local", "arg", "pow", "mod", "fmod"):
            return False
        if item.op in MATH and (item.op, register_type(item.dtype)) not in AVAILABLE:
            return False
    return register_type(body.dtype) == F32


def tail_of(target: Target, body: Expr, leaf: Expr, places: Sequence[tuple[Expr, Place]]) -> Tail:
    """The tail that computes `body` from the value of `leaf` and of the loads that `places` names."""
    numbers = {id(load): number for number, (load, _) in enumerate(places)}

    def emit(f: Function, accumulator: Value, operands: Sequence[Value]) -> Value:
        done: dict[int, Value] = {id(leaf): accumulator}
        context = Context(f, target, Value("null", PTR))
        return _evaluate(context, body, done, {key: operands[number] for key, number in numbers.items()})

    return Tail(emit, tuple(place for _, place in places))


def _evaluate(c: Context, item: Expr, done: dict[int, Value], loads: Mapping[int, Value]) -> Value:
    found = done.get(id(item)) or loads.get(id(item))
    if found is None:
        lanes = next(iter(done.values())).type.lanes
        if item.op == "const":
            found = literal(item.value, item.dtype, lanes)
        else:
            args = [_evaluate(c, arg, done, loads) for arg in item.args]
            found = apply(c, item.op, item.dtype, item.args[-1].dtype, args)
        done[id(item)] = found
    return found
