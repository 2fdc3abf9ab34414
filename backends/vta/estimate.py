"""Closed estimates of the cycles that instructions take, for the search among tilings."""

from __future__ import annotations

from collections.abc import Iterable

from heddle.backends.vta.steps import Event, Load, Run
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction

GEMM_DEPTH = 8
"""Cycles from the issue of a micro-op to its accumulator."""


def estimated_cycles(config: Config, events: Iterable[Event], latency: int = 100) -> int:
    """A quick estimate of the cycles that events take: three units in order, each waiting for the others."""
    loaded: list[float] = []
    ran: dict[int, float] = {}
    drained: dict[int, float] = {}
    bus = array = port = float(latency)
    for event in events:
        if isinstance(event, Load):
            beats = event.chunk.size * config.element_bytes(event.chunk.memory) / config.beat_bytes
            bus = max(bus, ran.get(event.after, 0.0)) + beats
            loaded.append(bus + latency)
        elif isinstance(event, Run):
            start = max(array, loaded[event.load] if event.load >= 0 else 0.0, drained.get(event.store, 0.0))
            array = start + sum(issue_cycles(i) for i in event.instructions)
            ran[event.number] = array
        elif event.instructions[0].name == "SYNC":
            port += 2 * latency
            drained[event.number] = port
        else:
            beats = sum(vectors(i) for i in event.instructions) * config.out_bytes / config.beat_bytes
            port = max(port, array + GEMM_DEPTH) + beats
            drained[event.number] = port
    return int(max(array, port)) + latency


def issue_cycles(instruction: Instruction) -> int:
    """The cycles in which COMPUTE issues an instruction's micro-ops."""
    if instruction.name not in ("GEMM", "ALU"):
        return 0
    inner = instruction["n2"] + (instruction["warm"] if instruction.name == "GEMM" else 0)
    each = 2 if instruction.name == "ALU" and not instruction["use_imm"] else 1
    return instruction["count"] * instruction["n0"] * instruction["n1"] * inner * each


def vectors(instruction: Instruction) -> int:
    """The vectors that a STORE drains."""
    return instruction["x"] * instruction["y"] * instruction["z"] if instruction.name == "STORE" else 0
