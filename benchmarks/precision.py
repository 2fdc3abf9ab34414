"""What products of bfloat16 cost and save: `precision=bf16` beside the default, in interleaved rounds on one thread.

    python -m benchmarks.precision [MODEL...] [--rounds N]

Shown are how far the results are from the default's, relative to their greatest magnitude, the megabytes that each form
needs, and the default's time by that of bfloat16 (the processor's own time, medians): above 1 bfloat16 is quicker.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import heddle
from benchmarks.models import build, example


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["mlp", "mobilenetv2", "resnet18", "resnet50", "minilm"])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"{'model':<16}{'difference':>12}{'MB':>10}{'MB bf16':>10}{'ratio':>8}")
    for name in options.models:
        model, x = build(name), example(name)
        forms = [heddle.compile(model, options={"host": {"precision": form}}) for form in ("float32", "bf16")]
        exact, rounded = (np.asarray(form(x)["y"]) for form in forms)
        difference = float(np.abs(rounded - exact).max() / np.abs(exact).max())
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(options.rounds):
            for form, taken in zip(forms, times, strict=True):
                start = time.thread_time()
                form(x)
                taken.append(time.thread_time() - start)
        ratio = statistics.median(times[0]) / statistics.median(times[1])
        sizes = "".join(f"{form.memory.peak / 1e6:>10.1f}" for form in forms)
        print(f"{name:<16}{difference:>12.1e}{sizes}{ratio:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
