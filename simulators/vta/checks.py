"""The checks of the functional model: bounds, reads of what was never written, and accesses that no token orders."""

from __future__ import annotations

import numpy as np
from heddle.hw.vta.config import Config
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.footprint import Index
from heddle.simulators.vta.stream import Step
from heddle.simulators.vta.tokens import Clock
from numpy.typing import NDArray

Numbers = NDArray[np.int32]


class Checks:
    """Who wrote and who read each element and each beat of memory last: instruction numbers plus one, 0 for nobody."""

    def __init__(self, config: Config, memory_bytes: int) -> None:
        depths = {name: config.element_count(name) for name in ("inp", "wgt", "uop", "prm")} | {"acc": config.acc_depth}
        self._wrote = {name: np.zeros(depth, np.int32) for name, depth in depths.items()}
        self._read = {name: np.zeros(depth, np.int32) for name, depth in depths.items()}
        self._stored = np.zeros(memory_bytes // config.beat_bytes, np.int32)
        self._fetched = np.zeros(memory_bytes // config.beat_bytes, np.int32)

    def reads(self, step: Step, clock: Clock, memory: str, index: Index) -> None:
        """A step reads elements of a memory."""
        self._bounds(step, memory, index)
        wrote = self._wrote[memory][index]
        if not wrote.all():
            element = int(index[np.argmin(wrote != 0)])
            raise FaultError(
                "uninitialised", step.index, f"{step.name}: reads {memory}[{element}], which was never written"
            )
        writer = "compute" if memory == "acc" else "load"
        if step.unit != writer:
            self._ordered(step, clock, writer, wrote, f"reads {memory}", "wrote")
        self._read[memory][index] = step.index + 1

    def loads(self, step: Step, clock: Clock, memory: str, start: int, count: int) -> None:
        """LOAD writes consecutive elements of a memory."""
        depth = len(self._wrote[memory])
        if start + count > depth:
            raise FaultError(
                "bounds", step.index, f"LOAD: writes {memory}[{start + count - 1}], which has {depth} elements"
            )
        written = slice(start, start + count)
        reader = "store" if memory == "prm" else "compute"
        self._ordered(step, clock, reader, self._read[memory][written], f"overwrites {memory}", "reads")
        self._wrote[memory][written] = step.index + 1

    def accumulates(self, step: Step, clock: Clock, index: Index, overwrite: bool) -> None:
        """COMPUTE writes accumulators, and reads them first unless it overwrites."""
        self._bounds(step, "acc", index)
        if not overwrite and not self._wrote["acc"][index].all():
            element = int(index[np.argmin(self._wrote["acc"][index] != 0)])
            raise FaultError("uninitialised", step.index, f"{step.name}: reads acc[{element}], which was never written")
        self._ordered(step, clock, "store", self._read["acc"][index], "overwrites acc", "reads")
        self._wrote["acc"][index] = step.index + 1

    def operands(self, step: Step, index: Index, but: Index) -> None:
        """ALU reads accumulators; those `but` are written by the same instruction."""
        self._bounds(step, "acc", index)
        needed = np.setdiff1d(index, but)
        if not self._wrote["acc"][needed].all():
            element = int(needed[np.argmin(self._wrote["acc"][needed] != 0)])
            raise FaultError("uninitialised", step.index, f"{step.name}: reads acc[{element}], which was never written")

    def fetches(self, step: Step, clock: Clock, beats: Index) -> None:
        """LOAD, or STORE for its residual, reads beats of memory."""
        last = int(self._stored[beats].max(initial=0)) - 1
        if last > clock.written:
            raise FaultError(
                "race",
                step.index,
                f"{step.name}: reads memory that STORE {last} writes; a SYNC of STORE and tokens must order them",
            )
        if step.unit == "load":
            self._fetched[beats] = step.index + 1

    def stores(self, step: Step, clock: Clock, beats: Index) -> None:
        """STORE writes beats of memory."""
        self._ordered(step, clock, "load", self._fetched[beats], "overwrites memory", "reads")
        self._stored[beats] = step.index + 1

    def _bounds(self, step: Step, memory: str, index: Index) -> None:
        depth, last = len(self._wrote[memory]), int(index.max())
        if last >= depth:
            raise FaultError("bounds", step.index, f"{step.name}: {memory}[{last}] is used, which has {depth} elements")

    def _ordered(self, step: Step, clock: Clock, unit: str, others: Numbers, does: str, did: str) -> None:
        last = int(others.max(initial=0)) - 1
        if last > int(getattr(clock, unit)):
            text = f"{step.name}: {does} that instruction {last} of {unit.upper()} {did}; no token orders them"
            raise FaultError("race", step.index, text)
