"""What is known beforehand of a model that is compiled part by part: its stages, and the plans of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from heddle.core.ir import Graph, TensorType, Value
from heddle.partition import Explanation
from heddle.partition.stages import Segment, Stage, cut


@dataclass(frozen=True)
class StageAccount:
    """One stage: what it is, what it waits for, and its explanation where its types are known beforehand.

    `path` names the turns and bodies that it lies in.
    """

    path: tuple[str, ...]
    title: str
    nodes: tuple[str, ...]
    waits: tuple[str, ...] = ()
    explanation: Explanation | None = None

    def __str__(self) -> str:
        first = self.title + (f"; compiled when {' and '.join(self.waits)}" if self.waits else "")
        lines = [first] if self.explanation is None else [first, indent(str(self.explanation), "    ")]
        return indent("\n".join(lines), "    " * len(self.path))

    def to_json(self) -> dict[str, Any]:
        """The stage as plain data."""
        return {
            "path": list(self.path),
            "title": self.title,
            "nodes": list(self.nodes),
            "waits": list(self.waits),
            "explanation": None if self.explanation is None else self.explanation.to_json(),
        }


@dataclass(frozen=True)
class Outline:
    """The stages of a model in the order in which they run, those of bodies after the turn that they belong to."""

    stages: tuple[StageAccount, ...]

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


def outline(
    stages: Sequence[Stage], prepare: Callable[[Graph], Graph], explain: Callable[[Graph], Explanation]
) -> Outline:
    """The outline of a graph that is cut into stages; `prepare` is what a body goes through before it is cut."""

    def accounts(stages: Sequence[Stage], path: tuple[str, ...]) -> Iterator[StageAccount]:
        for stage in stages:
            if isinstance(stage, Segment):
                yield _part(stage, path, explain)
                continue
            label = f"{stage.op} -> {', '.join(map(str, stage.results))}"
            yield StageAccount(path, f"the runtime: {label}", (stage.name,) if stage.name else ())
            for name, body in stage.graphs.items():
                yield from accounts(cut(prepare(body)), (*path, f"{name} of {label}"))

    return Outline(tuple(accounts(stages, ())))


def _part(segment: Segment, path: tuple[str, ...], explain: Callable[[Graph], Explanation]) -> StageAccount:
    body = segment.body
    names = tuple(dict.fromkeys(node.name for node in body.nodes if node.name))
    waits = tuple(_wait(value, value in segment.values) for value in body.inputs)
    waits = tuple(wait for wait in waits if wait)
    title = f"{body.name}: {len(body.nodes)} nodes -> {', '.join(map(str, body.outputs))}"
    return StageAccount(path, title, names, waits, None if waits else explain(body))


def _wait(value: Value, by_value: bool) -> str:
    """What must be seen of a value before code can be made; nothing of one whose type says all."""
    if by_value:
        return f"the value of {value} is known"
    if isinstance(value.type, TensorType):
        return "" if value.type.shape is not None else f"the shape of {value}, {value.type}, is known"
    return f"the elements of {value}, {value.type}, are known"
