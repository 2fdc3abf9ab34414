"""Random graphs, and the models in the tree, against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import heddle
from benchmarks.models import NAMES, build
from benchmarks.onednn import QUANTIZED, offloaded
from tests.backends.graphs import Arrays, model, normal, random_graph
from tests.backends.onednn.comparing import compare, needs_library
from tests.oracle import session

pytestmark = needs_library
MODELS = Path(__file__).parents[2] / "models"
Drawn = Callable[[int], tuple[onnx.ModelProto, Arrays]]


def random_rows(seed: int) -> tuple[onnx.ModelProto, Arrays]:
    """A few operators at random over rows of tokens, as transformers have them."""
    rng = np.random.default_rng([seed, 1])
    batch, rows, width = (int(rng.integers(1, high)) for high in (3, 9, 24))
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


@pytest.mark.parametrize("drawn", [random_graph, random_rows])
@pytest.mark.parametrize("seed", range(25))
def test_random_graphs(seed: int, drawn: Drawn) -> None:
    compare(*drawn(seed))


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 1000, 40))
def test_a_thousand_random_graphs(first: int) -> None:
    for seed in range(first, first + 40):
        compare(*(random_rows if seed % 2 else random_graph)(seed))


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
