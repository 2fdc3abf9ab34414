"""A plain summary of an executable: what runs where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heddle.core.runtime.schedule import Schedule, TensorSpec


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
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    regions: tuple[RegionSummary, ...]

    def json(self) -> dict[str, Any]:
        """Everything, as a value for JSON."""
        return {
            "name": self.name,
            "inputs": {spec.name: str(spec) for spec in self.inputs},
            "outputs": {spec.name: str(spec) for spec in self.outputs},
            "regions": [asdict(region) for region in self.regions],
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
        return "\n".join([f"{self.name or 'model'}({takes}) -> ({gives})", *table])


def summarise(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], schedule: Schedule | None
) -> Summary:
    """The summary of a model that runs by this schedule; without regions while none is compiled."""
    regions = tuple(
        RegionSummary(
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
        for step in (schedule.steps if schedule else ())
    )
    return Summary(name, tuple(inputs), tuple(outputs), regions)


def _bytes(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment] # a fraction of the next unit
    return f"{count:.1f} GiB"
