"""The cycle model: predicts how many cycles the RTL takes for a program, and what its units do with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config
from heddle.hw.vta.generate import OUT_DEPTH
from heddle.hw.vta.isa import Instruction, unit_of
from heddle.simulators.vta.events import state as e
from heddle.simulators.vta.events.simulate import FUNCTIONS, simulate
from heddle.simulators.vta.native import compile_functions
from heddle.simulators.vta.program import Program
from heddle.simulators.vta.rtl import Memory
from heddle.simulators.vta.stream import MEMORIES, check_bases
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
UNITS = {"load": e.LOAD, "compute": e.COMPUTE, "store": e.STORE}


@dataclass(frozen=True)
class CycleReport:
    """What a run is expected to take: `counters` has the names and the meaning of the hardware's counters.

    The counts of work (data, slots, vectors, beats, instructions) are exact; those of waiting are estimates. The
    counters of a unit sum to `cycles`.
    """

    cycles: int
    counters: Mapping[str, int]

    @property
    def gemm_share(self) -> float:
        """The part of all cycles in which the array was given work."""
        return self.counters["compute_gemm"] / self.cycles if self.cycles else 0.0


@dataclass(frozen=True, eq=False)
class Prepared:
    """A program in the form that the model runs, for those who ask about it again with other memories."""

    config: Config
    rows: Ints
    names: Sequence[str]


def cycles(
    program: Program | Sequence[Instruction],
    config: Config,
    memory: Memory | None = None,
    *,
    data: Bytes | None = None,
    bases: Sequence[int] = (),
) -> CycleReport:
    """Predict a program; of a Program with several sections the sum, each run from start to done.

    `data` and `bases` are the memory and the base registers, from which micro-ops are read; a Program brings its own in
    its image. Without micro-ops, every GEMM that accumulates is taken to read its accumulators at each step.
    DeviceError when the program would never end.
    """
    timing = memory or Memory()
    if not isinstance(program, Program):
        return run(prepare(program, config, data, bases), timing)
    image = np.frombuffer(program.image, np.uint8)
    offsets = [binding.offset if binding.kind == "image" else -1 for binding in program.bindings]
    reports = [run(prepare(section.instructions, config, image, offsets), timing) for section in program.sections]
    return total(reports)


def total(reports: Sequence[CycleReport]) -> CycleReport:
    """The sum of runs one after the other."""
    names = reports[0].counters if reports else {}
    counters = {name: sum(report.counters[name] for report in reports) for name in names}
    return CycleReport(sum(report.cycles for report in reports), counters)


def run(prepared: Prepared, memory: Memory) -> CycleReport:
    """Predict a prepared program."""
    taken, state = _simulate(prepared, memory)
    return CycleReport(taken, _counters(prepared, state, taken))


@dataclass(frozen=True, eq=False)
class Moments:
    """For each instruction of a program, the cycle in which it started; what COMPUTE waited for before it did so."""

    starts: Ints
    wait_load: Ints
    wait_store: Ints


def moments(prepared: Prepared, memory: Memory) -> Moments:
    """When the instructions of a prepared program start; of FINISH, that the program is done."""
    taken, state = _simulate(prepared, memory)
    count = len(prepared.rows)
    found = Moments(np.full(count, taken, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64))
    for unit in UNITS.values():
        numbers = _list(state, count, 1 + unit, int(state[e.PUSHED + unit]))
        found.starts[numbers] = _list(state, count, 7 + unit, len(numbers))
        if unit == e.COMPUTE:
            found.wait_load[numbers] = _list(state, count, 11, len(numbers))
            found.wait_store[numbers] = _list(state, count, 12, len(numbers))
    return found


def _list(state: Ints, count: int, number: int, length: int) -> Ints:
    start = e.list_at(count, number)
    return state[start : start + length]


def _simulate(prepared: Prepared, memory: Memory) -> tuple[int, Ints]:
    """The cycles that a prepared program takes, and the state at its end."""
    config, count = prepared.config, len(prepared.rows)
    settings = np.zeros(e.SETTINGS, np.int64)
    settings[:] = (
        count, config.queue_depth, config.read_window, config.residual_depth, OUT_DEPTH, 128 // config.bus_bits,
        4096 // config.beat_bytes, config.out_bytes // config.beat_bytes, memory.latency, memory.outstanding,
        _jitter(memory), round(memory.backpressure * 1024), (memory.jitter_seed or 0) % (1 << 31),
    )  # fmt: skip
    state = np.zeros(e.state_size(count), np.int64)
    taken = _native()(prepared.rows.reshape(-1), settings, state)
    if taken < 0:
        raise _stuck(prepared, state)
    return taken, state


def _jitter(memory: Memory) -> int:
    if memory.jitter_seed is None:
        return 0
    return memory.latency if memory.jitter is None else memory.jitter


@cache
def _native() -> Callable[..., int]:
    return compile_functions(FUNCTIONS, simulate)


def _stuck(prepared: Prepared, state: Ints) -> DeviceError:
    error = DeviceError("cycle model: the program never ends, each unit waits for another or FINISH is missing")
    for unit, number in UNITS.items():
        head, pushed = state[e.HEAD + number], state[e.PUSHED + number]
        if head < pushed:
            index = int(state[e.list_at(len(prepared.rows), 1 + number) + head])
            error.add_note(f"{unit} queue: instruction {index}: {prepared.names[index]}")
        else:
            error.add_note(f"{unit} queue: empty")
    return error


def _counters(prepared: Prepared, state: Ints, cycles: int) -> Mapping[str, int]:
    def value(at: int) -> int:
        return int(state[at])

    count = len(prepared.rows)
    data, active = value(e.LOAD_DATA), value(e.LOAD_ACTIVE)
    found = {
        "cycles": cycles,
        "fetch_dispatch": count,
        "fetch_full": value(e.FULL),
        "fetch_memory": value(e.FINISHED) - 1 - count - value(e.FULL),
        "fetch_done": cycles - value(e.FINISHED) + 1,
        "load_data": data,
        "load_memory": active - data,
        "load_wait_compute": value(e.LOAD_WAIT),
        "compute_gemm": value(e.GEMM_SLOTS),
        "compute_alu": value(e.ALU_SLOTS),
        "compute_wait_load": value(e.WAIT_LOAD),
        "compute_wait_store": value(e.WAIT_STORE),
        "store_drain": value(e.DRAINED),
        "store_wait_compute": value(e.WAIT_COMPUTE),
        "store_wait_port": value(e.WAIT_PORT),
        "store_wait_residual": value(e.WAIT_RESIDUAL),
        "store_back_pressure": value(e.PRESSURE),
        "store_wait_memory": value(e.WAIT_MEMORY),
        "read_beats": value(e.READ_BEATS),
        "write_beats": value(e.WRITE_BEATS),
        "instructions": count,
    }
    for unit in ("load", "compute", "store"):
        found[f"{unit}_idle"] = cycles - sum(n for name, n in found.items() if name.startswith(f"{unit}_"))
    return found


# ---------------------------------------------------------------- programs as rows


def prepare(
    program: Sequence[Instruction], config: Config, data: Bytes | None = None, bases: Sequence[int] = ()
) -> Prepared:
    """A program as the rows that the model runs; see `cycles` for `data` and `bases`."""
    check_bases(config, program, bases)
    maker = _Rows(config, data, bases)
    rows = [maker.row(instruction) for instruction in program]
    flat = np.array(rows, np.int64).reshape(len(rows), e.COLUMNS)
    return Prepared(config, flat, [instruction.name for instruction in program])


class _Rows:
    """Follows the registers and the micro-op memory through a program."""

    def __init__(self, config: Config, data: Bytes | None, bases: Sequence[int]) -> None:
        self.config, self.data, self.bases = config, data, bases
        beat = config.beat_bytes
        self.chunks = {code: config.element_bytes(name) // beat for code, name in enumerate(MEMORIES)}
        self.out_beats = config.out_bytes // beat
        self.strides: dict[int, tuple[int, int]] = {}
        self.registers: dict[str, Mapping[str, int]] = {
            name: {} for name in ("PAD", "WALK", "RESIDUAL", "LOOP", "QUANT")
        }
        self.targets: NDArray[np.int64] = np.full(config.uop_depth, -1)
        self.shares: dict[tuple[int, ...], int] = {}
        self.makers: Mapping[str, Callable[[Mapping[str, int]], list[int]]] = {
            "LOAD": self._load, "GEMM": self._gemm, "ALU": self._alu, "STORE": self._store,
        }  # fmt: skip

    def row(self, instruction: Instruction) -> list[int]:
        name, values = instruction.name, instruction.values
        get = values.get
        if name == "FINISH":
            return [e.FINISH] + [0] * (e.COLUMNS - 1)
        unit = UNITS[unit_of(instruction)]
        tokens = [get("pop_prev", 0), get("pop_next", 0), get("push_prev", 0), get("push_next", 0)]
        maker = self.makers.get(name)
        if maker is not None:
            return [unit, e.WORK, *tokens, *maker(values)]
        if name == "SYNC":
            return [unit, e.SYNC, *tokens] + [0] * (e.COLUMNS - 6)
        if name == "STRIDE":
            self.strides[get("mem", 0)] = (get("y", 0), get("z", 0))
        else:
            self.registers[name] = values
        return [unit, e.SETS] + [0] * (e.COLUMNS - 2)

    def _offset(self, values: Mapping[str, int]) -> int:
        """The beat address, which matters for the 4 KiB boundary; an unknown base is taken to lie on one."""
        number = values.get("base", 0)
        base = self.bases[number] if number < len(self.bases) else 0
        return int(values.get("offset", 0) + max(base, 0) // self.config.beat_bytes)

    def _load(self, values: Mapping[str, int]) -> list[int]:
        get = values.get
        memory, x, y, z = get("mem", 0), get("x", 1), get("y", 1), get("z", 1)
        stride_y, stride_z = self.strides.get(memory, (0, 0))
        if memory == MEMORIES.index("uop"):
            self._micro_ops(values)
        row = x * self.chunks[memory]
        pad = (self.registers["PAD"] if memory == 0 else {}).get
        xb, yb, zb = pad("x_before", 0), pad("y_before", 0), pad("z_before", 0)
        return [
            self._offset(values), row, y, z, stride_y, stride_z, xb, xb + x + pad("x_after", 0), yb,
            yb + y + pad("y_after", 0), zb, zb + z + pad("z_after", 0), x,
        ]  # fmt: skip

    def _micro_ops(self, values: Mapping[str, int]) -> None:
        """Remember the `dst` fields of micro-ops that are loaded, as far as they can be seen."""
        get, config, beat = values.get, self.config, self.config.beat_bytes
        x, y, z = get("x", 1), get("y", 1), get("z", 1)
        stride_y, stride_z = self.strides.get(get("mem", 0), (0, 0))
        number, size = get("base", 0), config.uops_per_beat
        at = get("sram", 0) * size
        known = self.data is not None and number < len(self.bases) and self.bases[number] >= 0
        for k in range(z):
            for j in range(y):
                begin = self._offset(values) + k * stride_z + j * stride_y
                part = self.data[begin * beat : (begin + x) * beat] if known and self.data is not None else None
                if part is not None and len(part) == x * beat and at + x * size <= config.uop_depth:
                    words = part.copy().view(np.uint32 if config.uop_bits == 32 else np.uint64).astype(np.int64)
                    self.targets[at : at + x * size] = words & (config.acc_depth - 1)
                else:
                    self.targets[at : at + x * size] = -1
                at += x * size
        self.shares.clear()

    def _gemm(self, values: Mapping[str, int]) -> list[int]:
        get = values.get
        count, outer = get("count", 1), get("n0", 1) * get("n1", 1)
        slots = count * outer * (get("n2", 1) + get("warm", 0))
        share = 0
        if not get("overwrite", 0):
            if get("depthwise", 0):
                share = 1024 * get("n2", 1) // (count * (get("n2", 1) + get("warm", 0)))
            else:
                share = self._share(get("begin", 0), count, get("n2", 1))
        return [slots, share] + [0] * 11

    def _share(self, begin: int, count: int, inner: int) -> int:
        """Of 1024 slots, those that read an accumulator which the slot before them did not just write."""
        step = self.registers["LOOP"].get("dst2", 0) if inner > 1 else -1
        key = (begin, count, step)
        if key not in self.shares:
            dst = self.targets[begin : begin + count]
            if len(dst) < count or (dst < 0).any():
                reads = count
            else:
                reads = int((np.diff(dst) != 0).sum()) + int(step < 0 or step + dst[0] != dst[-1])
            self.shares[key] = 1024 * reads // count
        return self.shares[key]

    def _alu(self, values: Mapping[str, int]) -> list[int]:
        get = values.get
        pairs = 1 if get("use_imm", 0) else 2
        slots = pairs * get("count", 1) * get("n0", 1) * get("n1", 1) * get("n2", 1)
        moves = get("op", 0) == 6
        share = (0 if moves else 1024) if pairs == 1 else (512 if moves else 1024)
        return [slots, share] + [0] * 10 + [1]

    def _store(self, values: Mapping[str, int]) -> list[int]:
        get, walk, source = values.get, self.registers["WALK"].get, self.registers["RESIDUAL"]
        x, beats = get("x", 1), self.out_beats * (4 if get("raw", 0) else 1)
        residual: list[Any] = [get("residual", 0), self._offset(source), source.get("y", 0), source.get("z", 0)]
        return [
            self._offset(values), x * beats, get("y", 1), get("z", 1), walk("y", 0), walk("z", 0), beats, *residual,
            0, x,
        ]  # fmt: skip
