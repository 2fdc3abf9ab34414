"""Model: a built design, of which any number of simulations can be opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from heddle.core.errors import DeviceError
from heddle.simulators.verilator.agents import Agent, Axi4, AxiLite, Dram, SimpleMemory, Stream
from heddle.simulators.verilator.bundles import Bus
from heddle.simulators.verilator.elaborate import Elaboration
from heddle.simulators.verilator.simulation import Simulation
from heddle.simulators.verilator.spec import RtlSpec


@dataclass(frozen=True)
class Model:
    """A design as a shared library. `buses` are the bundles of ports that agents can be bound to."""

    spec: RtlSpec
    design: Elaboration = field(repr=False)
    buses: tuple[Bus, ...] = field(repr=False)
    profile: str
    library: Path

    def open(self, memory: Dram | None = None, bind: Mapping[str, Agent] | None = None) -> Simulation:
        """A new simulation, reset and ready.

        `bind` names the buses that agents serve; the ports of the others are free for `sim.io`. `memory` serves the
        agents that name no memory of their own.
        """
        bound = {} if bind is None else dict(bind)
        by_name = {bus.name: bus for bus in self.buses}
        for name, agent in bound.items():
            if name not in by_name:
                there = ", ".join(f"{bus.name} ({bus.kind})" for bus in self.buses) or "none"
                raise DeviceError(f"{self.spec.top}: no bus {name} to bind; there are: {there}")
            _suits(self.spec.top, by_name[name], agent, memory)
        return Simulation(self.spec, self.design.ports, self.buses, self.library, memory, bound)


def _suits(top: str, bus: Bus, agent: Agent, memory: Dram | None) -> None:
    role = "leads" if bus.leads else "follows"
    wanted: type = {"stream": Stream, "memory": SimpleMemory}.get(bus.kind, Axi4 if bus.leads else AxiLite)
    if not isinstance(agent, wanted):
        raise DeviceError(
            f"{top}: bus {bus.name} is of kind {bus.kind} and the design {role} it, "
            f"expected {wanted.__name__}, got {type(agent).__name__}"
        )
    if isinstance(agent, Axi4 | SimpleMemory) and agent.memory is None and memory is None:
        raise DeviceError(f"{top}: bus {bus.name} needs a memory; give one to open() or to its {wanted.__name__}")
