"""Artifact: what a backend makes of a region, as bytes that a device can run without any compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


@dataclass(frozen=True)
class Port:
    """One input or output of an artifact, with the layout and the memory in which it is passed."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str = "dense"
    memory: str = "host"


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of an artifact; `aliases` lists (output, input) pairs that may share memory."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    aliases: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Artifact:
    """A compiled region. `code` is the device's own; `constants` are the arrays that it reads, by name.

    A saved file keeps each distinct array once, by digest, and maps it into memory when it is loaded.

    `device` names the entry point in the group `heddle.devices` that runs it; `workspace` is the scratch memory
    in bytes that a run needs; `meta` is what the backend wants to remember, as JSON; `nodes` are the names of the
    ONNX nodes that the region computes, for errors and profiles.
    """

    backend: str
    device: str
    signature: Signature
    code: bytes
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    workspace: int = 0
    meta: Mapping[str, JSON] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
