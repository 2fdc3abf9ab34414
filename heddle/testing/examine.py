"""One case on one backend: compiled, run several times and from several threads, saved and loaded, compared."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import heddle
from heddle.core.errors import GraphError, HeddleError, ModelError, RefusedError
from heddle.core.frontend.export import export_model
from heddle.core.plugin import Backend, get_backend
from heddle.core.runtime.device import Device
from heddle.partition import Plan
from heddle.testing.cases import Case
from heddle.testing.compare import differences
from heddle.testing.watching import Watching

Kind = Literal["claim", "error", "result", "state", "input", "threads", "file", "leak", "random"]
"""What a finding is about; two findings of one kind in one pattern count as the same when a case is made smaller."""


@dataclass(frozen=True)
class Finding:
    """Something that a backend does wrong."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Subject:
    """A backend under examination, the devices to run it on (as for `heddle.compile`), and the patience with it.

    The host, which takes what the backend leaves, is opened once for all cases.
    """

    backend: Backend
    devices: Mapping[str, Device | Mapping[str, Any]] = field(default_factory=dict)
    timeout: float = 20.0
    host: Backend = field(default_factory=lambda: get_backend("host"))


@dataclass(frozen=True)
class Outcome:
    """Whether the backend took the case, and what it did wrong."""

    accepted: bool
    finding: Finding | None = None


def examine(subject: Subject, case: Case, thorough: bool = False) -> Outcome:
    """Run a case; a `thorough` examination adds threads, a saved file, a second compilation and a count of resources.

    A case that the backend leaves to others is not accepted, which is no finding.
    """
    case = replace(case, specials=subject.backend.tolerance_of([case.pattern]).specials)
    try:
        planned = heddle.plan(export_model(case.graph), _backends(subject))
    except RefusedError:
        return Outcome(False)
    except (GraphError, ModelError):
        if case.beyond is None:
            raise
        return Outcome(False)  # beyond its operators' limits as well, so that it is no model
    # What is only known when the model runs is planned then, perhaps for the backend, with what is known by then.
    whole = isinstance(planned, Plan)
    places = {region.backend for region in planned.regions} if isinstance(planned, Plan) else set()
    if whole and subject.backend.name not in places:
        return Outcome(False)
    finding = _examined(subject, case, thorough)
    if finding is None or case.beyond is None:
        return Outcome(whole, finding)
    if places != {subject.backend.name} and _of_the_host(subject, case):
        return Outcome(False)
    return Outcome(True, Finding(finding.kind, f"taken though its pattern demands that {case.beyond}: {finding.what}"))


def _examined(subject: Subject, case: Case, thorough: bool) -> Finding | None:
    try:
        executable = _compiled(subject, case)
    except HeddleError as error:
        return Finding("claim", f"claimed, but it does not compile: {error}")
    with executable:
        finding = _calls(subject, case, executable)
        if finding is None and thorough:
            finding = _threads(subject, case, executable) or _file(subject, case, executable)
    if finding is None and thorough:
        finding = _repeatable(subject, case) or _released(subject, case)
    return finding


def _of_the_host(subject: Subject, case: Case) -> bool:
    """Whether the host alone fails this case too, so that nothing is said about the backend."""
    try:
        with heddle.compile(export_model(case.graph)) as executable:
            return _calls(subject, case, executable) is not None
    except HeddleError:
        return True


def _backends(subject: Subject) -> list[Backend]:
    return [subject.backend, subject.host]


def _compiled(subject: Subject, case: Case, devices: Mapping[str, Any] | None = None) -> heddle.Executable:
    return heddle.compile(
        export_model(case.graph),
        _backends(subject),
        devices=dict(subject.devices if devices is None else devices),
        timeout=subject.timeout,
    )


def _calls(subject: Subject, case: Case, executable: heddle.Executable) -> Finding | None:
    """Three calls with different inputs: each right, none touching its inputs or the results of an earlier one."""
    names = [value.name for value in case.graph.outputs]
    first: tuple[list[NDArray[Any]], list[NDArray[Any]]] | None = None
    for call in range(3):
        inputs = case.inputs(call)
        kept = [array.copy() for array in inputs]
        expected = case.reference(call)
        try:
            found = [np.asarray(array) for array in executable(*inputs)]
        except HeddleError as error:
            return Finding("error", f"call {call + 1} fails: {error}")
        if any(a.tobytes() != b.tobytes() for a, b in zip(inputs, kept, strict=True)):
            return Finding("input", "a call changes its inputs, which belong to the caller; change a copy")
        if wrong := differences(names, found, expected, subject.backend.tolerance_of([case.pattern])):
            return Finding("result" if call == 0 else "state", f"call {call + 1}: {wrong}")
        if first is None:
            first = found, [array.copy() for array in found]
    assert first is not None
    if any(a.tobytes() != b.tobytes() for a, b in zip(*first, strict=True)):
        return Finding("state", "a later call changes the results of an earlier one")
    inputs = case.inputs(0)
    again = [np.asarray(array) for array in executable(*inputs)]
    if any(a.tobytes() != b.tobytes() for a, b in zip(again, first[1], strict=True)):
        return Finding("random", "the same inputs give different bits")
    return None


def _threads(subject: Subject, case: Case, executable: heddle.Executable) -> Finding | None:
    """Four threads at once on the same devices, each with an executable and inputs of its own, several times."""
    names = [value.name for value in case.graph.outputs]
    prepared = [(case.inputs(call), case.reference(call)) for call in range(4)]
    barrier = threading.Barrier(len(prepared))
    shared = _watched(subject, executable)

    def work(number: int) -> str:
        inputs, expected = prepared[number]
        with _compiled(subject, case, {**subject.devices, **shared}) as own:
            own.prepare()
            barrier.wait()
            for _ in range(4):
                found = [np.asarray(array) for array in own(*inputs)]
                if wrong := differences(names, found, expected, subject.backend.tolerance_of([case.pattern])):
                    return wrong
        return ""

    def told(number: int) -> str:
        try:
            return work(number)
        except threading.BrokenBarrierError:
            return ""  # whoever broke it says why
        except Exception as error:
            barrier.abort()  # or the others would wait for ever
            if isinstance(error, HeddleError):
                return str(error)
            raise

    with ThreadPoolExecutor(len(prepared)) as pool:
        wrong = next(filter(None, pool.map(told, range(len(prepared)))), "")
    for device in shared.values():
        device.close()
    return Finding("threads", f"four threads at once: {wrong}") if wrong else None


def _watched(subject: Subject, executable: heddle.Executable) -> dict[str, Watching]:
    """The devices of an executable other than the host, each opened anew and watched."""
    names = {step.artifact.device for step in executable.schedules[0].steps} - {"host"}
    return {name: Watching(name, subject.devices.get(name)) for name in sorted(names)}


def _file(subject: Subject, case: Case, executable: heddle.Executable) -> Finding | None:
    """A saved and loaded file gives the same bits."""
    inputs = case.inputs(0)
    expected = [np.asarray(array) for array in executable(*inputs)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "case.heddle"
        try:
            executable.save(path)
            with heddle.load(path, dict(subject.devices), subject.timeout) as loaded:
                found = [np.asarray(array).copy() for array in loaded(*inputs)]
        except HeddleError as error:
            return Finding("file", f"saved and loaded, it fails: {error}")
    if any(a.tobytes() != b.tobytes() for a, b in zip(found, expected, strict=True)):
        return Finding("file", "saved and loaded, it gives other results")
    return None


def _repeatable(subject: Subject, case: Case) -> Finding | None:
    """Compiling twice gives the same bytes, as files that are compared and caches need."""
    with _compiled(subject, case) as one, _compiled(subject, case) as two:
        pairs = zip(one.schedules[0].steps, two.schedules[0].steps, strict=True)
        if any(a.artifact.code != b.artifact.code or a.artifact.meta != b.artifact.meta for a, b in pairs):
            return Finding(
                "random",
                "compiling twice gives different artifacts; keep times, addresses and the order of sets out of them",
            )
    return None


def _released(subject: Subject, case: Case) -> Finding | None:
    """Whatever was allocated and loaded on a device is given back when the executable is closed."""
    with _compiled(subject, case) as executable:
        watched = _watched(subject, executable)
    try:
        for _ in range(2):
            with _compiled(subject, case, {**subject.devices, **watched}) as executable:
                for call in range(3):
                    executable(*case.inputs(call))
            del executable
            for name, device in watched.items():
                if held := device.held():
                    return Finding("leak", f"device {name}: {held} when the executable was closed")
    finally:
        for device in watched.values():
            device.close()
    return None
