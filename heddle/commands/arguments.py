"""The options that several commands share, and how their texts are read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

import heddle
from heddle.measure.timing import CLOCKS

Model = Annotated[Path, typer.Argument(help="An ONNX model.", metavar="MODEL.onnx", show_default=False)]
Backends = Annotated[
    str,
    typer.Option("--backends", "-b", help="Backends, separated by commas; the first that takes a node gets it."),
]
Place = Annotated[
    str, typer.Option(help="How parts are given to backends: `order`, `greedy`, or `cost` by modelled time.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="BACKEND.FIELD=VALUE", help="An option of a backend, as `vta.config=large`."),
]
ShapeTexts = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="INPUT=D,D,...", help="The shape of an input, as `input=1,3,224,224`."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail when a node falls back to a backend that takes everything.")
]
StrictMath = Annotated[
    bool,
    typer.Option(
        "--strict-math", help="Host code without minimal filtering, and with numbers too small for a normal float."
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="float32|bf16",
        help="bf16: host code rounds what it multiplies by constants to bfloat16.",
    ),
]
Pins = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="NODE=BACKEND", help="Give nodes to one backend, by name or operator, with * and ?."),
]
Exclusions = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="NODE=BACKEND", help="Keep nodes from a backend, as in --pin.")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="So many threads of the host work on each call; one by default, results are the same."),
]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", metavar="DEVICE.FIELD=VALUE", help="An option of a device, as `vta.sim=rtl`."),
]
Models = Annotated[
    list[Path], typer.Argument(help="ONNX models to measure.", metavar="MODEL.onnx...", show_default=False)
]
Core = Annotated[int | None, typer.Option(help="The core to measure on; the last that is allowed by default.")]
Rounds = Annotated[int, typer.Option(min=1, help="What is compared has so many turns each; medians count.")]


def _clock(name: str) -> str:
    if name not in CLOCKS:
        raise typer.BadParameter(f"{name!r}: it is one of {', '.join(CLOCKS)}")
    return name


Clock = Annotated[
    str,
    typer.Option(
        callback=_clock,
        metavar="|".join(CLOCKS),
        help="Time on the wall, or what this process used of the processor, where others use it too.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def names(text: str) -> list[str]:
    """`a,b` as a list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def settings(texts: Iterable[str] | None, flag: str = "--set") -> dict[str, dict[str, Any]]:
    """`["vta.config=large"]` as `{"vta": {"config": "large"}}`."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts or ():
        where, equals, value = text.partition("=")
        name, dot, key = where.partition(".")
        if not (equals and dot and name and key):
            raise typer.BadParameter(f"{text!r}: NAME.FIELD=VALUE is expected, as vta.config=large", param_hint=flag)
        found.setdefault(name, {})[key] = value
    return found


def options(texts: Iterable[str] | None, strict_math: bool, precision: str | None = None) -> dict[str, dict[str, Any]]:
    """What --set, --strict-math and --precision ask of backends."""
    found = settings(texts)
    if precision is not None:
        found.setdefault("host", {})["precision"] = precision
    if strict_math:
        found.setdefault("host", {})["strict_math"] = True
    return found


def demands(pins: Iterable[str] | None, exclusions: Iterable[str] | None, strict: bool) -> heddle.Demands:
    """What --pin, --exclude and --strict demand of a plan."""

    def pairs(texts: Iterable[str] | None, flag: str) -> tuple[tuple[str, str], ...]:
        found = []
        for text in texts or ():
            node, equals, backend = text.rpartition("=")
            if not (equals and node and backend):
                raise typer.BadParameter(f"{text!r}: NODE=BACKEND is expected, as conv1=host", param_hint=flag)
            found.append((node, backend))
        return tuple(found)

    return heddle.Demands(pairs(pins, "--pin"), pairs(exclusions, "--exclude"), strict=strict)


def device_options(texts: Iterable[str] | None) -> dict[str, dict[str, Any]]:
    """`["vta.latency=50"]` as `{"vta": {"latency": 50}}`: numbers, `true` and `false` are read, the rest is text."""

    def read(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return value if isinstance(value, bool | int | float) else text

    given = settings(texts, "--device")
    return {name: {key: read(value) for key, value in fields.items()} for name, fields in given.items()}


def shapes(texts: Iterable[str] | None) -> dict[str, list[int | str]] | None:
    """`["x=1,N,3"]` as `{"x": [1, "N", 3]}`; None when there is none."""
    found: dict[str, list[int | str]] = {}
    for text in texts or ():
        name, equals, dims = text.rpartition("=")
        if not (equals and name):
            raise typer.BadParameter(f"{text!r}: INPUT=D,D,... is expected, as x=1,3,224,224", param_hint="--shape")
        found[name] = [int(dim) if dim.isdigit() else dim for dim in names(dims)]
    return found or None
