"""Simulates any RTL design with Verilator: build a spec, open the model, bind its buses, run."""

from __future__ import annotations

from heddle.simulators.verilator.agents import Axi4, AxiLite, Dram, SimpleMemory, Stream
from heddle.simulators.verilator.build import build
from heddle.simulators.verilator.errors import (
    RtlBuildError,
    RtlHangError,
    RtlProtocolError,
    RtlRangeError,
    RtlStoppedError,
)
from heddle.simulators.verilator.model import Model
from heddle.simulators.verilator.simulation import Equals, RunResult, Simulation, Snapshot, Transfers
from heddle.simulators.verilator.spec import Bundle, Clock, Reset, RtlSpec

__all__ = [
    "Axi4",
    "AxiLite",
    "Bundle",
    "Clock",
    "Dram",
    "Equals",
    "Model",
    "Reset",
    "RtlBuildError",
    "RtlHangError",
    "RtlProtocolError",
    "RtlRangeError",
    "RtlSpec",
    "RtlStoppedError",
    "RunResult",
    "SimpleMemory",
    "Simulation",
    "Snapshot",
    "Stream",
    "Transfers",
    "build",
]
