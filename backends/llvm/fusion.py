"""Bringing computations together before kernels are chosen: what one value feeds to one reader becomes part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from heddle.core.codegen.affine import Affine, Axis, Quotient, Remainder, of_axis
from heddle.core.codegen.fuse import behind, inlined
from heddle.core.codegen.lower import Step
from heddle.core.codegen.tensor import Compute, Load, View, loads, reads, rewrite, walk
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr

OPAQUE = frozenset(("fold", "if", "contraction", "dot", "rows", "reads"))
"""Operations that make a computation more than arithmetic on an element."""

Accepts = Callable[[Compute], bool]


@dataclass
class Uses:
    """Who reads what: for each value the numbers of the steps that load it, through views as well."""

    readers: dict[Value, list[int]]

    @classmethod
    def of(cls, steps: Sequence[Step], kept: Iterable[Value]) -> Uses:
        """The readers of every value; a value in `kept` has a reader of number -1 besides."""
        readers: dict[Value, list[int]] = {}
        for number, step in enumerate(steps):
            for value in dict.fromkeys(read_by(step)):
                readers.setdefault(value, []).append(number)
        written: set[Value] = set()
        for step in steps:
            if isinstance(step, Compute):
                if step.output in written:  # one of several parts is not the whole
                    readers.setdefault(step.output, []).append(-1)
                written.add(step.output)
        for value in kept:
            readers.setdefault(value, []).append(-1)
        return cls(readers)

    def only(self, value: Value) -> int | None:
        """The single reader of a value."""
        found = self.readers.get(value, [])
        return found[0] if len(found) == 1 and found[0] >= 0 else None


def read_by(step: Step) -> list[Value]:
    """The values that a step reads."""
    return [step.source] if isinstance(step, View) else [item.source for item in reads(step)]


def is_movement(step: Step) -> bool:
    """Whether a step only brings elements of one value into another order."""
    return isinstance(step, Compute) and step.at is None and step.body.op == "load"


def is_pointwise(step: Step) -> bool:
    """Whether each element of a step is a little arithmetic."""
    return isinstance(step, Compute) and step.at is None and not any(item.op in OPAQUE for item in walk(step.body))


def through_views(steps: Sequence[Step]) -> list[Step]:
    """The same steps, reading the values behind views wherever indices stay free of divisions."""
    views: dict[Value, Value] = {}
    result: list[Step] = []
    for step in steps:
        if isinstance(step, View):
            views[step.output] = step.source
        elif isinstance(step, Compute) and not _has_shape_of_its_own(step):
            step = replace(step, body=rewrite(step.body, leaf=lambda item: _behind_plainly(item, views)))
        result.append(step)
    return result


def _has_shape_of_its_own(step: Compute) -> bool:
    """Whether a step stands for a kernel that knows its operands by value and shape, so that views stay views."""
    return any(item.op in ("contraction", "dot", "rows") for item in walk(step.body))


def _behind_plainly(item: Load, views: Mapping[Value, Value]) -> Expr | None:
    """What lies behind views, where that takes no division."""
    found = behind(item, views)
    atoms = [atom for index in found.value.indices for atom, _ in index.terms] if found is not None else []
    return None if any(isinstance(atom, Quotient | Remainder) for atom in atoms) else found


def joined(consumer: Compute, producer: Compute) -> Compute:
    """The consumer with the producer made part of it."""
    made = inlined(consumer, producer)
    assert isinstance(made, Compute)
    return made


def wideners_into_readers(steps: Sequence[Step], kept: Sequence[Value]) -> list[Step]:
    """Pointwise steps that make wider elements of narrow ones (as dequantization does), made part of every reader that
    is pointwise: to compute them again costs less than to keep their results in memory. One that every reader has
    taken is left out."""
    result: list[Step | None] = list(steps)
    uses = Uses.of(steps, kept)
    for number in range(len(steps)):
        current = result[number]
        if not isinstance(current, Compute) or not is_pointwise(current) or not _widens(current):
            continue
        readers, taken = uses.readers.get(current.output, []), 0
        for reader in readers:
            consumer = result[reader] if reader >= 0 else None
            if isinstance(consumer, Compute) and is_pointwise(consumer) and _points(consumer) == _points(current):
                result[reader], taken = joined(consumer, current), taken + 1
        if readers and taken == len(readers):
            result[number] = None
    return [step for step in result if step is not None]


def _widens(step: Compute) -> bool:
    large = [item.source for item in loads(step.body) if (item.source.tensor.size or 0) > 1]
    return len(set(large)) == 1 and large[0].dtype.itemsize < step.output.dtype.itemsize


def pointwise_into_readers(steps: Sequence[Step], kept: Sequence[Value]) -> list[Step]:
    """Every pointwise step that has one reader, which is pointwise and no larger, made part of it."""
    result: list[Step | None] = list(steps)
    uses = Uses.of(steps, kept)
    for number, step in enumerate(steps):
        current = result[number]
        assert current is not None
        reader = uses.only(step.output) if isinstance(step, Compute) else None
        if reader is None or not isinstance(current, Compute) or not is_pointwise(current):
            continue
        consumer = result[reader]
        if isinstance(consumer, Compute) and is_pointwise(consumer) and _points(consumer) == _points(current):
            result[reader] = joined(consumer, current)
            result[number] = None
    return [step for step in result if step is not None]


def _points(step: Compute) -> int:
    return prod(axis.extent for axis in step.axes)


def into_one_reader(steps: Sequence[Step], kept: Sequence[Value], takes: Accepts, accepts: Accepts) -> list[Step]:
    """Steps that `takes` names, made part of their one reader as long as `accepts` likes the result.

    The reader must be pointwise and read each element once, in some order.
    """
    result: list[Step | None] = list(steps)
    uses = Uses.of(steps, kept)
    for number in range(len(steps)):
        current = result[number]
        if not isinstance(current, Compute) or current.at is not None or not takes(current):
            continue
        reader = uses.only(current.output)
        consumer = result[reader] if reader is not None else None
        if reader is None or not isinstance(consumer, Compute) or not is_reader(consumer, current):
            continue
        made = joined(consumer, current)
        if accepts(made):
            result[reader], result[number] = made, None
    return [step for step in result if step is not None]


def is_reader(consumer: Compute, producer: Compute) -> bool:
    """Whether a pointwise consumer reads every element of a producer once, at the same indices wherever it does."""
    if any(item.op in OPAQUE for item in walk(consumer.body)):
        return False
    places = {item.indices for item in loads(consumer.body) if item.source == producer.output}
    if len(places) != 1:
        return False
    (indices,) = places
    used = [atom for index in indices for atom, _ in index.terms]
    plain = all(len(i.terms) <= 1 and not i.constant and all(c == 1 for _, c in i.terms) for i in indices)
    whole = [axis for axis in consumer.axes if axis.extent != 1]
    return plain and len(used) == len(whole) and all(isinstance(a, Axis) and a in whole for a in used)


def movement_into(step: Compute, producers: Mapping[Value, Compute]) -> Compute:
    """A step that reads what movements read, in place of what they write."""
    while True:
        found = next((item.source for item in loads(step.body) if item.source in producers), None)
        if found is None:
            return step
        step = joined(step, producers[found])


def identity(indices: Sequence[Affine], axes: Sequence[Axis]) -> bool:
    """Whether indices are the axes themselves, in order."""
    return len(indices) == len(axes) and all(index == of_axis(axis) for index, axis in zip(indices, axes, strict=True))
