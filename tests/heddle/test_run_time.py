"""What is only known when a model runs: operands by value, counts by data, control flow, sequences, optionals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from heddle.core.errors import ArtifactError, InputError
from heddle.core.frontend.export import export_calls
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import heddle
from heddle.cli import app
from tests.oracle import session

FEW = settings(max_examples=12, deadline=None, derandomize=True)
F32 = np.float32

onnxruntime.set_default_logger_severity(4)


def model(text: str) -> onnx.ModelProto:
    """A model whose graph is this text."""
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]>\n{text}')


def peer(made: onnx.ModelProto) -> Callable[..., list[Any]]:
    """What onnxruntime computes."""
    theirs = session(made)
    names = [each.name for each in theirs.get_inputs()]
    return lambda *given: theirs.run(None, dict(zip(names, given, strict=True)))


def agree(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    """Hold results against onnxruntime's: dtypes, shapes, integers exactly, floats closely."""
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(other, list):
            assert isinstance(mine, list)
            agree(mine, other)
            continue
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        if other.dtype.kind == "f":
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(mine, other)


def floats(data: st.DataObject, *shape: int) -> Any:
    """Random floats of a shape, from a seed that is drawn."""
    return np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).standard_normal(shape).astype(F32)


def both(text: str) -> tuple[heddle.Executable, Callable[..., list[Any]]]:
    """A model compiled, and in onnxruntime."""
    return heddle.compile(model(text)), peer(model(text))


def held(text: str, draw: Callable[[st.DataObject], tuple[Any, ...]]) -> None:
    """Compare over generated inputs."""
    ours, theirs = both(text)

    @FEW
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        given = draw(data)
        agree(ours(*given), theirs(*given))

    check()


# -- operands by value -------------------------------------------------------------------------------------------


def reduction(data: st.DataObject) -> tuple[Any, ...]:
    axes = data.draw(st.lists(st.integers(-3, 2), max_size=3, unique_by=lambda axis: axis % 3))
    return floats(data, 2, 3, 4), np.array(axes, np.int64)


def sliced(data: st.DataObject) -> tuple[Any, ...]:
    axes = data.draw(st.lists(st.integers(-3, 2), min_size=1, max_size=3, unique_by=lambda axis: axis % 3))
    bound = st.lists(st.integers(-7, 7), min_size=len(axes), max_size=len(axes))
    steps = data.draw(st.lists(st.sampled_from((-2, -1, 1, 2, 3)), min_size=len(axes), max_size=len(axes)))
    vectors = (data.draw(bound), data.draw(bound), axes, steps)
    return floats(data, 4, 5, 3), *(np.array(vector, np.int64) for vector in vectors)


def padded(data: st.DataObject) -> tuple[Any, ...]:
    pads = data.draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    return floats(data, 3, 4), np.array(pads, np.int64), np.array(data.draw(st.integers(-2, 2)), F32)


def resized(data: st.DataObject) -> tuple[Any, ...]:
    sizes = (1, 2, data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))
    return floats(data, 1, 2, 4, 5), np.array(sizes, np.int64)


def counted(data: st.DataObject) -> tuple[Any, ...]:
    return floats(data, 3, 7), np.array([data.draw(st.integers(1, 7))], np.int64)


def tiled(data: st.DataObject) -> tuple[Any, ...]:
    return floats(data, 2, 3), np.array([data.draw(st.integers(0, 3)), data.draw(st.integers(1, 3))], np.int64)


def reshaped(data: st.DataObject) -> tuple[Any, ...]:
    shapes = ((2, 12), (-1, 3), (0, -1), (4, 3, 2, 1), (24,), (0, 0, 4))
    return floats(data, 2, 3, 4), np.array(data.draw(st.sampled_from(shapes)), np.int64)


def expanded(data: st.DataObject) -> tuple[Any, ...]:
    shapes = ((3, 4), (1,), (2, 3, 4), (3, 1), (5, 1, 4))
    return floats(data, 3, 1), np.array(data.draw(st.sampled_from(shapes)), np.int64)


def ranged(data: st.DataObject) -> tuple[Any, ...]:
    numbers = (data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9)), data.draw(st.sampled_from((-3, -1, 1, 2))))
    return tuple(np.array(number, np.int64) for number in numbers)


def split(data: st.DataObject) -> tuple[Any, ...]:
    first = data.draw(st.integers(0, 6))
    return floats(data, 6, 2), np.array([first, 6 - first], np.int64)


def unsqueezed(data: st.DataObject) -> tuple[Any, ...]:
    return floats(data, 2, 3), np.array(data.draw(st.sampled_from(((0,), (-1, 1), (0, 3), (2, 1, 0)))), np.int64)


def chosen(data: st.DataObject) -> tuple[Any, ...]:
    return np.array([[0, 1], [2, -1]], np.int64), np.array(data.draw(st.integers(3, 6)), np.int64)


BY_VALUE: dict[str, tuple[str, Callable[[st.DataObject], tuple[Any, ...]]]] = {
    "ReduceSum": ("m (float[2,3,4] x, int64[n] a) => (float[] y) { y = ReduceSum<keepdims=0>(x, a) }", reduction),
    "ReduceMax": ("m (float[2,3,4] x, int64[n] a) => (float[] y) { y = ReduceMax(x, a) }", reduction),
    "Slice": (
        "m (float[4,5,3] x, int64[n] s, int64[n] e, int64[n] a, int64[n] t) => (float[] y)"
        " { z = Slice(x, s, e, a, t) y = Neg(z) }",
        sliced,
    ),
    "Pad": ("m (float[3,4] x, int64[4] p, float v) => (float[] y) { z = Pad(x, p, v) y = Exp(z) }", padded),
    "Resize": (
        "m (float[1,2,4,5] x, int64[4] s) => (float[] y)"
        ' { y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , , s) }',
        resized,
    ),
    "TopK": ("m (float[3,7] x, int64[1] k) => (float[] y, int64[] i) { y, i = TopK(x, k) }", counted),
    "Tile": ("m (float[2,3] x, int64[2] r) => (float[] y) { y = Tile(x, r) }", tiled),
    "Reshape": ("m (float[2,3,4] x, int64[n] s) => (float[] y) { z = Reshape(x, s) y = Abs(z) }", reshaped),
    "Expand": ("m (float[3,1] x, int64[n] s) => (float[] y) { y = Expand(x, s) }", expanded),
    "Range": ("m (int64 a, int64 b, int64 c) => (int64[] y) { z = Range(a, b, c) y = Add(z, a) }", ranged),
    "Split": ("m (float[6,2] x, int64[2] s) => (float[] y, float[] z) { y, z = Split<axis=0>(x, s) }", split),
    "Unsqueeze": ("m (float[2,3] x, int64[n] a) => (float[] y) { y = Unsqueeze(x, a) }", unsqueezed),
    "OneHot": (
        "m (int64[2,2] i, int64 d) => (float[] y) <float[2] v = {0.5, 2}> { y = OneHot(i, d, v) }",
        chosen,
    ),
    "a computed shape": (
        "m (float[2,3,4] x, int64[n] s) => (float[] y) <int64[1] one = {1}>"
        " { t = Concat<axis=0>(s, one) z = Reshape(x, t) w = Add(z, z) y = ReduceSum<keepdims=0>(w, one) }",
        reshaped,
    ),
}


@pytest.mark.parametrize("op", BY_VALUE)
def test_operands_by_value(op):
    held(*BY_VALUE[op])


def test_each_value_is_compiled_for_once():
    exe = heddle.compile(model("m (float[2,3] x, int64[n] a) => (float[] y) { y = ReduceSum(x, a) }"))
    x = np.ones((2, 3), F32)
    for axes in ([0], [1], [0], [1], [0, 1]):
        exe(x, np.array(axes, np.int64))
    assert len(exe.schedules) == 3
    assert "for each value of a" in str(exe.plan)


@pytest.mark.parametrize(
    ("node", "operand", "shape"),
    [
        ("Tile", [2, 1], (4, 3)),
        ("Expand", [5, 2, 3], (5, 2, 3)),
        ("Unsqueeze", [0], (1, 2, 3)),
        ("Reshape", [3, 2], (3, 2)),
    ],
)
def test_a_value_is_believed_before_the_shape_that_the_model_declares(node, operand, shape):
    text = f"m (float[2,3] x, int64[{len(operand)}] o) => (float[2,3] y) {{ y = {node}(x, o) }}"
    assert heddle.compile(model(text))(np.ones((2, 3), F32), np.array(operand, np.int64))["y"].shape == shape


# -- counts by data ----------------------------------------------------------------------------------------------


def sparse(data: st.DataObject, *shape: int) -> Any:
    """Numbers of which many are equal, and many zero."""
    return np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).integers(-1, 2, shape).astype(F32)


def boxes(data: st.DataObject) -> tuple[Any, ...]:
    corners = np.abs(floats(data, 2, 6, 4))
    scores = np.random.default_rng(data.draw(st.integers(0, 99))).permuted(np.arange(36, dtype=F32)).reshape(2, 3, 6)
    most, limit = data.draw(st.integers(0, 7)), data.draw(st.sampled_from((0.0, 0.3, 0.5, 1.0)))
    least = data.draw(st.sampled_from((-1.0, 9.0, 40.0)))
    return corners, scores, np.array([most], np.int64), np.array([limit], F32), np.array([least], F32)


BY_DATA: dict[str, tuple[str, Callable[[st.DataObject], tuple[Any, ...]]]] = {
    "NonZero": ("m (float[3,4] x) => (int64[] y) { y = NonZero(x) }", lambda data: (sparse(data, 3, 4),)),
    "what is not zero": (
        "m (float[3,4] x) => (float[] y, float s) { i = NonZero(x) t = Transpose(i) g = GatherND(x, t)"
        " y = Mul(g, g) s = ReduceSum<keepdims=0>(y) }",
        lambda data: (sparse(data, 3, 4),),
    ),
    "Compress": (
        "m (float[4,3] x, bool[c] b) => (float[] y, float[] z) { y = Compress<axis=0>(x, b) z = Compress(x, b) }",
        lambda data: (floats(data, 4, 3), np.array(data.draw(st.lists(st.booleans(), min_size=1, max_size=4)))),
    ),
    "Unique": (
        "m (float[9] x) => (float[] y, int64[] i, int64[] v, int64[] c) { y, i, v, c = Unique(x) }",
        lambda data: (sparse(data, 9),),
    ),
    "Unique as it comes": (
        "m (float[3,4] x) => (float[] y, int64[] i, int64[] v, int64[] c) { y, i, v, c = Unique<sorted=0>(x) }",
        lambda data: (sparse(data, 3, 4),),
    ),
    "Unique rows": (
        "m (float[6,2] x) => (float[] y, int64[] i, int64[] v, int64[] c) { y, i, v, c = Unique<axis=0>(x) }",
        lambda data: (sparse(data, 6, 2),),
    ),
    "NonMaxSuppression": (
        "m (float[2,6,4] b, float[2,3,6] s, int64[1] m, float[1] t, float[1] l) => (int64[] y)"
        " { y = NonMaxSuppression(b, s, m, t, l) }",
        boxes,
    ),
    "boxes by their centres": (
        "m (float[2,6,4] b, float[2,3,6] s, int64[1] m, float[1] t, float[1] l) => (int64[] y)"
        " { y = NonMaxSuppression<center_point_box=1>(b, s, m, t, l) }",
        boxes,
    ),
}


@pytest.mark.parametrize("op", BY_DATA)
def test_counts_by_data(op):
    held(*BY_DATA[op])


# -- control flow ------------------------------------------------------------------------------------------------

BRANCHES = """m (bool c, float[2,3] x) => (float[] y) {
    a = Add(x, x)
    b = If(c)<then_branch = yes () => (float[] p) { p = ReduceSum<keepdims=0>(a) },
              else_branch = no () => (float[] q) { q = Relu(x) }>
    y = Mul(b, b)
}"""

GROWING = """m (int64 n, bool c, float[1] x) => (float[] y, float[] r) <int64 one = {1}, float limit = {40}> {
    y, r = Loop(n, c, x)<body = turn (int64 i, bool before, float[k] state) => (bool going, float[] next, float row) {
        sum = ReduceSum<keepdims=1>(state)
        next = Concat<axis=0>(state, sum)
        row = ReduceMax<keepdims=0>(next)
        going = Less(row, limit)
    }>
}"""

SCANNED = """m (float[2] s, float[3,5,2] x) => (float[2] t, float[] y, float[] z) {
    t, y, z = Scan(s, x)<num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
            scan_output_axes = [0, 1], scan_output_directions = [0, 1],
            body = turn (float[2] a, float[3,2] row) => (float[2] b, float[3,2] u, float[3] v) {
        m = ReduceMean<keepdims=0>(row)
        b = Add(a, m)
        u = Mul(row, b)
        last = Constant<value_ints = [1]>()
        v = ReduceMax<keepdims=0>(u, last)
    }>
}"""

NESTED = """m (int64 n, float[2] x) => (float[2] y, float[] h) <bool yes = {1}> {
    y, h = Loop(n, yes, x)<body = turn (int64 i, bool before, float[2] s) => (bool on, float[2] t, float[2] u) {
        two = Constant<value_int = 2>()
        zero = Constant<value_int = 0>()
        odd_ = Mod(i, two)
        odd = Equal(odd_, zero)
        t = If(odd)<then_branch = a () => (float[2] p) { p = Add(s, x) },
                    else_branch = b () => (float[2] q) {
                        q, = Loop(two, yes, s)<body = inner (int64 j, bool k, float[2] v) => (bool l, float[2] w) {
                            w = Mul(v, x)
                            l = Identity(k)
                        }>
                    }>
        u = Neg(t)
        on = Identity(before)
    }>
}"""


def test_if():
    held(BRANCHES, lambda data: (np.array(data.draw(st.booleans())), floats(data, 2, 3)))


def test_a_loop_whose_state_grows():
    def draw(data: st.DataObject) -> tuple[Any, ...]:
        return (
            np.array(data.draw(st.integers(0, 6))),
            np.array(data.draw(st.sampled_from((True, True, True, False)))),
            np.abs(floats(data, 1)) + 1,
        )

    held(GROWING, draw)


def test_scan():
    held(SCANNED, lambda data: (floats(data, 2), floats(data, 3, 5, 2)))


def test_control_flow_in_control_flow():
    held(NESTED, lambda data: (np.array(data.draw(st.integers(0, 4))), floats(data, 2)))


def test_a_condition_that_is_known_leaves_one_branch():
    text = BRANCHES.replace("(bool c, float[2,3] x)", "(float[2,3] x)").replace("{\n", "<bool c = {0}> {\n", 1)
    exe = heddle.compile(model(text))
    assert len(exe.programs) == len(exe.schedules) == 1
    assert not exe.plan.stages
    x = np.array([[1, -2, 3], [-4, 5, -6]], F32)
    assert np.array_equal(exe(x)["y"], np.maximum(x, 0) ** 2)


def test_open_dimensions_and_branches(tmp_path):
    text = BRANCHES.replace("float[2,3] x", "float[N,3] x")
    ours, theirs = both(text)
    for rows in (2, 4, 2):
        for c in (np.array(True), np.array(False)):
            x = np.arange(3 * rows, dtype=F32).reshape(rows, 3) - 4
            agree(ours(c, x), theirs(c, x))
    assert len(ours.programs) == 2
    ours.save(tmp_path / "m.heddle")
    agree(heddle.load(tmp_path / "m.heddle")(c, x), theirs(c, x))


def test_several_threads():
    ours, theirs = both(GROWING)

    def work(k: int) -> None:
        for n in range(5):
            given = np.array((n + k) % 5), np.array(True), np.full(1, 1 + k / 10, F32)
            agree(ours(*given), theirs(*given))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_bodies_run_on_the_listed_backends(toys):
    exe = heddle.compile(model(BRANCHES), [toys.Picky(), toys.Reference()], devices=toys.devices())
    assert {"picky", "reference"} == {region.backend for region in exe.plan.regions}
    x = np.array([[1, -2, 3], [-4, 5, -6]], F32)
    for c in (np.array(True), np.array(False)):
        agree(exe(c, x), peer(model(BRANCHES))(c, x))


# -- sequences and optionals -------------------------------------------------------------------------------------

PARTS = """m (float[6,3] x, int64[3] p, int64 at, int64 gone) => (float[] y, float[] z, int64 n, float[] w) {
    s = SplitToSequence<axis=0>(x, p)
    e = SequenceAt(s, at)
    y = Mul(e, e)
    t = SequenceInsert(s, y, at)
    u = SequenceErase(t, gone)
    n = SequenceLength(u)
    z = ConcatFromSequence<axis=0>(u)
    v = SequenceConstruct(x, x)
    w = ConcatFromSequence<axis=1, new_axis=1>(v)
}"""

GATHERED = """m (int64 n, float[2] x) => (float[] y) <bool yes = {1}> {
    empty = SequenceEmpty()
    s = Loop(n, yes, empty)<body = turn (int64 i, bool before, seq(float[]) have) => (bool on, seq(float[]) more) {
        f = Cast<to = 1>(i)
        row = Add(x, f)
        more = SequenceInsert(have, row)
        on = Identity(before)
    }>
    y = ConcatFromSequence<axis=0>(s)
}"""


def test_sequences():
    def draw(data: st.DataObject) -> tuple[Any, ...]:
        first, second = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
        places = (data.draw(st.integers(-3, 2)), data.draw(st.integers(-4, 3)))
        return floats(data, 6, 3), np.array([first, second, 6 - first - second]), *map(np.array, places)

    held(PARTS, draw)


def test_a_loop_that_gathers_a_sequence():
    held(GATHERED, lambda data: (np.array(data.draw(st.integers(1, 5))), floats(data, 2)))


def test_sequences_and_optionals_go_in_and_out():
    exe = heddle.compile(
        model("m (seq(float[2]) s, optional(float[2]) o) => (seq(float[2]) t, bool h) "
              "{ a = SequenceLength(s) b = Sub(a, a) e = SequenceAt(s, b) d = Add(e, e)"
              " t = SequenceInsert(s, d) h = OptionalHasElement(o) }")
    )  # fmt: skip
    assert [str(spec) for spec in exe.inputs] == ["seq<float32[2]>", "optional<float32[2]>"]
    x = np.array([1, 2], F32)
    t, h = exe([x], None)
    assert [item.tolist() for item in t] == [[1, 2], [2, 4]]
    assert not np.may_share_memory(t[0], x)
    assert not h
    assert exe([x, x], x)["h"]
    with pytest.raises(InputError, match=r"^input 's': float32\[2\] is expected, float32\[3\] was given$"):
        exe([np.ones(3, F32)], None)
    with pytest.raises(InputError, match=r"^input 's': seq<float32\[2\]> is expected, float32\[2\] is no list$"):
        exe(x, None)


# -- what cannot be ----------------------------------------------------------------------------------------------


def test_errors_say_what_is_wrong():
    parts = heddle.compile(model(PARTS))
    x, p = np.ones((6, 3), F32), np.array([1, 2, 3])
    with pytest.raises(InputError, match=r"^SequenceAt: there is no position 3 in a sequence of 3$"):
        parts(x, p, np.array(3), np.array(0))
    missing = heddle.compile(model("m (optional(float[2]) o) => (float[2] y) { x = OptionalGetElement(o) y = Neg(x) }"))
    with pytest.raises(InputError, match=r"^OptionalGetElement: the optional is empty, an element was expected$"):
        missing(None)
    text = GROWING.replace("float row)", "float[] row)").replace("row = ReduceMax<keepdims=0>(next)", "row = Neg(next)")
    ragged = heddle.compile(model(text.replace("Less(row, limit)", "Equal(limit, limit)")))
    with pytest.raises(InputError, match=r"^Loop: rows of the shapes \[2\] and \[3\] cannot be stacked"):
        ragged(np.array(2), np.array(True), np.ones(1, F32))


def test_profile_intermediates_stream_and_out():
    exe, theirs = both(BRANCHES)
    given = [(np.array(c), np.full((2, 3), c + 1, F32)) for c in (True, False, True)]
    for ours, one in zip(exe.stream(given), given, strict=True):
        agree(ours, theirs(*one))
    profile = exe.profile(*given[0], repeat=2)
    assert [step.name for step in profile.steps] == ["part0.host.0", "b.then_branch.part0.host.0", "part1.host.0"] * 2
    seen = exe.intermediates(*given[0])
    assert np.array_equal(seen["a"], 2 * given[0][1])
    out = np.empty((2, 3), F32)
    assert exe(*given[1], out=out)["y"] is out
    agree([out], theirs(*given[1]))
    with pytest.raises(InputError, match=r"^out: output 'y' needs a writeable float32\[\], float32\[2,3\] was given$"):
        exe(*given[0], out=out)


# -- files -------------------------------------------------------------------------------------------------------

ALONE = """
import sys
import numpy as np, heddle
exe = heddle.load(sys.argv[1])
print(exe(np.array(3), np.ones(2, np.float32))["y"].tolist())
bad = [name for name in ("llvmlite", "onnx", "heddle.core.codegen", "heddle.core.ops") if name in sys.modules]
assert not bad, bad
"""


def test_a_file_runs_without_a_compiler_what_was_run_before(tmp_path):
    exe = heddle.compile(model(GATHERED))
    n, x = np.array(3), np.ones(2, F32)
    expected = exe(n, x)["y"]
    exe.save(tmp_path / "m.heddle")
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "m.heddle")], capture_output=True, text=True, check=False
    )
    assert ran.stdout == f"{expected.tolist()}\n", ran.stderr
    loaded = heddle.load(tmp_path / "m.heddle")
    assert str(loaded.plan) == str(exe.plan)
    with pytest.raises(ArtifactError) as caught:
        loaded(np.array(2), x)
    assert str(caught.value) == (
        "part 'part0' of the model is not compiled for s: [(2,), (2,)], and a loaded file has no compiler;"
        " run the model with such inputs before it is saved"
    )


def test_the_same_file_twice(tmp_path):
    for name in "ab":
        exe = heddle.compile(model(NESTED))
        exe(np.array(2), np.ones(2, F32))
        exe.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_cache_that_grows_by_one_has_a_known_shape():
    exe = heddle.compile(model("m (float[1,past,4] k, float[1,1,4] n) => (float[] y) { y = Concat<axis=1>(k, n) }"))
    assert [str(spec) for spec in exe.outputs] == ["float32[1,past+1,4]"]
    assert exe(np.ones((1, 3, 4), F32), np.ones((1, 1, 4), F32))["y"].shape == (1, 4, 4)


def test_a_model_that_is_compiled_at_once_has_no_stages():
    text = (
        "m (float[2,3,4] x) => (float[] y) { s = Shape<end=1>(x) one = Constant<value_ints=[-1]>() "
        "t = Concat<axis=0>(s, one) y = Reshape(x, t) }"
    )
    exe = heddle.compile(model(text))
    assert exe.plan.stages == ()
    assert exe(np.ones((2, 3, 4), F32))["y"].shape == (2, 12)


# -- the command line --------------------------------------------------------------------------------------------


def ran(*arguments: object) -> str:
    """What a command prints; it must succeed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_compile_run_and_explain(tmp_path):
    path, packed, inputs, outputs = (tmp_path / name for name in ("m.onnx", "m.heddle", "x.npz", "y.npz"))
    onnx.save(model(GATHERED), path)
    np.savez(inputs, n=np.array(3), x=np.ones(2, F32))
    told = ran("compile", path, "-o", packed)
    assert "part0: not compiled, since what they need is only known when the model runs" in told
    told = ran("compile", path, "-o", packed, "--example", inputs)
    assert "not compiled" not in told
    assert "Loop -> s: the runtime" in told
    ran("run", packed, "--inputs", inputs, "--outputs", outputs)
    assert np.load(outputs)["y"].tolist() == [1, 1, 2, 2, 3, 3]
    told = ran("explain", path)
    assert told.startswith("compiled part by part: 2 parts in 5 stages\n")
    assert "compiled when the elements of %s, seq<float32[*]>, are known" in told
    stages = json.loads(ran("explain", path, "--json"))["stages"]
    assert [bool(stage["explanation"]) for stage in stages] == [False, False, True, False, False]
    verdicts = json.loads(ran("verify", path, "--inputs", inputs, "--json"))
    assert verdicts["ok"]
    assert [each["region"] for each in verdicts["regions"]] == ["s.body.part0.host.0", "part0.host.0"]


def test_a_report_of_parts_plans_nothing_anew(tmp_path, monkeypatch):
    path, inputs, report = tmp_path / "m.onnx", tmp_path / "x.npz", tmp_path / "plan.html"
    onnx.save(model(GATHERED), path)
    np.savez(inputs, n=np.array(3), x=np.ones(2, F32))
    plans, real = [], heddle.compiler.partition
    monkeypatch.setattr(heddle.compiler, "partition", lambda *args: plans.append(real(*args)) or plans[-1])
    ran("compile", path, "--example", inputs, "--report", report)
    assert [len(made.order) for made in plans] == [2, 1]
    page = report.read_text()
    assert "compiled part by part: 2 parts in 5 stages" in page
    assert page.count("<iframe") == len(plans)


def test_plans_of_parts():
    outlined = heddle.plan(model(BRANCHES))
    assert len(outlined.plans) == len(outlined.regions) == 3
    assert [stage.get("plan", {}).get("name") for stage in outlined.to_json()["stages"]] == [
        "part0", None, "part0", "part0", None
    ]  # fmt: skip


def test_sequences_and_optionals_in_files(tmp_path):
    path, inputs, outputs = (tmp_path / name for name in ("m.onnx", "x.npz", "y.npz"))
    text = "m (seq(float[2]) s, optional(float[2]) o) => (seq(float[2]) t, bool h)" \
        " { z = Constant<value_int=0>() e = SequenceAt(s, z) n = Neg(e) t = SequenceInsert(s, n)" \
        " h = OptionalHasElement(o) }"  # fmt: skip
    onnx.save(model(text), path)
    np.savez(inputs, **{"s.0": np.array([1, 2], F32), "s.1": np.array([3, 4], F32)})
    assert "t.2" in ran("run", path, "--inputs", inputs, "--outputs", outputs)
    found = np.load(outputs)
    assert {name: found[name].tolist() for name in found} == {
        "t.0": [1, 2], "t.1": [3, 4], "t.2": [-1, -2], "h": False,
    }  # fmt: skip


def test_demands_of_one_part(toys):
    text = model(BRANCHES).SerializeToString()
    exe = heddle.compile(
        text,
        [toys.Picky(), toys.Reference()],
        demands=heddle.Demands(exclude=(("Relu", "picky"),)),
        devices=toys.devices(),
    )
    assert {region.backend for region in exe.plan.regions} == {"reference"}
    with pytest.raises(heddle.HeddleError, match="a demand names nodes 'nothing', the graph has none"):
        heddle.compile(
            text, [toys.Picky(), toys.Reference()], demands=heddle.Demands(exclude=(("nothing", "picky"),)),
            devices=toys.devices(),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "given", "called"),
    [
        (BRANCHES, (np.array(True), np.ones((2, 3), F32)), ["part0_host_0", "If", "part1"]),
        (BRANCHES, (np.array(False), -np.ones((2, 3), F32)), ["part0_host_0", "If", "part1"]),
        (GATHERED, (np.array(3), np.ones(2, F32)), ["SequenceEmpty", "Loop", "part0"]),
        (NESTED, (np.array(3), np.full(2, 2, F32)), ["Loop"]),
        (SCANNED, (np.ones(2, F32), np.arange(30, dtype=F32).reshape(3, 5, 2)), ["Scan"]),
        (
            PARTS,
            (np.ones((6, 3), F32), np.array([1, 2, 3]), np.array(1), np.array(0)),
            ["part0", "SequenceAt", "SequenceConstruct", "part1", "part2", "SequenceInsert", "SequenceErase",
             "SequenceLength", "part3"],
        ),
    ],
    ids=["then", "else", "gathered", "nested", "scanned", "parts"],
)  # fmt: skip
def test_parts_and_their_regions_as_functions_of_one_model(text, given, called):
    """The model that shows what runs where computes what the model does, so nothing of it is left out or mixed up."""
    outlined = heddle.plan(model(text))
    shown = export_calls(outlined.calls, outlined.functions)
    assert [node.op_type for node in shown.graph.node] == called
    bodies = [
        body for body in outlined.functions.values() if not body.name.endswith(("part0", "part1", "part2", "part3"))
    ]
    assert len(bodies) == len(outlined.regions)
    agree(list(heddle.compile(shown)(*given).values()), peer(model(text))(*given))


SHARED = """m (bool c, float[2,3] x) => (float[2,3] y) {
    a = Relu(x)
    b = Cos(a)
    d = If(c)<then_branch = yes () => (float[2,3] p) { s = Relu(b)  t = Cos(s)  p = Abs(t) },
              else_branch = no () => (float[2,3] q) { q = Neg(b) }>
    e = Relu(d)
    y = Cos(e)
}"""


@pytest.mark.parametrize("taken", [True, False])
def test_regions_of_several_backends_in_parts(taken):
    """What passes between the regions of a part is known by the part, so that parts cannot take it for their own."""
    outlined = heddle.plan(model(SHARED), ["onednn", "host"])
    inside = {value.name for graph in outlined.calls.walk() for node in graph.nodes for value in node.results}
    assert inside == {"b", "d", "q", "p", "y", "part0.a", "part1.e", "d.then_branch.part0.s", "d.then_branch.part0.t"}
    shown = export_calls(outlined.calls, outlined.functions)
    assert {function.domain for function in shown.functions} == {"heddle.onednn", "heddle.host"}
    given = np.array(taken), np.arange(6, dtype=F32).reshape(2, 3)
    agree(list(heddle.compile(shown)(*given).values()), peer(model(SHARED))(*given))


def test_explain_writes_the_parts_as_one_model(tmp_path):
    path, shown = tmp_path / "m.onnx", tmp_path / "parts.onnx"
    onnx.save(model(NESTED), path)
    ran("explain", path, "--onnx", shown)
    made = onnx.load(shown)
    assert {function.domain for function in made.functions} == {"heddle.host"}
    x = np.full(2, 2, F32)
    agree(list(heddle.compile(made)(np.array(3), x).values()), peer(model(NESTED))(np.array(3), x))
