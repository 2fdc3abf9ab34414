"""What is known beforehand of a model that is compiled part by part: its stages, and the plans of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from heddle.core.ir import Graph, TensorType, Value
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
    """The stages of a model in the order in which they run, those of bodies after the turn that they belong to."""

    stages: tuple[StageAccount, ...]

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


def outline(stages: Sequence[Stage], prepare: Callable[[Graph], Graph], tell: Tell) -> Outline:
    """The outline of a graph that is cut into stages; `prepare` is what a body goes through before it is cut."""

    def accounts(stages: Sequence[Stage], path: tuple[str, ...], label: str) -> Iterator[StageAccount]:
        for stage in stages:
            if isinstance(stage, Segment):
                yield _part(stage, path, label, tell)
                continue
            text = f"{stage.op} -> {', '.join(map(str, stage.results))}"
            yield StageAccount(path, f"the runtime: {text}", (stage.name,) if stage.name else ())
            for name, body in stage.graphs.items():
                inner = inner_label(label, stage, name)
                yield from accounts(cut(prepare(body)), (*path, f"{name} of {text}"), inner)

    return Outline(tuple(accounts(stages, (), "")))


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
