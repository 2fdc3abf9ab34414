"""Whole models on one core: Heddle and its peers in interleaved rounds, medians, ratios and share of the core's peak.

    python -m benchmarks.cpu [MODEL...] [--against onnxruntime,openvino] [--core N] [--rounds N] [--clock cpu]

Without names all models are measured. A ratio above 1 says by how much Heddle is faster. The share of the peak counts
the multiplications of the model as written; minimal filtering does with fewer. Differences are the greatest from
onnxruntime's result, relative to its greatest magnitude.
"""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from heddle.core.codegen import target as targets
from heddle.core.frontend import import_model
from heddle.core.ir import Graph
from heddle.core.passes import optimize
from numpy.typing import NDArray
from onnx import ModelProto

import heddle
from benchmarks.models import NAMES, build, example
from benchmarks.native import peak
from benchmarks.timing import CLOCKS, interleaved, pin

Array = NDArray[Any]
Run = Callable[[], Any]
QUANTIZED = ("resnet18_int8", "resnet18_int8s", "resnet50_int8", "resnet50_int8s")


def multiplications(graph: Graph) -> int:
    """Multiply-adds of the convolutions and matrix products of a graph."""
    total = 0
    for node in graph.nodes:
        shapes = [value.shape if value is not None else () for value in node.inputs]
        out = math.prod(node.outputs[0].shape) if node.outputs[0] is not None else 0
        if node.op == "Conv":
            total += out * math.prod(shapes[1][1:])
        elif node.op == "MatMul":
            total += out * shapes[0][-1]
        elif node.op == "Gemm":
            total += out * shapes[0][0 if node.attrs.get("transA") else 1]
    return total


def ours(model: ModelProto, x: Array) -> Run:
    compiled = heddle.compile(model)
    return lambda: np.asarray(compiled(x)["y"])


def onnxruntime(model: ModelProto, x: Array) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def openvino(model: ModelProto, x: Array) -> Run:
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(ov.Core().read_model(model.SerializeToString()), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: x})[0]


PEERS: Mapping[str, Callable[[ModelProto, Array], Run]] = {"onnxruntime": onnxruntime, "openvino": openvino}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*NAMES, *QUANTIZED])
    parser.add_argument("--against", default=",".join(PEERS))
    parser.add_argument("--core", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    options = parser.parse_args()
    peers = [name for name in options.against.split(",") if name and find_spec(name)]
    pin(options.core)
    limit, work = peak(targets.host())
    print(
        f"{platform.processor() or platform.machine()}, {targets.host().cpu}, one thread, median ms ({options.clock})"
    )
    heads = "".join(f"{name:>14}{'ratio':>7}" for name in peers)
    print(f"{'model':<16}{'MMAC':>7}{'heddle':>10}{'of peak':>9}{heads}{'difference':>12}")
    ratios: dict[str, list[float]] = {name: [] for name in peers}
    for name in options.models:
        model, x = build(name), example(name)
        functions: dict[str, Run] = {"heddle": ours(model, x), "peak": lambda: limit(4)}
        functions |= {peer: PEERS[peer](model, x) for peer in peers}
        times = interleaved(functions, options.rounds, 0.1, options.clock)
        count = multiplications(optimize(import_model(model)))
        share = 2 * count / times["heddle"] / (4 * work / times["peak"])
        line = f"{name:<16}{count / 1e6:>7.0f}{times['heddle'] * 1e3:>10.3f}{share:>9.0%}"
        for peer in peers:
            ratio = times[peer] / times["heddle"]
            line += f"{times[peer] * 1e3:>14.3f}{ratio:>7.2f}"
            if name in NAMES:
                ratios[peer].append(ratio)
        if peers:
            reference = np.asarray(functions[peers[0]]())
            difference = np.abs(functions["heddle"]() - reference).max() / np.abs(reference).max()
            line += f"{difference:>12.1e}"
        print(line, flush=True)
    for peer, values in ratios.items():
        if values:
            mean = math.exp(sum(map(math.log, values)) / len(values))
            print(f"geometric mean of the ratios to {peer}, {len(values)} float32 models: {mean:.2f}")


if __name__ == "__main__":
    main()
