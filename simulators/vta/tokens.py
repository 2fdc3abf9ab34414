"""The order that tokens give: runs three queues step by step, knows what is ordered after what, reports deadlocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from heddle.hw.vta.assembly import print_instruction
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.stream import REGISTERS, UNITS, Step, Stream

LIMIT = 255
CHANNELS = {
    ("load", "next"): ("load_to_compute", "compute_to_load"),
    ("compute", "prev"): ("compute_to_load", "load_to_compute"),
    ("compute", "next"): ("compute_to_store", "store_to_compute"),
    ("store", "prev"): ("store_to_compute", "compute_to_store"),
}
"""The channels that a unit pushes to and pops from, by neighbour."""


@dataclass(frozen=True)
class Clock:
    """How far each unit is known to have come: the numbers of its latest step that is ordered before this one.

    `written` counts STOREs whose writes memory has acknowledged.
    """

    load: int = -1
    compute: int = -1
    store: int = -1
    written: int = -1

    def join(self, other: Clock) -> Clock:
        return Clock(
            max(self.load, other.load),
            max(self.compute, other.compute),
            max(self.store, other.store),
            max(self.written, other.written),
        )


@dataclass
class Order:
    """The queues, token counters and clocks while a program runs.

    Instructions arrive in program order, and a full queue holds up those behind: `room` instructions per unit.
    """

    stream: Stream
    room: int
    arrived: int = 0
    at: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    waiting: dict[str, deque[int]] = field(default_factory=lambda: {unit: deque() for unit in UNITS})
    clocks: dict[str, Clock] = field(default_factory=lambda: dict.fromkeys(UNITS, Clock()))
    channels: dict[str, deque[Clock]] = field(default_factory=lambda: {push: deque() for push, _ in CHANNELS.values()})

    def arrive(self) -> None:
        """Let instructions into the queues as far as there is room."""
        units = self.stream.units
        while self.arrived < len(units) and len(self.waiting[units[self.arrived]]) < self.room:
            self.waiting[units[self.arrived]].append(self.arrived)
            self.arrived += 1
            self._settle(units[self.arrived - 1])

    def _settle(self, unit: str) -> None:
        """Register instructions at the front of a queue take effect at once."""
        waiting = self.waiting[unit]
        while waiting and self.stream.program[waiting[0]].name in REGISTERS:
            waiting.popleft()

    def left(self, unit: str) -> Step | None:
        """The first step of a unit that has not run, arrived or not."""
        at, steps = self.at[unit], self.stream.steps[unit]
        return steps[at] if at < len(steps) else None

    def head(self, unit: str) -> Step | None:
        step = self.left(unit)
        return step if step and step.index < self.arrived else None

    def tokens(self) -> dict[str, int]:
        return {name: len(waiting) for name, waiting in self.channels.items()}

    def wanted(self, step: Step) -> list[str]:
        """The channels that a step pops."""
        sides = [side for side in ("prev", "next") if step[f"pop_{side}"]]
        return [CHANNELS[step.unit, side][1] for side in sides]

    def start(self, step: Step) -> Clock:
        """Take the step's tokens; returns what is ordered before it."""
        clock = self.clocks[step.unit]
        for channel in self.wanted(step):
            clock = clock.join(self.channels[channel].popleft())
        return clock

    def complete(self, step: Step, clock: Clock) -> None:
        """Push the step's tokens and advance its unit; FaultError when a counter would overflow."""
        own = {step.unit: step.index}
        if step.unit == "store" and step.name == "SYNC":
            own["written"] = step.index
        clock = clock.join(Clock(**own))
        self.clocks[step.unit] = clock
        for side in ("prev", "next"):
            if step[f"push_{side}"]:
                channel = CHANNELS[step.unit, side][0]
                self.channels[channel].append(clock)
                if len(self.channels[channel]) > LIMIT:
                    raise FaultError("token", step.index, f"{step.name}: more than {LIMIT} tokens {channel}")
        self.at[step.unit] += 1
        self.waiting[step.unit].popleft()
        self._settle(step.unit)
        self.arrive()


def run(stream: Stream, room: int, execute: Callable[[Step, Clock], None]) -> None:
    """Execute all steps in an order that the tokens allow; a deadlock is a FaultError."""
    order = Order(stream, room)
    order.arrive()
    while any(order.left(unit) for unit in UNITS):
        for unit in UNITS:
            moved = False
            while (step := order.head(unit)) and all(order.channels[channel] for channel in order.wanted(step)):
                clock = order.start(step)
                execute(step, clock)
                order.complete(step, clock)
                moved = True
            if moved:
                break
        else:
            raise deadlock(order)


def deadlock(order: Order) -> FaultError:
    """The report of a program in which every unit waits."""
    counts = ", ".join(f"{name} {count}" for name, count in order.tokens().items())
    first = min(step.index for unit in UNITS if (step := order.left(unit)))
    fault = FaultError("deadlock", first, f"deadlock: every unit waits for a token (tokens: {counts})")
    for unit in UNITS:
        step = order.head(unit)
        text = f"instruction {step.index}: {print_instruction(order.stream.program[step.index])}" if step else "empty"
        fault.add_note(f"{unit} queue: {text}")
    if order.arrived < len(order.stream.units):
        fault.add_note(
            f"fetch: instruction {order.arrived} waits for room in the {order.stream.units[order.arrived]} queue"
        )
    return fault
