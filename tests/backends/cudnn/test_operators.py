"""What is taken, operator by operator and in random graphs, against onnxruntime, on a pretended GPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.backends.cudnn.program import Plan, from_bytes
from heddle.core.errors import DeviceError
from onnx import helper

import heddle
from tests.backends import graphs
from tests.backends.cudnn import simulated
from tests.backends.graphs import CONVOLUTIONS, Arrays, normal
from tests.oracle import session

Array = np.ndarray[Any, Any]

model = partial(graphs.model, opset=18)
random_graph = partial(graphs.random_graph, moves=True, opset=18)


def run(made: onnx.ModelProto, inputs: Arrays, **options: Any) -> list[Array]:
    """The results after two runs over the same buffers and two recorded ones, with nothing left to the host."""
    simulated.reset()
    backend = simulated.opened(**options)
    with heddle.compile(made, backends=[backend], devices={"cudnn": simulated.device()}) as compiled:
        for _ in range(3):
            found = [np.asarray(array).copy() for array in compiled(*inputs.values())]
    return found


def compare(made: onnx.ModelProto, inputs: Arrays, tolerance: float = 1e-4, **options: Any) -> None:
    """Demand onnxruntime's results."""
    theirs = session(made)
    for mine, wanted in zip(run(made, inputs, **options), theirs.run(None, inputs), strict=True):
        assert (mine.shape, mine.dtype) == (wanted.shape, wanted.dtype)
        if wanted.dtype.kind != "f":
            np.testing.assert_array_equal(mine, wanted)
        else:
            scale = max(1.0, float(np.abs(wanted.astype(np.float32)).max()))
            np.testing.assert_allclose(
                mine.astype(np.float32), wanted.astype(np.float32), rtol=0, atol=tolerance * scale
            )


TAILS: list[list[tuple[str, tuple[str, ...], dict[str, Any]]]] = [
    [], [("Relu", (), {})], [("Add", ("r",), {}), ("Relu", (), {})], [("Clip", ("low", "high"), {})],
    [("LeakyRelu", (), {"alpha": 0.2}), ("Mul", ("k",), {})], [("Sigmoid", (), {})], [("Add", ("k",), {})],
]  # fmt: skip


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize("tail", range(len(TAILS)))
def test_convolutions(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], tail: int) -> None:
    if tail > 1 and w[0] == 4:
        pytest.skip("tails are the same for every rank")
    inputs = {"x": normal(*x)}
    probe = model([helper.make_node("Conv", ["x", "w"], ["y"], **attributes)], inputs, {"w": normal(*w)})
    shape = tuple(d.dim_value for d in probe.graph.output[0].type.tensor_type.shape.dim)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["v0"], **attributes)]
    for number, (op, more, attrs) in enumerate(TAILS[tail]):
        nodes.append(helper.make_node(op, [f"v{number}", *more], [f"v{number + 1}"], **attrs))
    nodes[-1].output[0] = "y"
    constants = {
        "w": normal(*w), "b": normal(w[0]), "k": normal(1, w[0], *[1] * (len(w) - 2)),
        "low": np.float32(-0.5), "high": np.float32(0.7),
    }  # fmt: skip
    if any("r" in more for _, more, _ in TAILS[tail]):
        inputs["r"] = normal(*shape, seed=1)
    used = {name for node in nodes for name in node.input}
    compare(model(nodes, inputs, {name: a for name, a in constants.items() if name in used}), inputs)


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((1, 3, 5, 5), (3, 4, 3, 3), {"strides": [2, 2]}),
        ((1, 4, 5, 6), (4, 2, 3, 2), {"group": 2, "pads": [1, 0, 1, 0]}),
        ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
        ((1, 2, 7), (2, 3, 3), {"dilations": [2]}),
    ],
)
def test_transposed_convolutions(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    inputs = {"x": normal(*x)}
    nodes = [helper.make_node("ConvTranspose", ["x", "w", "b"], ["c"], **attributes)]
    nodes += [helper.make_node("Relu", ["c"], ["y"])]
    compare(model(nodes, inputs, {"w": normal(*w), "b": normal(w[1] * attributes.get("group", 1))}), inputs)


@pytest.mark.parametrize(
    ("x", "w"),
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4, 5), (2, 3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6)),
     ((4,), (4, 5)), ((2, 3, 4), (4,)), ((5, 6), (2, 6, 3)), ((2, 70), (70,))],
)  # fmt: skip
@pytest.mark.parametrize("constant", [False, True])
def test_products(x: tuple[int, ...], w: tuple[int, ...], constant: bool) -> None:
    inputs, held = {"x": normal(*x)}, {"b": normal(w[-1] if len(w) > 1 else 1)}
    (held if constant else inputs)["w"] = normal(*w)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["q"])]
    nodes += [helper.make_node("Relu", ["q"], ["y"])]
    compare(model(nodes, inputs, held), inputs)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("c", [(5,), (3, 1), (3, 5), (1,), None])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.5, 2.0)])
def test_gemm(turned: tuple[int, int], c: tuple[int, ...] | None, scales: tuple[float, float]) -> None:
    inputs = {"x": normal(4, 3) if turned[0] else normal(3, 4), "r": normal(3, 5)}
    held = {"w": normal(5, 4) if turned[1] else normal(4, 5)} | ({} if c is None else {"c": normal(*c)})
    alpha, beta = scales
    node = helper.make_node("Gemm", ["x", *held], ["g"], transA=turned[0], transB=turned[1], alpha=alpha, beta=beta)
    nodes = [node, helper.make_node("Add", ["r", "g"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    compare(model(nodes, inputs, held), inputs)


MOVES: list[tuple[str, tuple[int, ...], dict[str, Array], dict[str, Any]]] = [
    ("Transpose", (2, 3, 5, 4), {}, {"perm": [3, 1, 0, 2]}), ("Flatten", (2, 3, 5), {}, {"axis": 2}),
    ("Expand", (3, 1), {"to": np.array([2, 3, 4])}, {}), ("Tile", (2, 3), {"n": np.array([2, 3])}, {}),
    ("Slice", (5, 7), {"s": np.array([4, 1]), "e": np.array([0, 6]), "a": np.array([0, 1]),
        "t": np.array([-2, 2])}, {}),
    ("Pad", (2, 3, 4), {"p": np.array([0, 1, 2, 0, 0, 3])}, {"mode": "constant"}),
    ("Pad", (2, 3, 4), {"p": np.array([0, 1, 2, 0, 1, 3])}, {"mode": "reflect"}),
    ("Gather", (5, 4), {"i": np.array([[0, -1, 3], [2, 2, 1]])}, {"axis": 0}),
    ("GatherElements", (3, 4), {"i": np.array([[0, 2, 1, 0], [1, 1, -1, 0]])}, {"axis": 0}),
    ("GatherND", (3, 4, 5), {"i": np.array([[0, 1], [2, -1]])}, {}),
    ("DepthToSpace", (1, 8, 2, 3), {}, {"blocksize": 2}), ("SpaceToDepth", (1, 2, 4, 6), {}, {"blocksize": 2}),
    ("Resize", (1, 2, 3, 4), {"": np.zeros(0), "f": np.array([1, 1, 2, 1.5], np.float32)}, {"mode": "linear"}),
    ("Resize", (1, 2, 3, 4), {"": np.zeros(0), "f": np.array([1, 1, 2, 2], np.float32)}, {"mode": "nearest"}),
    ("Trilu", (4, 5), {"k": np.array(1)}, {"upper": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "shape", "constants", "attributes"), MOVES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_movements(op: str, shape: tuple[int, ...], constants: Arrays, attributes: dict[str, Any], dtype: Any) -> None:
    inputs = {"x": normal(*shape, dtype=dtype)}
    node = helper.make_node(op, ["x", *constants], ["y"], **attributes)
    compare(model([node], inputs, {name: a for name, a in constants.items() if name}), inputs, tolerance=2e-3)


@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("columns", [5, 64, 100, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows(rows: int, columns: int, dtype: Any) -> None:
    """Softmax, normalization and reductions by teams of threads, with rows that no team divides."""
    inputs = {"x": normal(2, rows, columns, dtype=dtype)}
    held = {"s": normal(columns, dtype=dtype), "b": normal(columns, seed=1, dtype=dtype)}
    held |= {"one": np.array([1]), "two": np.array([1, 2])}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "s", "b"], ["n"]),
        helper.make_node("Softmax", ["n"], ["y"]),
        helper.make_node("ReduceMax", ["x", "one"], ["m"], keepdims=0),
        helper.make_node("ReduceMean", ["x", "two"], ["a"]),
        helper.make_node("ArgMax", ["x"], ["i"], axis=2),
        helper.make_node("LogSoftmax", ["x"], ["l"], axis=1),
    ]
    made = model(nodes, inputs, held, ("y", "m", "a", "i", "l"))
    compare(made, inputs, tolerance=1e-5 if dtype is np.float32 else 3e-3)


def test_rows_share_a_kernel() -> None:
    """What follows a reduction over the same rows is one launch with it."""
    inputs = {"x": normal(2, 40, 64)}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "s", "b"], ["n"]),
        helper.make_node("Softmax", ["n"], ["y"]),
    ]
    made = model(nodes, inputs, {"s": normal(64), "b": normal(64, seed=1)})
    with heddle.compile(made, backends=[simulated.opened()], devices={"cudnn": simulated.device()}) as compiled:
        program = from_bytes(compiled.schedules[0].steps[0].artifact.code)
    assert len(program.steps) == 1


def attention_model(
    heads: int, size: int, mask: bool, dtype: Any, turned: bool, over: bool = False
) -> tuple[onnx.ModelProto, Arrays]:
    """Scaled attention over the heads of two sequences, as exporters write it."""
    batch, queries, keys = 2, 5, 7
    inputs = {
        "q": normal(batch, queries, heads, size, dtype=dtype), "k": normal(batch, keys, heads, size, dtype=dtype),
        "v": normal(batch, keys, heads, size, dtype=dtype),
    }  # fmt: skip
    nodes = [helper.make_node("Transpose", [name], [f"{name}t"], perm=[0, 2, 1, 3]) for name in "qv"]
    if turned:
        nodes += [helper.make_node("Transpose", ["k"], ["kh"], perm=[0, 2, 1, 3])]
        nodes += [helper.make_node("Transpose", ["kh"], ["kt"], perm=[0, 1, 3, 2])]
    else:
        nodes += [helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 3, 1])]
    nodes += [
        helper.make_node("MatMul", ["qt", "kt"], ["s"]),
        helper.make_node("Div" if over else "Mul", ["s", "f"], ["t"]),
    ]
    held = {"f": np.asarray(np.sqrt(size) if over else 1 / np.sqrt(size), dtype)}
    if mask:
        held["m"] = np.where(np.arange(keys) < 4, 0, -100).astype(dtype) * np.ones((batch, 1, queries, 1), dtype)
        nodes += [helper.make_node("Add", ["t", "m"], ["u"])]
    nodes += [
        helper.make_node("Softmax", ["u" if mask else "t"], ["p"]),
        helper.make_node("MatMul", ["p", "vt"], ["y"]),
    ]
    return model(nodes, inputs, held), inputs


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("size", "fused"), [(8, True), (12, False)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_attention(mask: bool, turned: bool, size: int, fused: bool, dtype: Any) -> None:
    made, inputs = attention_model(3, size, mask, dtype, turned)
    compare(made, inputs, tolerance=1e-5 if dtype is np.float32 else 3e-3)
    simulated.reset()
    opened = simulated.device()
    with heddle.compile(made, backends=[simulated.opened()], devices={"cudnn": opened}) as compiled:
        compiled(*inputs.values())
    assert ("attention" in opened.library.ran) == (fused and dtype is np.float16)


def test_fused_attention_reads_heads_where_they_are() -> None:
    """No copy is made of queries, keys and values that lie as the projections gave them; scores may be divided."""
    made, inputs = attention_model(3, 8, True, np.float16, False, over=True)
    compare(made, inputs, tolerance=3e-3)
    simulated.reset()
    with heddle.compile(made, backends=[simulated.opened()], devices={"cudnn": simulated.device()}) as compiled:
        (step,) = from_bytes(compiled.schedules[0].steps[0].artifact.code).steps
    assert isinstance(step.what, Plan)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Less", "Pow"])
@pytest.mark.parametrize("other", [(2, 3, 4, 5), (5,), (3, 1, 1), (2, 1, 4, 1), ()])
def test_operators_of_two_operands(op: str, other: tuple[int, ...]) -> None:
    inputs = {"x": normal(2, 3, 4, 5), "z": np.asarray(normal(*other) + 3, np.float32)}
    held = {}
    if op == "Pow":
        held["z"], inputs = np.full(other, 2, np.float32), {"x": inputs["x"]}
    compare(model([helper.make_node(op, ["x", "z"], ["y"])], inputs, held), inputs)


def test_many_elements_move_by_many_at_once() -> None:
    inputs = {"x": normal(2, 512, 1028)}
    nodes = [helper.make_node("Elu", ["x"], ["e"]), helper.make_node("Softplus", ["e"], ["f"])]
    compare(model([*nodes, helper.make_node("Add", ["f", "x"], ["y"])], inputs, {}), inputs, tolerance=1e-6)


def test_an_index_outside_is_a_fault() -> None:
    inputs = {"x": normal(5, 4), "i": np.array([1, 7])}
    made = model([helper.make_node("Gather", ["x", "i"], ["y"])], inputs, {})
    with pytest.raises(DeviceError, match=r"an index is outside of a dimension of 5"):
        run(made, inputs)
    compare(made, {"x": inputs["x"], "i": np.array([1, -5])})


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs(seed: int) -> None:
    compare(*random_graph(seed))


@pytest.mark.long
@pytest.mark.parametrize("first", range(12, 1000, 38))
def test_a_thousand_random_graphs(first: int) -> None:
    for seed in range(first, min(first + 38, 1000)):
        compare(*random_graph(seed))


@pytest.mark.parametrize(("alpha", "beta", "where"), [(1.0, 0.0, "host"), (0.0, 1.0, "host"), (-2.0, 0.5, "cudnn")])
def test_a_product_that_zero_multiplies_is_refused(alpha: float, beta: float, where: str) -> None:
    """The library does not read what zero multiplies; infinity there would make no number."""
    inputs = {"x": normal(2, 3), "w": normal(3, 4), "c": normal(2, 4)}
    made = model([helper.make_node("Gemm", [*inputs], ["y"], alpha=alpha, beta=beta)], inputs, {})
    assert {region.backend for region in heddle.plan(made, ["cudnn", "host"]).regions} == {where}


SCALES = [("Mul", 0.5, True), ("Mul", 2.0, False), ("Div", 8.0, True), ("Div", 0.5, False)]


@pytest.mark.parametrize(("op", "number", "fused"), SCALES)
def test_attention_is_fused_where_scores_grow_no_larger(op: str, number: float, fused: bool) -> None:
    """Larger scores would be further apart in float32 than in float16, in which the operators one by one hold them."""
    shapes = {"q": (1, 2, 4, 8), "k": (1, 2, 8, 4), "v": (1, 2, 4, 8)}
    inputs = {name: normal(*shape, dtype=np.float16) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"]), helper.make_node(op, ["s", "n"], ["t"]),
        helper.make_node("Softmax", ["t"], ["p"]), helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]  # fmt: skip
    (region,) = heddle.plan(model(nodes, inputs, {"n": np.float16(number)}), ["cudnn", "host"]).regions
    assert region.backend == "cudnn"
    assert ("attention" in {match.pattern.name for match in region.matches}) == fused
