"""Every operator of real numbers that oneDNN takes, against onnxruntime."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.backends.onednn.layouts import blocked
from heddle.backends.onednn.library import DST
from heddle.core.codegen.target import host
from onnx import helper

import heddle
from tests.backends.graphs import CONVOLUTIONS, Arrays, model, normal
from tests.backends.onednn.comparing import blocks_are_whole, compare, kinds, needs_library, program

pytestmark = needs_library


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


@pytest.mark.parametrize(
    "other", [(3, 1), (2, 1, 1), (1, 3, 1), (2, 3, 1), (1, 3, 8), (2, 3, 8), (8,), (1, 1, 8), (1,)]
)
@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
def test_operands_along_each_axis_of_a_product(other: tuple[int, ...], op: str) -> None:
    """The rows of all leading axes are one axis in the library: what follows one of those cannot be part of it."""
    inputs, held = {"x": normal(2, 3, 8), "z": normal(*other)}, {"w": normal(8, 8)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node(op, ["p", "z"], ["y"])]
    compare(model(nodes, inputs, held), inputs)


@pytest.mark.parametrize("number", [(), (1,), (1, 1)])
def test_a_number_added_to_a_product_of_one_column(number: tuple[int, ...]) -> None:
    inputs, held = {"x": normal(5, 4)}, {"w": normal(4, 1), "n": np.full(number, 3, np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "n"], ["y"])]
    compare(model(nodes, inputs, held), inputs)


def feed_forward(rows: tuple[int, ...] = (2, 5), width: int = 192, inner: int = 256) -> tuple[onnx.ModelProto, Arrays]:
    """Two products that follow each other, a sum with what they began with, and readers that want rows."""
    inputs = {"x": normal(*rows, width), "k": normal(width)}
    scale = np.float32(1 / np.sqrt(width))
    held = {
        "up": normal(width, inner) * scale, "bias": normal(inner), "down": normal(inner, width, seed=1) * scale,
        "s": normal(width), "other": normal(width, width, seed=2) * scale,
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["u"]), helper.make_node("Add", ["bias", "u"], ["a"]),
        helper.make_node("Relu", ["a"], ["g"]), helper.make_node("MatMul", ["g", "down"], ["d"]),
        helper.make_node("Mul", ["d", "k"], ["m"]), helper.make_node("Add", ["x", "m"], ["r"]),
        helper.make_node("LayerNormalization", ["r", "s"], ["n"]),
        helper.make_node("MatMul", ["x", "other"], ["o"]), helper.make_node("Sub", ["o", "n"], ["t"]),
        helper.make_node("Softmax", ["t"], ["y"]),
    ]  # fmt: skip
    return model(nodes, inputs, held, ("y", "r")), inputs


@pytest.mark.skipif(host().has("avx512f"), reason="with AVX-512 products are products")
def test_products_lie_in_columns_between_each_other() -> None:
    """A copy of what three of them read, none between two; one each for a reader that wants rows, and for an output."""
    made, inputs = feed_forward()
    assert blocks(made) == {"convolution": 3, "reorder": 2}
    assert Counter(kinds(made))["reorder"] == 4
    compare(made, inputs)


@pytest.mark.parametrize("rows", [(7,), (1, 1), (1, 9), (3, 2, 2)])
@pytest.mark.parametrize(("width", "inner"), [(192, 192), (200, 193), (64, 64)])
def test_products_of_any_size_follow_each_other(rows: tuple[int, ...], width: int, inner: int) -> None:
    made, inputs = feed_forward(rows, width, inner)
    assert blocks_are_whole(made)
    compare(made, inputs)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0)])
@pytest.mark.parametrize("c", [(192,), (1, 192), (9, 1), (9, 192), (1,), None])
@pytest.mark.parametrize("computed", [False, True])
def test_gemm_over_columns(turned: tuple[int, int], c: tuple[int, ...] | None, computed: bool) -> None:
    inputs = {"x": normal(256, 9) if turned[0] else normal(9, 256)}
    held = {"w": normal(192, 256) if turned[1] else normal(256, 192)}
    if c is not None:
        (inputs if computed else held)["c"] = normal(*c)
    operands = ["x", "w", *([] if c is None else ["c"])]
    nodes = [helper.make_node("Gemm", operands, ["g"], transA=turned[0], transB=turned[1])]
    compare(model([*nodes, helper.make_node("Sigmoid", ["g"], ["y"])], inputs, held), inputs)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("c", [(5,), (3, 1), (3, 5), (1,), None])
def test_gemm(turned: tuple[int, int], c: tuple[int, ...] | None) -> None:
    inputs = {"x": normal(4, 3) if turned[0] else normal(3, 4)}
    held = {"w": normal(5, 4) if turned[1] else normal(4, 5)} | ({} if c is None else {"c": normal(*c)})
    node = helper.make_node("Gemm", ["x", *held], ["y"], transA=turned[0], transB=turned[1])
    compare(model([node], inputs, held), inputs)


def test_a_leaky_rectifier_that_leaks_nothing_is_refused() -> None:
    """Zero times infinity is no number, which the library does not compute."""
    inputs = {"x": normal(2, 3)}
    plan = heddle.plan(model([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.0)], inputs, {}), ["onednn", "host"])
    assert [region.backend for region in plan.regions] == ["host"]


def test_gemm_of_a_computed_bias_in_a_row() -> None:
    inputs = {"x": normal(9, 17), "c": normal(1, 16)}
    compare(model([helper.make_node("Gemm", ["x", "w", "c"], ["y"])], inputs, {"w": normal(17, 16)}), inputs)


def test_normalization_concat_and_resize() -> None:
    inputs = {"x": normal(2, 3, 4, 6)}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "s", "b"], ["n"], epsilon=1e-3),
        helper.make_node("Resize", ["n", "", "f"], ["r"], mode="linear"),
        helper.make_node("Concat", ["r", "r"], ["y"], axis=1),
    ]
    held = {"s": normal(6), "b": normal(6, seed=1), "f": np.array([1, 1, 2, 2], np.float32)}
    compare(model(nodes, inputs, held), inputs)


@pytest.mark.parametrize("op", ["Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare"])
@pytest.mark.parametrize("axes", [(1,), (-1, 0), ()])
def test_reductions(op: str, axes: tuple[int, ...]) -> None:
    """Over an axis of one element too."""
    inputs = {"x": normal(2, 1, 3, 5)}
    held = {"axes": np.array(axes, np.int64)} if axes else {}
    compare(model([helper.make_node(f"Reduce{op}", ["x", *held], ["y"], keepdims=0)], inputs, held), inputs)


@pytest.mark.parametrize("count", [2, 3])
def test_sums_of_several(count: int) -> None:
    inputs = {f"x{number}": normal(2, 3, 4, 5, seed=number) for number in range(count)}
    compare(model([helper.make_node("Sum", list(inputs), ["y"])], inputs, {}), inputs)


@pytest.mark.parametrize("shape", [(1, 2, 5), (1, 2, 4, 5), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_resampling_to_sizes(shape: tuple[int, ...], mode: str) -> None:
    inputs = {"x": normal(*shape)}
    bent = [3 * shape[2], *(2 * size for size in shape[3:])] if mode == "nearest" else [size + 2 for size in shape[2:]]
    ways = {"nearest": ("asymmetric", "floor"), "linear": ("half_pixel", "round_prefer_floor")}[mode]
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode=mode, coordinate_transformation_mode=ways[0], nearest_mode=ways[1]
    )
    compare(model([node], inputs, {"sizes": np.array([*shape[:2], *bent], np.int64)}), inputs)


def test_what_follows_a_convolution_is_part_of_it() -> None:
    """A bias, a residual, an activation, a number and a factor for each channel: one primitive between two layouts."""
    inputs = {"x": normal(1, 8, 6, 5), "z": normal(1, 8, 6, 5, seed=1)}
    held = {"w": normal(8, 8, 3, 3), "b": normal(8), "k": normal(1, 8, 1, 1), "n": np.float32(0.7)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "z"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("Sub", ["n", "r"], ["m"]),
        helper.make_node("Mul", ["m", "k"], ["p"]),
        helper.make_node("Sigmoid", ["p"], ["y"]),
    ]
    made = model(nodes, inputs, held)
    assert sorted(kinds(made)) == ["convolution", "reorder", "reorder", "reorder"]
    compare(made, inputs)


def blocks(made: onnx.ModelProto) -> dict[str, int]:
    """How many primitives of each kind write images whose channels are in blocks."""
    made_of = program(made)
    written = [(one.kind, made_of.tensors[one.arguments[DST]]) for one in made_of.primitives]
    return dict(Counter(kind for kind, tensor in written if blocked(tensor.dims, tensor.strides)))


def branches(channels: tuple[int, int], batch: int = 1) -> tuple[onnx.ModelProto, Arrays]:
    """A first layer, two convolutions of it side by side, and one of both with a residual."""
    inputs = {"x": normal(batch, 3, 9, 7)}
    both = sum(channels)
    held = {
        "first": normal(16, 3, 3, 3), "one": normal(channels[0], 16, 1, 1), "two": normal(channels[1], 16, 3, 3),
        "last": normal(both, both, 1, 1) / 4, "bias": normal(both), "scale": normal(both, 1, 1),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["f"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["f"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["p", "one"], ["a"]),
        helper.make_node("Conv", ["p", "two"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("Concat", ["a", "r"], ["c"], axis=1),
        helper.make_node("Conv", ["c", "last", "bias"], ["l"]),
        helper.make_node("Mul", ["l", "scale"], ["m"]),
        helper.make_node("Add", ["m", "c"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["y"]),
    ]
    return model(nodes, inputs, held), inputs


@pytest.mark.skipif(host().has("avx512f"), reason="with AVX-512 channels are last")
def test_channels_lie_in_blocks_and_are_joined_without_a_copy() -> None:
    made, inputs = branches((8, 16))
    assert blocks(made) == {"convolution": 4, "pooling": 1}
    assert Counter(kinds(made)) == {"convolution": 4, "pooling": 1, "reorder": 1}
    compare(made, inputs)


@pytest.mark.parametrize(
    "other", [(2, 8, 1, 1), (1, 8, 1, 1), (8, 1, 1), (1, 1, 6, 1), (5,), (2, 1, 1, 1), (1, 1, 1, 1)]
)
def test_operands_along_each_axis_of_an_image(other: tuple[int, ...]) -> None:
    """Only what has the channels of the whole can lie in blocks beside it."""
    inputs = {"x": normal(2, 8, 6, 5), "z": normal(*other)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Mul", ["c", "z"], ["m"]),
        helper.make_node("Add", ["m", "x"], ["s"]), helper.make_node("Tanh", ["s"], ["y"]),
    ]  # fmt: skip
    made = model(nodes, inputs, {"w": normal(8, 8, 1, 1)})
    assert blocks_are_whole(made)
    compare(made, inputs)


@pytest.mark.skipif(host().has("avx512f"), reason="with AVX-512 channels are last")
def test_images_in_blocks_are_joined_without_a_copy() -> None:
    """Along their first axis they lie one after the other, as channels of one image do along the second."""
    inputs = {"x": normal(2, 16, 5, 4)}
    held = {"one": normal(8, 16, 1, 1), "two": normal(8, 16, 3, 3), "last": normal(8, 8, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "one"], ["a"]),
        helper.make_node("Conv", ["x", "two"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=0),
        helper.make_node("Conv", ["c", "last"], ["y"]),
    ]
    made = model(nodes, inputs, held)
    assert Counter(kinds(made)) == {"convolution": 3, "reorder": 2}
    compare(made, inputs)


@pytest.mark.parametrize(("channels", "batch"), [((8, 16), 2), ((8, 12), 1), ((5, 16), 1)])
def test_channels_that_cannot_be_joined(channels: tuple[int, int], batch: int) -> None:
    """Several images, and channels that fill no blocks."""
    compare(*branches(channels, batch))


def test_parts_of_several_wholes() -> None:
    """What is joined once is copied where it is wanted again; what is an input or an output stays where it is."""
    inputs = {"x": normal(1, 4, 5)}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Concat", ["r", "t"], ["one"], axis=1), helper.make_node("Neg", ["one"], ["n"]),
        helper.make_node("Concat", ["t", "r"], ["two"], axis=1),
        helper.make_node("Concat", ["n", "two"], ["three"], axis=1), helper.make_node("Sigmoid", ["three"], ["s"]),
        helper.make_node("Concat", ["s", "s"], ["twice"], axis=1), helper.make_node("Abs", ["twice"], ["a"]),
        helper.make_node("Concat", ["a", "x"], ["four"], axis=1), helper.make_node("Exp", ["four"], ["y"]),
    ]  # fmt: skip
    made = model(nodes, inputs, {})
    assert Counter(kinds(made))["concat"] == 3
    compare(made, inputs)


def test_the_first_part_of_one_whole_and_of_another() -> None:
    """What lies at the beginning of a whole is not all of it: it cannot be moved into another."""
    inputs = {"x": normal(1, 4, 5), "z": normal(1, 4, 5, seed=1)}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Sigmoid", ["z"], ["u"]), helper.make_node("Concat", ["r", "t"], ["one"], axis=1),
        helper.make_node("Concat", ["r", "u"], ["two"], axis=1),
        helper.make_node("Add", ["one", "two"], ["y"]),
    ]  # fmt: skip
    made = model(nodes, inputs, {})
    assert Counter(kinds(made))["concat"] == 1
    compare(made, inputs)


@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 7), (2, 5, 4, 6), (1, 16, 3, 4, 5)])
@pytest.mark.parametrize("rectified", [False, True])
def test_batch_normalization(shape: tuple[int, ...], rectified: bool) -> None:
    inputs = {"x": normal(*shape)}
    held = {name: normal(shape[1], seed=seed) for seed, name in enumerate(("scale", "bias", "mean"))}
    held["variance"] = np.square(normal(shape[1], seed=4)) + np.float32(0.1)
    nodes = [helper.make_node("BatchNormalization", ["x", *held], ["n" if rectified else "y"], epsilon=1e-3)]
    if rectified:
        nodes.append(helper.make_node("Relu", ["n"], ["y"]))
    made = model(nodes, inputs, held)
    assert kinds(made) == ["batch_normalization"]
    compare(made, inputs)


def test_what_follows_a_product_is_part_of_it() -> None:
    """Scores of an attention: scaled by a number, masked along the last axis."""
    inputs = {"q": normal(2, 3, 4, 8), "k": normal(2, 3, 8, 5), "mask": normal(2, 1, 1, 5)}
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Div", ["s", "root"], ["t"]),
        helper.make_node("Add", ["t", "mask"], ["y"]),
    ]
    made = model(nodes, inputs, {"root": np.float32(np.sqrt(8))})
    assert kinds(made)[0] == "matmul"
    compare(made, inputs)


def test_infinite_masks() -> None:
    """Softmax of scores that are masked by minus infinity, as models write it."""
    inputs = {"x": normal(2, 3, 6)}
    inputs["x"][:, :, 4:] = -np.inf
    compare(model([helper.make_node("Softmax", ["x"], ["y"])], inputs, {}), inputs)


BFLOAT16: list[tuple[str, tuple[int, ...], dict[str, tuple[int, ...]], dict[str, Any]]] = [
    ("MatMul", (64, 256), {"w": (256, 64)}, {}),
    ("MatMul", (1, 48), {"w": (48, 17)}, {}),
    ("MatMul", (2, 3, 8, 24), {"w": (2, 3, 24, 9)}, {}),
    ("Gemm", (7, 40), {"w": (24, 40), "c": (24,)}, {"transB": 1}),
    ("Conv", (1, 16, 9, 9), {"w": (24, 16, 3, 3), "b": (24,)}, {"pads": [1, 1, 1, 1]}),
    ("Conv", (1, 16, 9, 9), {"w": (24, 16, 1, 1)}, {}),
    ("Conv", (2, 8, 9), {"w": (8, 1, 3)}, {"group": 8}),
    ("Conv", (1, 8, 5, 5, 5), {"w": (8, 8, 3, 3, 3)}, {}),
    ("ConvTranspose", (1, 8, 5, 5), {"w": (8, 4, 3, 3)}, {"strides": [2, 2]}),
]


@pytest.mark.parametrize(("op", "shape", "held", "attributes"), BFLOAT16)
def test_bfloat16_is_an_option(
    op: str, shape: tuple[int, ...], held: dict[str, tuple[int, ...]], attributes: dict[str, Any]
) -> None:
    """Factors are rounded to eight bits where the processor gains by it, sums are not; what follows stays as it is."""
    inputs = {"x": normal(*shape)}
    constants = {name: normal(*dims, seed=2) for name, dims in held.items()}
    nodes = [helper.make_node(op, ["x", *held], ["s"], **attributes), helper.make_node("Sigmoid", ["s"], ["y"])]
    compare(model(nodes, inputs, constants), inputs, tolerance=3e-2, bf16=True)
    linear = model([helper.make_node(op, ["x", *held], ["y"], **attributes)], inputs, constants)
    compare(linear, inputs, tolerance=1e-2, bf16=True)
    assert (program(linear, bf16=True).bf16, program(linear).bf16) == (True, False)
