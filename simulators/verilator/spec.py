"""RtlSpec: everything that says what a design is, before any tool has looked at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from heddle.simulators.verilator.errors import RtlBuildError

BundleKind = Literal["axi4", "axi_lite", "stream", "memory"]


@dataclass(frozen=True)
class Clock:
    """A clock input: it rises at `phase`, `phase + period`, ...; times are in the unit of the waveforms (1 ps)."""

    port: str
    period: int = 1000
    phase: int = 0

    def __post_init__(self) -> None:
        if self.period < 2 or not 0 <= self.phase < self.period:
            raise RtlBuildError(
                f"clock {self.port}: period {self.period} and phase {self.phase}, "
                "expected a period of 2 or more and a phase below it"
            )


@dataclass(frozen=True)
class Reset:
    """A reset input, the level that resets, and for how many cycles of the slowest clock it is held."""

    port: str
    active: Literal["high", "low"] = "high"
    cycles: int = 4


@dataclass(frozen=True)
class Bundle:
    """Ports that form one bus: `signals` maps the roles of the bus (`arvalid`, `valid`, `addr`, ...) to port names."""

    kind: BundleKind
    signals: Mapping[str, str]


@dataclass(frozen=True)
class RtlSpec:
    """A design: its top module, its files, its parameters, and which ports are clocks, resets and buses.

    `clock` and `reset` take a port name, a Clock or Reset, or several; `"!rst_n"` is a reset that is active low.
    `sources` are Verilog and SystemVerilog files, and C++ files for DPI; `includes` are folders in which `include
    and modules are searched. Buses are recognised by the usual names of their ports; `ports` names those that are
    not (it adds to what is found, and replaces a bundle of the same name).
    `internals` lists hierarchical names below the top (`core.state`) that `sim.internals` shall reach, or is "all",
    which makes the model several times slower.
    """

    top: str
    sources: Sequence[str | Path]
    params: Mapping[str, int | str] = field(default_factory=dict)
    defines: Mapping[str, int | str | None] = field(default_factory=dict)
    clock: str | Clock | Sequence[str | Clock] = "clk"
    reset: str | Reset | Sequence[str | Reset] | None = None
    ports: Literal["auto"] | Mapping[str, Bundle] = "auto"
    includes: Sequence[str | Path] = ()
    internals: Sequence[str] | Literal["all"] = ()
    flags: Sequence[str] = ()

    @property
    def clocks(self) -> tuple[Clock, ...]:
        given = [self.clock] if isinstance(self.clock, str | Clock) else list(self.clock)
        return tuple(item if isinstance(item, Clock) else Clock(item) for item in given)

    @property
    def resets(self) -> tuple[Reset, ...]:
        if self.reset is None:
            return ()
        given = [self.reset] if isinstance(self.reset, str | Reset) else list(self.reset)
        return tuple(item if isinstance(item, Reset) else _reset(item) for item in given)


def _reset(text: str) -> Reset:
    return Reset(text[1:], "low") if text.startswith("!") else Reset(text)
