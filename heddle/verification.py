"""Holds a compiled model against the reference, region by region, and cuts out the smallest part that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from heddle.alone import Devices, step_alone
from heddle.compiler import HOST, Asked, Decisions, Shapes, Source, compile, open_backends
from heddle.core.errors import HeddleError
from heddle.core.files import write_whole
from heddle.core.frontend.export import export_model
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph
from heddle.core.pattern import subgraph
from heddle.core.plugin import Backend, Region, Tolerance
from heddle.core.runtime.executable import Executable
from heddle.core.runtime.schedule import Schedule, Step
from heddle.inputs import gathered, random_inputs
from heddle.partition import Plan
from heddle.testing.compare import differences


@dataclass(frozen=True)
class Verdict:
    """One region: what differs when it is given the reference's own inputs, nothing where all is well.

    `node` is the first node that differs by itself, `model` the file with the smallest part that does.
    """

    region: str
    backend: str
    nodes: tuple[str, ...]
    difference: str = ""
    node: str = ""
    model: str = ""

    @property
    def ok(self) -> bool:
        return not self.difference


@dataclass(frozen=True)
class Verification:
    """The verdicts of all regions, in the order in which they run."""

    regions: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        return all(verdict.ok for verdict in self.regions)

    @property
    def first(self) -> Verdict | None:
        """The first region that differs."""
        return next((verdict for verdict in self.regions if not verdict.ok), None)


def verify(
    model: Source,
    backends: Sequence[str | Backend] = (HOST,),
    inputs: Mapping[str, Any] | None = None,
    shapes: Shapes | None = None,
    *,
    devices: Devices | None = None,
    folder: Path | None = None,
    seed: int = 0,
    **asked: Unpack[Asked],
) -> Verification:
    """Run each region of a model on its device with the inputs that the reference computes, and compare.

    Integers must be equal and floats within the tolerance of each region's backend. `inputs` are made up from `seed`
    where they are not given; what differs is written to `folder`, as an ONNX model with its inputs beside it. Of a
    model that is compiled part by part, each part is held to the reference as often as it is compiled: for each set of
    shapes and values that reaches it. `asked` is how `compile` is to place parts.
    """
    opened = open_backends(backends, asked.pop("options", None))
    decisions = Decisions()
    with compile(model, opened, shapes, devices=devices, decisions=decisions, **asked) as executable:
        given = random_inputs(executable.inputs, seed) if inputs is None else gathered(executable.inputs, inputs)
        reference = _Reference(decisions, opened, devices or {}, folder)
        executable.through(reference, **given)
    return Verification(tuple(reference.verdicts))


class _Reference:
    """Runs schedules by the reference, and holds the regions of each to it, the first time that it comes by."""

    def __init__(
        self, decisions: Decisions, backends: Sequence[Backend], devices: Devices, folder: Path | None
    ) -> None:
        self.verdicts: list[Verdict] = []
        self._decisions, self._devices, self._folder = decisions, devices, folder
        self._backends = {backend.name: backend for backend in backends}
        self._plans: dict[int, Plan] = {}

    def compute(self, schedule: Schedule, arrays: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """What the graph of a schedule computes of these arrays."""
        new = id(schedule) not in self._plans
        if new:
            self._plans.update((id(made.schedule), made.plan) for made in self._decisions.made)
        plan = self._plans[id(schedule)]
        whole = plan.inline()
        known: dict[str, Any] = {value.name: array for value, array in whole.constants.items()}
        known |= {value.name: array for value, array in zip(whole.inputs, arrays, strict=True)}
        with np.errstate(all="ignore"):
            evaluate(whole, arrays, lambda value, result: known.__setitem__(value.name, result))
        if new:
            examined = _Examined(known, self._devices, self._folder)
            for region, step in zip(plan.regions, schedule.steps, strict=True):
                self.verdicts.append(examined.region(region, step, self._backends[region.backend]))
        return [np.asarray(known[name]) for name in schedule.results]

    def forget(self, schedule: Schedule) -> None:
        """A schedule that is given up stays known: what it was compiled for may come again."""


@dataclass(frozen=True, eq=False)
class _Examined:
    """The reference's value of everything in a graph, and where to run parts of it."""

    known: Mapping[str, Any]
    devices: Devices
    folder: Path | None

    def region(self, region: Region, step: Step, backend: Backend) -> Verdict:
        names = tuple(dict.fromkeys(node.name for node in region.body.nodes if node.name))
        tolerance = backend.tolerance_of([match.pattern for match in region.matches])
        difference = self._step(step, tolerance)
        if not difference:
            return Verdict(step.name, region.backend, names)
        part, node = self._smallest(region, backend, tolerance)
        model = self._write(part, step.name)
        return Verdict(step.name, region.backend, names, difference, node, model)

    def _step(self, step: Step, tolerance: Tolerance) -> str:
        """What differs when the region's own artifact runs alone."""
        with step_alone(step, self.devices) as alone:
            return self._differs(alone, step.inputs, step.outputs, tolerance)

    def _differs(
        self, executable: Executable, inputs: Sequence[str], outputs: Sequence[str], tolerance: Tolerance
    ) -> str:
        try:
            found = [np.asarray(array) for array in executable(*(self.known[name] for name in inputs))]
        except HeddleError as error:
            return f"it fails: {error}"
        return differences(outputs, found, [np.asarray(self.known[name]) for name in outputs], tolerance)

    def _smallest(self, region: Region, backend: Backend, tolerance: Tolerance) -> tuple[Graph, str]:
        """The first part of a region that differs by itself, and its node; all of it when none does alone."""
        parts = [match.body for match in region.matches] or [
            subgraph(region.body, [node], node.name or "node") for node in region.body.nodes
        ]
        position = {value: at for at, node in enumerate(region.body.nodes) for value in node.results}
        parts.sort(key=lambda part: max(position.get(value, 0) for value in part.outputs))
        for part in parts:
            if self._part(part, backend, tolerance):
                return part, part.nodes[-1].name or part.outputs[0].name
        return region.body, region.body.nodes[0].name or region.body.outputs[0].name

    def _part(self, part: Graph, backend: Backend, tolerance: Tolerance) -> str:
        host = [] if backend.name == HOST else [HOST]
        try:
            executable = compile(export_model(part), [backend, *host], devices=self.devices)
        except HeddleError as error:
            return f"it does not compile: {error}"
        with executable:
            return self._differs(executable, [v.name for v in part.inputs], [v.name for v in part.outputs], tolerance)

    def _write(self, part: Graph, name: str) -> str:
        if self.folder is None:
            return ""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.onnx"
        write_whole(path, export_model(part).SerializeToString())
        np.savez(path.with_suffix(".npz"), **{value.name: self.known[value.name] for value in part.inputs})
        return str(path)
