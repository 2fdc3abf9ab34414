"""From a model to an executable, in one straight line: import, optimise, plan, compile each region."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, Unpack

from onnx import ModelProto

from heddle.core.errors import HeddleError
from heddle.core.frontend import import_model
from heddle.core.ir import Graph, Phase
from heddle.core.passes import COUNTED, PRIMITIVE, optimize, outline_passes
from heddle.core.pattern import Pattern
from heddle.core.plugin import Backend, Region, compile_region, get_backend, patterns_of, plugins, run_passes
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import Device
from heddle.core.runtime.devices import with_threads
from heddle.core.runtime.executable import TIMEOUT, Executable, Program
from heddle.core.runtime.schedule import Schedule, Step
from heddle.core.runtime.specs import TensorSpec
from heddle.courses import Courses, spec, tensor_spec
from heddle.outline import Outline, PartAccount, outline
from heddle.partition import Demands, Explanation, Plan
from heddle.partition import explain as explanation
from heddle.partition import plan as partition
from heddle.partition.stages import Stage, cut, is_whole

Source = str | os.PathLike[str] | bytes | ModelProto
Shapes = Mapping[str, Sequence[int | str]]
Options = Mapping[str, Mapping[str, Any]]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many parts of it are done of how many."""

HOST = "host"


def compile(
    model: Source,
    backends: Sequence[str | Backend] = (HOST,),
    shapes: Shapes | None = None,
    *,
    place: str = "order",
    strict: bool = False,
    demands: Demands | None = None,
    options: Options | None = None,
    on_fault: str | None = None,
    keep: Sequence[str] = (),
    devices: Mapping[str, Device | Mapping[str, Any]] | None = None,
    timeout: float | None = TIMEOUT,
    threads: int | None = None,
    progress: Progress | None = None,
    decisions: Decisions | None = None,
) -> Executable:
    """Compile a model (a path, its bytes or a ModelProto) across backends, the most wanted first.

    `shapes` fixes symbolic dimensions of inputs by name; without it they are compiled for at the first call with
    each set of shapes. `place` says how parts are given to backends: by `"order"`, or by `"cost"`. `strict` demands
    that no node falls back to a backend that takes everything while others are listed; `demands` pins or excludes
    nodes, and more. `options` are the backends' own, as `{"vta": {"config": "large"}}`. `on_fault="host"` adds host
    code for every region, which answers when a device fails. `keep` names values inside the model to give out as
    further outputs. `devices` gives open devices or their options by name, and `timeout` is the most seconds that a
    step may run on one. `threads` of the host work on each call, one by default: it is the option `threads` of the
    device `host`, and no part of what is compiled. `progress` is told what is being done; `decisions` is filled with
    the plans, for whoever wants them explained.

    ModelError when the model is unsound or has operators that Heddle lacks; RefusedError when a node has no place;
    BackendError when a backend fails.
    """
    if on_fault not in (None, HOST):
        raise HeddleError(f"compile: on_fault is {on_fault!r}, it is None or {HOST!r}")
    job = replace(
        _job(model, backends, place=place, strict=strict, demands=demands, options=options),
        survive=on_fault == HOST,
        keep=tuple(keep),
        progress=progress,
        decisions=decisions,
    )
    graph = job.graph(shapes)
    inputs, outputs = tuple(map(spec, graph.inputs)), tuple(map(spec, graph.outputs))
    fixed = all(each.shape is not None for each in inputs if isinstance(each, TensorSpec))
    programs = [job.program(graph)] if fixed else []
    return Executable(
        graph.name,
        inputs,
        outputs,
        programs,
        specialise=None if fixed else job.specialise,
        devices=with_threads(devices, threads),
        timeout=timeout,
        watch=_announce_run if plugins().manager.hook.heddle_run_done.get_hookimpls() else None,
    )


class Asked(TypedDict, total=False):
    """How parts are to be given to backends, as `compile` takes it."""

    place: str
    strict: bool
    demands: Demands | None
    options: Options | None


def plan(
    model: Source,
    backends: Sequence[str | Backend] = (HOST,),
    shapes: Shapes | None = None,
    **asked: Unpack[Asked],
) -> Plan | Outline:
    """Which backend would compute which part of a model; takes what `compile` takes.

    Of a model that is compiled part by part, the outline: its stages, and the plan of each part that is known
    beforehand.
    """
    job = _job(model, backends, **asked)
    graph, stages = job.staged(job.graph(shapes))
    if not stages:
        return job.placed(graph)
    return outline(
        graph, stages, prepared, lambda part: None if part.waits else job.within(part.body).planned(part.body)
    )


def explain(
    model: Source,
    backends: Sequence[str | Backend] = (HOST,),
    shapes: Shapes | None = None,
    **asked: Unpack[Asked],
) -> Explanation | Outline:
    """Where each node would run and why, what blocks it elsewhere, what would help most; takes what `compile` takes.

    Of a model that is compiled part by part, the outline: its stages, and this for each part that is known beforehand.
    """
    job = _job(model, backends, **asked)
    graph, stages = job.staged(job.graph(shapes))
    if not stages:
        return job.explained(job.placed(graph))

    def told(part: PartAccount) -> Explanation | None:
        if part.waits:
            return None
        inner = job.within(part.body)
        return inner.explained(inner.planned(part.body))

    return outline(graph, stages, prepared, told)


@dataclass(frozen=True)
class Made:
    """A plan that was compiled, the part that it is of (nothing of a whole model), and the schedule that came of it."""

    part: str
    plan: Plan
    schedule: Schedule


@dataclass(eq=False)
class Decisions:
    """What is decided while a model is compiled, and later, when parts of it are: every plan, and what they are of.

    `staged` is the graph and its stages, of a model that is compiled part by part.
    """

    staged: tuple[Graph, tuple[Stage, ...]] | None = None
    made: list[Made] = field(default_factory=list)

    def explanation(self, backends: Sequence[Backend], demands: Demands | None = None) -> Explanation | Outline:
        """What `explain` tells, of the plans that were compiled first; nothing is planned anew."""
        demands = Demands() if demands is None else demands
        first: dict[str, Plan] = {}
        for each in self.made:
            first.setdefault(each.part, each.plan)
        told = {
            name: explanation(found, backends, demands.within(found.inline()) if name else demands)
            for name, found in first.items()
        }
        if self.staged is None:
            return told[""]
        return outline(*self.staged, prepared, lambda part: told.get(part.name))


def prepared(graph: Graph) -> Graph:
    """A graph, or the body of control flow, after what it goes through before it is cut into stages."""
    return optimize(graph, outline_passes())


def open_backends(backends: Sequence[str | Backend], options: Options | None = None) -> tuple[Backend, ...]:
    """The backends of these names with their options; backends that are open already stay as they are."""
    options = options or {}
    names = [backend if isinstance(backend, str) else backend.name for backend in backends]
    if not names:
        raise HeddleError("backends: none is listed; name at least one, as 'host'")
    for name in names:
        if names.count(name) > 1:
            raise HeddleError(f"backends: {name!r} is listed twice")
    for name in options:
        if name not in names:
            raise HeddleError(f"options: {name!r} is not among the backends {', '.join(names)}")
    return tuple(
        get_backend(backend, options.get(backend)) if isinstance(backend, str) else backend for backend in backends
    )


def _announce_run(executable: Executable, seconds: float) -> None:
    plugins().announce("heddle_run_done", executable=executable, seconds=seconds)


def _job(
    model: Source,
    backends: Sequence[str | Backend],
    *,
    place: str = "order",
    strict: bool = False,
    demands: Demands | None = None,
    options: Options | None = None,
) -> _Job:
    limits = demands or Demands()
    return _Job(model, open_backends(backends, options), place, replace(limits, strict=True) if strict else limits)


def _operators(pattern: Pattern) -> set[str]:
    return {node.op for graph in pattern.body.walk() for node in graph.nodes}


def _calibrated(step: Step, digest: str) -> Step:
    """The step with the digest of the measurements that its place depends on, where it depends on any."""
    if not digest:
        return step
    return replace(step, artifact=replace(step.artifact, meta={**step.artifact.meta, "calibration": digest}))


@dataclass(frozen=True)
class _Job:
    """What was asked for; makes a schedule for any input shapes."""

    model: Source
    backends: tuple[Backend, ...]
    place: str
    demands: Demands
    survive: bool = False
    keep: tuple[str, ...] = ()
    progress: Progress | None = field(default=None, compare=False)
    decisions: Decisions | None = field(default=None, compare=False)

    def graph(self, shapes: Shapes | None) -> Graph:
        """The model as it was written, with these input shapes."""
        self._tell("import", 0, 1)
        graph = import_model(self.model, shapes)
        if not self.keep:
            return graph
        values = {value.name: value for value in graph.values}
        for name in self.keep:
            if name not in values:
                raise HeddleError(f"keep: there is no value {name!r} in the model")
        known = {value.name for value in graph.outputs}
        kept = tuple(values[name] for name in dict.fromkeys(self.keep) if name not in known)
        return replace(graph, outputs=(*graph.outputs, *kept))

    def specialise(self, shapes: Mapping[str, tuple[int, ...]]) -> Program:
        return self.program(self.graph(shapes))

    def program(self, graph: Graph) -> Program:
        """The graph compiled at once, or part by part where something is only known when it runs."""
        graph, stages = self.staged(graph)
        if not stages:
            return self._schedule(graph)
        if self.decisions is not None:
            self.decisions.staged = graph, stages
        self.demands.check(graph, self.backends)
        return Courses(prepared, self._part).course(graph, stages)

    def staged(self, graph: Graph) -> tuple[Graph, tuple[Stage, ...]]:
        """The graph after its passes, and its stages: none where it is compiled at once."""
        if self._is_whole(graph):
            graph = self._optimised(graph)
            if self._is_whole(graph):
                return graph, ()
        graph = prepared(graph)
        stages = cut(graph)
        return (self._optimised(graph), ()) if is_whole(stages) else (graph, stages)

    def placed(self, graph: Graph) -> Plan:
        """Where each node runs, of a graph that has been through all passes."""
        self._tell("plan", 0, 1)
        made = partition(graph, self.backends, self.place, self.demands)
        plugins().announce("heddle_plan_done", plan=made)
        return made

    def planned(self, graph: Graph) -> Plan:
        """Where each node of a part runs."""
        return self.placed(self._optimised(graph))

    def explained(self, made: Plan) -> Explanation:
        """The explanation of a plan."""
        return explanation(made, self.backends, self.demands)

    def within(self, graph: Graph) -> _Job:
        """The same of one part alone: the demands on its nodes."""
        return replace(self, demands=self.demands.within(graph))

    def _part(self, graph: Graph, name: str) -> Schedule:
        """One part compiled, under what the demands say of its nodes."""
        job = self.within(graph)
        return job._schedule(job._optimised(graph), name)

    def _is_whole(self, graph: Graph) -> bool:
        return is_whole(cut(graph)) and not any(node.op in COUNTED for node in graph.nodes)

    def _optimised(self, graph: Graph) -> Graph:
        self._tell("optimise", 0, 1)
        wanted = {op for backend in self.backends for pattern in patterns_of(backend) for op in _operators(pattern)}
        graph = optimize(graph, keep_composites=PRIMITIVE | wanted)
        for backend in self.backends:
            graph = run_passes(backend, Phase.BEFORE_PARTITION, graph)
        return graph

    def _schedule(self, graph: Graph, part: str = "") -> Schedule:
        """A graph that has been through all passes, compiled region by region; the steps are named after the part."""
        made = self.placed(graph)
        steps = []
        for done, region in enumerate(made.regions):
            self._tell("compile", done, len(made.regions))
            step = _calibrated(self._step(region), made.calibration if self.place != "order" else "")
            steps.append(replace(step, name=f"{part}.{step.name}") if part else step)
        self._tell("compile", len(steps), len(steps))
        schedule = Schedule(
            tuple(map(tensor_spec, made.inputs)),
            tuple(map(tensor_spec, made.outputs)),
            tuple(value.name for value in made.outputs),
            tuple(steps),
            {value.name: array for value, array in made.constants.items()},
        )
        if self.decisions is not None:
            self.decisions.made.append(Made(part, made, schedule))
        return schedule

    def _step(self, region: Region) -> Step:
        backend = next(backend for backend in self.backends if backend.name == region.backend)
        artifact = self._artifact(backend, region)
        fallback = None
        if self.survive and backend.name != HOST:
            host = next((backend for backend in self.backends if backend.name == HOST), None) or get_backend(HOST)
            fallback = self._artifact(host, replace(region, backend=HOST, matches=()))
        names = region.body
        return Step(
            region.name,
            artifact,
            tuple(value.name for value in names.inputs),
            tuple(value.name for value in names.outputs),
            fallback,
        )

    def _artifact(self, backend: Backend, region: Region) -> Artifact:
        start = time.perf_counter()
        region = replace(region, body=run_passes(backend, Phase.REGION, region.body))
        artifact = compile_region(backend, region).artifact
        plugins().announce(
            "heddle_region_compiled", region=region, artifact=artifact, seconds=time.perf_counter() - start
        )
        if artifact.nodes:
            return artifact
        return replace(artifact, nodes=tuple(dict.fromkeys(node.name for node in region.body.nodes if node.name)))

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(what, done, total)
