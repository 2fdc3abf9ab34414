"""What is known beforehand of a model that is compiled part by part: its stages, and the plans of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import indent
from typing import Any

from heddle.core.frontend.export import region_call
from heddle.core.ir import Graph, Node, TensorType, Value
from heddle.core.plugin import Region
from heddle.courses import inner_label
from heddle.partition import Explanation, Plan
from heddle.partition.stages import Segment, Stage, cut


@dataclass(frozen=True)
class PartAccount:
    """A part of a model: its name, what it computes, and what must be seen before code can be made for it."""

    name: str
    body: Graph
    waits: tuple[str, ...]


Tell = Callable[[PartAccount], Explanation | Plan | None]
"""What is known of a part: nothing where it waits for what is only there when the model runs."""


@dataclass(frozen=True)
class StageAccount:
    """One stage: what it is, what it waits for, and its explanation or plan where there is one.

    `path` names the turns and bodies that it lies in.
    """

    path: tuple[str, ...]
    title: str
    nodes: tuple[str, ...]
    waits: tuple[str, ...] = ()
    known: Explanation | Plan | None = None

    def __str__(self) -> str:
        first = self.title + (f"; compiled when {' and '.join(self.waits)}" if self.waits else "")
        lines = [first] if self.known is None else [first, indent(str(self.known), "    ")]
        return indent("\n".join(lines), "    " * len(self.path))

    def to_json(self) -> dict[str, Any]:
        """The stage as plain data."""
        return {
            "path": list(self.path),
            "title": self.title,
            "nodes": list(self.nodes),
            "waits": list(self.waits),
            "plan" if isinstance(self.known, Plan) else "explanation": self.known and self.known.to_json(),
        }


@dataclass(frozen=True)
class Outline:
    """The stages of a model in the order in which they run, those of bodies after the turn that they belong to.

    `calls` is the model with its regions, and the parts that wait, as calls of `functions`, by operator.
    """

    stages: tuple[StageAccount, ...]
    calls: Graph
    functions: Mapping[str, Graph]

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans of the parts that are known."""
        known = [stage.known for stage in self.stages if stage.known is not None]
        return tuple(each if isinstance(each, Plan) else each.plan for each in known)

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions of the parts that are known, in the order in which they run."""
        return tuple(region for made in self.plans for region in made.regions)

    def __str__(self) -> str:
        parts = sum(not stage.title.startswith("the runtime") for stage in self.stages)
        lines = [f"compiled part by part: {parts} parts in {len(self.stages)} stages"]
        for before, stage in zip((None, *self.stages), self.stages, strict=False):
            if stage.path and (before is None or stage.path != before.path[: len(stage.path)]):
                lines.append(indent(f"{stage.path[-1]}:", "    " * len(stage.path))[2:])
            lines.append(str(stage))
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The outline as plain data."""
        return {"stages": [stage.to_json() for stage in self.stages]}


def outline(graph: Graph, stages: Sequence[Stage], prepare: Callable[[Graph], Graph], tell: Tell) -> Outline:
    """The outline of a graph that is cut into stages; `prepare` is what a body goes through before it is cut."""
    accounts: list[StageAccount] = []
    functions: dict[str, Graph] = {}

    def calls(graph: Graph, stages: Sequence[Stage], path: tuple[str, ...], label: str) -> Graph:
        nodes: list[Node] = []
        constants = dict(graph.constants)
        for stage in stages:
            if isinstance(stage, Segment):
                account = _part(stage, path, label, tell)
                accounts.append(account)
                for backend, body in _regions(stage.body, account.known, label + stage.body.name):
                    call = region_call(backend, body)
                    nodes.append(call)
                    functions[call.op] = body
                    constants |= body.constants
                continue
            text = f"{stage.op} -> {', '.join(map(str, stage.results))}"
            accounts.append(StageAccount(path, f"the runtime: {text}", (stage.name,) if stage.name else ()))
            bodies = {}
            for name, body in stage.graphs.items():
                body = prepare(body)
                bodies[name] = calls(body, cut(body), (*path, f"{name} of {text}"), inner_label(label, stage, name))
            nodes.append(replace(stage, attrs={**stage.attrs, **bodies}))
        return replace(graph, nodes=tuple(nodes), constants=constants)

    made = calls(graph, stages, (), "")
    return Outline(tuple(accounts), made, functions)


def _regions(part: Graph, known: Explanation | Plan | None, name: str) -> Iterator[tuple[str, Graph]]:
    """The backend and the body of each region of a part, named after it; the whole part, `later`, where it waits.

    What does not cross the part's border has the part's name before its own, since parts are planned one by one.
    """
    if known is None:
        yield "later", replace(part, name=name)
        return
    plan = known if isinstance(known, Plan) else known.plan
    border = {value.name: value for value in (*part.inputs, *part.outputs)}

    def renamed(value: Value) -> Value:
        return border.get(value.name, Value(f"{name}.{value.name}", value.type))

    for region in plan.regions:
        body = region.body
        nodes = tuple(
            replace(
                node,
                inputs=tuple(value and renamed(value) for value in node.inputs),
                outputs=tuple(value and renamed(value) for value in node.outputs),
            )
            for node in body.nodes
        )
        inputs, outputs = (tuple(map(renamed, values)) for values in (body.inputs, body.outputs))
        constants = {renamed(value): array for value, array in body.constants.items()}
        yield region.backend, Graph(inputs, nodes, outputs, constants, f"{name}.{region.name}")


def _part(segment: Segment, path: tuple[str, ...], label: str, tell: Tell) -> StageAccount:
    body = segment.body
    names = tuple(dict.fromkeys(node.name for node in body.nodes if node.name))
    waits = tuple(filter(None, (_wait(value, value in segment.values) for value in body.inputs)))
    title = f"{body.name}: {len(body.nodes)} nodes -> {', '.join(map(str, body.outputs))}"
    return StageAccount(path, title, names, waits, tell(PartAccount(label + body.name, body, waits)))


def _wait(value: Value, by_value: bool) -> str:
    """What must be seen of a value before code can be made; nothing of one whose type says all."""
    if by_value:
        return f"the value of {value} is known"
    if isinstance(value.type, TensorType):
        return "" if value.type.shape is not None else f"the shape of {value}, {value.type}, is known"
    return f"the elements of {value}, {value.type}, are known"
