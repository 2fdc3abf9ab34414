"""A plain summary of an executable: what runs where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heddle.core.runtime.course import Course, Part
from heddle.core.runtime.schedule import Schedule
from heddle.core.runtime.specs import Spec


@dataclass(frozen=True)
class RegionSummary:
    """One region: its backend and device, the ONNX nodes it computes, the bytes it carries and needs."""

    name: str
    backend: str
    device: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    code_bytes: int
    constant_bytes: int
    workspace_bytes: int
    fallback: bool


@dataclass(frozen=True)
class Summary:
    """The regions of an executable in the order in which they run; prints as a table."""

    name: str
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    regions: tuple[RegionSummary, ...]
    stages: tuple[str, ...] = ()
    """What follows what, where parts are compiled one after the other; else nothing."""

    waiting: tuple[str, ...] = ()
    """The parts that are not compiled for anything yet."""

    def json(self) -> dict[str, Any]:
        """Everything, as a value for JSON."""
        return {
            "name": self.name,
            "inputs": {spec.name: str(spec) for spec in self.inputs},
            "outputs": {spec.name: str(spec) for spec in self.outputs},
            "regions": [asdict(region) for region in self.regions],
            "stages": list(self.stages),
            "waiting": list(self.waiting),
        }

    def __str__(self) -> str:
        rows = [("region", "backend", "device", "nodes", "code", "constants", "workspace")]
        rows += [
            (
                region.name,
                region.backend,
                region.device,
                str(len(region.nodes)),
                _bytes(region.code_bytes),
                _bytes(region.constant_bytes),
                _bytes(region.workspace_bytes),
            )
            for region in self.regions
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        takes = ", ".join(f"{spec.name}: {spec}" for spec in self.inputs)
        gives = ", ".join(f"{spec.name}: {spec}" for spec in self.outputs)
        return "\n".join([f"{self.name or 'model'}({takes}) -> ({gives})", *self.stages, *table])


def summarise(name: str, inputs: Sequence[Spec], outputs: Sequence[Spec], program: Schedule | Course | None) -> Summary:
    """The summary of a model that runs by this program; without regions while none is compiled."""
    if isinstance(program, Course):
        waiting = tuple(part.name for part in program.parts if not part.made)
        regions, stages = tuple(_regions_of(program)), tuple(_turns_of(program))
        return Summary(name, tuple(inputs), tuple(outputs), regions, stages, waiting)
    return Summary(name, tuple(inputs), tuple(outputs), tuple(_regions(program)) if program else ())


def _regions(schedule: Schedule) -> Iterator[RegionSummary]:
    for step in schedule.steps:
        yield RegionSummary(
            step.name,
            step.artifact.backend,
            step.artifact.device,
            step.artifact.nodes,
            step.inputs,
            step.outputs,
            len(step.artifact.code),
            sum(array.nbytes for array in step.artifact.constants.values()),
            step.artifact.workspace,
            step.fallback is not None,
        )


def _regions_of(course: Course) -> Iterator[RegionSummary]:
    """The regions of every part, as it was compiled first."""
    for part in course.parts:
        for _, schedule in part.made[:1]:
            yield from _regions(schedule)


def _turns_of(course: Course, depth: int = 0) -> Iterator[str]:
    """A line for each step of a course, those of bodies below it."""
    for step in course.steps:
        if isinstance(step, Part):
            needs = f", for each value of {', '.join(step.by_value)}" if step.by_value else ""
            count = len(step.made)
            state = "compiled when it is reached" if not count else f"compiled for {count} case{'s' * (count > 1)}"
            yield f"{'  ' * depth}{step.name}: machine code, {state}{needs}"
            continue
        gives = ", ".join(name for name in step.outputs if name is not None)
        yield f"{'  ' * depth}{step.op} -> {gives}: the runtime"
        for label, body in step.bodies.items():
            yield f"{'  ' * (depth + 1)}{label}:"
            yield from _turns_of(body, depth + 2)


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment] # a fraction of the next unit
    return f"{count:.1f} GiB"
