"""The kernels by themselves, on the shapes of known networks: GFLOP/s, share of the core's peak, ratio to onnxruntime.

    python -m benchmarks.kernels [--tune] [--core N] [--clock cpu] [WORD...]

A word chooses the lines that contain it. Weights are cold. `--tune` measures every candidate of a kernel, not its
default alone. onnxruntime's convolution of bytes requantizes, Heddle's here stores the sums. Minimal filtering counts
the operations that it saves, so its share of the peak may exceed 100%.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import conv, depthwise, gemm, winograd
from heddle.core.codegen.kernels.arithmetic import floating, integers
from heddle.core.codegen.kernels.image import Image, Window, per_channel
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.native import aligned, peak, repeated
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I32, constant
from numpy.typing import NDArray

from heddle.measure.timing import interleaved, pin

Array = NDArray[Any]
COLD = 24 << 20
SETS = 12

GEMMS = [(1, 1000, 2048), (128, 768, 768), (128, 3072, 768), (128, 768, 3072), (197, 768, 192), (512, 512, 512)]
# Inputs, pixels, outputs, window, stride: of ResNet-50 and MobileNetV2.
CONVS = [
    *((3, 224, 64, 7, 2), (64, 56, 64, 1, 1), (64, 56, 64, 3, 1), (64, 56, 256, 1, 1), (256, 56, 64, 1, 1)),
    *((128, 56, 128, 3, 2), (128, 28, 128, 3, 1), (128, 28, 512, 1, 1), (512, 28, 128, 1, 1)),
    *((256, 14, 256, 3, 1), (256, 14, 1024, 1, 1), (1024, 14, 256, 1, 1)),
    *((512, 7, 512, 3, 1), (512, 7, 2048, 1, 1), (2048, 7, 512, 1, 1)),
    *((16, 112, 96, 1, 1), (24, 56, 144, 1, 1), (192, 28, 32, 1, 1), (960, 7, 160, 1, 1)),
]
DEPTHWISE = [(32, 112, 1), (96, 112, 2), (144, 56, 1), (192, 28, 1), (384, 14, 1), (960, 7, 1)]


@dataclass(frozen=True)
class Case:
    """A kernel to measure: its name, its operations, each schedule's code with arrays, and the same as a model."""

    name: str
    work: float
    choices: Sequence[tuple[str, Callable[[], Callable[[int], None]]]]
    model: onnx.ModelProto
    feed: Array
    bytes_: bool = False


def _model(op: str, x: tuple[int, ...], weights: list[Array], **attrs: Any) -> onnx.ModelProto:
    names = [f"w{i}" for i in range(len(weights))]
    node = onnx.helper.make_node(op, ["x", *names], ["y"], **attrs)
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        op,
        [tensor("x", onnx.TensorProto.FLOAT, x)],
        [tensor("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(w, name) for w, name in zip(weights, names, strict=True)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


def _bias(f: Function, a: Any, operands: Any) -> Any:
    return f.add(a, operands[0])


def gemms(target: Target, tune: bool, rng: np.random.Generator) -> Iterator[Case]:
    for m, n, k in GEMMS:
        problem = gemm.Gemm(m, n, k, (k, 1), Place((n,)))
        a, b, bias = (rng.standard_normal(s, np.float32) for s in ((m, k), (k, n), n))
        tail = Tail(_bias, (Place((0,)),))

        def build(schedule: gemm.Schedule, problem: gemm.Gemm = problem, tail: Tail = tail,
                  arrays: tuple[Array, ...] = (a, b, bias)) -> Callable[[int], None]:  # fmt: skip
            a, b, bias = (aligned(x) for x in arrays)
            packed = gemm.pack(b, problem, target, schedule)
            out = aligned(np.zeros((problem.m, problem.n), np.float32))
            sets = [[a, aligned(packed), out, bias, out] for _ in range(_sets(packed))]
            return repeated(gemm.gemm("kernel", target, problem, schedule, tail), target, sets)

        every = gemm.candidates(problem, target) if tune else [gemm.default(problem, target)]
        choices = [(str(s), partial(build, s)) for s in every]
        yield Case(f"gemm {m}x{n}x{k}", 2 * m * n * k, choices, _model("Gemm", (m, k), [b, bias]), a)


def convs(target: Target, tune: bool, rng: np.random.Generator) -> Iterator[Case]:
    lanes = target.lanes(4)
    for inputs, pixels, outputs, size, stride in CONVS:
        pads = size // 2
        ends = (pixels + 2 * pads - size) // stride + 1
        window = Window((size, size), (stride, stride), pads=(pads, pads))
        out = Image(outputs, ends, ends, lanes)
        source = Image(inputs, pixels, pixels, inputs if inputs < lanes else lanes)
        source = Image(inputs, pixels, pixels, source.block, window.reach(source, out))
        problem = conv.Conv(source, out, window)
        weights = rng.standard_normal((outputs, inputs, size, size), np.float32)
        bias = rng.standard_normal(outputs, np.float32)
        attrs = {"pads": [pads] * 4, "strides": [stride] * 2}
        model = _model("Conv", (1, inputs, pixels, pixels), [weights, bias], **attrs)
        feed = rng.standard_normal((1, inputs, pixels, pixels), np.float32)
        work = 2 * inputs * outputs * size * size * ends * ends
        label = f"{inputs}x{pixels}x{pixels} {size}x{size}/{stride} {outputs}"
        every: list[Any] = conv.candidates(problem, target) if tune else [conv.default(problem, target)]
        yield Case(f"conv {label}", work, _conv_choices(target, problem, weights, bias, every), model, feed)
        if winograd.applies(problem):
            every = winograd.candidates(problem, target) if tune else [winograd.default(problem, target)]
            yield Case(f"filtering {label}", work, _conv_choices(target, problem, weights, bias, every), model, feed)


def _conv_choices(target: Target, problem: conv.Conv, weights: Array, bias: Array, every: list[Any]) -> list[Any]:
    tail = Tail(_bias, (per_channel(problem.out.block),))

    def build(schedule: Any) -> Callable[[int], None]:
        room = 64
        if isinstance(schedule, winograd.Schedule):
            functions = winograd.winograd("kernel", target, problem, schedule, tail)
            packed = winograd.pack(weights, problem, target, schedule)
            room = winograd.scratch_bytes(problem, schedule)
        else:
            functions = conv.conv("kernel", target, problem, schedule, tail)
            packed = conv.pack(weights, problem, target, schedule)
        a, out = (aligned(np.ones(image.size, np.float32)) for image in (problem.source, problem.out))
        filled, scratch = aligned(np.resize(bias, -(-bias.size // 16) * 16)), aligned(np.zeros(room, np.uint8))
        sets = [[a, aligned(packed), out, filled, scratch] for _ in range(_sets(packed))]
        return repeated(functions, target, sets)

    return [(str(s), partial(build, s)) for s in every]


def depthwises(target: Target, tune: bool, rng: np.random.Generator) -> Iterator[Case]:
    lanes = target.lanes(4)
    for channels, pixels, stride in DEPTHWISE:
        window = Window((3, 3), (stride, stride), pads=(1, 1))
        ends = (pixels - 1) // stride + 1
        out = Image(channels, ends, ends, lanes)
        problem = depthwise.Depthwise(Image(channels, pixels, pixels, lanes, (1, 1, 1, 1)), out, window)
        weights = rng.standard_normal((channels, 1, 3, 3), np.float32)
        bias = rng.standard_normal(channels, np.float32)

        def build(schedule: depthwise.Schedule, problem: depthwise.Depthwise = problem,
                  weights: Array = weights, bias: Array = bias) -> Callable[[int], None]:  # fmt: skip
            tail = Tail(_bias, (per_channel(problem.out.block),))
            a, out = (aligned(np.ones(image.size, np.float32)) for image in (problem.source, problem.out))
            arrays = [a, aligned(depthwise.pack(weights, problem, target, schedule)), out, aligned(bias), out]
            return repeated(depthwise.depthwise("kernel", target, problem, schedule, tail), target, [arrays])

        every = depthwise.candidates(problem, target) if tune else [depthwise.default(problem, target)]
        choices = [(str(s), partial(build, s)) for s in every]
        attrs = {"pads": [1] * 4, "strides": [stride] * 2, "group": channels}
        model = _model("Conv", (1, channels, pixels, pixels), [weights, bias], **attrs)
        feed = rng.standard_normal((1, channels, pixels, pixels), np.float32)
        yield Case(
            f"depthwise {channels}x{pixels}x{pixels} 3x3/{stride}", 18 * channels * ends**2, choices, model, feed
        )


def bytes_convs(target: Target, tune: bool, rng: np.random.Generator) -> Iterator[Case]:
    lanes = target.lanes(4)
    for inputs, pixels, outputs, size, stride in CONVS[1:15]:
        pads = size // 2
        ends = (pixels + 2 * pads - size) // stride + 1
        window = Window((size, size), (stride, stride), pads=(pads, pads))
        out, held = Image(outputs, ends, ends, lanes, scalar=I32), integers(target).a
        source = Image(inputs, pixels, pixels, lanes, scalar=held)
        source = Image(inputs, pixels, pixels, lanes, window.reach(source, out), scalar=held)
        problem = conv.Conv(source, out, window)
        weights = rng.integers(-127, 128, (outputs, inputs, size, size)).astype(np.int8)

        def build(schedule: conv.Schedule, problem: conv.Conv = problem, weights: Array = weights) -> Any:
            tail = Tail(lambda f, a, _: f.add(a, constant(1, a.type)))
            a = aligned(np.ones(problem.source.size * problem.source.scalar.bits // 8, np.uint8))
            out = aligned(np.zeros(problem.out.size, np.int32))
            packed = conv.pack(weights, problem, target, schedule)
            sets = [[a, aligned(packed), out, out] for _ in range(_sets(packed))]
            return repeated(conv.conv("kernel", target, problem, schedule, tail), target, sets)

        every = conv.candidates(problem, target) if tune else [conv.default(problem, target)]
        choices = [(str(s), partial(build, s)) for s in every]
        x = rng.integers(0, 256, (1, inputs, pixels, pixels)).astype(np.uint8)
        one, zero = np.float32(1), np.uint8(0)
        operands = [np.asarray(a) for a in (one, zero, weights, one, np.int8(0), np.float32(99), zero)]
        model = _model("QLinearConv", x.shape, operands, pads=[pads] * 4, strides=[stride] * 2)
        for port in (model.graph.input[0], model.graph.output[0]):
            port.type.tensor_type.elem_type = onnx.TensorProto.UINT8
        label = f"bytes {inputs}x{pixels}x{pixels} {size}x{size}/{stride} {outputs}"
        yield Case(label, 2 * inputs * outputs * size * size * ends * ends, choices, model, x, bytes_=True)


def _sets(packed: Array) -> int:
    """How many copies of the weights keep them out of the caches."""
    return max(1, min(SETS, COLD // packed.nbytes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--core", type=int)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    pin(options.core)
    target, rng = targets.host(), np.random.default_rng(0)
    limits = {False: peak(floating(target), target), True: peak(integers(target), target)}
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    groups = (gemms, convs, depthwises, bytes_convs)
    print(f"{'kernel':<38}{'GOP/s':>8}{'of peak':>9}{'vs ORT':>8}  best schedule")
    for case in (case for group in groups for case in group(target, options.tune, rng)):
        if not all(word in case.name for word in options.words):
            continue
        session = onnxruntime.InferenceSession(case.model.SerializeToString(), settings, ["CPUExecutionProvider"])
        limit, limit_work = limits[case.bytes_]
        built = {name: make() for name, make in case.choices}
        functions: dict[str, Callable[[], object]] = {name: partial(run, 8) for name, run in built.items()}
        functions |= {"ort": partial(session.run, None, {"x": case.feed}), "peak": partial(limit, 8)}
        times = interleaved(functions, 5 if options.tune else 9, 0.01, options.clock)
        best = min(built, key=lambda name: times[name])
        rate, most = case.work / times[best] * 8, limit_work / times["peak"] * 8
        ratio = times["ort"] / times[best] * 8
        print(f"{case.name:<38}{rate / 1e9:>8.1f}{rate / most:>9.0%}{ratio:>8.2f}  {best}", flush=True)


if __name__ == "__main__":
    main()
