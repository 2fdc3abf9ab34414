"""What a call took, step by step: wall seconds, and modelled seconds where a device is simulated; never summed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any


@dataclass(frozen=True)
class StepTime:
    """One run of one step. `start` counts wall seconds from the start of the profile.

    `modelled` is what the simulated device would have taken, in its own time, and None on a real one.
    """

    name: str
    backend: str
    device: str
    start: float
    wall: float
    modelled: float | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True)
class Profile:
    """The steps of some calls, in the order in which they started, and the wall seconds of each call."""

    calls: tuple[float, ...]
    steps: tuple[StepTime, ...]

    def json(self) -> dict[str, Any]:
        """Everything, as a value for JSON."""
        return {
            "calls": list(self.calls),
            "steps": [
                {
                    "name": step.name,
                    "backend": step.backend,
                    "device": step.device,
                    "start": step.start,
                    "wall": step.wall,
                    "modelled": step.modelled,
                    "counters": dict(step.counters),
                    "nodes": list(step.nodes),
                    "fault": step.fault,
                }
                for step in self.steps
            ],
        }

    def to_perfetto(self, path: str | PathLike[str]) -> None:
        """Write a trace that https://ui.perfetto.dev and chrome://tracing open.

        Wall time and each device's modelled time are processes of their own, since their clocks differ.
        """
        devices = list(dict.fromkeys(step.device for step in self.steps))
        events: list[dict[str, Any]] = [_label("process_name", 1, 0, "wall time")]
        events += [_label("thread_name", 1, i, device) for i, device in enumerate(devices)]
        clock = dict.fromkeys(devices, 0.0)
        for step in self.steps:
            index = devices.index(step.device)
            arguments = {"backend": step.backend, "nodes": list(step.nodes), **step.counters}
            if step.fault is not None:
                arguments["fault"] = step.fault
            events.append(_slice(step.name, 1, index, step.start, step.wall, arguments))
            if step.modelled is not None:
                if clock[step.device] == 0.0:
                    events.append(_label("process_name", index + 2, 0, f"modelled time of {step.device}"))
                    events.append(_label("thread_name", index + 2, index, step.device))
                events.append(_slice(step.name, index + 2, index, clock[step.device], step.modelled, arguments))
                clock[step.device] += step.modelled
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"displayTimeUnit": "ns", "traceEvents": events}, file)

    def __str__(self) -> str:
        rows = [("step", "backend", "device", "wall", "modelled")]
        rows += [
            (
                step.name,
                step.backend,
                step.device,
                f"{step.wall * 1e6:.1f} us",
                "" if step.modelled is None else f"{step.modelled * 1e6:.1f} us",
            )
            for step in self.steps
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)


def _label(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _slice(
    name: str, process: int, thread: int, start: float, seconds: float, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "pid": process,
        "tid": thread,
        "ts": start * 1e6,
        "dur": seconds * 1e6,
        "args": dict(arguments),
    }
