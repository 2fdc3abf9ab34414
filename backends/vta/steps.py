"""Steps, of which layers are made, and the events of the three units that they become."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from heddle.hw.vta.isa import Instruction


@dataclass(frozen=True)
class Chunk:
    """Data that steps read from one on-chip memory; `load(sram)` gives the instructions that bring it, a LOAD last.

    `early` says that no layer of the program writes it, so that it can be loaded while the layer before still runs.
    """

    key: Hashable
    memory: str
    size: int
    load: Callable[[int], Sequence[Instruction]]
    early: bool = False


Addresses = Mapping[Hashable, int]


@dataclass(frozen=True)
class Step:
    """One use of the array, over the accumulators of `unit`, of which there are `size`.

    `compute` and `store` are given the addresses of the chunks, by key, and of the first accumulator. Their first
    and last instructions that can carry tokens do.
    """

    reads: tuple[Chunk, ...]
    unit: Hashable
    size: int
    compute: Callable[[Addresses, int], Sequence[Instruction]]
    store: Callable[[Addresses, int], Sequence[Instruction]] | None = None


@dataclass(frozen=True)
class Load:
    """A chunk on its way to `address`, which `after` is the last step to have read."""

    chunk: Chunk
    address: int
    after: int


@dataclass(frozen=True)
class Run:
    """A step with its addresses; it waits for load number `load` and for store number `store` (-1: for none)."""

    number: int
    instructions: Sequence[Instruction]
    load: int
    store: int


@dataclass(frozen=True)
class Drain:
    """The instructions of STORE behind the step before."""

    number: int
    instructions: Sequence[Instruction]


Event = Load | Run | Drain
