"""Functions that LLVM calls of its own accord, so that linked code needs no C library: copying, filling, rounding."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, F64, I8, I64, PTR, Type, Value, constant

_ATTRIBUTES = 'nounwind "no-builtins"'


def library(name: str, target: Target) -> str | None:
    """The text of a module that defines a function of the C library, or None for one that is not provided."""
    make = _FUNCTIONS.get(name)
    return None if make is None else module([make()], target.triple)


def _copy() -> Function:
    f = Function(
        "memcpy", [("d", "ptr noalias"), ("s", "ptr noalias readonly"), ("n", "i64")], PTR, attributes=_ATTRIBUTES
    )
    with f.when(f.compare("sgt", f["n"], constant(0, I64))), f.loop(0, f["n"]) as i:
        f.store(f.load(I8, f.gep(f["s"], i, I8)), f.gep(f["d"], i, I8))
    f.give(f["d"])
    return f


def _move() -> Function:
    f = Function("memmove", [("d", "ptr"), ("s", "ptr"), ("n", "i64")], PTR, attributes=_ATTRIBUTES)
    n = f["n"]
    forward = f.compare("ult", _address(f, "d"), _address(f, "s"))
    with f.when(f.compare("sgt", n, constant(0, I64))), f.loop(0, n) as i:
        last = f.sub(f.sub(n, constant(1, I64)), i)
        at = f.select(forward, i, last)
        f.store(f.load(I8, f.gep(f["s"], at, I8)), f.gep(f["d"], at, I8))
    f.give(f["d"])
    return f


def _fill() -> Function:
    f = Function("memset", [("d", "ptr"), ("c", "i32"), ("n", "i64")], PTR, attributes=_ATTRIBUTES)
    byte = f.convert("trunc", f["c"], I8)
    with f.when(f.compare("sgt", f["n"], constant(0, I64))), f.loop(0, f["n"]) as i:
        f.store(byte, f.gep(f["d"], i, I8))
    f.give(f["d"])
    return f


def _address(f: Function, name: str) -> Value:
    return f.value(f"ptrtoint {f[name]} to i64", I64)


def _rounding(name: str, type: Type) -> Callable[[], Function]:
    """A rounding to a whole number, for processors that have no instruction for it."""

    def make() -> Function:
        f = Function(name + ("f" if type == F32 else ""), [("x", str(type))], type, attributes=_ATTRIBUTES)
        x, one = f["x"], constant(1.0, type)
        # Adding and taking away 2^23 (2^52) leaves no bits for a fraction; the sum rounds to even.
        large = constant(2.0 ** (23 if type == F32 else 52), type)
        size = f.intrinsic("fabs", x)
        near = f.intrinsic("copysign", f.sub(f.add(size, large), large), x)
        above, below = f.compare("ogt", near, x), f.compare("olt", near, x)
        floor, ceil = f.select(above, f.sub(near, one), near), f.select(below, f.add(near, one), near)
        toward = f.select(f.compare("olt", x, constant(0.0, type)), ceil, floor)
        result = {"roundeven": near, "floor": floor, "ceil": ceil, "trunc": toward}[name]
        small = f.compare("olt", size, large)
        f.give(f.select(small, f.intrinsic("copysign", result, x), x))
        return f

    return make


_FUNCTIONS: dict[str, Callable[[], Function]] = {
    "memcpy": _copy,
    "memmove": _move,
    "memset": _fill,
    **{name: _rounding(name, F64) for name in ("roundeven", "floor", "ceil", "trunc")},
    **{f"{name}f": _rounding(name, F32) for name in ("roundeven", "floor", "ceil", "trunc")},
}
