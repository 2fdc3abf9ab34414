"""Simulation: one running design, driven in batches by C++ or cycle by cycle from Python."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from heddle.core.errors import DeviceError
from heddle.simulators.verilator import library as c
from heddle.simulators.verilator.agents import Agent, Axi4, Dram, SimpleMemory, Stream, agent_seed, probability
from heddle.simulators.verilator.bundles import Bus
from heddle.simulators.verilator.elaborate import Port
from heddle.simulators.verilator.errors import RtlHangError, RtlProtocolError, RtlRangeError, RtlStoppedError
from heddle.simulators.verilator.harness import data_port
from heddle.simulators.verilator.library import load_library
from heddle.simulators.verilator.signals import Signal, Signals
from heddle.simulators.verilator.spec import RtlSpec
from heddle.simulators.verilator.transactors import DEFAULT_TIMEOUT, RegisterBus, StreamEnd
from numpy.typing import ArrayLike, NDArray

_SLICE = 1 << 21
"""Cycles after which a batch comes back to Python, so that Ctrl-C works."""

_COUNTERS = {
    "axi4": ("read_bursts", "read_beats", "read_waits", "write_bursts", "write_beats", "write_waits"),
    "stream": ("transfers", "waits"),
    "memory": ("reads", "writes"),
    "follower": ("accesses",),
}


@dataclass(frozen=True)
class Transfers:
    """A condition for `run`: `count` items went through the stream `name` since the simulation was opened."""

    name: str
    count: int


@dataclass(frozen=True)
class Equals:
    """A condition for `run`: the port or internal signal `name` has this value."""

    name: str
    value: int


Condition = str | Transfers | Equals | Callable[["Simulation"], bool]


@dataclass(frozen=True)
class RunResult:
    """What a run did: why it ended (`until`, `cycles`, `finish`), its cycles, its wall time, and what each bus did."""

    reason: str
    cycles: int
    seconds: float
    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """The state of a simulation at a moment, with the contents of its memories."""

    model: bytes
    memories: tuple[NDArray[np.uint8], ...]


class ClockHandle:
    """One clock of a simulation."""

    def __init__(self, simulation: Simulation, index: int, name: str) -> None:
        self._simulation, self._index, self.name = simulation, index, name
        self._tick = functools.partial(simulation._library.hd_tick, simulation._handle, index)

    def tick(self, count: int = 1) -> None:
        """Run `count` cycles of this clock; agents that are bound take part."""
        self._simulation._dirty = False
        outcome = self._tick(count)
        if outcome:
            self._simulation._raise(outcome)

    @property
    def cycles(self) -> int:
        """Cycles of this clock since the simulation was opened, those of the reset included."""
        return int(self._simulation._library.hd_cycles(self._simulation._handle, self._index))


class Simulation:
    """A running design. `Model.open` makes it; it is used by one thread at a time.

    `io` holds the ports, `internals` what the spec made public, `clock` and `clocks` the clocks, `streams` and `buses`
    Python's end of the bound agents, and `memory` the bytes of the memory that was given to `open`.
    """

    def __init__(
        self,
        spec: RtlSpec,
        ports: Sequence[Port],
        buses: Sequence[Bus],
        library: Path,
        memory: Dram | None,
        bound: Mapping[str, Agent],
    ) -> None:
        self._library = load_library(library)
        self._handle = self._library.hd_new()
        if not self._handle:
            raise DeviceError(f"{spec.top}: the model could not be constructed")
        self.spec = spec
        self._dirty = False
        self._memories: list[tuple[Dram, NDArray[np.uint8]]] = []
        self._bound = {bus.name: index for index, bus in enumerate(buses) if bus.name in bound}
        self._kinds = {bus.name: bus.kind if bus.leads or bus.kind == "stream" else "follower" for bus in buses}
        self.streams: dict[str, StreamEnd] = {}
        self.buses: dict[str, RegisterBus] = {}
        self.clocks = {clock.port: ClockHandle(self, index, clock.port) for index, clock in enumerate(spec.clocks)}
        self.clock = next(iter(self.clocks.values()))
        self.memory = self._map(memory)[1] if memory is not None else np.empty(0, np.uint8)
        signals = {port.name: self._port_signal(index, port) for index, port in enumerate(ports)}
        self.io = Signals(signals, self._settle, self._touch)
        self.internals = Signals(dict(self._internal_signals()), self._settle, self._touch)
        for index, bus in enumerate(buses):
            if bus.name in bound:
                self._bind(index, bus, bound[bus.name], memory)
        self.reset()

    def reset(self) -> None:
        """Hold the resets of the design active, and forget what was in flight on its buses."""
        self._check(self._library.hd_reset(self._handle))

    def eval(self) -> None:
        """Let changes of inputs take effect on combinational logic, without a clock edge."""
        self._dirty = False
        self._check(self._library.hd_eval(self._handle))

    def run(
        self,
        program: ArrayLike | Mapping[str, ArrayLike] | None = None,
        max_cycles: int = 1_000_000,
        until: Condition | None = None,
        watchdog: int | None = None,
        progress: Sequence[str] = (),
        interrupts: Mapping[str, Callable[[Simulation], None]] | None = None,
        clock: str | None = None,
    ) -> RunResult:
        """Run up to `max_cycles` cycles of `clock` (default: the first), or until a condition holds.

        `program` is what to send first: an array for the only stream that the design takes, or arrays by stream.
        `until` is a 1-bit port to wait for, a condition, or a function of the simulation, asked after each cycle; when
        it does not come true in time, RtlHangError says what every bus waits for.
        `watchdog` is the number of cycles in which at least one handshake must happen on a bound bus, or one of the
        ports or internals in `progress` must change. `interrupts` maps 1-bit outputs to functions that are called when
        they rise. Any error leaves the simulation open for inspection.
        """
        self._send(program)
        handle = self.clocks[clock] if clock else self.clock
        names = list(interrupts or {})
        request = c.Request(watchdog=watchdog or 0, clock=handle._index)
        condition = self._condition(until)
        if condition is not None:
            request.until = ctypes.pointer(condition)
        watched = (c.Condition * len(names))(*(self._watch(name) for name in names))
        moving = (c.Condition * len(progress))(*(self._watch(name) for name in progress))
        request.interrupts, request.interrupt_count = watched, len(names)
        request.progress, request.progress_count = moving, len(progress)
        slice_ = 1 if callable(until) else _SLICE
        began, start = time.perf_counter(), handle.cycles
        self._library.hd_forgive(self._handle)
        self._library.hd_awake(self._handle, handle._index)
        self._dirty = False
        reason = ""
        if condition is not None and _holds(condition):
            reason = "until"
        while not reason:
            left = max_cycles - (handle.cycles - start)
            if left <= 0:
                if until is not None:
                    raise self._hang(f"{_named(until)} did not come true within {max_cycles} cycles")
                reason = "cycles"
                break
            request.cycles = min(left, slice_)
            outcome = self._library.hd_run(self._handle, request)
            if outcome == c.INTERRUPT:
                (interrupts or {})[names[request.interrupted]](self)
            elif outcome == c.REACHED or (callable(until) and outcome == c.CYCLES and until(self)):
                reason = "until"
            elif outcome == c.FINISHED:
                reason = "finish"
            elif outcome == c.HUNG:
                raise self._hang(f"nothing moved for {watchdog} cycles")
            elif outcome != c.CYCLES:
                self._raise(outcome)
        return RunResult(reason, handle.cycles - start, time.perf_counter() - began, self.counters())

    def run_bare(self, until: str) -> int:
        """Run the plainest loop until a 1-bit output is high; the cycles. For benchmarks: it has no watchdog."""
        if len(self.clocks) > 1:
            raise DeviceError(
                f"{self.spec.top}: {len(self.clocks)} clocks, expected a design of one for the plainest loop"
            )
        return int(self._library.hd_bare(self._handle, self._watch(until).address))

    def contents(self, memory: Dram) -> NDArray[np.uint8]:
        """The bytes of a memory that was given to `open` or to an agent, to read and write in place."""
        for known, array in self._memories:
            if known is memory:
                return array
        raise DeviceError(f"{self.spec.top}: this memory is not bound here; give it to open() or to an agent")

    def counters(self) -> dict[str, dict[str, int]]:
        """What each bound bus carried since the simulation was opened, and the cycles for which one side waited."""
        found = {}
        values = (ctypes.c_uint64 * 8)()
        for name, index in self._bound.items():
            count = self._library.hd_counters(self._handle, index, values)
            kind = self._kinds[name]
            found[name] = dict(zip(_COUNTERS["axi4" if kind == "axi_lite" else kind], values[:count], strict=True))
        return found

    def describe(self) -> str:
        """The state of each bound bus, one line each."""
        text = ctypes.create_string_buffer(512)
        lines = []
        for index in self._bound.values():
            self._library.hd_describe(self._handle, index, text, len(text))
            lines.append(text.value.decode(errors="replace"))
        return "\n".join(lines)

    def save(self) -> Snapshot:
        """The whole state: registers, agents, memories. Models of profile `cover` cannot be saved."""
        size = ctypes.c_size_t()
        data = self._library.hd_save(self._handle, size)
        if not data:
            raise DeviceError(f"{self.spec.top}: cannot be saved; expected a model of profile 'fast' or 'trace'")
        try:
            return Snapshot(ctypes.string_at(data, size.value), tuple(array.copy() for _, array in self._memories))
        finally:
            self._library.hd_release(data)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a state that `save` gave, of this simulation or one opened in the same way."""
        if [array.size for array in snapshot.memories] != [array.size for _, array in self._memories]:
            raise DeviceError(f"{self.spec.top}: the snapshot has other memories than this simulation")
        if not self._library.hd_load(self._handle, snapshot.model, len(snapshot.model)):
            raise DeviceError(
                f"{self.spec.top}: the snapshot does not fit this simulation, expected one opened in the same way"
            )
        for (_, array), saved in zip(self._memories, snapshot.memories, strict=True):
            array[...] = saved

    @contextmanager
    def trace(self, path: str | Path) -> Iterator[None]:
        """Write the waveforms of what runs inside the `with` block; needs a model of profile `trace`."""
        try:
            Path(path).write_bytes(b"")
        except OSError as problem:
            raise DeviceError(f"{self.spec.top}: no waveforms in {path}: {problem.strerror}") from problem
        if not self._library.hd_trace(self._handle, str(path).encode()):
            raise DeviceError(f"{self.spec.top}: no waveforms, expected a model built with profile='trace'")
        try:
            yield
        finally:
            self._library.hd_trace(self._handle, b"")

    def coverage(self, path: str | Path) -> None:
        """Write the coverage counts so far as a file of Verilator's; needs a model of profile `cover`."""
        if not self._library.hd_coverage(self._handle, str(path).encode()):
            raise DeviceError(f"{self.spec.top}: no coverage counted, expected a model built with profile='cover'")

    @property
    def time(self) -> int:
        """The time in the units of the clocks' periods."""
        return int(self._library.hd_time(self._handle))

    def close(self) -> None:
        """Give the model back; its signals are not used afterwards."""
        if self._handle:
            handle, self._handle = self._handle, None
            for signals in (self.io, self.internals):
                signals._signals.clear()
            self.streams.clear()
            self.buses.clear()
            self._library.hd_free(handle)

    def __getitem__(self, name: str) -> Any:
        return self.io[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.io[name] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) and hasattr(self, "internals"):
            self.close()

    def _map(self, memory: Dram) -> tuple[int, NDArray[np.uint8]]:
        """The index and the bytes of a memory; the same Dram given twice is one memory."""
        for index, (known, array) in enumerate(self._memories):
            if known is memory:
                return index, array
        array = memory.contents if memory.contents is not None else np.zeros(memory.size, np.uint8)
        rate = 0 if memory.bytes_per_cycle is None else max(1, round(memory.bytes_per_cycle * 65536))
        index = self._library.hd_memory(
            self._handle, array.ctypes.data, memory.base, memory.size, memory.latency, memory.outstanding,
            memory.most_jitter, probability(memory.backpressure), rate, memory.jitter_seed or 0,
        )  # fmt: skip
        for low, high in memory.faults:
            self._library.hd_fault(self._handle, index, low, high)
        self._memories.append((memory, array))
        return index, array

    def _bind(self, index: int, bus: Bus, agent: Agent, default: Dram | None) -> None:
        chosen = (agent.memory or default) if isinstance(agent, Axi4 | SimpleMemory) else None
        memory = self._map(chosen)[0] if chosen is not None else -1
        if agent.clock is not None and agent.clock not in self.clocks:
            raise DeviceError(
                f"{self.spec.top}: {bus.name} names the clock {agent.clock}; there are: {', '.join(self.clocks)}"
            )
        unit = 1
        if isinstance(agent, SimpleMemory) and agent.unit == "word":
            unit = -(-data_port(bus).width // 8)
        self._library.hd_bind(
            self._handle, index, memory, self.clocks[agent.clock or self.clock.name]._index,
            agent.latency if isinstance(agent, SimpleMemory) else 1,
            probability(agent.stall) if isinstance(agent, Stream) else 0, agent_seed(agent, chosen),
            int(isinstance(agent, Axi4) and agent.errors == "respond"), int(getattr(agent, "check", True)), unit,
        )  # fmt: skip
        if bus.kind == "stream":
            self.streams[bus.name] = StreamEnd(self._library, self._handle, index, bus)
        elif bus.kind != "memory" and not bus.leads:
            self.buses[bus.name] = RegisterBus(self._library, self._handle, index, bus, self._wait)

    def _port_signal(self, index: int, port: Port) -> Signal:
        address = self._library.hd_port(self._handle, index)
        return Signal(port.name, address, port.width, port.shape, port.direction != "output")

    def _internal_signals(self) -> Iterator[tuple[str, Signal]]:
        entry = c.Internal()
        index = 0
        while self._library.hd_internal(self._handle, index, entry):
            scope, name = entry.scope.decode(), entry.name.decode()
            path = f"{scope}.{name}".removeprefix("TOP.").removeprefix(f"{self.spec.top}.")
            yield path, Signal(path, entry.address, entry.width, tuple(entry.shape[: min(entry.dimensions, 4)]), True)
            index += 1

    def _send(self, program: ArrayLike | Mapping[str, ArrayLike] | None) -> None:
        if program is None:
            return
        if isinstance(program, Mapping):
            for name, items in program.items():
                if name not in self.streams:
                    raise DeviceError(
                        f"{self.spec.top}: no bound stream {name}; there are: {', '.join(self.streams) or 'none'}"
                    )
                self.streams[name].send(items)
            return
        inputs = [end for end in self.streams.values() if not end.bus.leads]
        if len(inputs) != 1:
            raise DeviceError(
                f"{self.spec.top}: {len(inputs)} bound streams take data, expected 1, or the program by stream name"
            )
        inputs[0].send(program)

    def _condition(self, until: Condition | None) -> c.Condition | None:
        match until:
            case Transfers(name, count):
                if name not in self.streams:
                    raise DeviceError(
                        f"{self.spec.top}: no bound stream {name}; there are: {', '.join(self.streams) or 'none'}"
                    )
                return c.Condition(ctypes.addressof(self.streams[name].transfers_cell), count, 8, c.AT_LEAST)
            case Equals(name, value):
                return self._watch(name, value, c.EQUAL)
            case str():
                return self._watch(until)
            case _:
                return None

    def _watch(self, name: str, value: int = 0, test: int = c.DIFFERENT) -> c.Condition:
        signal = self.io.signal(name) if name in self.io else self.internals.signal(name)
        if signal.cell is None:
            raise DeviceError(
                f"{name}: {signal.width} bits wide or an array, expected a signal of up to 64 bits to watch"
            )
        return c.Condition(signal.address, value, signal.nbytes, test)

    def _wait(self, what: str, timeout: int, done: Callable[[], bool]) -> None:
        """Run the clock until `done`, for the register buses."""
        self._library.hd_forgive(self._handle)
        for _ in range(timeout):
            self.clock.tick()
            if done():
                return
        raise self._hang(f"{what} was not answered within {timeout} cycles")

    def _touch(self) -> None:
        self._dirty = True

    def _settle(self) -> None:
        if self._dirty:
            self.eval()

    def _check(self, outcome: int) -> None:
        if outcome:
            self._raise(outcome)

    def _hang(self, fact: str) -> RtlHangError:
        error = RtlHangError(f"{self.spec.top}: {fact}, at cycle {self.clock.cycles}")
        for line in self.describe().splitlines():
            error.add_note(line)
        return error

    def _raise(self, outcome: int) -> None:
        kinds = {c.PROTOCOL: RtlProtocolError, c.RANGE: RtlRangeError}
        report = self._library.hd_report(self._handle).decode(errors="replace")
        error = kinds.get(outcome, RtlStoppedError)(f"{self.spec.top}: {report}")
        for line in self.describe().splitlines():
            error.add_note(line)
        raise error


def _holds(condition: c.Condition) -> bool:
    kinds: dict[int, Any] = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}
    now = kinds[condition.bytes].from_address(condition.address).value
    if condition.test == c.EQUAL:
        return bool(now == condition.value)
    return bool(now != condition.value if condition.test == c.DIFFERENT else now >= condition.value)


def _named(until: Condition) -> str:
    return f"'{until}'" if isinstance(until, str) else str(until) if not callable(until) else "the condition"


__all__ = ["DEFAULT_TIMEOUT", "Equals", "RunResult", "Simulation", "Snapshot", "Transfers"]
