"""An instruction is found by what it means, and called where whole tiles fit; elsewhere the loops stay plain."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from heddle.core.codegen import compile_region
from heddle.core.codegen.affine import axis, only_axis
from heddle.core.codegen.build import Unit, shared_object
from heddle.core.codegen.intrinsic import Intrinsic, Intrinsics, Symbol
from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import host
from heddle.core.codegen.tensor import load, total
from heddle.core.codegen.tiling import Copies, Tiling, fit
from heddle.core.codegen.values import F32, I8, I32, I64, PTR, Type, Value, constant
from heddle.core.errors import ArtifactError, BackendError
from heddle.core.interpret import evaluate
from heddle.core.ir import Names, parse, tensor
from heddle.core.ir import Value as Tensor
from heddle.core.ops.scalar import cast, const
from heddle.core.runtime.host import HostProgram


def rows(f, acc, a, b):
    right = f.load(F32.of(4), b.at(f, 0, 0))
    for row in range(2):
        place = acc.at(f, row, 0)
        left = f.splat(f.load(F32, a.at(f, row, 0)), 4)
        f.store(f.fma(left, right, f.load(F32.of(4), place)), place)


PRODUCT = Intrinsic("product", (2, 4, 1), lambda acc, a, b: acc + a * b, rows)


def wide(f, acc, a, b):
    left = f.convert("sext", f.load(I8, a.at(f, 0, 0)), I32)
    for column in range(2):
        right = f.convert("sext", f.load(I8, b.at(f, 0, column)), I32)
        place = acc.at(f, 0, column)
        f.store(f.add(f.load(I32, place), f.mul(left, right)), place)


WIDE = Intrinsic(
    "wide", (1, 2, 1), lambda acc, a, b: acc + cast(a, "int32") * cast(b, "int32"), wide, ("int8", "int8", "int32")
)


def run(text, intrinsics, seed=0):
    graph = parse(text)
    strategy = Intrinsics(intrinsics)
    program = HostProgram(strategy.artifact(compile_region(graph, host(), strategy), "test"))
    random = np.random.default_rng(seed)
    inputs = [np.asarray(random.integers(-9, 9, v.shape)).astype(v.dtype) for v in graph.inputs]
    outputs = [np.full(v.shape, 77, v.dtype) for v in graph.outputs]
    program.call([array.ctypes.data for array in (*inputs, *outputs)])
    for found, expected in zip(outputs, evaluate(graph, inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    return strategy.used


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("graph (%a: float32[6,5], %b: float32[5,8]) -> (%y) {\n %y: float32[6,8] = MatMul(%a, %b)\n}", {"product": 1}),
        (
            "graph (%a: float32[3,6,5], %b: float32[3,5,8]) -> (%y) {\n %y: float32[3,6,8] = MatMul(%a, %b)\n}",
            {"product": 1},
        ),
        ("graph (%a: float32[5,5], %b: float32[5,8]) -> (%y) {\n %y: float32[5,8] = MatMul(%a, %b)\n}", {"product": 1}),
        ("graph (%a: float32[6,5], %b: float32[5,7]) -> (%y) {\n %y: float32[6,7] = MatMul(%a, %b)\n}", {"product": 1}),
        ("graph (%a: float32[6,0], %b: float32[0,8]) -> (%y) {\n %y: float32[6,8] = MatMul(%a, %b)\n}", {}),
        (
            "graph (%a: float32[6,5], %b: float32[5,8], %c: float32[8]) -> (%y) {\n"
            " %y: float32[6,8] = Gemm(%a, %b, %c) {alpha=2.0}\n}",
            {"product": 1},
        ),
        (
            "graph (%a: float32[5,6], %b: float32[5,8]) -> (%y) {\n %y: float32[6,8] = Gemm(%a, %b) {transA=1}\n}",
            {"product": 1},
        ),
        (
            "graph (%a: float32[6,5], %b: float32[8,5]) -> (%y) {\n %y: float32[6,8] = Gemm(%a, %b) {transB=1}\n}",
            {"product": 1},
        ),
    ],
)
def test_products_of_floats(text, used):
    assert run(text, [PRODUCT]) == used


def test_a_product_of_bytes():
    text = "graph (%a: int8[3,5], %b: int8[5,4]) -> (%y) {\n %y: int32[3,4] = MatMulInteger(%a, %b)\n}"
    assert run(text, [PRODUCT, WIDE]) == {"wide": 1}


def test_another_meaning_is_not_found():
    other = Intrinsic("other", (2, 4, 1), lambda acc, a, b: acc - a * b, rows)
    text = "graph (%a: float32[6,5], %b: float32[5,8]) -> (%y) {\n %y: float32[6,8] = MatMul(%a, %b)\n}"
    assert run(text, [other]) == {}


def library(path):
    """A vendor's shared object, made here: `vendor_tile`, a tile of 2 by 4 with one product each."""
    steps = ("acc_row", "a_row", "a_column", "b_row", "b_column")
    f = Function(
        "vendor_tile",
        [("acc", "ptr"), (steps[0], "i64"), ("a", "ptr"), (steps[1], "i64"), (steps[2], "i64"), ("b", "ptr"),
         (steps[3], "i64"), (steps[4], "i64")],
    )  # fmt: skip
    right = f.load(F32.of(4), f["b"])
    for row in range(2):
        left = f.splat(f.load(F32, f.gep(f["a"], f.times(f["a_row"], row), F32)), 4)
        place = f.gep(f["acc"], f.times(f["acc_row"], row), F32)
        f.store(f.fma(left, right, f.load(F32.of(4), place)), place)
    path.write_bytes(shared_object([Unit(module([f], host().triple), explicit=True)], ["vendor_tile"], host()))
    return str(path)


PRODUCTS = "graph (%a: float32[6,5], %b: float32[5,8]) -> (%y) {\n %y: float32[6,8] = MatMul(%a, %b)\n}"


def external(where, name="vendor_tile"):
    return Intrinsic("external", (2, 4, 1), lambda acc, a, b: acc + a * b, Symbol(where, name))


def test_a_function_of_a_library(tmp_path):
    where = library(tmp_path / "libvendor.so")
    assert run(PRODUCTS, [external(where)]) == {"external": 1}


def test_what_an_artifact_says_of_the_functions_that_it_calls(tmp_path):
    where = library(tmp_path / "libvendor.so")
    tiles = Intrinsics([external(where)])
    two = """graph (%a: float32[4,4], %b: float32[4,4]) -> (%z) {
      %y: float32[4,4] = MatMul(%a, %b)
      %z: float32[4,4] = MatMul(%y, %b)
    }"""
    made = tiles.artifact(compile_region(parse(two), host(), tiles), "vendor")
    assert (made.backend, made.meta["intrinsics"]) == ("vendor", {"external": 2})
    assert list(made.meta["symbols"].values()) == [[where, "vendor_tile"]]
    plain = Intrinsics([PRODUCT])
    assert "symbols" not in plain.artifact(compile_region(parse(two), host(), plain), "vendor").meta


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "library",
            r"vendor: the code calls vendor_tile of \S*gone.so, which cannot be loaded: .*; "
            "install the library, or name its folder in LD_LIBRARY_PATH",
        ),
        (
            "function",
            r"vendor: the code calls vendor_other, which \S*libvendor.so does not have; "
            "install the version that the model was compiled for",
        ),
    ],
)
def test_a_library_or_function_that_is_missing_is_named(missing, message, tmp_path):
    where = library(tmp_path / "libvendor.so")
    wanted = external(str(tmp_path / "gone.so")) if missing == "library" else external(where, "vendor_other")
    tiles = Intrinsics([wanted])
    made = tiles.artifact(compile_region(parse(PRODUCTS), host(), tiles), "vendor")
    with pytest.raises(ArtifactError, match=f"^{message}$"):
        HostProgram(made)


def test_symbols_that_are_no_symbols_are_refused(tmp_path):
    tiles = Intrinsics([external(library(tmp_path / "libvendor.so"))])
    made = tiles.artifact(compile_region(parse(PRODUCTS), host(), tiles), "vendor")
    for symbols in ("all", {"address.vendor_tile": ["", 1]}, {"other": ["", "abs"]}):
        with pytest.raises(ArtifactError, match="symbol"):
            HostProgram(replace(made, meta={**made.meta, "symbols": symbols}))


@pytest.mark.skipif(not (host().x86 and host().has("fma")), reason="the assembly is x86's")
def test_inline_assembly():
    def assembled(f, acc, a, b):
        lanes = F32.of(4)
        right = f.load(lanes, b.at(f, 0, 0))
        for row in range(2):
            left = f.splat(f.load(F32, a.at(f, row, 0)), 4)
            place = acc.at(f, row, 0)
            total = f.assembly("vfmadd231ps $2, $1, $0", "=x,x,x,0", lanes, [left, right, f.load(lanes, place)])
            f.store(total, place)

    product = Intrinsic("assembled", (2, 4, 1), lambda acc, a, b: acc + a * b, assembled)
    assert run(PRODUCTS, [product]) == {"assembled": 1}


@pytest.mark.skipif(not host().x86, reason="the intrinsic is x86's")
def test_an_intrinsic_of_the_target():
    def pairs(f, acc, a, b):
        eight = Type("i16").of(8)
        left = right = f.splat(constant(0, Type("i16")), 8)
        for k in range(2):
            left = f.insert(left, f.convert("sext", f.load(I8, a.at(f, 0, k)), Type("i16")), k)
            right = f.insert(right, f.convert("sext", f.load(I8, b.at(f, k, 0)), Type("i16")), k)
        assert left.type == eight
        total = f.extract(f.call("llvm.x86.sse2.pmadd.wd", I32.of(4), (left, right)), 0)
        place = acc.at(f, 0, 0)
        f.store(f.add(f.load(I32, place), total), place)

    meaning = WIDE.meaning
    product = Intrinsic("pairs", (1, 1, 2), meaning, pairs, ("int8", "int8", "int32"), dense=False)
    text = "graph (%a: int8[3,32], %b: int8[32,5]) -> (%y) {\n %y: int32[3,5] = MatMulInteger(%a, %b)\n}"
    assert run(text, [product]) == {"pairs": 1}


@pytest.mark.parametrize(
    ("x", "y", "attributes", "used"),
    [
        ("[1,3,8,8]", "[1,4,8,8]", "pads=[1,1,1,1]", {"product": 1}),
        ("[2,3,8,7]", "[2,4,9,8]", "pads=[2,1,1,2]", {"product": 1}),
        ("[1,3,15,8]", "[1,4,8,8]", "pads=[1,1,1,1], strides=[2,1]", {"product": 1}),
        ("[1,3,8,8]", "[1,4,8,8]", "pads=[2,2,2,2], dilations=[2,2]", {"product": 1}),
        ("[1,3,8,8]", "[1,4,8,8]", 'auto_pad="SAME_UPPER"', {"product": 1}),
        ("[1,3,8,15]", "[1,4,8,8]", "pads=[1,1,1,1], strides=[1,2]", {"product": 1}),
        ("[1,3,8,7]", "[1,4,8,7]", "pads=[1,1,1,1]", {"product": 1}),
    ],
)
def test_convolutions_with_paddings(x, y, attributes, used):
    text = f"graph (%x: float32{x}, %w: float32[4,3,3,3], %b: float32[4]) -> (%y) {{\n"
    assert run(f"{text} %y: float32{y} = Conv(%x, %w, %b) {{{attributes}}}\n}}", [PRODUCT]) == used


def counting(emit, counter):
    """The same instruction, which also counts how often it is executed."""

    def counted(f, acc, a, b):
        emit(f, acc, a, b)
        place = Value(f"inttoptr (i64 {counter.ctypes.data} to ptr)", PTR)
        f.store(f.add(f.load(I64, place), constant(1, I64)), place)

    return counted


def doubled(f, acc, a, b):
    """A wrong instruction: twice the product, so that the result tells how much of it went through here."""
    lanes = F32.of(4)
    right = f.load(lanes, b.at(f, 0, 0))
    for row in range(2):
        place = acc.at(f, row, 0)
        left = f.splat(f.load(F32, a.at(f, row, 0)), 4)
        f.store(f.fma(f.add(left, left), right, f.load(lanes, place)), place)


def channels(m, n, k, factor=1):
    """An instruction over vectors of n channels: for m pixels, the sum of k products of each channel."""

    def emit(f, acc, a, b):
        lanes = F32.of(n)
        for row in range(m):
            place = acc.at(f, row, 0)
            total = f.load(lanes, place)
            for tap in range(k):
                left, right = f.load(lanes, a.at(f, row, tap)), f.load(lanes, b.at(f, tap, 0))
                total = f.fma(f.mul(left, f.splat(constant(float(factor), F32), n)), right, total)
            f.store(total, place)

    return Intrinsic(f"channels{m}x{n}x{k}", (m, n, k), lambda acc, a, b: acc + a * b, emit, lanewise=True)


def convolution(random, group, per_group, filters):
    """A convolution in so many groups of channels and filters that is strided, dilated and padded, with its sizes."""
    axes = int(random.choice([1, 2]))
    kernel, strides, dilations = ([int(n) for n in random.integers(1, 4, axes)] for _ in range(3))
    before, after = ([int(n) for n in random.integers(0, 3, axes)] for _ in range(2))
    out = [int(n) for n in random.integers(1, 8, axes)]
    spare = [int(random.integers(0, stride)) for stride in strides]
    spatial = [
        (o - 1) * s + (k - 1) * d + 1 - b - a + more
        for o, s, k, d, b, a, more in zip(out, strides, kernel, dilations, before, after, spare, strict=True)
    ]
    if min(spatial) <= 0 or math.prod(kernel) * per_group == 1 or math.prod(out) == 1:
        return convolution(random, group, per_group, filters)
    x, w = [int(random.integers(1, 3)), group * per_group, *spatial], [group * filters, per_group, *kernel]
    y = [x[0], w[0], *out]
    pads = [*before, *after]
    text = (
        f"graph (%x: float32{x}, %w: float32{w}) -> (%y) {{\n %y: float32{y} = Conv(%x, %w) "
        f"{{group={group}, strides={strides}, dilations={dilations}, pads={pads}, kernel_shape={kernel}}}\n}}"
    )
    return text, (*y, per_group, *kernel)


def through(text, intrinsic, random, constant_weights=False):
    """The result by the instruction, the reference's, and how often the instruction was executed."""
    counter = np.zeros(1, np.int64)
    graph = parse(text)
    values = [np.asarray(random.integers(-9, 9, v.shape)).astype(v.dtype) for v in graph.inputs]
    (expected,) = evaluate(graph, values)
    if constant_weights:
        graph = replace(graph, inputs=graph.inputs[:1], constants={graph.inputs[1]: values.pop()})
    tiles = Intrinsics([replace(intrinsic, emit=counting(intrinsic.emit, counter))], strict=True)
    program = HostProgram(tiles.artifact(compile_region(graph, host(), tiles), "test"))
    found = np.full(expected.shape, 77, expected.dtype)
    program.call([array.ctypes.data for array in (*values, found)])
    return found, expected, int(counter[0])


@pytest.mark.parametrize("seed", range(24))
def test_every_product_of_a_convolution_goes_through_the_instruction(seed):
    """Whatever its sizes are: with twice the product, the result is twice the reference."""
    random = np.random.default_rng(seed)
    group, per_group, filters = (int(n) for n in random.integers(1, 4, 3))
    text, _ = convolution(random, group, per_group, filters + 1)
    for emit, factor in ((rows, 1), (doubled, 2)):
        found, expected, calls = through(text, replace(PRODUCT, emit=emit), random, constant_weights=bool(seed % 2))
        assert calls > 0
        np.testing.assert_array_equal(found, factor * expected, err_msg=text)


@pytest.mark.parametrize("seed", range(24))
def test_depthwise_convolutions_go_through_an_instruction_over_channels(seed):
    """One or several filters for a channel; pixels, channels and taps are made whole tiles."""
    random = np.random.default_rng(seed)
    channel_count, filters = int(random.integers(2, 19)), int(random.choice([1, 1, 2, 3]))
    text, (n, _, *sizes) = convolution(random, channel_count, 1, filters)
    out, kernel = sizes[: len(sizes) // 2], sizes[len(sizes) // 2 + 1 :]
    for tile, factor in (((1, 8, 1), 1), ((1, 4, 3), 1), ((2, 4, 2), 2)):
        if math.prod(kernel) == 1:
            tile = (*tile[:2], 1)
        if max(n, *out) == 1:
            tile = (1, *tile[1:])
        found, expected, calls = through(text, channels(*tile, factor), random, constant_weights=bool(seed % 2))
        np.testing.assert_array_equal(found, factor * expected, err_msg=text)
        if tile == (1, 8, 1):  # the filters of a channel are a loop around
            assert calls == n * filters * -(-channel_count // 8) * math.prod(out) * math.prod(kernel), text


@pytest.mark.parametrize("seed", range(8))
def test_depthwise_convolutions_go_through_an_instruction_over_columns_of_one_row(seed):
    """A vector of outputs by one weight: a tile of one row needs no loop for it."""
    random = np.random.default_rng(seed)
    text, (n, c, *sizes) = convolution(random, int(random.integers(2, 6)), 1, 1)
    out, kernel = sizes[: len(sizes) // 2], sizes[len(sizes) // 2 + 1 :]

    def scaled(f, acc, a, b):
        lanes, place = F32.of(4), acc.at(f, 0, 0)
        weight = f.splat(f.load(F32, a.at(f, 0, 0)), 4)
        f.store(f.fma(weight, f.load(lanes, b.at(f, 0, 0)), f.load(lanes, place)), place)

    axpy = Intrinsic("axpy", (1, 4, 1), lambda acc, a, b: acc + a * b, scaled)
    found, expected, calls = through(text, axpy, random)
    np.testing.assert_array_equal(found, expected, err_msg=text)
    assert calls * 4 >= n * c * math.prod(out) * math.prod(kernel)


def test_sums_are_made_longer_by_zeros():
    """Four products at once, of a sum of seven."""

    def dot(f, acc, a, b):
        place = acc.at(f, 0, 0)
        total = f.load(I32, place)
        for k in range(4):
            left, right = (f.convert("sext", f.load(I8, at), I32) for at in (a.at(f, 0, k), b.at(f, k, 0)))
            total = f.add(total, f.mul(left, right))
        f.store(total, place)

    four = Intrinsic("four", (1, 1, 4), WIDE.meaning, dot, WIDE.dtypes, dense=False)
    text = "graph (%a: int8[3,7], %b: int8[7,5]) -> (%y) {\n %y: int32[3,5] = MatMulInteger(%a, %b)\n}"
    found, expected, calls = through(text, four, np.random.default_rng(0))
    np.testing.assert_array_equal(found, expected)
    assert calls == 3 * 5 * 2


@pytest.mark.parametrize(
    ("shift", "found"), [(0, Tiling), (1, "no loop of the sum is a multiple of 4 long: 7")], ids=["zeros", "ones"]
)
def test_only_sums_that_zeros_leave_alone_are_made_longer(shift, found):
    def meaning(acc, a, b):
        return acc + (a - shift) * (b - shift) if shift else acc + a * b

    a, b = (Tensor(name, tensor(np.dtype(np.float32), *shape)) for name, shape in (("a", (3, 7)), ("b", (7, 5))))
    i, j, k = axis(3), axis(5), axis(7)
    summed = total([k], meaning(const(0, a.dtype), load(a, i, k), load(b, k, j)).args[1])
    tile = Intrinsic("four", (1, 1, 4), meaning, rows).shape
    outer = {only_axis(index): index for index in (i, j)}
    made = fit(tile, outer, summed, Copies({}, Names(parse(PRODUCTS))))
    assert isinstance(made, Tiling) if found is Tiling else made == found


def test_a_meaning_must_fit_its_types():
    for meaning, message in (
        (lambda acc, a, b: acc + a, "its meaning must read acc, a and b"),
        (
            lambda acc, a, b: cast(acc, "float64") + cast(a * b, "float64"),
            "its meaning gives float64, and its accumulator is float32; cast a and b to the accumulator's type",
        ),
    ):
        with pytest.raises(BackendError, match=f"^intrinsic 'odd': {message}$"):
            compile_region(parse(PRODUCTS), host(), Intrinsics([Intrinsic("odd", (2, 4, 1), meaning, rows)]))


def test_a_bias_follows_sums_in_groups():
    text = """graph (%x: float32[2,6,5,17], %w: float32[8,3,3,3], %b: float32[8]) -> (%z) {
      %y: float32[2,8,5,8] = Conv(%x, %w, %b) {group=2, strides=[1,2], pads=[1,0,1,0]}
      %z: float32[2,8,5,8] = Relu(%y)
    }"""
    assert run(text, [PRODUCT]) == {"product": 1}


def test_a_bias_follows_sums_over_channels():
    text = """graph (%x: float32[2,6,5,17], %w: float32[12,1,3,3], %b: float32[12]) -> (%z) {
      %y: float32[2,12,5,8] = Conv(%x, %w, %b) {group=6, strides=[1,2], pads=[1,0,1,0]}
      %z: float32[2,12,5,8] = Relu(%y)
    }"""
    assert run(text, [channels(1, 8, 1)]) == {"channels1x8x1": 1}


DEPTHWISE = """graph (%x: float32[1,4,5,8], %w: float32[4,1,3,1]) -> (%y) {
  %y: float32[1,4,3,8] = Conv(%x, %w) {group=4}
}"""


@pytest.mark.parametrize(
    ("text", "intrinsic", "reason"),
    [
        (
            DEPTHWISE,
            PRODUCT,
            "no loop has steps in %w alone, for 4 columns; a lanewise tile takes the 4 steps that both operands make",
        ),
        (PRODUCTS, channels(1, 8, 1), "no loop has steps in both %a and %b, for 8 columns"),
    ],
    ids=["rows", "channels"],
)
def test_what_does_not_fit_is_refused_with_the_reason(text, intrinsic, reason):
    graph = parse(text)
    tiles = Intrinsics([intrinsic])
    made = tiles.artifact(compile_region(graph, host(), tiles), "vendor")
    assert made.meta["refused"] == {graph.nodes[0].op: {intrinsic.name: reason}}
    with pytest.raises(BackendError, match=f"^{graph.nodes[0].op}: no instruction fits: {intrinsic.name}: {reason}$"):
        compile_region(graph, host(), Intrinsics([intrinsic], strict=True))


def test_constants_are_laid_out_once_when_they_are_compiled():
    """Six channels in two vectors of four, the kernel's taps apart; the weights as they were are not kept."""
    graph = parse("""graph (%x: float32[1,6,9,9], %w: float32[6,1,3,3]) -> (%y) {
      %y: float32[1,6,7,7] = Conv(%x, %w) {group=6}
    }""")
    weights = np.arange(54, dtype=np.float32).reshape(6, 1, 3, 3)
    graph = replace(graph, inputs=graph.inputs[:1], constants={graph.inputs[1]: weights})
    (packed,) = compile_region(graph, host(), Intrinsics([channels(1, 4, 1)])).constants.values()
    assert packed.shape == (1, 3, 3, 8)
    np.testing.assert_array_equal(packed[0, ..., :6], weights[:, 0].transpose(1, 2, 0))
    assert not packed[..., 6:].any()
