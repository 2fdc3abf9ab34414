"""Random graphs, and the models in the tree, against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import heddle
from benchmarks.models import NAMES, build
from benchmarks.onednn import QUANTIZED, offloaded
from tests.backends.graphs import Arrays, model, normal, random_graph
from tests.backends.onednn.comparing import blocks_are_whole, compare, needs_library
from tests.oracle import session

pytestmark = needs_library
MODELS = Path(__file__).parents[2] / "models"
Drawn = Callable[[int], tuple[onnx.ModelProto, Arrays]]


def random_rows(seed: int) -> tuple[onnx.ModelProto, Arrays]:
    """A few operators at random over rows of tokens, as transformers have them."""
    rng = np.random.default_rng([seed, 1])
    batch, rows, width = (int(rng.integers(1, high)) for high in (3, 9, 24))
    width = int(rng.choice([width, width, 192]))
    inputs = {"x": normal(batch, rows, width, seed=seed)}
    nodes, held, values = [], {"to": np.array([0, 0, -1], np.int64)}, ["x"]
    for number in range(int(rng.integers(3, 10))):
        name, source = f"v{number}", values[-1 if rng.random() < 0.7 else int(rng.integers(len(values)))]
        match rng.integers(8):
            case 0 | 1:
                held[f"w{number}"] = normal(width, width, seed=number) / np.float32(np.sqrt(width))
                nodes.append(helper.make_node("MatMul", [source, f"w{number}"], [name]))
            case 2:
                nodes.append(helper.make_node("Transpose", [source], [f"t{number}"], perm=[0, 2, 1]))
                nodes.append(helper.make_node("MatMul", [source, f"t{number}"], [f"p{number}"]))
                nodes.append(helper.make_node("Softmax", [f"p{number}"], [f"s{number}"]))
                nodes.append(helper.make_node("MatMul", [f"s{number}", source], [name]))
            case 3:
                held |= {f"s{number}": normal(width, seed=number), f"b{number}": normal(width, seed=number + 1)}
                nodes.append(helper.make_node("LayerNormalization", [source, f"s{number}", f"b{number}"], [name]))
            case 4:
                held[f"k{number}"] = normal(seed=number)
                op, first = str(rng.choice(["Add", "Sub", "Mul", "Div"])), bool(rng.integers(2))
                first = first and op != "Div"
                operands = [f"k{number}", source] if first else [source, f"k{number}"]
                nodes.append(helper.make_node(op, operands, [name]))
            case 5:
                nodes.append(helper.make_node(str(rng.choice(["Relu", "Sigmoid", "Tanh"])), [source], [name]))
            case 6:
                other = values[int(rng.integers(len(values)))]
                nodes.append(helper.make_node(str(rng.choice(["Add", "Sum", "Max"])), [source, other], [name]))
            case _:
                nodes.append(helper.make_node("Reshape", [source, "to"], [name]))
        values.append(name)
    nodes.append(helper.make_node("Tanh", [values[-1]], ["y"]))
    return model(nodes, inputs, held), inputs


def random_images(seed: int) -> tuple[onnx.ModelProto, Arrays]:
    """Windows, joins and reductions at random over images of one to three axes, often with whole blocks of channels."""
    rng = np.random.default_rng([seed, 2])
    axes, channels = int(rng.integers(1, 4)), int(rng.choice([3, 8, 16, 24]))
    size = int(rng.integers(4, (20, 12, 7)[axes - 1]))
    inputs = {"x": normal(int(rng.integers(1, 3)), channels, *(size,) * axes, seed=seed)}
    nodes, held, values, source = [], {}, {"x": channels}, "x"

    def add(op: str, operands: list[str], name: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(op, operands, [name], **attributes))

    for number in range(int(rng.integers(3, 9))):
        name = f"v{number}"
        source = list(values)[-1 if rng.random() < 0.6 else int(rng.integers(len(values)))]
        count = values[source]
        values[name] = count
        match rng.integers(9):
            case 0 | 1:
                values[name] = int(rng.choice([5, 8, 16]))
                kernel = int(rng.choice([1, 3]))
                held[f"w{number}"] = normal(values[name], count, *(kernel,) * axes, seed=number) / np.float32(count)
                held[f"b{number}"] = normal(values[name], seed=number)
                add("Conv", [source, f"w{number}", f"b{number}"], name, pads=[kernel // 2] * (2 * axes))
            case 2:
                group = int(rng.choice([1, count]))
                held[f"w{number}"] = normal(count, count // group, *(3,) * axes, seed=number) / np.float32(count)
                add("ConvTranspose", [source, f"w{number}"], name, group=group, pads=[1] * (2 * axes))
            case 3:
                same = [other for other in values if other != name]
                joined = [source, *rng.choice(same, int(rng.integers(1, 3)))]
                values[name] = sum(values[one] for one in joined)
                add("Concat", joined, name, axis=1)
            case 4:
                for seed_, of in enumerate(("s", "b", "m")):
                    held[f"{of}{number}"] = normal(count, seed=seed_)
                held[f"v{number}v"] = np.abs(normal(count, seed=9)) + np.float32(0.1)
                add("BatchNormalization", [source, f"s{number}", f"b{number}", f"m{number}", f"v{number}v"], name)
            case 5:
                op = str(rng.choice(["Relu", "Abs", "HardSigmoid", "Softplus", "Mish", "Neg", "LeakyRelu", "Clip"]))
                held["low"], held["high"] = np.float32(-0.5), np.float32(0.8)
                add(op, [source, *(["low", "high"] if op == "Clip" else [])], name)
            case 6:
                op = str(rng.choice(["MaxPool", "AveragePool"]))
                add(op, [source], name, kernel_shape=[3] * axes, pads=[1] * (2 * axes))
            case 7:
                alike = [one for one in values if values[one] == count and one != name]
                add(str(rng.choice(["Add", "Mul", "Min", "Sum"])), [source, str(rng.choice(alike))], name)
            case _:
                held["twice"] = np.array([1, 1, *(2,) * axes], np.float32)
                mode = str(rng.choice(["linear", "nearest"]))
                place = {"linear": "half_pixel", "nearest": "asymmetric"}[mode]
                ways = {"coordinate_transformation_mode": place, "nearest_mode": "floor"}
                add("Resize", [source, "", "twice"], f"r{number}", mode=mode, **ways)
                add("MaxPool", [f"r{number}"], name, kernel_shape=[2] * axes, strides=[2] * axes)
    match rng.integers(4):
        case 0:
            held["axes"] = np.array([-1], np.int64)
            add(str(rng.choice(["ReduceMean", "ReduceMax", "ReduceL2"])), [list(values)[-1], "axes"], "y")
        case 1:
            add("GlobalAveragePool", [list(values)[-1]], "g")
            add("Flatten", ["g"], "f")
            held["gw"], held["gb"] = normal(values[list(values)[-1]], 6), normal(6)
            add("Gemm", ["f", "gw", "gb"], "y")
        case 2:
            add("GlobalMaxPool", [list(values)[-1]], "y")
        case _:
            add("Transpose", [list(values)[-1]], "y", perm=[0, *range(2, 2 + axes), 1])
    return model(nodes, inputs, held), inputs


@pytest.mark.parametrize("drawn", [random_graph, random_rows, random_images])
@pytest.mark.parametrize("seed", range(20))
def test_random_graphs(seed: int, drawn: Drawn) -> None:
    compare(*drawn(seed))


@pytest.mark.parametrize("drawn", [random_rows, random_images])
@pytest.mark.parametrize("seed", range(12))
def test_blocks_of_channels_are_whole(seed: int, drawn: Drawn) -> None:
    assert blocks_are_whole(drawn(seed)[0])


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 1000, 40))
def test_a_thousand_random_graphs(first: int) -> None:
    for seed in range(first, first + 40):
        compare(*(random_graph, random_rows, random_images)[seed % 3](seed))


@pytest.mark.parametrize("name", ["mnist.onnx", "rfb320.onnx"])
def test_models(name: str) -> None:
    """The models in the tree, saved and loaded, from several threads at once."""
    made = onnx.load(MODELS / name)
    dims = [dim.dim_value or 1 for dim in made.graph.input[0].type.tensor_type.shape.dim]
    x = normal(*dims)
    theirs = session(made)
    wanted = theirs.run(None, {made.graph.input[0].name: x})
    compiled = heddle.compile(made, backends=["onednn", "host"])
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda _: compiled(x), range(6)):
            for output, array in zip(theirs.get_outputs(), wanted, strict=True):
                mine = np.asarray(found[output.name])
                assert np.abs(mine - array).max() <= 1e-4 * np.abs(array).max()


@pytest.mark.parametrize("name", ["mobilenetv2", "vit_tiny"])
def test_models_are_offloaded(name: str) -> None:
    """Nearly all multiplications; `test_all_models_are_offloaded` asks it of the whole set."""
    assert offloaded(build(name)) >= 0.95


@pytest.mark.long
@pytest.mark.parametrize("name", [*NAMES, *QUANTIZED])
def test_all_models_are_offloaded(name: str) -> None:
    assert offloaded(build(name)) >= 0.95
