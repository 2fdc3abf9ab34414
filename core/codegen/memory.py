"""The static plan of memory: which values share storage, what lives where in the workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from heddle.core.codegen.affine import Affine, of_axis
from heddle.core.codegen.lower.rules import Step
from heddle.core.codegen.narrow import storage_type
from heddle.core.codegen.template import Template
from heddle.core.codegen.tensor import Compute, View, compute, load, reads, walk, written
from heddle.core.ir import Graph, Names, Value
from heddle.core.ops.scalar import Expr
from numpy.typing import NDArray

ALIGNMENT = 64


@dataclass(frozen=True)
class Place:
    """Where a value lies: which input, output or constant it is, or at which byte of the workspace."""

    kind: Literal["inputs", "outputs", "constants", "workspace"]
    number: int = 0
    name: str = ""


@dataclass(eq=False)
class Memory:
    """`places` of the values that own storage; every other value is a view of one of them, its root."""

    roots: dict[Value, Value] = field(default_factory=dict)
    places: dict[Value, Place] = field(default_factory=dict)
    constant_names: dict[Value, str] = field(default_factory=dict)
    workspace: int = 0

    def root(self, value: Value) -> Value:
        """The value that owns the storage of a value."""
        while value in self.roots:
            value = self.roots[value]
        return value


def plan(graph: Graph, steps: Sequence[Step], constants: Mapping[Value, NDArray[Any]]) -> tuple[list[Step], Memory]:
    """A place for every value of the steps, and the steps with copies added for outputs that are not computed."""
    memory = Memory()
    for step in steps:
        if isinstance(step, View):
            memory.roots[step.output] = step.source
    steps = [*steps, *_place_borders(graph, steps, memory)]
    spans = _spans(steps, memory)
    _in_place(steps, spans, memory, constants)
    used = {memory.root(load.source) for step in steps for load in reads(step)}
    for value in constants:
        if value in used:
            memory.constant_names[value] = value.name
            memory.places[value] = Place("constants", name=value.name)
    _pack(memory, {value: span for value, span in spans.items() if value not in memory.places})
    return list(steps), memory


def _place_borders(graph: Graph, steps: Sequence[Step], memory: Memory) -> list[Step]:
    """Give inputs and outputs their places; the copies that fill outputs which nothing computes."""
    for number, value in enumerate(graph.inputs):
        memory.places[value] = Place("inputs", number)
    computed = {value for step in steps if isinstance(step, Compute) for value in written(step)}
    names = Names()
    copies: list[Step] = []
    for number, value in enumerate(graph.outputs):
        root = memory.root(value)
        if root in computed and root not in memory.places:
            memory.places[root] = Place("outputs", number)
            continue
        target = names.fresh(f"output{number}.{value.name}", value.type)

        def body(*indices: Affine, source: Value = value) -> Expr:
            return load(source, *indices)

        copies.append(compute(target, body, "output"))
        memory.places[target] = Place("outputs", number)
    return copies


def _spans(steps: Sequence[Step], memory: Memory) -> dict[Value, tuple[int, int]]:
    """For each computed root, the steps between which its storage is in use, both included."""
    spans: dict[Value, tuple[int, int]] = {}
    for number, step in enumerate(steps):
        touched = [memory.root(item.source) for item in reads(step)]
        if isinstance(step, Compute):
            for value in written(step):
                first, _ = spans.get(memory.root(value), (number, number))
                spans[memory.root(value)] = (first, number)
        if isinstance(step, Template) and step.scratch is not None:
            spans[step.scratch] = (number, number)
        for root in touched:
            if root in spans:
                spans[root] = (spans[root][0], number)
    return spans


def _in_place(
    steps: Sequence[Step],
    spans: dict[Value, tuple[int, int]],
    memory: Memory,
    constants: Mapping[Value, NDArray[Any]],
) -> None:
    """Let outputs take the place of what is read for the last time, element by element: there is less memory to go
    through, and what is written is in the caches already."""
    writers = Counter(value for step in steps if isinstance(step, Compute) for value in written(step))
    for number, step in enumerate(steps):
        if not isinstance(step, Compute) or writers[step.output] > 1:
            continue
        output = step.output
        if output in memory.roots or output in memory.places or output not in spans:
            continue
        for value in step.over if isinstance(step, Template) else _read_in_order(step):
            root = memory.root(value)
            seen = [item.source for item in reads(step) if memory.root(item.source) == root]
            if set(seen) != {value} or (isinstance(step, Template) and len(seen) > 1):
                continue
            last_read = root in spans and spans[root][1] == number > spans[root][0]
            free = root not in memory.places and root not in constants
            if last_read and free and root.dtype == output.dtype and size_in_memory(root) == size_in_memory(output):
                memory.roots[output] = root
                spans[root] = (spans[root][0], spans.pop(output)[1])
                break


def _read_in_order(step: Compute) -> list[Value]:
    """What a computation made of expressions reads only at the element that it writes."""
    if type(step) is not Compute or step.at is not None:
        return []
    if any(item.op in ("fold", "if") for item in walk(step.body)):
        return []
    places: dict[Value, set[tuple[Affine, ...]]] = {}
    for item in reads(step):
        places.setdefault(item.source, set()).add(item.indices)
    here = {tuple(map(of_axis, step.axes))}
    return [value for value, where in places.items() if where == here and value.shape == step.output.shape]


def _pack(memory: Memory, spans: Mapping[Value, tuple[int, int]]) -> None:
    """Offsets in the workspace: big values first, each as low as those that live at the same time allow."""
    placed: list[tuple[int, int, int, int]] = []
    for value in sorted(spans, key=lambda v: (-size_in_memory(v), spans[v])):
        first, last = spans[value]
        size = size_in_memory(value)
        offset = 0
        for start, stop, begin, end in sorted(placed):
            if begin <= last and first <= end:
                if offset + size <= start:
                    break
                offset = max(offset, stop)
        placed.append((offset, offset + size, first, last))
        memory.places[value] = Place("workspace", offset)
        memory.workspace = max(memory.workspace, offset + size)


def size_in_memory(value: Value) -> int:
    """The bytes that a value takes, up to the next boundary."""
    size = (value.tensor.size or 0) * (storage_type(value.dtype).bits // 8)
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
