"""Turns steps into instructions: places what they read in the on-chip memories and orders the units by tokens.

A step is one use of the array: what it must find on chip, the instructions of COMPUTE, and those of STORE when it
completes a unit of accumulators. Steps come in the order in which a machine without queues would run them. The
pipeline keeps what is on chip for as long as a later step of the layer reads it, lets loads run ahead as far as the
memories allow, and pushes a token exactly where another unit waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from heddle.core.errors import BackendError
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make, opcodes

EARLY_BEATS = 2048
"""How much of a layer's weights is loaded ahead of its activations, while the layer before still runs."""

IN_FLIGHT = 200
"""How many pieces of work may wait between two units: a token counter holds 255."""

GEMM_DEPTH = 8
"""Cycles from the issue of a micro-op to its accumulator, for estimates only."""

NEVER = 1 << 60
CARRIERS = frozenset(name for name, kind in opcodes().items() if kind.tokens)


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
class _Load:
    """A chunk on its way to `address`, which `after` is the last step to have read."""

    chunk: Chunk
    address: int
    after: int


@dataclass(frozen=True)
class _Run:
    """A step with its addresses; it waits for load number `load` and for store number `store` (-1: for none)."""

    number: int
    instructions: Sequence[Instruction]
    load: int
    store: int


@dataclass(frozen=True)
class _Drain:
    """The instructions of STORE behind the step before."""

    number: int
    instructions: Sequence[Instruction]


@dataclass
class _Region:
    """A piece of an on-chip memory: what lies there and who was the last to use it (a step, or for some a store)."""

    start: int
    end: int
    key: Hashable
    user: int


@dataclass
class _Memory:
    """One on-chip memory: which regions are in use, and by whom."""

    depth: int
    regions: list[_Region] = field(default_factory=list)
    next: int = 0

    def find(self, key: Hashable) -> _Region | None:
        return next((region for region in self.regions if region.key == key), None)

    def users(self, start: int, end: int) -> int:
        """The last user of any address in a range."""
        return max((r.user for r in self.regions if r.start < end and start < r.end), default=-1)

    def active(self, start: int, end: int) -> bool:
        """Whether a range overlaps one that still has its key."""
        return any(r.key is not None and r.start < end and start < r.end for r in self.regions)

    def claim(self, start: int, size: int, key: Hashable) -> _Region:
        """Take a range; what overlaps it is no longer on chip, but its other addresses remember their user."""
        end, kept = start + size, []
        for region in self.regions:
            if region.end <= start or end <= region.start:
                kept.append(region)
                continue
            if region.start < start:
                kept.append(_Region(region.start, start, None, region.user))
            if end < region.end:
                kept.append(_Region(end, region.end, None, region.user))
        claimed = _Region(start, end, key, -1)
        self.regions = [*kept, claimed]
        return claimed

    def ring(self, size: int) -> int:
        """The next range of a memory that is filled round and round."""
        if self.next + size > self.depth:
            self.next = 0
        start = self.next
        self.next += size
        return start


class Pipeline:
    """Collects the layers of one program; `finish` gives its instructions."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._memories = {name: _Memory(config.element_count(name)) for name in ("inp", "wgt", "uop", "prm")}
        self._accumulators = _Memory(config.acc_depth)
        self._events: list[_Load | _Run | _Drain] = []
        self._loads: dict[Hashable, int] = {}
        self._counts = {_Load: 0, _Run: 0, _Drain: 0}
        self._settled = -1  # the last store whose writes every later load and store sees
        self._owners: list[int] = []  # for each event, the number that its layer was given

    def layer(self, steps: Sequence[Step], wait: bool, owner: int = 0) -> None:
        """Add the steps of a layer; `wait` says that it reads what a layer since the last wait has written.

        `owner` is the number by which `finish` tells whose an instruction is.
        """
        wait = wait or self._parameters_in_use(steps)
        barrier = wait and self._counts[_Drain] - 1 > self._settled
        base = self._counts[_Run] + barrier
        drains = self._counts[_Drain] + barrier + sum(step.store is not None for step in steps)
        slots = {name: _Slots(self._memories[name], steps, name) for name in ("inp", "wgt")}
        loads: list[tuple[int, _Load]] = []
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

    def _ring(self, chunk: Chunk, user: int) -> tuple[int, _Load | None]:
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
            load = _Load(replace(chunk, early=early), start, -1 if stores else after)
        region.user = user
        return region.start, load

    def _add_load(self, load: _Load) -> None:
        self._loads[load.chunk.key] = self._counts[_Load]
        self._counts[_Load] += 1
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
        region.user = self._counts[_Drain]
        load = max((self._loads[chunk.key] for chunk in step.reads), default=-1)
        self._events.append(_Run(self._counts[_Run], step.compute(at, region.start), load, waits))
        self._counts[_Run] += 1
        if step.store is not None:
            self._events.append(_Drain(self._counts[_Drain], step.store(at, region.start)))
            self._counts[_Drain] += 1
            region.key = None

    def _settle(self) -> int:
        """Wait until everything that was stored so far is in memory; the step that later loads have to wait for."""
        if self._counts[_Drain] - 1 == self._settled:
            return -1
        store, step = self._counts[_Drain], self._counts[_Run]
        self._events.append(_Drain(store, [make("SYNC", unit="store")]))
        self._events.append(_Run(step, [make("SYNC", unit="compute")], -1, store))
        self._counts[_Drain] += 1
        self._counts[_Run] += 1
        self._settled = store
        return step

    # -- time ----------------------------------------------------------------------------------------------------

    def cycles(self, latency: int = 100) -> int:
        """A quick estimate of the cycles that the program takes: three units in order, each waiting for the others."""
        config = self.config
        loaded: list[float] = []
        ran: dict[int, float] = {}
        drained: dict[int, float] = {}
        bus = array = port = float(latency)
        for event in self._events:
            if isinstance(event, _Load):
                beats = event.chunk.size * config.element_bytes(event.chunk.memory) / config.beat_bytes
                bus = max(bus, ran.get(event.after, 0.0)) + beats
                loaded.append(bus + latency)
            elif isinstance(event, _Run):
                start = max(array, loaded[event.load] if event.load >= 0 else 0.0, drained.get(event.store, 0.0))
                array = start + sum(issue_cycles(i) for i in event.instructions)
                ran[event.number] = array
            elif event.instructions[0].name == "SYNC":
                port += 2 * latency
                drained[event.number] = port
            else:
                beats = sum(_vectors(i) for i in event.instructions) * config.out_bytes / config.beat_bytes
                port = max(port, array + GEMM_DEPTH) + beats
                drained[event.number] = port
        return int(max(array, port)) + latency

    # -- tokens --------------------------------------------------------------------------------------------------

    def finish(self) -> tuple[list[Instruction], list[int]]:
        """The whole program, FINISH last, and the owner of each instruction."""
        ends = _Ends(self._events)
        program: list[Instruction] = []
        owners: list[int] = []
        registers: dict[tuple[str, int], Mapping[str, int]] = {}
        load = 0
        for event, owner in zip(self._events, self._owners, strict=True):
            if isinstance(event, _Load):
                instructions = event.chunk.load(event.address)
                pops, pushes = {"pop_next": load in ends.loads_wait}, {"push_next": load in ends.loads}
                load += 1
            elif isinstance(event, _Run):
                number, instructions = event.number, event.instructions
                pops = {"pop_prev": number in ends.steps_wait_load, "pop_next": number in ends.steps_wait_store}
                pushes = {"push_prev": number in ends.steps, "push_next": number in ends.steps_drained}
            else:
                instructions = event.instructions
                pops, pushes = {"pop_prev": event.number in ends.drains}, {"push_prev": event.number in ends.stores}
            program += _news(_with_tokens(instructions, pops, pushes), registers)
            owners += [owner] * (len(program) - len(owners))
        last = owners[-1] if owners else 0
        return [*program, make("FINISH")], [*owners, last]


def _news(
    instructions: Sequence[Instruction], registers: dict[tuple[str, int], Mapping[str, int]]
) -> list[Instruction]:
    """The instructions without those that set registers to what they hold; `registers` follows what is in force."""
    kept = []
    for instruction in instructions:
        if instruction.name not in CARRIERS:
            key = (instruction.name, instruction["mem"] if instruction.name == "STRIDE" else 0)
            given = {name: value for name, value in instruction.values.items() if value and name != "mem"}
            if registers.get(key, {}) == given:  # all registers are zero when a program starts
                continue
            registers[key] = given
        kept.append(instruction)
    return kept


def unit_size(config: Config, accumulators: int) -> int:
    """The accumulators that a unit of so many takes: enough that no more than `IN_FLIGHT` units have room."""
    return max(accumulators, -(-config.acc_depth // IN_FLIGHT))


def issue_cycles(instruction: Instruction) -> int:
    """The cycles in which COMPUTE issues an instruction's micro-ops."""
    if instruction.name not in ("GEMM", "ALU"):
        return 0
    inner = instruction["n2"] + (instruction["warm"] if instruction.name == "GEMM" else 0)
    each = 2 if instruction.name == "ALU" and not instruction["use_imm"] else 1
    return instruction["count"] * instruction["n0"] * instruction["n1"] * inner * each


def _vectors(instruction: Instruction) -> int:
    """The vectors that a STORE drains."""
    return instruction["x"] * instruction["y"] * instruction["z"] if instruction.name == "STORE" else 0


class _Ends:
    """Which events wait, and which others therefore push: a token is popped only when a later end has to be known."""

    def __init__(self, events: Iterable[_Load | _Run | _Drain]) -> None:
        self.loads_wait: set[int] = set()
        self.loads: set[int] = set()
        self.steps_wait_load: set[int] = set()
        self.steps_wait_store: set[int] = set()
        self.steps: set[int] = set()
        self.steps_drained: set[int] = set()
        self.stores: set[int] = set()
        self.drains: set[int] = set()
        known_step = known_load = known_store = -1
        load, last_run = 0, -1
        for event in events:
            if isinstance(event, _Load):
                if event.after > known_step:
                    known_step = event.after
                    self.steps.add(event.after)
                    self.loads_wait.add(load)
                load += 1
            elif isinstance(event, _Run):
                if event.load > known_load:
                    known_load = event.load
                    self.loads.add(event.load)
                    self.steps_wait_load.add(event.number)
                if event.store > known_store:
                    known_store = event.store
                    self.stores.add(event.store)
                    self.steps_wait_store.add(event.number)
                last_run = event.number
            elif event.instructions[0].name != "SYNC":
                self.steps_drained.add(last_run)
                self.drains.add(event.number)


class _Slots:
    """Places the chunks of a layer in one memory, in slots of one size; what is read latest makes room first."""

    def __init__(self, memory: _Memory, steps: Sequence[Step], name: str) -> None:
        self.memory = memory
        self.uses: dict[Hashable, list[int]] = {}
        size = 1
        for index, step in enumerate(steps):
            for chunk in step.reads:
                if chunk.memory == name:
                    size = max(size, chunk.size)
                    self.uses.setdefault(chunk.key, []).append(index)
        if size > memory.depth:
            raise BackendError(f"vta: a step reads {size} elements of {name} at once, there are {memory.depth}")
        # Each piece in `inp` and in `wgt` may have a token on its way, to be filled and when it is free again.
        self.starts = [i * size for i in range(min(memory.depth // size, IN_FLIGHT // 2))]
        self.held: dict[int, tuple[Hashable, int]] = {}  # start -> key, number of the last step that read it
        self.where: dict[Hashable, int] = {}
        self.regions: dict[int, _Region] = {}  # an earlier layer may have left the same chunk elsewhere

    def place(self, chunk: Chunk, index: int, base: int) -> tuple[int, _Load | None]:
        """The address of a chunk for a step, and its load unless it is there already."""
        uses = self.uses[chunk.key]
        while uses and uses[0] <= index:
            uses.pop(0)
        start = self.where.get(chunk.key)
        load = None
        if start is None:
            start = min(self.starts, key=lambda s: self._cost(s, base + index))
            if start in self.held and self.held[start][1] == base + index:
                raise BackendError(f"vta: a step reads more than the {len(self.starts)} pieces that fit {chunk.memory}")
            if start in self.held:
                del self.where[self.held[start][0]]
            end = start + chunk.size
            after = self.memory.users(start, end)
            self.regions[start] = self.memory.claim(start, chunk.size, chunk.key)
            self.where[chunk.key] = start
            load = _Load(chunk, start, after)
        self.held[start] = (chunk.key, base + index)
        self.regions[start].user = base + index
        return start, load

    def _cost(self, start: int, step: int) -> tuple[int, int, int]:
        """How bad it is to make room here: lost data that is soon read again, then a long wait."""
        if start not in self.held:
            return (0, self.memory.users(start, start + 1), start)
        key, read = self.held[start]
        if read == step:
            return (NEVER, NEVER, start)
        again = self.uses[key][0] if self.uses[key] else NEVER
        return (NEVER - again, read, start)


def _early(loads: Sequence[tuple[int, _Load]], base: int, config: Config) -> tuple[list[_Load], dict[int, list[_Load]]]:
    """The loads that go ahead of the layer's others, and the others by step.

    Ahead goes what no layer writes and no step of this layer has to make room for, up to `EARLY_BEATS`; of each
    memory the first ones, so that the loads of one memory stay in order.
    """
    early: list[_Load] = []
    rest: dict[int, list[_Load]] = {}
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


def _with_tokens(
    instructions: Sequence[Instruction], pops: Mapping[str, bool], pushes: Mapping[str, bool]
) -> list[Instruction]:
    """The instructions with pops on the first and pushes on the last that can carry tokens."""
    carriers = [i for i, instruction in enumerate(instructions) if instruction.name in CARRIERS]
    result = list(instructions)
    for index, bits in ((carriers[0], pops), (carriers[-1], pushes)):
        added = {name: 1 for name, wanted in bits.items() if wanted}
        if added:
            result[index] = Instruction(result[index].name, {**result[index].values, **added})
    return result
