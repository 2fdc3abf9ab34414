"""Passes, text in and text out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, Node, Value, tensor
from heddle.core.ops import inference
from heddle.core.passes import (
    CommonSubexpressions,
    ExpandComposites,
    FoldConstants,
    bind_shapes,
    bound_counts,
    dead_code,
    fold_scales,
    identities,
    infer_shapes,
    optimize,
    sink_constants,
    specialised,
    take_branches,
    unrolled,
)

Read = Callable[..., Graph]


def body(graph: Graph) -> list[str]:
    """The lines of a graph's text between its braces."""
    return [line.strip() for line in str(graph).splitlines()[1:-1]]


# -- identities ----------------------------------------------------------------------------------------------------

GONE = {
    "x + 0": "%y: float32[2,3] = Add(%x, %zero)",
    "0 + x": "%y: float32[2,3] = Add(%zero, %x)",
    "x - 0": "%y: float32[2,3] = Sub(%x, %zero)",
    "x * 1": "%y: float32[2,3] = Mul(%x, %one)",
    "1 * x": "%y: float32[2,3] = Mul(%one, %x)",
    "x / 1": "%y: float32[2,3] = Div(%x, %one)",
    "x ** 1": "%y: float32[2,3] = Pow(%x, %one)",
    "Identity": "%y: float32[2,3] = Identity(%x)",
    "Dropout": "%y: float32[2,3] = Dropout(%x)",
    "Cast": '%y: float32[2,3] = Cast(%x) {to="float32"}',
    "Cast and back": '%t: float64[2,3] = Cast(%x) {to="float64"}\n%y: float32[2,3] = Cast(%t) {to="float32"}',
    "--x": "%t: float32[2,3] = Neg(%x)\n%y: float32[2,3] = Neg(%t)",
    "Transpose": "%y: float32[2,3] = Transpose(%x) {perm=[0, 1]}",
    "two Transposes": "%t: float32[3,2] = Transpose(%x) {perm=[1, 0]}\n%y: float32[2,3] = Transpose(%t) {perm=[1, 0]}",
    "Reshape": "%y: float32[2,3] = Reshape(%x, %shape)",
    "two Reshapes": "%t: float32[1,6] = Flatten(%x) {axis=0}\n%y: float32[2,3] = Reshape(%t, %shape)",
    "Expand": "%y: float32[2,3] = Expand(%x, %shape)",
    "Concat": "%y: float32[2,3] = Concat(%x) {axis=0}",
    "Pad": "%y: float32[2,3] = Pad(%x, %pads)",
    "Slice": "%y: float32[2,3] = Slice(%x, %start, %end)",
    "Clip": "%y: float32[2,3] = Clip(%x)",
}


def around(lines: str) -> str:
    """A graph of these lines with the constants that they may name; `%x` in, the positive part of `%y` out."""
    return f"""graph (%x: float32[2,3]) -> (%out) {{
      const %zero: float32[]  const %one: float32[3]  const %shape: int64[2]
      const %pads: int64[4]  const %start: int64[2]  const %end: int64[2]
      {lines}
      %out: float32[2,3] = Relu(%y)
    }}"""


ARRAYS = {"one": [1, 1, 1], "shape": [2, 3], "end": [9, 9]}


@pytest.mark.parametrize("lines", GONE.values(), ids=GONE)
def test_what_changes_nothing_goes(read_graph: Read, lines: str) -> None:
    graph = dead_code(identities(read_graph(around(lines), **ARRAYS)))
    assert body(graph) == ["%out: float32[2,3] = Relu(%x)"]


STAYS = {
    "x * 2": ("%y: float32[2,3] = Mul(%x, %one)", {"one": [2, 1, 1]}),
    "a reversed Slice": ("%y: float32[2,3] = Slice(%x, %start, %end, _, %shape)", {"shape": [-1, -1]}),
    "narrower and back": ('%t: float16[2,3] = Cast(%x) {to="float16"}\n%y: float32[2,3] = Cast(%t) {to="float32"}', {}),
    "a Pad of one": ("%y: float32[2,3] = Pad(%x, %pads)", {"pads": [1, 0, -1, 0]}),
}


@pytest.mark.parametrize(("lines", "arrays"), STAYS.values(), ids=STAYS)
def test_what_changes_something_stays(read_graph: Read, lines: str, arrays: dict[str, object]) -> None:
    graph = read_graph(around(lines), **arrays)
    assert identities(graph) is graph


def test_a_neutral_operand_that_broadcasts_stays(read_graph: Read) -> None:
    graph = read_graph("graph (%x: float32[3]) -> (%y) { const %z: float32[2,1] %y: float32[2,3] = Add(%x, %z) }")
    assert identities(graph) is graph


def test_an_output_keeps_its_name(read_graph: Read) -> None:
    graph = read_graph(
        "graph (%x: float32[2]) -> (%y, %z) { %a: float32[2] = Neg(%x) "
        "%y: float32[2] = Identity(%a) %z: float32[2] = Identity(%x) }"
    )
    assert body(identities(graph)) == ["%y: float32[2] = Neg(%x)", "%z: float32[2] = Identity(%x)"]


# -- constants -----------------------------------------------------------------------------------------------------


def test_constants_fold_but_dequantized_weights_stay(read_graph: Read) -> None:
    graph = read_graph(
        """graph (%x: float32[2]) -> (%y) {
      const %w: int8[2]  const %s: float32[]  const %a: float32[2]  const %b: float32[2]
      %d: float32[2] = DequantizeLinear(%w, %s)
      %c: float32[2] = Add(%a, %b)
      %e: float32[2] = Mul(%d, %c)
      %y: float32[2] = Add(%x, %e)
    }""",
        a=[1, 2],
        b=[3, 4],
    )
    folded = FoldConstants()(graph)
    assert [node.op for node in folded.nodes] == ["DequantizeLinear", "Mul", "Add"]
    assert {value.name: array.tolist() for value, array in folded.constants.items() if value.name == "c"} == {
        "c": [4, 6]
    }


def test_what_would_grow_too_much_stays_and_is_told(read_graph: Read, caplog: pytest.LogCaptureFixture) -> None:
    graph = read_graph(
        "graph () -> (%y) { const %k: float32[] const %s: int64[2] %y: float32[9,9] = Expand(%k, %s) }", s=[9, 9]
    )
    assert FoldConstants(growth=100)(graph) is graph
    assert caplog.messages == ["fold_constants: 1 nodes stay, %y (Expand) first: their values exceed growth=100 bytes"]
    assert not FoldConstants(growth=1000)(graph).nodes


def test_constants_move_into_bodies(read_graph: Read) -> None:
    graph = read_graph(
        """graph (%c: bool[], %x: float32[2]) -> (%y) {
      const %k: float32[2]
      %y: float32[2] = If(%c, %x, %k) {
        then_branch=graph (%x: float32[2], %k: float32[2]) -> (%t) { %t: float32[2] = Add(%x, %k) },
        else_branch=graph (%x: float32[2], %k: float32[2]) -> (%x) { }
      }
    }""",
        k=[5, 6],
    )
    sunk = sink_constants(graph)
    assert [value.name for value in sunk.nodes[0].operands] == ["c", "x"]
    arrays = [np.array(True), np.array([1, 2], np.float32)]
    assert evaluate(sunk, arrays)[0].tolist() == evaluate(graph, arrays)[0].tolist() == [6, 8]


# -- duplicates and dead code --------------------------------------------------------------------------------------


def test_equal_nodes_are_computed_once(read_graph: Read) -> None:
    graph = read_graph("""graph (%x: float32[2]) -> (%y) {
      %a: float32[2] = LeakyRelu(%x) {alpha=0.5}
      %b: float32[2] = LeakyRelu(%x) {alpha=0.5}
      %c: float32[2] = LeakyRelu(%x) {alpha=0.25}
      %d: float32[2] = Add(%a, %b)
      %y: float32[2] = Add(%d, %c)
    }""")
    assert body(CommonSubexpressions()(graph)) == [
        "%a: float32[2] = LeakyRelu(%x) {alpha=0.5}",
        "%c: float32[2] = LeakyRelu(%x) {alpha=0.25}",
        "%d: float32[2] = Add(%a, %a)",
        "%y: float32[2] = Add(%d, %c)",
    ]


def test_random_numbers_are_drawn_twice(read_graph: Read) -> None:
    graph = read_graph("""graph () -> (%a, %b) {
      %a: float32[2] = RandomNormal() {shape=[2]}
      %b: float32[2] = RandomNormal() {shape=[2]}
    }""")
    assert CommonSubexpressions()(graph) is graph


def test_dead_nodes_and_results_go_but_the_count_of_parts_stays(read_graph: Read) -> None:
    graph = read_graph("""graph (%x: float32[4]) -> (%p) {
      const %unread: float32[2]
      %dead: float32[4] = Neg(%x)
      %m: float32[4], %mask: bool[4] = Dropout(%x)
      %p: float32[2], %q: float32[2] = Split(%m) {num_outputs=2}
    }""")
    assert body(dead_code(graph)) == [
        "%m: float32[4] = Dropout(%x)",
        "%p: float32[2], _ = Split(%m) {num_outputs=2}",
    ]


# -- scales --------------------------------------------------------------------------------------------------------

CONV = """graph (%x: float32[1,2,4,4]) -> (%y) {
  const %w: float32[3,2,1,1]  const %g: float32[3]  const %b: float32[3]  const %m: float32[3]  const %v: float32[3]
  const %k: float32[3,1,1]
  %c: float32[1,3,4,4] = Conv(%x, %w)
  LINE
}"""
AFFINE = {
    "BatchNormalization": "%y: float32[1,3,4,4] = BatchNormalization(%c, %g, %b, %m, %v)",
    "Mul": "%y: float32[1,3,4,4] = Mul(%c, %k)",
    "Div": "%y: float32[1,3,4,4] = Div(%c, %k)",
    "Add": "%y: float32[1,3,4,4] = Add(%k, %c)",
    "Sub": "%y: float32[1,3,4,4] = Sub(%c, %k)",
    "reversed Sub": "%y: float32[1,3,4,4] = Sub(%k, %c)",
}


def drawn(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(sum(shape)).uniform(0.5, 2, shape)


def agree(before: Graph, after: Graph) -> None:
    x = np.random.default_rng(0).standard_normal(before.inputs[0].shape).astype(np.float32)
    np.testing.assert_allclose(evaluate(after, [x])[0], evaluate(before, [x])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("line", AFFINE.values(), ids=AFFINE)
def test_scales_fold_into_a_convolution(read_graph: Read, line: str) -> None:
    arrays = {name: drawn(3) for name in "gbmv"}
    graph = read_graph(CONV.replace("LINE", line), w=drawn(3, 2, 1, 1), k=drawn(3, 1, 1), **arrays)
    folded = fold_scales(graph)
    assert [node.op for node in folded.nodes] == ["Conv"]
    agree(graph, folded)


@pytest.mark.parametrize("line", AFFINE.values(), ids=AFFINE)
def test_scales_fold_into_a_grouped_transposed_convolution(read_graph: Read, line: str) -> None:
    text = CONV.replace("%w: float32[3,2,1,1]", "%w: float32[2,2,1,1]").replace("LINE", line).replace("3", "4")
    text = text.replace("Conv(%x, %w)", "ConvTranspose(%x, %w) {group=2}").replace("float42", "float32")
    graph = read_graph(text, w=drawn(2, 2, 1, 1), k=drawn(4, 1, 1), **{name: drawn(4) for name in "gbmv"})
    folded = fold_scales(graph)
    assert [node.op for node in folded.nodes] == ["ConvTranspose"]
    agree(graph, folded)


def test_a_scale_does_not_fold_into_what_others_read(read_graph: Read) -> None:
    text = CONV.replace("-> (%y)", "-> (%y, %c)").replace("LINE", AFFINE["Mul"])
    graph = read_graph(text, w=drawn(3, 2, 1, 1), k=drawn(3, 1, 1))
    assert fold_scales(graph) is graph


@pytest.mark.parametrize("attrs", ["", " {transB=1}", " {alpha=0.5, beta=2.0}"])
def test_scales_fold_into_gemm(read_graph: Read, attrs: str) -> None:
    graph = read_graph(
        f"""graph (%x: float32[2,3]) -> (%y) {{
      const %w: float32[3,3]  const %b: float32[3]  const %k: float32[3]
      %c: float32[2,3] = Gemm(%x, %w, %b){attrs}
      %d: float32[2,3] = Mul(%c, %k)
      %y: float32[2,3] = Add(%d, %k)
    }}""",
        w=drawn(3, 3),
        b=drawn(3),
        k=drawn(3),
    )
    folded = fold_scales(graph)
    assert [node.op for node in folded.nodes] == ["Gemm"]
    agree(graph, folded)


# -- shapes --------------------------------------------------------------------------------------------------------


def test_shapes_are_inferred_and_bound(read_graph: Read) -> None:
    graph = read_graph(
        """graph (%x: float32[N,4]) -> (%y) {
      const %i: int64[1]  const %two: int64[2]
      %s: int64[2] = Shape(%x)
      %n: int64[1] = Gather(%s, %i)
      %shape: int64[3] = Concat(%n, %two) {axis=0}
      %y: float32[*] = Reshape(%x, %shape)
    }""",
        two=[2, 2],
    )
    assert str(infer_shapes(graph).outputs[0].type) == "float32[N,2,2]"
    assert str(bind_shapes(graph, {"x": [7, 4]}).outputs[0].type) == "float32[7,2,2]"
    with pytest.raises(GraphError, match=r"%x: shape \[7, 5\] does not fit float32\[N,4\]"):
        bind_shapes(graph, {"x": [7, 5]})


# -- composites ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Softmax", "LayerNormalization", "MeanVarianceNormalization", "LogSoftmax"])
def test_composites_expand_unless_they_are_kept(read_graph: Read, op: str) -> None:
    operands = "%x, %s" if op == "LayerNormalization" else "%x"
    text = f"graph (%x: float32[1,2,2,3]) -> (%y) {{ const %s: float32[3] %y: float32[1,2,2,3] = {op}({operands}) }}"
    graph = read_graph(text, s=drawn(3))
    expanded = ExpandComposites()(graph)
    assert op not in [node.op for node in expanded.nodes]
    agree(graph, expanded)
    assert ExpandComposites(frozenset([op]))(graph) is graph


# -- the pipeline --------------------------------------------------------------------------------------------------


def test_a_pass_that_breaks_the_graph_is_named(read_graph: Read) -> None:
    def spoil(graph: Graph) -> Graph:
        return graph.replace(nodes=())

    graph = read_graph("graph (%x: float32[2]) -> (%y) { %y: float32[2] = Neg(%x) }")
    with pytest.raises(GraphError) as caught:
        optimize(graph, [dead_code, spoil])
    assert str(caught.value) == "pass spoil: the outputs: %y is used before it is bound"
    assert caught.value.__notes__[-1] == f"the graph before the pass:\n{graph}"


def test_passes_are_told_of(
    read_graph: Read, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = read_graph("graph (%x: float32[2]) -> (%y) { %a: float32[2] = Identity(%x) %y: float32[2] = Neg(%a) }")
    said = []
    for level in "01234":
        monkeypatch.setenv("HEDDLE_DEBUG", level)
        optimize(graph, [identities, dead_code])
        said.append(capsys.readouterr().err)
    assert said[0] == ""
    assert [line.split()[1] for line in said[1].splitlines()] == ["identities", "dead_code"]
    assert [text.count("graph (") for text in said] == [0, 0, 2, 2, 3]


def test_work_grows_with_the_graph_and_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators' rules are asked a fixed number of times for each node, also in a graph of many thousands."""
    asked = 0
    original = inference.infer_node

    def counted(node: Node, values: object) -> object:
        nonlocal asked
        asked += 1
        return original(node, values)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(inference, "infer_node", counted)
    counts = []
    for size in (500, 5000):
        x = Value("x", tensor("float32", 4))
        values = [x, *(Value(f"v{i}", x.type) for i in range(size))]
        ops = ("Relu", "Sigmoid", "Identity", "Neg")
        nodes = [Node(ops[i % 4], (values[i],), (values[i + 1],)) for i in range(size)]
        asked = 0
        optimize(Graph((x,), tuple(nodes), (values[-1],)))
        counts.append(asked)
    assert counts[1] <= 10 * counts[0] + 10


# -- what is only known when it runs -------------------------------------------------------------------------------


def test_the_branch_of_a_known_condition_is_taken(read_graph: Read) -> None:
    text = """graph (%x: float32[2]) -> (%y) {
      const %c: bool[]
      %y: float32[2] = If(%c, %x) {
        else_branch=graph (%a: float32[2]) -> (%b) { %b: float32[2] = Relu(%a) },
        then_branch=graph (%a: float32[2]) -> (%b) { %n: float32[2] = Neg(%a)  %b: float32[2] = Abs(%n) }
      }
    }"""
    taken = take_branches(read_graph(text, c=True))
    assert [node.op for node in taken.nodes] == ["Neg", "Abs"]
    assert [value.name for value in taken.outputs] == ["y"]
    assert [node.op for node in take_branches(read_graph(text, c=False)).nodes] == ["Relu"]
    asked = read_graph(text.replace("%x: float32[2])", "%x: float32[2], %c: bool[])").replace("const %c: bool[]", ""))
    assert take_branches(asked) is asked


@pytest.mark.parametrize("node", ["NonZero(%x)", "Compress(%x, %c) {axis=-1}", "Compress(%x, %c)", "Unique(%x)"])
def test_counts_are_bounded(read_graph: Read, node: str) -> None:
    rank = 1 if node in ("Compress(%x, %c)", "Unique(%x)") else 2
    dims = ",".join("?" * rank)
    dtype = "int64" if node.startswith("NonZero") else "float32"
    graph = read_graph(f"graph (%x: float32[2,4], %c: bool[4]) -> (%y) {{ %y: {dtype}[{dims}] = {node} }}")
    bounded = bound_counts(graph)
    name = node.partition("(")[0]
    assert [each.op for each in bounded.nodes] == [f"heddle.{name}Bounded", "heddle.Trim"]
    assert all(value.tensor.shape is not None for value in bounded.nodes[0].results)
    rng = np.random.default_rng(0)
    for _ in range(20):
        given = [rng.integers(-1, 2, (2, 4)).astype(np.float32), rng.random(4) < 0.5]
        for want, got in zip(evaluate(graph, given), evaluate(bounded, given), strict=True):
            np.testing.assert_array_equal(got, want)


WINDOW = """graph (%x: float32[7,3], %i: int64[]) -> (%y) {
  const %axis: int64[1]
  const %size: int64[1]
  const %one: int64[]
  %j: int64[] = Sub(%i, %one)
  %from: int64[1] = Unsqueeze(%j, %axis)
  %to: int64[1] = Add(%from, %size)
  %y: float32[?,3] = Slice(%x, %from, %to, %axis)
}"""
CONSTANTS = {"axis": np.array([0]), "size": np.array([2]), "one": np.array(1)}


def test_windows_that_move_are_bounded(read_graph: Read) -> None:
    graph = read_graph(WINDOW, **CONSTANTS)
    bounded = bound_counts(graph)
    assert [each.op for each in bounded.nodes][-2:] == ["heddle.SliceBounded", "heddle.Trim"]
    assert bounded.nodes[-2].outputs[1].tensor.shape == (2, 3)
    x = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    for i in range(-12, 13):
        given = [x, np.array(i)]
        np.testing.assert_array_equal(evaluate(bounded, given)[0], evaluate(graph, given)[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Add(%from, %size)", "Sub(%from, %size)"),  # it would end before it begins
        ("Add(%from, %size)", "Neg(%from)"),  # how far apart its ends are is not known
        ("%y: float32[?,3]", "%y: float32[2,3]"),  # the model says how large it is
    ],
)
def test_other_slices_are_left(read_graph: Read, old: str, new: str) -> None:
    graph = read_graph(WINDOW.replace(old, new), **CONSTANTS)
    assert bound_counts(graph) is graph


def test_slices_that_shapes_place_are_left(read_graph: Read) -> None:
    graph = read_graph(
        WINDOW.replace("%i: int64[]", "%z: float32[N]").replace(
            "%j: int64[] =", "%i: int64[] = Size(%z)\n %j: int64[] ="
        ),
        **CONSTANTS,
    )
    assert bound_counts(graph) is graph


def test_specialised_for_types_and_values(read_graph: Read) -> None:
    graph = read_graph(
        """graph (%x: float32[N,?], %s: int64[2], %z: float32[N]) -> (%y, %w) {
      %y: float32[?,?] = Reshape(%x, %s)
      %w: float32[N] = Neg(%z)
    }"""
    )
    types = {"x": tensor("float32", 4, 3), "s": tensor("int64", 2), "z": tensor("float32", 7)}
    made = specialised(graph, types, {"s": np.array([6, 2])})
    assert [value.name for value in made.inputs] == ["x", "z"]
    assert [str(value.type) for value in made.outputs] == ["float32[6,2]", "float32[7]"]
    assert {value.name: array.tolist() for value, array in made.constants.items()} == {"s": [6, 2]}


def test_sequences_are_unrolled(read_graph: Read) -> None:
    joined = read_graph(
        "graph (%s: seq<float32[?]>) -> (%y) { %y: float32[?,?] = ConcatFromSequence(%s) {axis=0, new_axis=1} }"
    )
    made = unrolled(joined, {"s": [(2,), (2,)]})
    assert [node.op for node in made.nodes] == ["Unsqueeze", "Unsqueeze", "Concat"]
    assert [str(value.type) for value in made.outputs] == ["float32[2,2]"]
    with pytest.raises(GraphError, match=r"^ConcatFromSequence: 0 elements of"):
        unrolled(joined, {"s": []})
    text = "graph (%x: float32[5]) -> (%s) { const %n: int64[] %s: seq<float32[?]> = SplitToSequence(%x, %n) }"
    parts = unrolled(read_graph(text, n=2), {})
    assert [str(value.type) for value in parts.outputs] == ["float32[2]", "float32[2]", "float32[1]"]
    with pytest.raises(GraphError, match=r"^SplitToSequence: parts of 0 elements cannot be split off$"):
        unrolled(read_graph(text, n=0), {})
