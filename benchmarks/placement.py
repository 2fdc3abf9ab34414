"""Plans by cost against the plans that anybody would try, in measured time on this machine.

    python -m benchmarks.placement [MODEL...] [--records FOLDER] [--clock cpu] [--core N] [--rounds N]

Three backends: the host, oneDNN, and the scaffold's library of convolutions in numpy as a vendor's sample. Every model
is calibrated first; with --records, what was measured is kept there and read again. Then, in interleaved rounds: the
host alone, everything offloaded (by order), greedily, and twice by cost. `unseen` knows the other models' regions and
links alone, nothing of this model's; `refined` is the plan after `heddle calibrate` of this model. Equal plans are one
and are measured once. A ratio is the time of a plan by cost over the best of the first three.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from heddle.core.files import write_whole
from heddle.core.plugin import Backend, get_backend
from heddle.core.plugin.calibration import Record, decoded, using
from heddle.core.plugin.recall import settle
from heddle.core.runtime.device import Device
from heddle.partition import Demands, Plan
from onnx import ModelProto

import heddle
from benchmarks.models import BUILDERS, build, example
from heddle.measure.calibrating import Calibration, Effort
from heddle.measure.fitting import Sample, refit
from heddle.measure.timing import CLOCKS, interleaved, pin
from heddle.scaffolds import write_scaffold

PLAIN = ("host", "order", "greedy")
BY_COST = ("unseen", "refined")


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


@dataclass(frozen=True)
class Known:
    """What was measured of one model."""

    samples: Sequence[Sample]
    record: Record

    @classmethod
    def read(cls, path: Path) -> Known:
        given = json.loads(path.read_text(encoding="utf-8"))
        return cls([Sample(**each) for each in given["samples"]], decoded(given["record"]))

    def write(self, path: Path) -> None:
        samples = [asdict(each) for each in self.samples]
        write_whole(path, json.dumps({"samples": samples, "record": self.record.json()}))


def together(known: Sequence[Known]) -> Record:
    """The record of several models: their regions and links, but no whole plans."""
    regions: dict[str, dict[str, float]] = {}
    for each in known:
        for backend, measured in each.record.regions.items():
            regions.setdefault(backend, {}).update(measured)
    return Record(
        refit([sample for each in known for sample in each.samples]),
        {name: link for each in known for name, link in each.record.links.items()},
        regions,
        dispatch=statistics.median(each.record.dispatch for each in known) if known else 0.0,
    )


def layout(plan: Plan) -> tuple[Any, ...]:
    """What makes two plans the same."""
    return tuple((region.backend, tuple(node.results for node in region.body.nodes)) for region in plan.regions)


class Bench:
    def __init__(self, backends: Sequence[Backend], devices: Mapping[str, Device], effort: Effort) -> None:
        self.backends, self.devices, self.effort = backends, devices, effort
        self.away = Demands(exclude=tuple(("*", backend.name) for backend in backends if not backend.takes_all))

    def calibrated(self, name: str) -> Known:
        calibration = Calibration(self.backends, self.devices, self.effort)
        calibration.measure(name, build(name))
        if not calibration.settled[name]:
            print(f"{name}: the plan by cost has regions that were not measured", flush=True)
        return Known(calibration.samples, calibration.record)

    def race(self, name: str, own: Record, others: Record, rounds: int) -> dict[str, tuple[Plan, float]]:
        """Each plan of a model and its measured seconds."""
        model = build(name)
        wanted = {
            "host": ("order", self.away, Record()),
            "order": ("order", None, Record()),
            "greedy": ("greedy", None, own),
            "unseen": ("cost", None, others),
            "refined": ("cost", None, own),
        }
        plans: dict[str, Plan] = {}
        executables: dict[tuple[Any, ...], heddle.Executable] = {}
        for key, (place, demands, record) in wanted.items():
            with using(record):
                plans[key] = heddle.plan(model, self.backends, place=place, demands=demands)
                if layout(plans[key]) not in executables:
                    executables[layout(plans[key])] = self._compiled(model, place, demands)
        settle()
        x = example(name)
        functions = {str(n): (lambda e=e: e(x)) for n, e in enumerate(executables.values())}
        taken = dict(zip(executables, interleaved(functions, rounds, 0.1, self.effort.clock).values(), strict=True))
        for executable in executables.values():
            executable.close()
        return {key: (made, taken[layout(made)]) for key, made in plans.items()}

    def _compiled(self, model: ModelProto, place: str, demands: Demands | None) -> heddle.Executable:
        return heddle.compile(model, self.backends, place=place, demands=demands, devices=self.devices)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(BUILDERS))
    parser.add_argument("--records", type=Path, help="a folder that keeps what was measured of each model")
    parser.add_argument("--core", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--seconds", type=float, default=0.02, help="how long a region is timed, five times")
    parser.add_argument("--pieces", type=int, default=16, help="so many nodes and matches of each backend are timed")
    options = parser.parse_args()
    pin(options.core)
    backend, device = sample()
    effort = Effort(seconds=options.seconds, clock=options.clock, pieces=options.pieces)
    bench = Bench([get_backend("onednn"), backend, get_backend("host")], {backend.name: device}, effort)

    known: dict[str, Known] = {}
    for name in options.models:
        kept = options.records / f"{name}.json" if options.records else None
        if kept is not None and kept.exists():
            known[name] = Known.read(kept)
            continue
        known[name] = bench.calibrated(name)
        print(f"{name}: {len(known[name].samples)} regions measured", flush=True)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            known[name].write(kept)

    print(f"{'model':<13}" + "".join(f"{head + ' ms':>12}" for head in (*PLAIN, *BY_COST)), end="")
    print("".join(f"{'of ' + kind:>12}" for kind in BY_COST), " by cost, with the predicted ms")
    worst = dict.fromkeys(BY_COST, 0.0)
    for name, own in known.items():
        others = together([each for other, each in known.items() if other != name])
        raced = bench.race(name, own.record, others, options.rounds)
        best = min(raced[key][1] for key in PLAIN)
        ratios = {kind: raced[kind][1] / best for kind in BY_COST}
        worst = {kind: max(worst[kind], ratio) for kind, ratio in ratios.items()}
        print(f"{name:<13}" + "".join(f"{seconds * 1e3:>12.3f}" for _, seconds in raced.values()), end="")
        print("".join(f"{ratio:>12.3f}" for ratio in ratios.values()), end="")
        print("".join(f"  {kind}: {_told(raced[kind][0])}" for kind in BY_COST), flush=True)
    print("the worst: " + ", ".join(f"{ratio:.3f} {kind}" for kind, ratio in worst.items()))


def _told(plan: Plan) -> str:
    return f"{len(plan.regions)} regions on {','.join(plan.backends)}, {plan.cost.seconds * 1e3:.3f}"


if __name__ == "__main__":
    main()
