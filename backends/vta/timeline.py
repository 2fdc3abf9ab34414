"""Where a region's cycles go: each layer's time, work, waiting and traffic, as the cycle model predicts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from heddle.backends.vta.estimate import issue_cycles
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction
from heddle.simulators.vta.cycle import moments, prepare
from heddle.simulators.vta.program import from_bytes
from heddle.simulators.vta.rtl import Memory
from heddle.simulators.vta.stream import MEMORIES


@dataclass(frozen=True)
class LayerTime:
    """One layer of a region: from the first use of the array by it to the first by the next layer.

    The cycles of the layers of a region sum to those of its program. `gemm` and `alu` are the cycles in which the
    array and the ALU were given work, `wait_load` and `wait_store` those in which they waited for data and for room;
    the rest of the cycles they were between instructions, or had to wait for what they had computed.
    """

    number: int
    name: str
    kind: str
    nodes: tuple[str, ...]
    kernel: tuple[int, ...]
    depthwise: bool
    macs: int
    start: int
    cycles: int
    gemm: int
    alu: int
    wait_load: int
    wait_store: int
    read_bytes: int
    written_bytes: int
    instructions: int
    peak: int
    """The multiply-accumulates that the array can do in a cycle."""

    @property
    def utilisation(self) -> float:
        """The part of the array's peak that the layer's multiply-accumulates are."""
        return self.macs / (self.cycles * self.peak) if self.cycles else 0.0

    @property
    def intensity(self) -> float:
        """Multiply-accumulates for each byte of memory traffic."""
        return self.macs / max(self.read_bytes + self.written_bytes, 1)


def timeline(artifact: Artifact, memory: Memory | None = None) -> tuple[LayerTime, ...]:
    """The layers of a compiled region in the order in which they run; `memory` is the timing of the memory."""
    program = from_bytes(artifact.code)
    (section,) = program.sections
    layers, owners = described(artifact, len(section.instructions))
    bases = [binding.offset if binding.kind == "image" else -1 for binding in program.bindings]
    image = np.frombuffer(program.image, np.uint8)
    when = moments(prepare(section.instructions, program.config, image, bases), memory or Memory())
    worked = np.array([instruction.name in ("GEMM", "ALU") for instruction in section.instructions])
    firsts = [int(np.flatnonzero(worked & (owners == number))[0]) for number in range(len(layers))]
    starts = [0, *(int(when.starts[first]) for first in firsts[1:]), int(when.starts[-1])]
    slots = np.array([issue_cycles(instruction) for instruction in section.instructions])
    array = np.array([instruction.name == "GEMM" for instruction in section.instructions])
    traffic = np.array([_traffic(program.config, instruction) for instruction in section.instructions])
    found = []
    for number, layer in enumerate(layers):
        mine = owners == number
        found.append(LayerTime(
            number, layer["name"], layer["kind"], tuple(layer["nodes"]), tuple(layer["kernel"]),
            layer["depthwise"], layer["macs"],
            starts[number], starts[number + 1] - starts[number],
            int(slots[mine & array].sum()), int(slots[mine & ~array].sum()),
            int(when.wait_load[mine].sum()), int(when.wait_store[mine].sum()),
            int(traffic[mine, 0].sum()), int(traffic[mine, 1].sum()), int(mine.sum()),
            program.config.bi * program.config.bo,
        ))  # fmt: skip
    return tuple(found)


def described(artifact: Artifact, count: int) -> tuple[Sequence[Mapping[str, Any]], np.ndarray[Any, Any]]:
    """What the artifact says of its layers, and the layer of each instruction."""
    layers = cast(Sequence[Mapping[str, Any]], artifact.meta.get("layers") or ())
    runs = cast(Sequence[tuple[int, int]], artifact.meta.get("owners") or ())
    owners = np.repeat([owner for owner, _ in runs], [length for _, length in runs])
    if not layers or len(owners) != count:
        raise ArtifactError(f"vta: the artifact tells the layers of {len(owners)} instructions, it has {count}")
    return layers, owners


def _traffic(config: Config, instruction: Instruction) -> tuple[int, int]:
    """The bytes that an instruction reads from memory and writes to it; padding is not read."""
    if instruction.name not in ("LOAD", "STORE"):
        return 0, 0
    items = instruction["x"] * instruction["y"] * instruction["z"]
    if instruction.name == "LOAD":
        return items * config.element_bytes(MEMORIES[instruction["mem"]]), 0
    size = items * config.out_bytes
    return size * instruction["residual"], size
