"""The project's own models on one core: Heddle and its peers in interleaved rounds.

    python -m benchmarks.cpu [MODEL...] [--against onnxruntime,openvino] [--core N] [--rounds N] [--clock cpu]
                             [--markdown FILE] [--plot FILE] [--json FILE] [--strict-math]

Without names all models are measured. What the figures mean is said in `heddle bench --help`, which measures any model.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

from heddle.core.codegen import target as targets

from benchmarks.models import NAMES, build, example
from heddle.measure import report
from heddle.measure.compare import Comparison, compare
from heddle.measure.peers import chosen_peers
from heddle.measure.timing import CLOCKS, pin

QUANTIZED = ("resnet18_int8", "resnet18_int8s", "resnet50_int8", "resnet50_int8s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*NAMES, *QUANTIZED])
    parser.add_argument("--against")
    parser.add_argument("--core", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--strict-math", action="store_true")
    for name in ("markdown", "plot", "json"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    peers = chosen_peers(None if options.against is None else [n for n in options.against.split(",") if n])
    core = pin(options.core)
    where = f"{platform.machine()}, {targets.host().cpu}, core {core}, one thread, median ms ({options.clock})"
    print(where)
    heads = report.columns(peers)
    print(_line(heads), flush=True)
    done: list[Comparison] = []
    for name in options.models:
        settings = {"host": {"strict_math": options.strict_math}}
        feed = {"x": example(name)}
        done.append(
            compare(name, build(name), feed, peers, rounds=options.rounds, clock=options.clock, options=settings)
        )
        print(_line(report.row(done[-1])), flush=True)
    for peer, mean in report.means(done).items():
        print(f"geometric mean of the ratios to {peer}, float32 models: {mean:.2f}")
    texts = {
        "markdown": report.markdown,
        "plot": report.svg,
        "json": lambda all_: json.dumps([each.json() for each in all_], indent=2) + "\n",
    }
    for option, text in texts.items():
        if getattr(options, option) is not None:
            getattr(options, option).write_text(text(done))


def _line(cells: tuple[str, ...]) -> str:
    return f"{cells[0]:<16}" + "".join(f"{cell:>15}" for cell in cells[1:])


if __name__ == "__main__":
    main()
