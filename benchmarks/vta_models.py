"""Models on the accelerator: cycles and utilisation of each layer, the share of its work, differences, time at RTL.

    python -m benchmarks.vta_models resnet18_int8 [mobilenetv2_int8 ...] [--config reference] [--rtl] [--layers]

A name is one of `benchmarks.models` or the path of an ONNX file. Cycles are the cycle model's at latency 100, from the
first fetch to the last acknowledged write, weights included. `differ` counts elements that are one quantum away
from `core.ops`, each layer given the same inputs. `--rtl` also runs each region at RTL and compares all bytes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from heddle.backends.vta import Vta, VtaOptions
from heddle.backends.vta.timeline import LayerTime, timeline

import heddle
from benchmarks.models import build
from tests.backends.vta.regions import accelerated, differences, macs_on_device, random_inputs, replay, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--config", default="reference")
    parser.add_argument("--rtl", action="store_true", help="run at RTL too")
    parser.add_argument("--layers", action="store_true", help="print each layer")
    arguments = parser.parse_args()
    for name in arguments.models:
        report(name, Vta(VtaOptions(arguments.config)), arguments.rtl, arguments.layers)


def report(name: str, backend: Vta, rtl: bool, each: bool) -> None:
    plan = heddle.plan(Path(name) if Path(name).exists() else build(name), backends=[backend, "host"])
    regions = accelerated(plan)
    print(f"{name}: {100 * macs_on_device(plan):.2f}% of multiply-accumulates in {len(regions)} regions on the device")
    layers: list[LayerTime] = []
    took = simulated = 0.0
    differing = elements = most = 0
    for region in regions:
        start = time.perf_counter()
        artifact = backend.compile(region)
        took += time.perf_counter() - start
        layers += timeline(artifact)
        inputs = random_inputs(region)
        expected = replay(backend.config, region, inputs)
        for sim in ("functional", "rtl") if rtl else ("functional",):
            start = time.perf_counter()
            found, _ = run(artifact, inputs, sim=sim)
            simulated += (time.perf_counter() - start) * (sim == "rtl")
            if any((mine != theirs).any() for mine, theirs in zip(found, expected, strict=True)):
                raise SystemExit(f"{name}: {region.name} on {sim} differs from the second implementation")
        for difference in differences(backend.config, region, inputs):
            most = max(most, difference.most)
            differing += difference.differing
            elements += difference.elements
    summary(layers, each)
    print(f"  compiled in {took:.1f} s; bit for bit the second implementation; against core.ops {differing} of")
    print(f"  {elements} elements differ, by at most {most}" + (f"; {simulated:.1f} s at RTL" if rtl else ""))


def summary(layers: Sequence[LayerTime], each: bool) -> None:
    def line(label: str, chosen: Sequence[LayerTime]) -> None:
        cycles, macs = sum(layer.cycles for layer in chosen), sum(layer.macs for layer in chosen)
        peak = chosen[0].peak if chosen else 1
        used = f"{100 * macs / (cycles * peak):6.2f}% of peak" if cycles else ""
        print(f"  {label:<30}{cycles:>12,} cycles {macs:>14,} MACs {used}")

    if each:
        for layer in layers:
            waits = f"data {layer.wait_load}, room {layer.wait_store}"
            print(f"    {layer.cycles:>9} {100 * layer.utilisation:5.1f}% {layer.kind:<8} {waits:<26} {layer.name}")
    weighted = [layer for layer in layers if layer.macs]
    inner = [layer for layer in weighted if layer.number and not any("Gemm" in node for node in layer.nodes)]
    deep = [layer for layer in inner if layer.depthwise]
    line("first layer", [layer for layer in weighted if not layer.number][:1])
    line(
        "3x3 and 1x1 convolutions", [layer for layer in inner if layer.kernel in ((3, 3), (1, 1)) and layer not in deep]
    )
    line("depthwise convolutions", deep)
    line("everything", layers)


if __name__ == "__main__":
    main()
