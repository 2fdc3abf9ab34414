"""Tensor expressions: scalar expressions over elements of tensors, with folds over axes, and what computes a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.core.codegen.affine import Affine, Axis, Opaque, axis, of_axis, only_axis, show
from heddle.core.codegen.affine import substitute as substitute_index
from heddle.core.ir import Value
from heddle.core.ir.types import DType
from heddle.core.ops.scalar import MEANING, Expr, argument, cast, const, evaluate, maximum, minimum

I64 = np.dtype(np.int64)

# Besides the operations of `core.ops.scalar`, an expression may be
#   load    one element of a tensor            value: Load
#   index   a position, as int64               value: Affine
#   if      args (condition, yes, no): only the side that is chosen is computed, so the other may not even be loadable
#   fold    args (initial, body): `combine` over all points of `axes`   value: Fold
#   local   a variable of the loop nest        value: Local


@dataclass(frozen=True)
class Load:
    """Which element of which tensor; in loop nests, of which buffer, by one flat index."""

    source: Any
    indices: tuple[Affine, ...]

    def __str__(self) -> str:
        return f"{self.source}[{', '.join(map(str, self.indices))}]"


@dataclass(frozen=True, eq=False)
class Fold:
    """A reduction: `combine` is an expression of argument 0, the result so far, and argument 1, the next element."""

    axes: tuple[Axis, ...]
    combine: Expr

    def __str__(self) -> str:
        return f"{self.combine.op} over {', '.join(f'{a.name}:{a.extent}' for a in self.axes)}"


def load(source: Value, *indices: Affine | int) -> Expr:
    """The element of a tensor at these indices."""
    where = tuple(Affine((), index) if isinstance(index, int) else index for index in indices)
    assert len(where) == len(source.shape), f"{source}: {len(where)} indices for {source.type}"
    return Expr("load", source.dtype, value=Load(source, where))


def position(index: Affine | int, dtype: DType = I64) -> Expr:
    """An index as a number."""
    if isinstance(index, int) or index.known is not None:
        return const(index if isinstance(index, int) else index.constant, dtype)
    return cast(Expr("index", I64, value=index), dtype)


def indirect(expr: Expr, size: int) -> Affine:
    """A computed index, forced into [0, size): reading there is safe, whatever the data says."""
    wide = cast(expr, I64)
    return Affine(((Opaque(maximum(minimum(wide, size - 1), 0), 0, max(size - 1, 0)), 1),))


def guarded(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """`yes` where the condition holds, else `no`; the other side is not computed at all."""
    assert yes.dtype == no.dtype
    return Expr("if", yes.dtype, (condition, yes, no))


def fold(axes: Sequence[Axis | Affine], initial: Expr, body: Expr, combine: Callable[[Expr, Expr], Expr]) -> Expr:
    """`combine` over `body` at every point of the axes, from `initial`; the order is free."""
    where = tuple(only_axis(a) if isinstance(a, Affine) else a for a in axes)
    assert initial.dtype == body.dtype, f"{initial.dtype} and {body.dtype}"
    if not where:
        return combine(initial, body)
    meaning = combine(argument(0, body.dtype), argument(1, body.dtype))
    return Expr("fold", body.dtype, (initial, body), value=Fold(where, meaning))


def total(axes: Sequence[Axis | Affine], body: Expr) -> Expr:
    """The sum over the axes."""
    return fold(axes, const(0, body.dtype), body, lambda a, b: a + b)


@dataclass(frozen=True, eq=False)
class Compute:
    """`output[at] = body` for every point of `axes`. Without `at` the axes are the output's own dimensions.

    Several computations may each fill a part of one output, in order; `node` is what it comes from, for people.
    """

    output: Value
    axes: tuple[Axis, ...]
    body: Expr
    at: tuple[Affine, ...] | None = None
    node: str = ""

    @property
    def target(self) -> tuple[Affine, ...]:
        """Where in the output the element of a point goes."""
        return self.at if self.at is not None else tuple(map(of_axis, self.axes))

    def __str__(self) -> str:
        where = ", ".join(f"{a.name}:{a.extent}" for a in self.axes)
        at = "" if self.at is None else f" at [{', '.join(map(str, self.at))}]"
        return f"{self.output}: {self.output.type} over [{where}]{at} = {show(self.body)}"


@dataclass(frozen=True, eq=False)
class View:
    """`output` holds the same elements as `source` in the same row-major order, under another shape."""

    output: Value
    source: Value

    def __str__(self) -> str:
        return f"{self.output}: {self.output.type} = view of {self.source}"


@dataclass(frozen=True, eq=False)
class Check:
    """The run fails with `message` if `bad` holds at any point of `axes`."""

    axes: tuple[Axis, ...]
    bad: Expr
    message: str

    def __str__(self) -> str:
        where = ", ".join(f"{a.name}:{a.extent}" for a in self.axes)
        return f"fail over [{where}] if {show(self.bad)}: {self.message}"


@dataclass(frozen=True, eq=False)
class Group(Compute):
    """Computations that run one after another for each point of `axes`, in order, within one nest of loops.

    The members' expressions mention the shared axes beside their own; `body` names what they read.
    """

    members: tuple[Compute, ...] = ()

    def __str__(self) -> str:
        where = ", ".join(f"{a.name}:{a.extent}" for a in self.axes)
        return "\n  ".join([f"for each of [{where}]", *map(str, self.members)])


def group(axes: Sequence[Affine], members: Sequence[Compute], node: str = "") -> Group:
    """The members in order for each point of the axes; the last one's output is the group's."""
    output = members[-1].output
    read = [item for member in members for item in reads(member)]
    body = Expr("reads", output.dtype, tuple(Expr("load", item.source.dtype, value=item) for item in read))
    return Group(output, tuple(map(only_axis, axes)), body, (), node, tuple(members))


def reads(step: Compute | View | Check) -> list[Load]:
    """Every element that a step reads one by one, those that say where it writes included."""
    if isinstance(step, View):
        return []
    if isinstance(step, Check):
        return loads(step.bad)
    inside = [Expr("index", I64, value=index) for index in step.at or ()]
    return [load for expr in (step.body, *inside) for load in loads(expr)]


def written(step: Compute) -> tuple[Value, ...]:
    """The values that a step computes, whole or in part."""
    return tuple(member.output for member in step.members) if isinstance(step, Group) else (step.output,)


def compute(output: Value, body: Callable[..., Expr], node: str = "") -> Compute:
    """The computation of a whole output from a function of its indices."""
    indices = [axis(size, f"i{number}") for number, size in enumerate(output.shape)]
    axes = tuple(map(only_axis, indices))
    expr = body(*map(of_axis, axes))
    assert expr.dtype == output.dtype, f"{node}: {output} is {output.dtype}, its expression {expr.dtype}"
    return Compute(output, axes, expr, node=node)


def part(
    output: Value,
    shape: Sequence[int],
    at: Callable[..., Sequence[Affine | int]],
    body: Callable[..., Expr],
    node: str = "",
) -> Compute:
    """The computation of some elements of an output: one for each point of `shape`, stored `at` its indices."""
    axes = tuple(only_axis(axis(size, f"i{number}")) for number, size in enumerate(shape))
    indices = tuple(map(of_axis, axes))
    where = tuple(Affine((), i) if isinstance(i, int) else i for i in at(*indices))
    return Compute(output, axes, body(*indices), where, node)


# -- walking and rewriting -----------------------------------------------------------------------------------------


def children(expr: Expr) -> Iterator[Expr]:
    """Every expression directly inside: arguments, and what computed indices are made of."""
    yield from expr.args
    for index in _own_indices(expr):
        for atom, _ in index.terms:
            yield from _inside(atom)


def _inside(atom: object) -> Iterator[Expr]:
    if isinstance(atom, Opaque):
        yield atom.expr
    elif not isinstance(atom, Axis):
        for inner, _ in atom.inner.terms:  # type: ignore[attr-defined]  # Quotient or Remainder
            yield from _inside(inner)


def _own_indices(expr: Expr) -> tuple[Affine, ...]:
    if expr.op == "index":
        return (expr.value,)
    return tuple(expr.value.indices) if expr.op == "load" else ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything inside, each object once."""
    seen: set[int] = set()
    stack = [expr]
    while stack:
        item = stack.pop()
        if id(item) not in seen:
            seen.add(id(item))
            yield item
            stack.extend(children(item))


def loads(expr: Expr) -> list[Load]:
    """Every element that an expression reads, in no particular but a fixed order."""
    return [item.value for item in walk(expr) if item.op == "load"]


def rewrite(
    expr: Expr,
    axes: Mapping[Axis, Affine] | None = None,
    leaf: Callable[[Load], Expr | None] | None = None,
    arguments: Sequence[Expr] | None = None,
) -> Expr:
    """The expression with axes replaced, then each load offered to `leaf`, and `arg`s replaced by `arguments`."""
    mapping = dict(axes or {})
    done: dict[int, Expr] = {}

    def visit(item: Expr) -> Expr:
        found = done.get(id(item))
        if found is None:
            found = done[id(item)] = change(item)
        return found

    def change(item: Expr) -> Expr:
        if item.op == "arg" and arguments is not None:
            return arguments[int(item.value)]
        if item.op == "load":
            moved = Load(item.value.source, tuple(substitute_index(i, mapping, visit) for i in item.value.indices))
            replaced = leaf(moved) if leaf is not None else None
            return replaced if replaced is not None else Expr("load", item.dtype, value=moved)
        if item.op == "index":
            return position(substitute_index(item.value, mapping, visit))
        args = tuple(visit(arg) for arg in item.args)
        if item.op == "fold" and any(a in mapping for a in item.value.axes):
            fresh = tuple(only_axis(mapping[a]) if a in mapping else a for a in item.value.axes)
            return Expr("fold", item.dtype, args, Fold(fresh, item.value.combine))
        if all(new is old for new, old in zip(args, item.args, strict=True)):
            return item
        return folded(Expr(item.op, item.dtype, args, item.value))

    return visit(expr)


def folded(expr: Expr) -> Expr:
    """A number where an operation is only about numbers; else the expression itself."""
    if not expr.args or (expr.op not in MEANING and expr.op != "cast") or any(arg.op != "const" for arg in expr.args):
        return expr
    value = evaluate(expr, ())[()]
    return const(value.item() if expr.dtype.kind in "biuf" else float(value), expr.dtype)


def refresh(expr: Expr) -> Expr:
    """A copy whose folds run over axes of their own, so that one body can stand in an expression twice."""
    bound = [a for item in walk(expr) if item.op == "fold" for a in item.value.axes]
    return rewrite(expr, {a: axis(a.extent, a.name) for a in bound}) if bound else expr
