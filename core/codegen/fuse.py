"""Fusion: constants, views and elementwise computations move into the computations that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from heddle.core.codegen.affine import Affine, Axis, flatten, substitute, unflatten
from heddle.core.codegen.lower.rules import Step
from heddle.core.codegen.tensor import Check, Compute, Group, Load, View, group, loads, reads, rewrite, walk, written
from heddle.core.codegen.work import cost
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr, const
from numpy.typing import NDArray

_MOST_EXPRESSIONS = 400
_MOST_LOADS = 16


def fuse(steps: Sequence[Step], outputs: Sequence[Value], constants: Mapping[Value, NDArray[Any]]) -> list[Step]:
    """Fewer steps with the same outputs. Each producer goes into its consumers when little is computed twice."""
    wanted = _wanted(steps, outputs)
    known = _through_views(_without_idle_checks(_fold_numbers(steps, constants)))
    return _without_unread(_inline(_without_unread(known, wanted), wanted), wanted)


def _wanted(steps: Sequence[Step], outputs: Sequence[Value]) -> frozenset[Value]:
    """The outputs, and what they are views of."""
    sources = {step.output: step.source for step in steps if isinstance(step, View)}
    found = set(outputs)
    for value in outputs:
        while value in sources:
            value = sources[value]
            found.add(value)
    return frozenset(found)


def changed(step: Step, **how: Any) -> Step:
    """A step whose expressions are rewritten."""
    if isinstance(step, Group):
        shared = [Affine(((axis, 1),)) for axis in step.axes]
        return group(shared, [_computed(changed(member, **how)) for member in step.members], step.node)
    if isinstance(step, View) or not plain(step):
        return step
    if isinstance(step, Check):
        return replace(step, bad=rewrite(step.bad, **how))
    at = step.at
    if at is not None:
        at = tuple(substitute(index, {}, lambda expr: rewrite(expr, **how)) for index in at)
    return replace(step, body=rewrite(step.body, **how), at=at)


def _computed(step: Step) -> Compute:
    assert isinstance(step, Compute)
    return step


def plain(step: Step) -> bool:
    """Whether a step is made of expressions, and is not a kernel designed by hand."""
    return type(step) in (Compute, Check)


# -- what is known before ------------------------------------------------------------------------------------------


def _fold_numbers(steps: Sequence[Step], constants: Mapping[Value, NDArray[Any]]) -> list[Step]:
    """Constants of which all elements are one number become that number."""
    numbers: dict[Value, Expr] = {}
    for value, array in constants.items():
        if array.size > 0 and array.dtype.kind != "O":
            first = array.reshape(-1)[:1]
            if array.size == 1 or (array.size <= 65536 and array.tobytes() == np.repeat(first, array.size).tobytes()):
                numbers[value] = const(first[0].item() if array.dtype.kind in "biuf" else float(first[0]), array.dtype)

    def leaf(load: Load) -> Expr | None:
        return numbers.get(load.source)

    return [changed(step, leaf=leaf) for step in steps]


def _without_idle_checks(steps: Sequence[Step]) -> list[Step]:
    """The steps without checks of what is known to be right."""
    return [s for s in steps if not (isinstance(s, Check) and s.bad.op == "const" and not s.bad.value)]


def _through_views(steps: Sequence[Step]) -> list[Step]:
    """What is read of a view is read of its source."""
    sources = {step.output: step.source for step in steps if isinstance(step, View)}
    return [changed(step, leaf=lambda load: behind(load, sources)) for step in steps]


def behind(load: Load, views: Mapping[Value, Value]) -> Expr | None:
    """The same element, read of what lies behind `views`; None where there is no view, or no element."""
    source, indices = load.source, load.indices
    if source not in views or not source.tensor.size:
        return None
    while source in views:
        indices = unflatten(flatten(indices, source.shape), views[source].shape)
        source = views[source]
    return Expr("load", source.dtype, value=Load(source, indices))


# -- producers into consumers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Use:
    """A step that reads a value: how many elements in all, at how many places, and whether within a fold."""

    step: int
    count: int
    places: tuple[Load, ...]
    folded: bool


def _inline(steps: list[Step], wanted: frozenset[Value]) -> list[Step]:
    result: list[Step | None] = list(steps)
    writers: dict[Value, int] = {}
    for step in steps:
        if isinstance(step, Compute):
            for value in written(step):
                writers[value] = writers.get(value, 0) + 1
    readers: dict[Value, set[int]] = {}
    for number, step in enumerate(steps):
        for item in reads(step):
            readers.setdefault(item.source, set()).add(number)
        if isinstance(step, View):
            readers.setdefault(step.source, set()).add(number)
    for number, step in enumerate(steps):
        current = result[number]
        if not isinstance(current, Compute) or current.output in wanted or writers[current.output] > 1:
            continue
        users = sorted(readers.get(current.output, ()))
        uses = [_use(result[user], user, current.output) for user in users]
        if not _worthwhile(current, uses):
            continue
        merged = [inlined(_step(result[user]), current) for user in users]
        if any(_too_big(step) for step in merged):
            continue
        for user, step in zip(users, merged, strict=True):
            result[user] = step
            for item in reads(step):
                readers.setdefault(item.source, set()).add(user)
        for item in reads(current):
            readers[item.source].discard(number)
        result[number] = None
    return [step for step in result if step is not None]


def _step(step: Step | None) -> Step:
    assert step is not None
    return step


def inlined(consumer: Step, producer: Compute) -> Step:
    """The consumer with every load of the producer's output replaced by what computes it."""
    done: dict[Load, Expr] = {}

    def leaf(load: Load) -> Expr | None:
        if load.source != producer.output:
            return None
        if load not in done:
            mapping = dict(zip(producer.axes, load.indices, strict=True))
            done[load] = rewrite(producer.body, mapping)
        return done[load]

    return changed(consumer, leaf=leaf)


def _use(step: Step | None, number: int, value: Value) -> _Use | None:
    """How a step reads a value; None when nothing can be moved into it."""
    if step is None or isinstance(step, View) or not plain(step):
        return None
    if isinstance(step, Compute) and any(value == item.source for index in step.at or () for item in _of(index)):
        return None
    places: dict[Load, None] = {}
    count, folded = 0, False
    points = prod(axis.extent for axis in step.axes)
    for item, inside in _loads_in_folds(step.bad if isinstance(step, Check) else step.body):
        if item.source == value and item not in places:
            places[item] = None
            count += points * inside
            folded = folded or inside > 1
    return _Use(number, count, tuple(places), folded)


def _of(index: Affine) -> list[Load]:
    return loads(Expr("index", np.dtype(np.int64), value=index))


def _loads_in_folds(expr: Expr) -> list[tuple[Load, int]]:
    """Each load with how many turns the folds around it make."""
    found: list[tuple[Load, int]] = []
    seen: set[tuple[int, int]] = set()

    def visit(item: Expr, turns: int) -> None:
        if (id(item), turns) in seen:
            return
        seen.add((id(item), turns))
        if item.op == "load":
            found.append((item.value, turns))
        if item.op == "fold":
            visit(item.args[0], turns)
            visit(item.args[1], turns * prod(axis.extent for axis in item.value.axes))
            return
        for index in item.value.indices if item.op == "load" else (item.value,) if item.op == "index" else ():
            found.extend((load, turns) for load in _of(index))
        for arg in item.args:
            visit(arg, turns)

    visit(expr, 1)
    return found


def _worthwhile(producer: Compute, uses: Sequence[_Use | None]) -> bool:
    """Whether a producer that has one whole output is better computed where it is read."""
    if not plain(producer) or producer.at is not None or not uses or any(use is None for use in uses):
        return False
    known = [use for use in uses if use is not None]
    size = producer.output.tensor.size or 0
    read = loads(producer.body)
    if not size or any(load.source == producer.output for load in read):
        return False
    count = sum(use.count for use in known)
    if any(item.op == "fold" for item in walk(producer.body)):
        return len(known) == 1 and not known[0].folded and _one_to_one(producer, known[0])
    if count <= size:
        return True
    recomputed = cost(producer.body)
    if any(use.folded for use in known):
        return False
    if recomputed == 0:
        return True
    whole = [load for load in read if (load.source.tensor.size or 0) * 4 > size]
    return recomputed <= 4 and count <= 2 * size and len(whole) <= 1


def _one_to_one(producer: Compute, use: _Use) -> bool:
    """Whether every element is read exactly once, at the place of one point."""
    if len(use.places) != 1 or use.count != producer.output.tensor.size:
        return False
    axes: set[Axis] = set()
    for index, size in zip(use.places[0].indices, producer.output.shape, strict=True):
        if size == 1 and index.known == 0:
            continue
        if len(index.terms) != 1 or index.constant:
            return False
        (atom, coefficient), *_ = index.terms
        if not isinstance(atom, Axis) or coefficient != 1 or atom.extent != size or atom in axes:
            return False
        axes.add(atom)
    return True


def _too_big(step: Step) -> bool:
    if isinstance(step, View):
        return False
    body = step.bad if isinstance(step, Check) else step.body
    items = list(walk(body))
    return len(items) > _MOST_EXPRESSIONS or len({i.value.source for i in items if i.op == "load"}) > _MOST_LOADS


def _without_unread(steps: Sequence[Step], wanted: frozenset[Value]) -> list[Step]:
    """The steps without those whose output nobody reads."""
    live: set[Value] = set(wanted)
    kept: list[Step] = []
    for step in reversed(steps):
        if isinstance(step, Check):
            live.update(load.source for load in reads(step))
        elif isinstance(step, View):
            if step.output not in live:
                continue
            live.add(step.source)
        elif not live.intersection(written(step)):
            continue
        else:
            live.update(load.source for load in reads(step))
        kept.append(step)
    return kept[::-1]
