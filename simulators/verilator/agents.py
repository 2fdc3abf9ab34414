"""What can be bound to the buses of a design, as values: memories with their timing, and the manners of each agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from heddle.core.errors import DeviceError
from numpy.typing import NDArray

MOST_OUTSTANDING = 256


@dataclass(frozen=True, eq=False)
class Dram:
    """A memory and its timing.

    The first beat of a read can be taken `latency` cycles after the edge that took its address, a write is answered
    as long after its last beat. All ports share `bytes_per_cycle` (None: as much as the ports can carry).
    A port takes `outstanding` bursts of each direction before it makes the design wait.
    `jitter_seed` adds 0 to `jitter` (default: `latency`) random cycles to each burst, in order; `backpressure` is the
    probability with which each handshake of each cycle is refused. Both are reproducible.
    `faults` lists (low, high) ranges of addresses that answer with SLVERR. `base` is the address of the first byte.
    `contents` is an array of bytes to use in place; without it the memory is new and zero.
    """

    size: int
    latency: int = 1
    bytes_per_cycle: float | None = None
    outstanding: int = 8
    jitter_seed: int | None = None
    backpressure: float = 0.0
    jitter: int | None = None
    base: int = 0
    faults: Sequence[tuple[int, int]] = ()
    contents: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.latency < 1 or not 1 <= self.outstanding <= MOST_OUTSTANDING:
            raise DeviceError(
                f"Dram: size {self.size}, latency {self.latency}, outstanding {self.outstanding}; "
                f"expected a size and latency of 1 or more and 1 to {MOST_OUTSTANDING} outstanding bursts"
            )
        if not 0 <= self.backpressure < 1:
            raise DeviceError(f"Dram: backpressure {self.backpressure}, expected a probability below 1")
        if self.bytes_per_cycle is not None and self.bytes_per_cycle <= 0:
            raise DeviceError(
                f"Dram: bytes_per_cycle {self.bytes_per_cycle}, expected more than 0, or None for no limit"
            )
        given = self.contents
        if given is not None and (
            given.dtype != np.uint8
            or given.shape != (self.size,)
            or not given.flags.c_contiguous
            or not given.flags.writeable
        ):
            raise DeviceError(f"Dram: contents must be a writeable contiguous array of {self.size} uint8")

    @property
    def most_jitter(self) -> int:
        """The largest number of cycles that jitter adds to a burst."""
        if self.jitter_seed is None:
            return 0
        return self.latency if self.jitter is None else self.jitter


@dataclass(frozen=True)
class Axi4:
    """Serves an AXI4 or AXI-Lite bus that the design leads, from `memory` (default: that of `open`).

    An address outside the memory ends the run with RtlRangeError, or is answered with DECERR if `errors="respond"`.
    `check=False` leaves the rules for held handshakes unchecked. `clock` names the clock of the bus, default the first.
    """

    memory: Dram | None = None
    errors: Literal["stop", "respond"] = "stop"
    check: bool = True
    clock: str | None = None


@dataclass(frozen=True)
class AxiLite:
    """Gives Python the registers behind an AXI-Lite or AXI4 bus that the design follows, as `sim.buses[name]`."""

    check: bool = True
    clock: str | None = None


@dataclass(frozen=True)
class Stream:
    """Feeds or drains a valid/ready stream; `stall` is the probability of a pause at each cycle, from `seed`."""

    stall: float = 0.0
    seed: int = 0
    check: bool = True
    clock: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.stall < 1:
            raise DeviceError(f"Stream: stall {self.stall}, expected a probability below 1")


@dataclass(frozen=True)
class SimpleMemory:
    """Serves a port of address, enable, write and data.

    `latency` 0 answers within the cycle. Addresses count what `unit` says.
    """

    memory: Dram | None = None
    latency: int = 1
    unit: Literal["word", "byte"] = "word"
    clock: str | None = None


Agent = Axi4 | AxiLite | Stream | SimpleMemory


def probability(value: float) -> int:
    """A probability as the 32-bit threshold that the C++ side compares with."""
    return int(value * (1 << 32))


def agent_seed(agent: Agent, memory: Dram | None) -> int:
    """The seed of an agent's random numbers."""
    seed: Any = agent.seed if isinstance(agent, Stream) else memory.jitter_seed if memory else 0
    return int(seed or 0)
