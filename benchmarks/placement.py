"""Plans by cost against the plans that anybody would try, in measured time on this machine.

    python -m benchmarks.placement [MODEL...] [--core N] [--rounds N] [--clock cpu]

Three backends: the host, oneDNN, and the scaffold's library of convolutions in numpy as a vendor's sample. Every model
is calibrated first. Then, in interleaved rounds: the host alone, everything offloaded (by order), greedily, by cost
with what was measured of this model (`seen`), and by cost with what was measured of the other models only (`unseen`). A
ratio is the time of the plan by cost over the best of the first three; equal plans are one and are measured once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from heddle.core.plugin import Backend, get_backend
from heddle.core.plugin.calibration import Record, using
from heddle.core.runtime.device import Device
from heddle.partition import Demands, Plan
from onnx import ModelProto

import heddle
from benchmarks.models import BUILDERS, build, example
from heddle.measure.calibrating import Calibration, Effort
from heddle.measure.fitting import refit
from heddle.measure.timing import CLOCKS, interleaved, pin
from heddle.scaffolds import write_scaffold

PLACES = ("host", "order", "greedy")


def sample() -> tuple[Backend, Device]:
    """The scaffold's backend and device: a vendor's first afternoon."""
    with TemporaryDirectory() as folder:
        path = write_scaffold("sample", "library", Path(folder) / "sample")[0]
        spec = spec_from_file_location("heddle_sample_library", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module.Sample(), module.SampleDevice()


def layout(plan: Plan) -> tuple[Any, ...]:
    """What makes two plans the same."""
    return tuple((region.backend, tuple(node.results for node in region.body.nodes)) for region in plan.regions)


class Bench:
    def __init__(self, backends: Sequence[Backend], devices: dict[str, Device], effort: Effort) -> None:
        self.backends, self.devices, self.effort = backends, devices, effort
        self.away = Demands(exclude=tuple(("*", backend.name) for backend in backends if not backend.takes_all))

    def calibrated(self, name: str, model: ModelProto) -> Calibration:
        calibration = Calibration(self.backends, self.devices, self.effort)
        calibration.measure(name, model)
        return calibration

    def times(self, name: str, model: ModelProto, seen: Record, unseen: Record, rounds: int, clock: str) -> Any:
        wanted = {
            "host": ("order", self.away, Record()),
            "order": ("order", None, Record()),
            "greedy": ("greedy", None, seen),
            "seen": ("cost", None, seen),
            "unseen": ("cost", None, unseen),
        }
        plans: dict[str, Plan] = {}
        executables: dict[tuple[Any, ...], heddle.Executable] = {}
        for key, (place, demands, record) in wanted.items():
            with using(record):
                plans[key] = heddle.plan(model, self.backends, place=place, demands=demands)
                if layout(plans[key]) not in executables:
                    executables[layout(plans[key])] = heddle.compile(
                        model, self.backends, place=place, demands=demands, devices=self.devices
                    )
        x = example(name)
        functions = {str(n): (lambda e=e: e(x)) for n, e in enumerate(executables.values())}
        taken = dict(zip(executables, interleaved(functions, rounds, 0.1, clock).values(), strict=True))
        for executable in executables.values():
            executable.close()
        return {key: taken[layout(made)] for key, made in plans.items()}, plans


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(BUILDERS))
    parser.add_argument("--core", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    options = parser.parse_args()
    pin(options.core)
    backend, device = sample()
    backends = [get_backend("onednn"), backend, get_backend("host")]
    bench = Bench(backends, {backend.name: device}, Effort(clock=options.clock))
    calibrations = {}
    for name in options.models:
        calibrations[name] = bench.calibrated(name, build(name))
        state = "all measured" if calibrations[name].settled[name] else "not all measured"
        print(f"{name}: calibrated by {len(calibrations[name].samples)} regions; plan by cost {state}", flush=True)
    heads = "".join(f"{head:>10}" for head in ("host ms", "order", "greedy", "seen", "unseen"))
    print(f"\n{'model':<13}{heads}{'ratio':>8}{'unseen':>8}  by cost")
    worst = {"seen": 0.0, "unseen": 0.0}
    for name in options.models:
        others = [s for other, c in calibrations.items() if other != name for s in c.samples]
        own = calibrations[name].record
        unseen = Record(refit(others), dispatch=own.dispatch)
        times, plans = bench.times(name, build(name), own, unseen, options.rounds, options.clock)
        best = min(times[place] for place in PLACES)
        ratios = {key: times[key] / best for key in worst}
        worst = {key: max(worst[key], ratios[key]) for key in worst}
        shown = "".join(f"{times[key] * 1e3:>10.3f}" for key in (*PLACES, *worst))
        shares = " ".join(f"{len(plans['seen'].regions)} regions: {','.join(plans['seen'].backends)}".split())
        print(f"{name:<13}{shown}{ratios['seen']:>8.3f}{ratios['unseen']:>8.3f}  {shares}", flush=True)
    print(f"worst: {worst['seen']:.3f} seen, {worst['unseen']:.3f} unseen")


if __name__ == "__main__":
    main()
