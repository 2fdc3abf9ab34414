"""What a call costs beside its arithmetic, against onnxruntime on one thread.

    python -m benchmarks.overhead [--clock wall|cpu]

Both run in turn in many short rounds, so that the machine's moods meet both alike; medians of the rounds are shown, and
the lowest of Heddle's. On a machine that does other work as well, ask for the processor's time (`--clock cpu`).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort

import heddle
from heddle.measure.timing import CLOCKS

ROUNDS, SECONDS = 40, 0.02


def model(lines: list[str], shape: str, constants: str = "") -> onnx.ModelProto:
    """A model from the lines of its body, with inputs `x`, `y` and output `z` of one shape."""
    body = "\n".join(lines)
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x, float[{shape}] y) => (float[{shape}] z)'
    return onnx.parser.parse_model(f"{text} {constants} {{ {body} }}")


def chain(count: int) -> onnx.ModelProto:
    """`count` small operators after one another."""
    names = ["x", *(f"t{i}" for i in range(count - 1)), "z"]
    ops = ("Add", "Mul", "Sub", "Max")
    return model([f"{names[i + 1]} = {ops[i % 4]}({names[i]}, y)" for i in range(count)], "16")


def products(count: int) -> onnx.ModelProto:
    """`count` matrix products of 16 by 16, each with a rectifier."""
    names = ["x", *(f"t{i}" for i in range(count - 1)), "z"]
    lines = [f"m{i} = MatMul({names[i]}, y)\n{names[i + 1]} = Relu(m{i})" for i in range(count)]
    return model(lines, "16, 16")


CASES: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = {
    "Add on 16 floats": (lambda: model(["z = Add(x, y)"], "16"), (16,)),
    "100 operators in a chain": (lambda: chain(100), (16,)),
    "50 x (MatMul 16x16, Relu)": (lambda: products(50), (16, 16)),
}


def per_call(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of one call, over as many as fit a round."""
    count, start = 0, clock()
    while (spent := clock() - start) < SECONDS:
        for _ in range(100):
            call()
        count += 100
    return spent / count


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    clock = CLOCKS[parser.parse_args().clock]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    print(f"{'case':28} {'heddle':>10} {'lowest':>8} {'onnxruntime':>12} {'ratio':>7}  microseconds per call")
    for name, (build, shape) in CASES.items():
        proto, generator = build(), np.random.default_rng(0)
        x = generator.standard_normal(shape).astype(np.float32) * 0.1
        y = generator.standard_normal(shape).astype(np.float32) * 0.1
        executable, session = heddle.compile(proto), ort.InferenceSession(proto.SerializeToString(), options)
        feeds = {"x": x, "y": y}

        def ours(executable: heddle.Executable = executable, x: object = x, y: object = y) -> object:
            return executable(x, y)

        def theirs(session: ort.InferenceSession = session, feeds: object = feeds) -> object:
            return session.run(None, feeds)

        np.testing.assert_allclose(ours()[0], theirs()[0], rtol=1e-4, atol=1e-6)  # type: ignore[index] # outputs
        rounds = [(per_call(ours, clock), per_call(theirs, clock)) for _ in range(ROUNDS)]
        left, right = (statistics.median(times) * 1e6 for times in zip(*rounds, strict=True))
        lowest = min(ours for ours, _ in rounds) * 1e6
        print(f"{name:28} {left:10.2f} {lowest:8.2f} {right:12.2f} {right / left:6.1f}x", flush=True)


if __name__ == "__main__":
    main()
