"""Every operator that oneDNN takes, and random chains of them, against onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.core.errors import BackendError, DeviceError
from onnx import helper, numpy_helper

import heddle
from tests.oracle import session

try:
    from heddle.backends.onednn.library import library

    library()
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

MODELS = Path(__file__).parents[2] / "models"
Arrays = dict[str, np.ndarray[Any, Any]]


def model(
    nodes: Sequence[onnx.NodeProto], inputs: Arrays, constants: Arrays, results: Sequence[str] = ("y",)
) -> onnx.ModelProto:
    """A model of these nodes over inputs of these shapes."""
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in inputs.items()
    ]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph(nodes, "test", ports, outputs, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnx.shape_inference.infer_shapes(made)


def compare(made: onnx.ModelProto, inputs: Arrays, tolerance: float = 1e-4, quanta: int = 0, **options: Any) -> None:
    """Demand that nothing is left to the host, and that the results are onnxruntime's."""
    compiled = heddle.compile(made, backends=["onednn"], options={"onednn": options} if options else None)
    found = compiled(*inputs.values())
    theirs = session(made)
    for output, wanted in zip(theirs.get_outputs(), theirs.run(None, inputs), strict=True):
        mine = np.asarray(found[output.name])
        assert mine.shape == wanted.shape
        assert mine.dtype == wanted.dtype
        if wanted.dtype.kind in "iu":
            assert np.abs(mine.astype(int) - wanted.astype(int)).max() <= quanta
        else:
            np.testing.assert_allclose(mine, wanted, rtol=0, atol=tolerance * max(1.0, float(np.abs(wanted).max())))


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape), np.float32)


CONVOLUTIONS = [
    ((1, 3, 9), (4, 3, 3), {"pads": [1, 1]}),
    ((2, 3, 9, 8), (8, 3, 3, 3), {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    ((1, 8, 6, 6), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
    ((1, 8, 9, 9), (6, 4, 3, 3), {"group": 2, "dilations": [2, 2]}),
    ((1, 1, 28, 28), (8, 1, 5, 5), {"auto_pad": "SAME_UPPER"}),
    ((1, 1, 9, 9), (3, 1, 4, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ((1, 5, 6, 6), (7, 5, 1, 1), {"strides": [2, 2]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"strides": [1, 2, 2]}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize("tail", [False, True])
def test_convolutions(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], tail: bool) -> None:
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c" if tail else "y"], **attributes)]
    inputs = {"x": normal(*x)}
    if tail:
        nodes += [helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Add", ["r", "r"], ["s"])]
        nodes += [helper.make_node("Mul", ["s", "k"], ["y"])]
    constants = {"w": normal(*w), "b": normal(w[0]), "k": normal(1, w[0], *[1] * (len(w) - 2))}
    compare(model(nodes, inputs, constants), inputs)


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((1, 3, 5, 5), (3, 4, 3, 3), {"strides": [2, 2]}),
        ((1, 4, 5, 6), (4, 2, 3, 2), {"group": 2, "pads": [1, 0, 1, 0]}),
        ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ((1, 2, 7), (2, 3, 3), {"dilations": [2]}),
    ],
)
def test_transposed_convolutions(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    inputs = {"x": normal(*x)}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
    compare(model([node], inputs, {"w": normal(*w)}), inputs)


SINGLE: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("MaxPool", (1, 3, 9, 9), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", (1, 3, 9, 9), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", (1, 3, 9), {"kernel_shape": [3], "dilations": [2]}),
    ("AveragePool", (1, 3, 9, 9), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", (1, 3, 9, 9), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("GlobalAveragePool", (2, 5, 7, 6), {}), ("GlobalMaxPool", (2, 5, 7, 6), {}),
    ("Relu", (3, 4), {}), ("Sigmoid", (3, 4), {}), ("Tanh", (7,), {}), ("Elu", (3, 4), {"alpha": 0.7}),
    ("Abs", (3, 4), {}), ("Exp", (3, 4), {}), ("LeakyRelu", (3, 4), {"alpha": 0.1}),
    ("HardSigmoid", (3, 4), {"alpha": 0.3, "beta": 0.4}), ("HardSwish", (3, 9), {}), ("Softplus", (3, 4), {}),
    ("Mish", (3, 4), {}), ("Softmax", (2, 3, 5), {"axis": 1}), ("LogSoftmax", (2, 3, 5), {}),
    ("Flatten", (2, 3, 5), {}), ("Transpose", (2, 3, 5), {"perm": [2, 0, 1]}), ("Transpose", (2, 3, 4, 5), {}),
    ("ReduceMax", (2, 3, 5), {"keepdims": 0}), ("ReduceSum", (2, 3, 5), {}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "shape", "attributes"), SINGLE)
def test_operators_of_one_operand(op: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    inputs = {"x": normal(*shape)}
    compare(model([helper.make_node(op, ["x"], ["y"], **attributes)], inputs, {}), inputs)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("other", [(2, 3, 4, 5), (5,), (3, 1, 1), (2, 1, 4, 1), ()])
def test_operators_of_two_operands(op: str, other: tuple[int, ...]) -> None:
    inputs = {"x": normal(2, 3, 4, 5), "z": np.asarray(normal(*other) + 3, np.float32)}
    compare(model([helper.make_node(op, ["x", "z"], ["y"])], inputs, {}), inputs)


@pytest.mark.parametrize(
    ("x", "w"), [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4, 5), (2, 3, 5, 6)), ((2, 3, 4, 5), (5, 6)),
                 ((2, 1, 4, 5), (3, 5, 6))],
)  # fmt: skip
@pytest.mark.parametrize("constant", [False, True])
def test_products(x: tuple[int, ...], w: tuple[int, ...], constant: bool) -> None:
    inputs, held = {"x": normal(*x)}, {"b": normal(w[-1])}
    (held if constant else inputs)["w"] = normal(*w)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["q"])]
    compare(model([*nodes, helper.make_node("Relu", ["q"], ["y"])], inputs, held), inputs)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("c", [(5,), (3, 1), (3, 5), (1,), None])
def test_gemm(turned: tuple[int, int], c: tuple[int, ...] | None) -> None:
    inputs = {"x": normal(4, 3) if turned[0] else normal(3, 4)}
    held = {"w": normal(5, 4) if turned[1] else normal(4, 5)} | ({} if c is None else {"c": normal(*c)})
    node = helper.make_node("Gemm", ["x", *held], ["y"], transA=turned[0], transB=turned[1])
    compare(model([node], inputs, held), inputs)


def test_normalization_concat_and_resize() -> None:
    inputs = {"x": normal(2, 3, 4, 6)}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "s", "b"], ["n"], epsilon=1e-3),
        helper.make_node("Resize", ["n", "", "f"], ["r"], mode="linear"),
        helper.make_node("Concat", ["r", "r"], ["y"], axis=1),
    ]
    held = {"s": normal(6), "b": normal(6, seed=1), "f": np.array([1, 1, 2, 2], np.float32)}
    compare(model(nodes, inputs, held), inputs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("zero", [0, 3])
def test_quantized_convolutions(dtype: Any, group: int, zero: int) -> None:
    """Scales per channel and zero points; one quantum is allowed where the sum lies between two."""
    inputs = {"x": normal(1, 8, 9, 9)}
    held = {
        "xs": np.float32(0.02), "z": np.array(zero, dtype), "ys": np.float32(0.09),
        "w": np.random.default_rng(1).integers(-127, 128, (16, 8 // group, 3, 3)).astype(np.int8),
        "ws": np.linspace(0.003, 0.02, 16, dtype=np.float32), "wz": np.zeros(16, np.int8),
        "b": np.arange(-800, 800, 100).astype(np.int32), "bs": np.linspace(6e-5, 4e-4, 16, dtype=np.float32),
        "bz": np.zeros(16, np.int32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["a"], axis=0),
        helper.make_node("Conv", ["d", "v", "a"], ["c"], group=group, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "ys", "z"], ["y"]),
    ]
    compare(model(nodes, inputs, held), inputs, quanta=1)


def random_chain(seed: int) -> tuple[onnx.ModelProto, Arrays]:
    """A few operators at random over an image, with branches that meet again."""
    rng = np.random.default_rng(seed)
    channels, size = int(rng.integers(1, 20)), int(rng.integers(3, 12))
    inputs = {"x": normal(int(rng.integers(1, 3)), channels, size, size, seed=seed)}
    nodes, held, values = [], {}, ["x"]
    for number in range(int(rng.integers(2, 9))):
        name, source = f"v{number}", values[-1 if rng.random() < 0.6 else int(rng.integers(len(values)))]
        match rng.integers(6):
            case 0 | 1:
                grouped = channels if rng.random() < 0.3 else 1
                kernel = int(rng.choice([1, 3]))
                held[f"w{number}"] = normal(channels, channels // grouped, kernel, kernel, seed=number) / 3
                inputs_ = [source, f"w{number}"]
                nodes.append(helper.make_node("Conv", inputs_, [name], group=grouped, pads=[kernel // 2] * 4))
            case 2:
                op = str(rng.choice(["Relu", "Sigmoid", "Tanh", "HardSwish", "Elu"]))
                nodes.append(helper.make_node(op, [source], [name]))
            case 3:
                other = values[int(rng.integers(len(values)))]
                nodes.append(helper.make_node(str(rng.choice(["Add", "Mul", "Sub", "Max"])), [source, other], [name]))
            case 4:
                held[f"k{number}"] = normal(*[(channels, 1, 1), (size,), (1,)][int(rng.integers(3))], seed=number)
                nodes.append(helper.make_node("Add", [source, f"k{number}"], [name]))
            case _:
                nodes.append(helper.make_node("MaxPool", [source], [name], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        values.append(name)
    nodes.append(helper.make_node("Softmax", [values[-1]], ["y"], axis=int(rng.integers(4))))
    return model(nodes, inputs, held, ("y", values[-1])), inputs


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed: int) -> None:
    compare(*random_chain(seed))


@pytest.mark.long
@pytest.mark.parametrize("first", range(40, 1000, 40))
def test_a_thousand_random_graphs(first: int) -> None:
    for seed in range(first, first + 40):
        compare(*random_chain(seed))


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


def test_bfloat16_is_an_option() -> None:
    inputs = {"x": normal(64, 256)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    compare(model([node], inputs, {"w": normal(256, 64)}), inputs, tolerance=2e-2, bf16=True)


def test_threads_are_positive() -> None:
    inputs = {"x": normal(3)}
    made = model([helper.make_node("Relu", ["x"], ["y"])], inputs, {})
    with pytest.raises(BackendError, match="onednn: threads is 0, 1 or more is expected"):
        heddle.compile(made, backends=["onednn"], options={"onednn": {"threads": 0}})


def test_a_missing_library_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from heddle.backends.onednn import backend
    from heddle.backends.onednn import library as binding

    monkeypatch.setattr(binding, "_path", lambda: "libdnnl-is-not-here.so")
    monkeypatch.setattr(backend, "library", binding.Library)
    with pytest.raises(BackendError, match=r'cannot be loaded.*pip install "heddle\[onednn\]"'):
        backend.Onednn()
