"""Operator by operator, each as a model of its own: Heddle's time for it beside onnxruntime's.

    python -m benchmarks.operators [WORD...] [--core N] [--rounds N] [--clock wall|cpu] [--below RATIO]

A word chooses the lines that contain it; `--below` prints only those whose ratio is lower. Sizes are such that work
outweighs calls. The ratio is onnxruntime's time over Heddle's: above 1, Heddle is faster.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from heddle.measure.compare import compare
from heddle.measure.peers import chosen_peers
from heddle.measure.timing import CLOCKS, pin

Array = NDArray[Any]
OPSET = 18
TURN = 0.02

UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor"),
    *("HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid"),
    *("Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh"),
)
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Greater", "Equal", "Mod")
REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceProd", "ReduceLogSumExp")


@dataclass(frozen=True)
class Case:
    """An operator with its operands: float inputs are drawn, other arrays are constants."""

    op: str
    operands: tuple[tuple[int, ...] | Array, ...]
    attrs: dict[str, Any]
    outputs: int = 1
    low: float = -3.0
    high: float = 3.0

    @property
    def name(self) -> str:
        shapes = " ".join("x".join(map(str, getattr(o, "shape", o))) or "scalar" for o in self.operands)
        attrs = " ".join(f"{key}={value}" for key, value in self.attrs.items())
        return f"{self.op} {shapes} {attrs}".strip()


def _case(op: str, *operands: tuple[int, ...] | Array, outputs: int = 1, low: float = -3.0, high: float = 3.0,
          **attrs: Any) -> Case:  # fmt: skip
    return Case(op, operands, attrs, outputs, low, high)


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


def cases() -> Iterator[Case]:
    """The list, a family after the other."""
    rng = np.random.default_rng(0)
    floats = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    ranges = {"Acosh": (1, 9), "Acos": (-1, 1), "Asin": (-1, 1), "Atanh": (-0.9, 0.9), "Log": (0.01, 9), "Sqrt": (0, 9)}
    for op in UNARY:
        low, high = ranges.get(op, (-3, 3))
        yield _case(op, (64, 4096), low=low, high=high)
    for op in BINARY:
        more = {"fmod": 1} if op == "Mod" else {}
        yield _case(op, (64, 4096), (64, 4096), low=0.1, **more)
        yield _case(op, (64, 4096), (4096,), low=0.1, **more)
    yield _case("Add", (16, 64, 32, 32), floats(64, 1, 1))
    yield _case("PRelu", (16, 64, 32, 32), floats(64, 1, 1))
    yield _case("Clip", (64, 4096), np.float32(-1), np.float32(1))
    yield _case("Where", np.arange(64 * 4096).reshape(64, 4096) % 3 == 0, (64, 4096), (64, 4096))
    for op in REDUCTIONS:
        yield _case(op, (256, 1024), _ints(1), keepdims=0, low=0.9, high=1.1)
        yield _case(op, (256, 1024), _ints(0), keepdims=0, low=0.9, high=1.1)
        yield _case(op, (8, 64, 28, 28), _ints(2, 3), keepdims=1, low=0.9, high=1.1)
    yield _case("ArgMax", (256, 1024), axis=1)
    yield _case("ArgMax", (256, 1024), axis=0)
    yield _case("CumSum", (256, 1024), np.int64(1))
    yield _case("CumSum", (256, 1024), np.int64(0))
    for length in (49, 128, 197, 1000, 4096):
        yield _case("Softmax", (262144 // length, length), axis=-1)
    yield _case("Softmax", (8, 64, 28, 28), axis=1)
    yield _case("LogSoftmax", (256, 1000), axis=-1)
    for length in (192, 384, 768, 1000):
        yield _case("LayerNormalization", (256, length), floats(length), floats(length), axis=-1)
    channels = [floats(64), floats(64), floats(64), np.abs(floats(64)) + 1]
    yield _case("BatchNormalization", (4, 64, 56, 56), *channels)
    yield _case("InstanceNormalization", (4, 64, 56, 56), *channels[:2])
    yield _case("LRN", (1, 64, 56, 56), size=5)
    yield _case("LpNormalization", (256, 1024), axis=1)
    for k, width in ((1, 1000), (5, 1000), (64, 1000), (500, 1000), (10, 100000)):
        yield _case("TopK", (max(1, 64000 // width), width), _ints(k), outputs=2)
    yield _case("TopK", (16, 1000, 16), _ints(5), outputs=2, axis=1)
    yield _case("Transpose", (512, 512), perm=[1, 0])
    yield _case("Transpose", (1, 128, 12, 64), perm=[0, 2, 1, 3])
    yield _case("Transpose", (8, 64, 28, 28), perm=[0, 2, 3, 1])
    yield _case("Transpose", (8, 28, 28, 64), perm=[0, 3, 1, 2])
    yield _case("Concat", (8, 64, 28, 28), (8, 32, 28, 28), axis=1)
    yield _case("Slice", (64, 4096), _ints(0, 7), _ints(64, 4000))
    yield _case("Slice", (64, 4096), _ints(0), _ints(4096), _ints(1), _ints(3))
    yield _case("Split", (64, 4096), _ints(1024, 2048, 1024), axis=1, outputs=3)
    yield _case("Pad", (8, 64, 28, 28), _ints(0, 0, 1, 1, 0, 0, 1, 1))
    yield _case("Pad", (8, 64, 28, 28), _ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    yield _case("Tile", (64, 512), _ints(2, 4))
    yield _case("Expand", (64, 1, 512), _ints(64, 8, 512))
    yield _case("Gather", (4096, 256), rng.integers(0, 4096, 512), axis=0)
    yield _case("Gather", (256, 4096), rng.integers(0, 4096, 512), axis=1)
    yield _case("GatherElements", (256, 1024), rng.integers(0, 256, (256, 1024)), axis=0)
    yield _case("ScatterElements", (256, 1024), rng.permuted(np.tile(np.arange(1024), (256, 1)), axis=1), (256, 1024),
                axis=1)  # fmt: skip
    yield _case("GatherND", (64, 64, 64), rng.integers(0, 64, (512, 2)))
    yield _case("DepthToSpace", (4, 64, 56, 56), blocksize=2)
    yield _case("SpaceToDepth", (4, 16, 112, 112), blocksize=2)
    scales = np.array([1, 1, 2, 2], np.float32)
    yield _case("Resize", (1, 64, 56, 56), np.empty(0, np.float32), scales, mode="nearest")
    yield _case("Resize", (1, 64, 56, 56), np.empty(0, np.float32), scales, mode="linear")
    yield _case("Resize", (1, 64, 56, 56), np.empty(0, np.float32), scales, mode="cubic")
    yield _case("GridSample", (1, 32, 56, 56), rng.uniform(-1, 1, (1, 56, 56, 2)).astype(np.float32))
    yield _case("MaxPool", (1, 64, 112, 112), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    yield _case("AveragePool", (1, 64, 56, 56), kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    yield _case("GlobalAveragePool", (1, 2048, 7, 7))
    yield _case("LpPool", (1, 64, 56, 56), kernel_shape=[2, 2], strides=[2, 2])
    yield _case("Conv", (1, 64, 56, 56), floats(64, 64, 3, 3), pads=[1] * 4)
    yield _case("Conv", (1, 256, 28, 28), floats(128, 256, 1, 1))
    yield _case("Conv", (1, 96, 56, 56), floats(96, 1, 3, 3), pads=[1] * 4, group=96)
    yield _case("Conv", (1, 64, 28, 28), floats(64, 16, 3, 3), pads=[1] * 4, group=4)
    yield _case("Conv", (4, 64, 1024), floats(64, 64, 3), pads=[1] * 2)
    yield _case("ConvTranspose", (1, 64, 28, 28), floats(64, 32, 4, 4), strides=[2, 2], pads=[1] * 4)
    yield _case("MatMul", (128, 768), floats(768, 768))
    yield _case("MatMul", (12, 128, 64), (12, 64, 128))
    yield _case("MatMul", (1, 1024), floats(1024, 1024))
    yield _case("Gemm", (64, 512), floats(512, 512), floats(512), transB=1)
    yield _case("Einsum", (8, 64, 64), (8, 64, 64), equation="bij,bjk->bik")
    yield _case("LSTM", (32, 1, 128), floats(1, 512, 128) / 10, floats(1, 512, 128) / 10, hidden_size=128)
    yield _case("GRU", (32, 1, 128), floats(1, 384, 128) / 10, floats(1, 384, 128) / 10, hidden_size=128)
    yield _case("QuantizeLinear", (64, 4096), np.float32(0.1), np.uint8(128))
    yield _case("DequantizeLinear", rng.integers(0, 256, (64, 4096)).astype(np.uint8), np.float32(0.1), np.uint8(128))
    yield _case("DynamicQuantizeLinear", (64, 4096), outputs=3)
    yield _case("Cast", (64, 4096), to=onnx.TensorProto.INT32)
    yield _case("Cast", (64, 4096), to=onnx.TensorProto.FLOAT16)
    yield _case("Trilu", (512, 512), upper=0)
    yield _case("OneHot", rng.integers(0, 64, (4096,)), np.int64(64), np.array([0, 1], np.float32))


def model(case: Case) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The operator as a model, and its inputs. Constants that are large are inputs as well, lest they be folded."""
    rng = np.random.default_rng(1)
    ports, constants, feed = [], [], {}
    for number, operand in enumerate(case.operands):
        name = f"x{number}"
        drawn = isinstance(operand, tuple)
        array = rng.uniform(case.low, case.high, operand).astype(np.float32) if drawn else np.asarray(operand)
        if drawn or (number == 0 and array.size > 1):
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            ports.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
            feed[name] = array
        else:
            constants.append(onnx.numpy_helper.from_array(array, name))
    inputs = [f"x{number}" for number in range(len(case.operands))]
    outputs = [f"y{number}" for number in range(case.outputs)]
    node = onnx.helper.make_node(case.op, inputs, outputs, **case.attrs)
    graph = onnx.helper.make_graph(
        [node], case.op, ports, [onnx.ValueInfoProto(name=name) for name in outputs], constants
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=9)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True), feed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--core", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--below", type=float, default=math.inf)
    options = parser.parse_args()
    pin(options.core)
    peers = chosen_peers(["onnxruntime"])
    ratios = []
    print(f"{'operator':<64}{'heddle us':>11}{'ratio':>8}{'difference':>13}")
    for case in cases():
        if not all(re.search(word, case.name) for word in options.words):
            continue
        made, feed = model(case)
        found = compare(case.name, made, feed, peers, rounds=options.rounds, clock=options.clock, seconds=TURN)
        ratio = found.ratio("onnxruntime")
        ratios.append(ratio)
        if ratio < options.below:
            difference = found.differences["onnxruntime"]
            micros = found.seconds["heddle"] * 1e6
            print(f"{case.name[:63]:<64}{micros:>11.1f}{ratio:>8.2f}{difference:>13.1e}", flush=True)
    print(f"geometric mean of {len(ratios)}: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}")


if __name__ == "__main__":
    main()
