"""Turns steps into instructions: places what they read in the on-chip memories and orders the units by tokens.

A step is one use of the array: what it must find on chip, the instructions of COMPUTE, and those of STORE when it
completes a unit of accumulators. Steps come in the order in which a machine without queues would run them. The
pipeline keeps what is on chip for as long as a later step of the layer reads it, lets loads run ahead as far as the
memories allow, and pushes a token exactly where another unit waits for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from heddle.backends.vta.estimate import estimated_cycles
from heddle.backends.vta.onchip import IN_FLIGHT, Memory, Slots
from heddle.backends.vta.steps import Addresses, Chunk, Drain, Event, Load, Run, Step
from heddle.backends.vta.tokens import ordered
from heddle.core.errors import BackendError
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make

EARLY_BEATS = 2048
"""How much of a layer's weights is loaded ahead of its activations, while the layer before still runs."""


class Pipeline:
    """Collects the layers of one program; `finish` gives its instructions."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._memories = {name: Memory(config.element_count(name)) for name in ("inp", "wgt", "uop", "prm")}
        self._accumulators = Memory(config.acc_depth)
        self._events: list[Event] = []
        self._loads: dict[Hashable, int] = {}
        self._counts = {Load: 0, Run: 0, Drain: 0}
        self._settled = -1  # the last store whose writes every later load and store sees
        self._owners: list[int] = []  # for each event, the number that its layer was given

    def layer(self, steps: Sequence[Step], wait: bool, owner: int = 0) -> None:
        """Add the steps of a layer; `wait` says that it reads what a layer since the last wait has written.

        `owner` is the number by which `finish` tells whose an instruction is.
        """
        wait = wait or self._parameters_in_use(steps)
        barrier = wait and self._counts[Drain] - 1 > self._settled
        base = self._counts[Run] + barrier
        drains = self._counts[Drain] + barrier + sum(step.store is not None for step in steps)
        slots = {name: Slots(self._memories[name], steps, name) for name in ("inp", "wgt")}
        loads: list[tuple[int, Load]] = []
        places: list[dict[Hashable, int]] = []
        for index, step in enumerate(steps):
            at: dict[Hashable, int] = {}
            for chunk in step.reads:
                if chunk.memory in slots:
                    at[chunk.key], load = slots[chunk.memory].place(chunk, index, base)
                else:
                    at[chunk.key], load = self._ring(chunk, drains - 1 if chunk.memory == "prm" else base + index)
                if load is not None:
                    loads.append((index, load))
            places.append(at)
        early, rest = _early(loads, base, self.config)
        for load in early:
            self._add_load(load)
        since = self._settle() if barrier else -1
        for index, step in enumerate(steps):
            for load in rest.get(index, ()):
                self._add_load(replace(load, after=max(load.after, since)))
            self._add_step(step, places[index])
        self._owners += [owner] * (len(self._events) - len(self._owners))

    def _parameters_in_use(self, steps: Sequence[Step]) -> bool:
        """Whether parameters of this layer take the place of some that a store before it may not have read yet."""
        memory = self._memories["prm"]
        start, late = memory.next, False
        for chunk in {chunk.key: chunk for step in steps for chunk in step.reads if chunk.memory == "prm"}.values():
            start = 0 if start + chunk.size > memory.depth else start
            late = late or memory.users(start, start + chunk.size) > self._settled
            start += chunk.size
        return late

    def _ring(self, chunk: Chunk, user: int) -> tuple[int, Load | None]:
        """A place in a memory that is filled round and round: micro-ops, and the parameters of STORE.

        `user` is the step that reads it, and of parameters the last store that may.
        """
        memory = self._memories[chunk.memory]
        stores = chunk.memory == "prm"
        region, load = memory.find(chunk.key), None
        if region is None:
            if chunk.size > memory.depth:
                raise BackendError(f"vta: {chunk.size} elements of {chunk.memory} are needed, there are {memory.depth}")
            start = memory.ring(chunk.size)
            after = memory.users(start, start + chunk.size)
            region = memory.claim(start, chunk.size, chunk.key)
            # LOAD cannot wait for STORE: parameters in a place that was in use are loaded behind the layer's barrier.
            early = chunk.early and not (stores and after > self._settled)
            load = Load(replace(chunk, early=early), start, -1 if stores else after)
        region.user = user
        return region.start, load

    def _add_load(self, load: Load) -> None:
        self._loads[load.chunk.key] = self._counts[Load]
        self._counts[Load] += 1
        self._events.append(load)

    def _add_step(self, step: Step, at: Addresses) -> None:
        region = self._accumulators.find(step.unit)
        waits = -1
        if region is None:
            size = unit_size(self.config, step.size)
            start = self._accumulators.ring(size)
            waits = self._accumulators.users(start, start + size)
            if self._accumulators.active(start, start + size):
                raise BackendError(f"vta: too many accumulators at once: {step.unit} does not fit beside the others")
            region = self._accumulators.claim(start, size, step.unit)
        region.user = self._counts[Drain]
        load = max((self._loads[chunk.key] for chunk in step.reads), default=-1)
        self._events.append(Run(self._counts[Run], step.compute(at, region.start), load, waits))
        self._counts[Run] += 1
        if step.store is not None:
            self._events.append(Drain(self._counts[Drain], step.store(at, region.start)))
            self._counts[Drain] += 1
            region.key = None

    def _settle(self) -> int:
        """Wait until everything that was stored so far is in memory; the step that later loads have to wait for."""
        if self._counts[Drain] - 1 == self._settled:
            return -1
        store, step = self._counts[Drain], self._counts[Run]
        self._events.append(Drain(store, [make("SYNC", unit="store")]))
        self._events.append(Run(step, [make("SYNC", unit="compute")], -1, store))
        self._counts[Drain] += 1
        self._counts[Run] += 1
        self._settled = store
        return step

    def cycles(self) -> int:
        """A quick estimate of the cycles that the program takes."""
        return estimated_cycles(self.config, self._events)

    def finish(self) -> tuple[list[Instruction], list[int]]:
        """The whole program, FINISH last, and the owner of each instruction."""
        return ordered(self._events, self._owners)


def unit_size(config: Config, accumulators: int) -> int:
    """The accumulators that a unit of so many takes: enough that no more than `IN_FLIGHT` units have room."""
    return max(accumulators, -(-config.acc_depth // IN_FLIGHT))


def _early(loads: Sequence[tuple[int, Load]], base: int, config: Config) -> tuple[list[Load], dict[int, list[Load]]]:
    """The loads that go ahead of the layer's others, and the others by step.

    Ahead goes what no layer writes and no step of this layer has to make room for, up to `EARLY_BEATS`; of each
    memory the first ones, so that the loads of one memory stay in order.
    """
    early: list[Load] = []
    rest: dict[int, list[Load]] = {}
    closed: set[str] = set()
    beats = 0
    for index, load in loads:
        memory = load.chunk.memory
        size = load.chunk.size * config.element_bytes(memory) // config.beat_bytes
        if not load.chunk.early or load.after >= base or (beats and beats + size > EARLY_BEATS):
            closed.add(memory)
        if memory in closed:
            rest.setdefault(index, []).append(load)
        else:
            early.append(load)
            beats += size
    return early, rest
