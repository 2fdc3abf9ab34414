"""What a call took, step by step: wall seconds, and modelled seconds where a device is simulated; never summed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

from heddle.core.runtime.device import Transfer


@dataclass(frozen=True)
class StepTime:
    """One run of one step. `start` counts wall seconds from the start of the profile.

    `modelled` is what the simulated device would have taken, in its own time, and None on a real one. `values` are the
    names of the step's inputs, of which there are `inputs`, then of its outputs; `transfers` copied some of these
    between the host and the device, and are part of `wall`.
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
    values: tuple[str, ...] = ()
    inputs: int = 0
    transfers: tuple[Transfer, ...] = ()

    def since(self, begin: float) -> StepTime:
        """The same with all starts counted from this moment."""
        transfers = tuple(replace(transfer, start=transfer.start - begin) for transfer in self.transfers)
        return replace(self, start=self.start - begin, transfers=transfers)

    def direction(self, transfer: Transfer) -> str:
        """Which way a copy went."""
        return f"{'to' if transfer.port < self.inputs else 'from'} {self.device}"


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
                    "transfers": [
                        {
                            "value": step.values[transfer.port],
                            "direction": step.direction(transfer),
                            "start": transfer.start,
                            "wall": transfer.wall,
                            "bytes": transfer.nbytes,
                        }
                        for transfer in step.transfers
                    ],
                }
                for step in self.steps
            ],
        }

    def to_perfetto(self, path: str | PathLike[str]) -> None:
        """Write a trace that https://ui.perfetto.dev and chrome://tracing open.

        Wall time and each device's modelled time are processes of their own, since their clocks differ. In wall time
        each device has a track, and so have the copies to it and from it, where there were any.
        """
        devices = list(dict.fromkeys(step.device for step in self.steps))
        ways = list(dict.fromkeys(step.direction(each) for step in self.steps for each in step.transfers))
        tracks = [*devices, *(f"copies {way}" for way in ways)]
        events: list[dict[str, Any]] = [_label("process_name", 1, 0, "wall time")]
        events += [_label("thread_name", 1, i, track) for i, track in enumerate(tracks)]
        clock = dict.fromkeys(devices, 0.0)
        for step in self.steps:
            index = devices.index(step.device)
            arguments = {"backend": step.backend, "nodes": list(step.nodes), **step.counters}
            if step.fault is not None:
                arguments["fault"] = step.fault
            events.append(_slice(step.name, 1, index, step.start, step.wall, arguments))
            for each in step.transfers:
                track = len(devices) + ways.index(step.direction(each))
                facts = {"step": step.name, "bytes": each.nbytes}
                events.append(_slice(step.values[each.port], 1, track, each.start, each.wall, facts))
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
