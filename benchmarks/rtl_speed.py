"""How fast the RTL simulates, beside the plainest C++ loop over the same model and memory, in seconds of one core."""

from __future__ import annotations

import argparse
import json
import time

from heddle.hw.vta.config import load_config
from heddle.simulators.vta.convolution import Assembled, assemble_convolution, parse_layer
from heddle.simulators.vta.cycle import cycles
from heddle.simulators.vta.rtl import REGISTERS, Memory, Rtl, build_rtl


def started(machine: Rtl, layer: Assembled) -> None:
    """Set the registers of a run and start it, without waiting for its end."""
    write = machine.simulation.buses["s_axil"].write
    for name, value in (("CODE", layer.code), ("COUNT", len(layer.instructions)), ("BASE0", 0), ("CONTROL", 1)):
        write(REGISTERS[name], value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="reference")
    parser.add_argument("--layer", default="56x56x64x64k3")
    parser.add_argument("--latency", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7, help="the best of so many, taken in turn")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    config, timing = load_config(options.config), Memory(latency=options.latency)
    layer = assemble_convolution(parse_layer(options.layer), config)
    machine = Rtl(config, build_rtl(config), layer.memory, timing)
    code = layer.memory[layer.code :]
    machine.run(layer.instructions, layer.code, [0])  # also writes the program to memory
    assert code.any()
    simulation, ours, bare, taken = machine.simulation, [], [], 0
    for _ in range(options.rounds):
        started(machine, layer)
        begin = time.thread_time()
        result = simulation.run(max_cycles=1 << 40, until="irq", watchdog=100_000, progress=["heartbeat"])
        ours.append(time.thread_time() - begin)
        taken = result.cycles
        started(machine, layer)
        begin = time.thread_time()
        simulation.run_bare("irq")
        bare.append(time.thread_time() - begin)
    begin = time.thread_time()
    predicted = cycles(layer.instructions, config, timing, data=layer.memory, bases=[0])
    modelled = time.thread_time() - begin
    begin = time.thread_time()
    cycles(layer.instructions, config, timing, data=layer.memory, bases=[0])
    modelled = min(modelled, time.thread_time() - begin)
    report = {
        "config": config.name,
        "layer": options.layer,
        "cycles": taken,
        "array_share": round(layer.slots / taken, 4),
        "wrapper_mcycles_per_s": round(taken / min(ours) / 1e6, 2),
        "bare_loop_mcycles_per_s": round(taken / min(bare) / 1e6, 2),
        "ratio": round(min(bare) / min(ours), 3),
        "cycle_model_cycles": predicted.cycles,
        "cycle_model_speedup": round(min(ours) / modelled, 1),
    }
    print(json.dumps(report, indent=1) if options.json else "\n".join(f"{k:26}{v}" for k, v in report.items()))


if __name__ == "__main__":
    main()
