"""oneDNN through Heddle beside onnxruntime and the bare primitives, on one core in interleaved rounds.

    python -m benchmarks.onednn [MODEL...] [--core N] [--rounds N] [--clock cpu] [--saturating]

A ratio above 1 says by how much Heddle is faster than onnxruntime. `offloaded` is the share of multiplications that
oneDNN computes, with the placement by order. `overhead` is a whole call over the sum of its primitives when each is
executed by itself through ctypes; it counts the host's regions too. `difference` is the largest from onnxruntime's
exact result, in units of its greatest magnitude. Sums of bytes are exact on both sides, which onnxruntime has to be
told on processors without VNNI; with `--saturating` both may add bytes as the processor does at once.
"""

from __future__ import annotations

import argparse
import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from heddle.backends.onednn.device import OnednnDevice, OnednnProgram
from heddle.core.frontend import import_model
from heddle.core.ir import Graph
from heddle.core.passes import optimize
from heddle.core.plugin.figures import work_of
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import Device
from onnx import ModelProto

import heddle
from benchmarks.models import NAMES, build, example
from heddle.measure.timing import CLOCKS, interleaved, pin

QUANTIZED = ("resnet18_int8", "resnet18_int8s", "resnet50_int8", "resnet50_int8s")

CONTRACTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
TURN = 0.02
"""Seconds: many short turns tell more on a machine that others use as well."""


def multiplications(graph: Graph) -> float:
    """The multiply-adds of a graph's convolutions and products."""
    return sum(work_of(node).operations / 2 for node in graph.nodes if node.op in CONTRACTIONS)


def offloaded(model: ModelProto) -> float:
    """The share of a model's multiply-adds that oneDNN computes, placed by order."""
    plan = heddle.plan(model, backends=["onednn", "host"])
    ours = sum(multiplications(region.body) for region in plan.regions if region.backend == "onednn")
    return ours / multiplications(optimize(import_model(model)))


class Watched(OnednnDevice):
    """The device, remembering what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[OnednnProgram] = []

    def load(self, artifact: Artifact) -> OnednnProgram:
        program = super().load(artifact)
        self.loaded.append(program)
        return program


def bare(device: Watched) -> Callable[[], None]:
    """Executes every primitive of what the device has loaded, with as many threads, over the last call's buffers."""
    library = device.loaded[0].lib
    execute = library.handle.dnnl_primitive_execute
    steps: list[tuple[Any, ...]] = []
    for program in device.loaded:
        frame = program.enlist()
        program.dismiss(frame)
        steps += [
            (ctypes.c_void_p(primitive), frame.stream, count, ctypes.c_void_p(arguments))
            for primitive, count, arguments in frame.steps
        ]

    def run() -> None:
        library.set_threads(1)
        for step in steps:
            execute(*step)

    return run


def peer_of(model: ModelProto, exact: bool) -> onnxruntime.InferenceSession:
    """onnxruntime with one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.x64quantprecision", str(int(exact)))
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*NAMES, *QUANTIZED])
    parser.add_argument("--core", type=int)
    parser.add_argument("--rounds", type=int, default=25, help="how often each has its turn, of one call or TURN")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--saturating", action="store_true", help="let sums of bytes saturate, on both sides")
    options = parser.parse_args()
    pin(options.core)
    print(f"{'model':<16}{'offloaded':>10}{'heddle ms':>11}{'ort ms':>9}{'ratio':>7}{'overhead':>10}{'difference':>12}")
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for name in options.models:
        model, x = build(name), example(name)
        device = Watched()
        devices: dict[str, Device] = {"onednn": device}
        own = {"onednn": {"exact": not options.saturating}}
        compiled = heddle.compile(model, backends=["onednn", "host"], devices=devices, options=own)

        last: list[Any] = [None]

        def call(compiled: Any = compiled, x: Any = x, last: list[Any] = last) -> Any:
            last[0] = compiled(x)  # what the bare primitives write to as well
            return np.asarray(last[0]["y"])

        session = peer_of(model, exact=not options.saturating)

        def peer(session: Any = session, x: Any = x) -> Any:
            return session.run(None, {"x": x})[0]

        reference = np.asarray(peer_of(model, exact=True).run(None, {"x": x})[0])
        difference = np.abs(call() - reference).max() / np.abs(reference).max()
        functions = {"heddle": call, "ort": peer, "bare": bare(device)}
        times = interleaved(functions, options.rounds, TURN, options.clock)
        ratio = times["ort"] / times["heddle"]
        ratios[name in NAMES].append(ratio)
        print(
            f"{name:<16}{offloaded(model):>10.1%}{times['heddle'] * 1e3:>11.3f}{times['ort'] * 1e3:>9.3f}{ratio:>7.2f}"
            f"{times['heddle'] / times['bare']:>10.2f}{difference:>12.1e}",
            flush=True,
        )
    for real, values in ratios.items():
        if values:
            mean = math.exp(sum(map(math.log, values)) / len(values))
            print(f"geometric mean over {len(values)} {'float32' if real else 'int8'} models: {mean:.2f}")


if __name__ == "__main__":
    main()
