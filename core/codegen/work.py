"""About how long expressions and loop nests take: what decides where things are computed, never what."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.codegen.loops import For, If, Kernel, Set, Stmt, Store, Turn, While
from heddle.core.codegen.tensor import walk
from heddle.core.ops.scalar import Expr

COST = {
    **dict.fromkeys(("cast", "not", "and", "or", "xor", "neg", "abs"), 0.5),
    **dict.fromkeys(("div", "sqrt"), 4.0),
    **dict.fromkeys(("exp", "log", "tanh", "erf", "sigmoid", "sin", "cos", "tan", "mod", "fmod"), 10.0),
    **dict.fromkeys(("pow", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh"), 40.0),
    **dict.fromkeys(("atanh", "expm1", "log1p"), 40.0),
    **dict.fromkeys(("load", "const", "index", "arg", "local"), 0.0),
}
"""What an operation costs, in additions; 1 where nothing is said."""

_MOVED = 1.0
"""What it costs to store an element, in additions."""
_ABREAST = 4
"""Additions that a processor does in a cycle, in a loop that it can run in vectors."""


def cost(expr: Expr) -> float:
    """What an expression costs, in additions."""
    return sum(COST.get(item.op, 1.0) for item in walk(expr))


def cycles(kernel: Kernel) -> float:
    """About how many cycles a kernel takes."""
    return _additions(kernel.body) / _ABREAST


def _additions(body: Sequence[Stmt]) -> float:
    total = 0.0
    for stmt in body:
        if isinstance(stmt, For | While):
            turns = stmt.axis.extent if isinstance(stmt, For) else 1
            total += turns * _additions(stmt.body)
        elif isinstance(stmt, Set | Store):
            total += _MOVED + cost(stmt.value)
        elif isinstance(stmt, Turn):
            total += _MOVED * stmt.size * stmt.size
        elif isinstance(stmt, If):
            total += max(_additions(stmt.then), _additions(stmt.otherwise))
    return total
