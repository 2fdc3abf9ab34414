"""Events to instructions: tokens exactly where another unit waits, and registers set only when they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from heddle.backends.vta.steps import Event, Load, Run
from heddle.hw.vta.isa import Instruction, make, opcodes

CARRIERS = frozenset(name for name, kind in opcodes().items() if kind.tokens)


def ordered(events: Sequence[Event], owners_of: Sequence[int]) -> tuple[list[Instruction], list[int]]:
    """The whole program, FINISH last, and the owner of each instruction; `owners_of` are those of the events."""
    ends = _Ends(events)
    program: list[Instruction] = []
    owners: list[int] = []
    registers: dict[tuple[str, int], Mapping[str, int]] = {}
    load = 0
    for event, owner in zip(events, owners_of, strict=True):
        if isinstance(event, Load):
            instructions = event.chunk.load(event.address)
            pops, pushes = {"pop_next": load in ends.loads_wait}, {"push_next": load in ends.loads}
            load += 1
        elif isinstance(event, Run):
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


class _Ends:
    """Which events wait, and which others therefore push: a token is popped only when a later end has to be known."""

    def __init__(self, events: Iterable[Event]) -> None:
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
            if isinstance(event, Load):
                if event.after > known_step:
                    known_step = event.after
                    self.steps.add(event.after)
                    self.loads_wait.add(load)
                load += 1
            elif isinstance(event, Run):
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
