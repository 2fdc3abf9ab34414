"""From the stages of a graph to a course: parts that compile themselves when they are first reached, and turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from heddle.core.errors import ModelError
from heddle.core.ir import Graph, Node, OptionalType, SequenceType, TensorType, Type, Value, dtype_name
from heddle.core.ops import attributes_of
from heddle.core.passes import specialised, unrolled
from heddle.core.runtime.course import Case, Course, Part, Turn
from heddle.core.runtime.schedule import Schedule
from heddle.core.runtime.specs import OptionalSpec, SequenceSpec, Spec, TensorSpec
from heddle.core.runtime.turns import TURNS
from heddle.partition.stages import Segment, Stage, cut


def spec(value: Value) -> Spec:
    """An input or output of a graph as the runtime declares it."""
    return _spec(value.name, value.type)


def tensor_spec(value: Value) -> TensorSpec:
    """An input or output of a graph that is a tensor of known rank."""
    found = spec(value)
    if not isinstance(found, TensorSpec) or found.dims is None:
        raise ModelError(f"{value}: it is {value.type}; a tensor of known rank is expected")
    return found


def _spec(name: str, type: Type) -> Spec:
    if isinstance(type, SequenceType):
        return SequenceSpec(name, _spec("", type.element))
    if isinstance(type, OptionalType):
        return OptionalSpec(name, _spec("", type.element))
    return TensorSpec(name, dtype_name(type.dtype), type.dims)


@dataclass(frozen=True)
class Courses:
    """Makes courses: `prepare` is what a body goes through before it is cut, `compile` makes a schedule of a part.

    It is given the part's graph and its name, which begins with what it lies in.
    """

    prepare: Callable[[Graph], Graph]
    compile: Callable[[Graph, str], Schedule]

    def course(self, graph: Graph, stages: Sequence[Stage], label: str = "") -> Course:
        """The course of a graph that is cut into stages; parts that need no value and no shape are compiled now."""
        names = {value.name for stage in stages if isinstance(stage, Node) for value in stage.operands}
        names |= {value.name for value in graph.outputs}
        return Course(
            tuple(map(spec, graph.inputs)),
            tuple(map(spec, graph.outputs)),
            tuple(
                self._part(stage, label) if isinstance(stage, Segment) else self._turn(stage, label) for stage in stages
            ),
            tuple(value.name for value in graph.outputs),
            {value.name: array for value, array in graph.constants.items() if value.name in names},
        )

    def _part(self, segment: Segment, label: str) -> Part:
        body, name = segment.body, label + segment.body.name

        def specialise(case: Case) -> Schedule:
            return self.compile(_typed(body, case), name)

        part = Part(
            name,
            tuple(value.name for value in body.inputs),
            tuple(value.name for value in body.outputs),
            tuple(value.name for value in segment.values),
            gathers=any(isinstance(value.type, SequenceType) for value in body.outputs),
            specialise=specialise,
        )
        shapes = [value.type.shape if isinstance(value.type, TensorType) else None for value in body.inputs]
        if not segment.values and None not in shapes and not part.gathers:
            part.prepare(Case(tuple(shapes), {}))
        return part

    def _turn(self, node: Node, label: str) -> Turn:
        known = signature(TURNS[node.op]).parameters
        attrs = {name: attr for name, attr in attributes_of(node).items() if name in known}
        return Turn(
            node.op,
            tuple(None if value is None else value.name for value in node.inputs),
            tuple(None if value is None else value.name for value in node.outputs),
            {name: attr for name, attr in attrs.items() if not isinstance(attr, Graph)},
            {name: self._body(body, inner_label(label, node, name)) for name, body in node.graphs.items()},
            node.name,
        )

    def _body(self, body: Graph, label: str) -> Course:
        prepared = self.prepare(body)
        return self.course(prepared, cut(prepared), label)


def inner_label(label: str, node: Node, attribute: str) -> str:
    """What the names of the parts of a body begin with, from that of what its node lies in."""
    return f"{label}{node.results[0].name}.{attribute}."


def _typed(body: Graph, case: Case) -> Graph:
    """The graph of a segment for one case; what works on sequences as what works on their elements."""
    types: dict[str, Type] = {}
    lengths: dict[str, Sequence[tuple[int, ...]]] = {}
    for value, shape in zip(body.inputs, case.shapes, strict=True):
        if isinstance(value.type, TensorType):
            types[value.name] = TensorType(value.dtype, _ints(shape))
        else:
            lengths[value.name] = [_ints(item) for item in shape or ()]
    values: Mapping[str, Any] = {name: np.asarray(array) for name, array in case.values.items()}
    return unrolled(specialised(body, types, values), lengths)


def _ints(shape: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)
