"""The accelerator's RTL as a machine that runs programs: built by Verilator, started and read through its registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from heddle.core.errors import DeviceError
from heddle.hw.vta.assembly import print_instruction
from heddle.hw.vta.config import Config
from heddle.hw.vta.description import INSTRUCTION_BITS, description
from heddle.hw.vta.generate import system_verilog, version_word
from heddle.hw.vta.isa import Instruction, counter_names, encode
from heddle.hw.vta.sources import PACKAGE, rtl_sources
from heddle.simulators.verilator import Axi4, AxiLite, Dram, Model, RtlHangError, RtlSpec, Simulation, build
from heddle.simulators.verilator.cache import digest_of, obtain
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.stream import check_bases
from numpy.typing import NDArray

REGISTERS: Mapping[str, int] = {entry["name"]: entry["address"] for entry in description()["register"]}
ERRORS: Mapping[int, str] = {entry["bit"]: entry["name"].lower() for entry in description()["error"]}
MOST_CYCLES = 1 << 40


@dataclass(frozen=True)
class Memory:
    """The timing of the memory behind the accelerator; the fields are those of the Verilator wrapper's Dram."""

    latency: int = 100
    outstanding: int = 64
    jitter_seed: int | None = None
    backpressure: float = 0.0
    jitter: int | None = None


@dataclass(frozen=True)
class Waves:
    """A file for waveforms (.fst or .vcd), and the cycles that it shall show, from the start; None for all."""

    file: Path
    cycles: tuple[int, int] | None = None


def rtl_spec(config: Config, sources: Sequence[Path] | None = None) -> RtlSpec:
    """What the Verilator wrapper needs to build the accelerator; `sources` replaces the modules (for mutants)."""
    text = system_verilog(config)

    def make(folder: Path) -> None:
        (folder / PACKAGE).write_text(text)

    package = obtain("vta", digest_of(text), make) / PACKAGE
    return RtlSpec("vta", [package, *(sources or rtl_sources())], clock="clk", reset="rst")


def build_rtl(config: Config, profile: Literal["fast", "trace", "cover"] = "fast") -> Model:
    """The accelerator's model for a configuration, from the cache if it was built before."""
    return build(rtl_spec(config), profile)


class Rtl:
    """One accelerator at RTL beside a byte memory; `run` may be called again and again.

    `origin` is the address of the memory's first byte, which is added to all addresses that are given.
    """

    def __init__(
        self, config: Config, model: Model, memory: NDArray[np.uint8], timing: Memory, origin: int = 0
    ) -> None:
        self.config, self._origin = config, origin
        dram = Dram(
            len(memory),
            latency=timing.latency,
            outstanding=timing.outstanding,
            jitter_seed=timing.jitter_seed,
            backpressure=timing.backpressure,
            jitter=timing.jitter,
            contents=memory,
            base=origin,
        )
        self._memory = memory
        self.simulation: Simulation = model.open(dram, {"m_axi": Axi4(errors="respond"), "s_axil": AxiLite()})
        self._registers = self.simulation.buses["s_axil"]
        found = self._registers.read(REGISTERS["VERSION"])
        if found != version_word(config):
            raise DeviceError(f"accelerator: version register {found:#010x}, expected {version_word(config):#010x}")

    def run(
        self,
        program: Sequence[Instruction],
        code: int,
        bases: Sequence[int],
        watchdog: int = 100_000,
        most: int = MOST_CYCLES,
        waves: Waves | None = None,
    ) -> Mapping[str, int]:
        """Run a program that is first written to memory at byte `code`; the counters by name.

        FaultError for what the hardware reports, when nothing moves for `watchdog` cycles, and after `most` cycles.
        """
        self.prepare(program, code, bases)
        try:
            if waves is not None:
                most -= self._shown(waves, watchdog)
            self.simulation.run(max_cycles=most, until="irq", watchdog=watchdog, progress=["heartbeat"])
        except RtlHangError as hang:
            raise self._hung(program, str(hang)) from hang
        if errors := self._registers.read(REGISTERS["STATUS"]) >> 8 & 0xFF:
            index = self._registers.read(REGISTERS["ERROR_INDEX"])
            kind = ERRORS[(errors & -errors).bit_length() - 1]
            raise FaultError(kind, index, f"{_named(program, index)}: the hardware reports {kind}")
        return self._counters()

    def _shown(self, waves: Waves, watchdog: int) -> int:
        """Run to the end of what waveforms are wanted of; the cycles that were run."""

        def on(cycles: int, until: str | None = None) -> int:
            simulation = self.simulation
            return simulation.run(max_cycles=cycles, until=until, watchdog=watchdog, progress=["heartbeat"]).cycles

        if waves.cycles is None:
            with self.simulation.trace(waves.file):
                return on(MOST_CYCLES, "irq")
        first, end = waves.cycles
        ran = on(first) if first else 0
        with self.simulation.trace(waves.file):
            return ran + on(end - first)

    def prepare(self, program: Sequence[Instruction], code: int, bases: Sequence[int]) -> None:
        """Write a program to memory and start it, without waiting for its end; its bases must be whole beats."""
        check_bases(self.config, program, bases)
        words = b"".join(encode(self.config, i).to_bytes(INSTRUCTION_BITS // 8, "little") for i in program)
        self._memory[code : code + len(words)] = np.frombuffer(words, np.uint8)
        write = self._registers.write
        write(REGISTERS["CODE"], code + self._origin)
        write(REGISTERS["COUNT"], len(program))
        for number, base in enumerate(bases):
            write(REGISTERS["BASE0"] + 4 * number, base + self._origin)
        write(REGISTERS["CONTROL"], 1)

    def _counters(self) -> Mapping[str, int]:
        at = REGISTERS["COUNTER0"]
        words = [self._registers.read(at + 4 * i) for i in range(2 * len(counter_names()))]
        return {name: words[2 * i] | words[2 * i + 1] << 32 for i, name in enumerate(counter_names())}

    def _hung(self, program: Sequence[Instruction], fact: str) -> FaultError:
        """The report of a run in which nothing moves: tokens and the heads of the queues."""
        counts = self._registers.read(REGISTERS["TOKENS"]).to_bytes(4, "little")
        tokens = ", ".join(f"{name} {n}" for name, n in zip(description()["tokens"], counts, strict=True))
        heads = {unit: self._registers.read(REGISTERS[f"HEAD_{unit.upper()}"]) for unit in ("load", "compute", "store")}
        waiting = {unit: head & 0xFFFFFF for unit, head in heads.items() if head >> 31}
        first = min(waiting.values(), default=-1)
        fault = FaultError("deadlock", first, f"deadlock: {fact} (tokens: {tokens})")
        for unit in heads:
            text = f"instruction {waiting[unit]}: {_named(program, waiting[unit])}" if unit in waiting else "empty"
            fault.add_note(f"{unit} queue: {text}")
        for line in self.simulation.describe().splitlines():
            fault.add_note(line)
        return fault

    def close(self) -> None:
        self.simulation.close()


def _named(program: Sequence[Instruction], index: int) -> str:
    return print_instruction(program[index]) if 0 <= index < len(program) else "beyond the program"
