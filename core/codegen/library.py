"""Functions that LLVM calls of its own accord, so that linked code needs no C library: copying, filling, rounding."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I8, I64, PTR, Value, constant

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


_FUNCTIONS: dict[str, Callable[[], Function]] = {"memcpy": _copy, "memmove": _move, "memset": _fill}
