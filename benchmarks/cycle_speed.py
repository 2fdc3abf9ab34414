"""The cycle model beside the RTL over the 3x3 and 1x1 convolutions of ResNet-18, assembled by hand."""

from __future__ import annotations

import argparse
import json
import time

from heddle.hw.vta.config import load_config
from heddle.simulators.vta.convolution import assemble_convolution, parse_layer
from heddle.simulators.vta.cycle import cycles, prepare, run
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl

RESNET18 = {
    "56x56x64x64k3": 4,
    "56x56x64x128k3s2": 1,
    "56x56x64x128k1s2": 1,
    "28x28x128x128k3": 3,
    "28x28x128x256k3s2": 1,
    "28x28x128x256k1s2": 1,
    "14x14x256x256k3": 3,
    "14x14x256x512k3s2": 1,
    "14x14x256x512k1s2": 1,
    "7x7x512x512k3": 3,
}
"""Layers, and how often each is there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="reference")
    parser.add_argument("--latency", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many, in seconds of this process")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    config, timing = load_config(options.config), Memory(latency=options.latency)
    model, rows = build_rtl(config), []
    cycles(assemble_convolution(parse_layer("7x7x64x64k1"), config).instructions, config, timing)  # compiles the model
    for name, count in RESNET18.items():
        layer = assemble_convolution(parse_layer(name), config)
        machine = Rtl(config, model, layer.memory, timing)
        best = {"rtl": float("inf"), "cycle": float("inf"), "prepared": float("inf")}
        measured = predicted = 0
        for _ in range(options.rounds):
            start = time.process_time()
            measured = machine.run(layer.instructions, layer.code, [0])["cycles"]
            between = time.process_time()
            predicted = cycles(layer.instructions, config, timing, data=layer.memory, bases=[0]).cycles
            end = time.process_time()
            ready = prepare(layer.instructions, config, layer.memory, [0])
            again = time.process_time()
            run(ready, timing)
            last = time.process_time()
            for what, spent in (("rtl", between - start), ("cycle", end - between), ("prepared", last - again)):
                best[what] = min(best[what], spent)
        machine.close()
        rows.append({"layer": name, "count": count, "rtl_cycles": measured, "cycle_model": predicted, **best})
    whole = {key: sum(row["count"] * row[key] for row in rows) for key in list(rows[0])[2:]}
    summary = {
        "rtl_cycles": whole["rtl_cycles"],
        "cycle_model": whole["cycle_model"],
        "rtl_mcycles_per_s": round(whole["rtl_cycles"] / whole["rtl"] / 1e6, 2),
        "cycle_speedup": round(whole["rtl"] / whole["cycle"], 1),
        "cycle_speedup_prepared": round(whole["rtl"] / whole["prepared"], 1),
    }
    if options.json:
        print(json.dumps({"layers": rows, "total": summary}, indent=1))
        return
    for row in rows:
        print(f"{row['count']} x {row['layer']:20}{row['rtl_cycles']:>9}{row['cycle_model']:>9}"
              f"{row['rtl'] / row['cycle']:>8.1f}{row['rtl'] / row['prepared']:>8.1f}")  # fmt: skip
    print("\n".join(f"{key:26}{value}" for key, value in summary.items()))


if __name__ == "__main__":
    main()
