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

    def ratio(self, name: str, model: ModelProto, record: Record, rounds: int, clock: str) -> tuple[float, str]:
        """The plan by cost with a record over the best of the others, and all their times as a line."""
        wanted = {
            "host": ("order", self.away, Record()),
            "order": ("order", None, Record()),
            "greedy": ("greedy", None, record),
            "cost": ("cost", None, record),
        }
        plans: dict[str, Plan] = {}
        executables: dict[tuple[Any, ...], heddle.Executable] = {}
        for key, (place, demands, used) in wanted.items():
            with using(used):
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
        times = {key: taken[layout(made)] for key, made in plans.items()}
        ratio = times["cost"] / min(times[place] for place in PLACES)
        shown = "".join(f"{seconds * 1e3:>10.3f}" for seconds in times.values())
        return ratio, f"{shown}{ratio:>8.3f}  {len(plans['cost'].regions)} regions: {','.join(plans['cost'].backends)}"


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
    heads = "".join(f"{head:>10}" for head in ("host ms", "order", "greedy", "cost"))
    print(f"{'model':<13}{'measured':>10}{heads}{'ratio':>8}  by cost")
    calibrations: dict[str, Calibration] = {}
    worst = {"seen": 0.0, "unseen": 0.0}

    def compare(name: str, kind: str, record: Record) -> None:
        ratio, shown = bench.ratio(name, build(name), record, options.rounds, options.clock)
        worst[kind] = max(worst[kind], ratio)
        print(f"{name:<13}{kind:>10}{shown}", flush=True)

    for name in options.models:
        calibrations[name] = bench.calibrated(name, build(name))
        if not calibrations[name].settled[name]:
            print(f"{name}: the plan by cost has regions that were not measured")
        compare(name, "seen", calibrations[name].record)
    for name in options.models if len(options.models) > 1 else ():
        others = [sample for other, known in calibrations.items() if other != name for sample in known.samples]
        compare(name, "unseen", Record(refit(others), dispatch=calibrations[name].record.dispatch))
    print(f"the worst: {worst['seen']:.3f} seen, {worst['unseen']:.3f} unseen")


if __name__ == "__main__":
    main()
