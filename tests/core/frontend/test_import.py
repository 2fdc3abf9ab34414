"""ONNX text in, graph text out: names, constants, captures, functions, shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from heddle.core.errors import ModelError
from heddle.core.frontend import import_model
from heddle.core.interpret import evaluate
from onnx import TensorProto, helper, numpy_helper


def model(text: str, *functions: str, opset: int = 21) -> onnx.ModelProto:
    """A model from ONNX's own text form."""
    imports = f'"" : {opset}, "local" : 1'
    header = f"<ir_version: 10, opset_import: [{imports}]>"
    return onnx.parser.parse_model("\n".join([header, text, *functions]))


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        import_model(source, **options)
    return str(caught.value)


def test_constants_of_all_kinds_become_constants() -> None:
    graph = import_model(
        model("""net (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
            k = Constant <value_float = 0.5> ()
            a = Add(x, w)
            y = Mul(a, k)
        }""")
    )
    assert (
        str(graph)
        == """graph "net" (%x: float32[2]) -> (%y) {
  const %w: float32[2]
  const %k: float32[]
  %a: float32[2] = Add(%x, %w)
  %y: float32[2] = Mul(%a, %k)
}""".replace("const %w: float32[2]\n  const %k: float32[]", "const %k: float32[]\n  const %w: float32[2]")
    )


def test_an_initializer_that_is_also_an_input_is_a_constant() -> None:
    proto = model("net (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    assert [value.name for value in import_model(proto).inputs] == ["x"]


def test_element_types_are_named_and_0_means_absent() -> None:
    graph = import_model(
        model(
            "net (float[2] x) => (int8[2] y) <float s = {0.5}> { a = Cast<to = 7>(x) b = Cast<to = 1>(a) y = "
            "QuantizeLinear<output_dtype = 3>(b, s) }"
        )
    )
    attrs = [dict(node.attrs) for node in graph.nodes]
    assert attrs == [{"to": "int64"}, {"to": "float32"}, {"output_dtype": "int8"}]


def test_constant_of_shape_is_an_expanded_constant() -> None:
    graph = import_model(model("net (int64[2] s) => (float[N, M] y) { y = ConstantOfShape(s) }"))
    (node,) = graph.nodes
    assert (node.op, graph.constants[node.operands[0]].item()) == ("Expand", 0.0)


def test_what_bodies_read_from_outside_is_passed_to_all_of_them() -> None:
    graph = import_model(
        model("""net (bool c, float[2] x, float[2] z) => (float[2] y) {
            y = If(c) <
                then_branch = yes () => (float[2] t) { t = Neg(x) },
                else_branch = no () => (float[2] e) { e = Add(x, z) }
            >
        }""")
    )
    (node,) = graph.nodes
    assert [value.name for value in node.operands] == ["c", "x", "z"]
    assert [[value.name for value in body.inputs] for body in node.graphs.values()] == [["x", "z"], ["x", "z"]]
    arrays = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    assert evaluate(graph, [np.array(True), *arrays])[0].tolist() == [-1, -2]
    assert evaluate(graph, [np.array(False), *arrays])[0].tolist() == [4, 6]


def test_a_capture_crosses_two_bodies() -> None:
    graph = import_model(
        model("""net (bool c, float[2] x) => (float[2] y) {
            y = If(c) <
                then_branch = yes () => (float[2] t) {
                    t = If(c) <then_branch = a () => (float[2] p) { p = Neg(x) },
                               else_branch = b () => (float[2] q) { q = Abs(x) }>
                },
                else_branch = no () => (float[2] e) { e = Identity(x) }
            >
        }""")
    )
    assert [value.name for value in graph.nodes[0].operands] == ["c", "x", "c"]
    assert evaluate(graph, [np.array(True), np.array([1, 2], np.float32)])[0].tolist() == [-1, -2]


def test_a_loop_says_which_operands_are_captures() -> None:
    graph = import_model(
        model("""net (int64 n, float[2] s, float[2] x) => (float[2] y) {
            go = Constant <value = bool {1}> ()
            y = Loop(n, go, s) <body = turn (int64 i, bool c, float[2] a) => (bool d, float[2] b) {
                d = Identity(c)
                b = Add(a, x)
            }>
        }""")
    )
    (node,) = graph.nodes
    assert node.attrs["captures"] == 1
    assert evaluate(graph, [np.array(3), np.zeros(2, np.float32), np.ones(2, np.float32)])[0].tolist() == [3, 3]


def test_names_of_branches_are_made_unique() -> None:
    graph = import_model(
        model("""net (bool c, float[2] x) => (float[2] y) {
            y = If(c) <then_branch = a () => (float[2] t) { t = Neg(x) },
                       else_branch = b () => (float[2] t) { t = Abs(x) }>
        }""")
    )
    bound = sorted(body.nodes[0].output.name for body in graph.nodes[0].graphs.values())
    assert bound == ["t", "t.1"]


TWICE = """<domain: "local", opset_import: ["" : 21]> twice <by: float = 2.0> (a) => (b) {
    k = Constant <value_float: float = @by> ()
    b = Mul(a, k)
}"""
CALLER = """<domain: "local", opset_import: ["" : 21, "local" : 1]> caller (a) => (b) {
    m = local.twice <by = 3.0> (a)
    b = local.twice (m)
}"""


def test_functions_are_inlined_with_their_attributes_and_defaults() -> None:
    graph = import_model(model("net (float[2] x) => (float[2] y) { y = local.caller(x) }", TWICE, CALLER))
    assert [(node.op, node.output.name) for node in graph.nodes] == [("Mul", "m"), ("Mul", "y")]
    assert evaluate(graph, [np.array([1, 2], np.float32)])[0].tolist() == [6, 12]


def test_an_output_that_a_function_passes_through_keeps_its_name() -> None:
    same = '<domain: "local", opset_import: ["" : 21]> same (a) => (a) { b = Neg(a) }'
    graph = import_model(model("net (float[2] x) => (float[2] y) { y = local.same(x) }", same))
    assert [value.name for value in graph.outputs] == ["y"]


def test_a_function_that_calls_itself_is_refused() -> None:
    text = '<domain: "local", opset_import: ["" : 21, "local" : 1]> f (a) => (b) { b = local.f(a) }'
    proto = model("net (float[2] x) => (float[2] y) { y = local.f(x) }", text)
    assert refusal(proto) == "net: function 'f' calls itself: f -> f"


def test_functions_that_multiply_are_refused_before_they_are_inlined() -> None:
    functions = ['<domain: "local", opset_import: ["" : 21]> f0 (a) => (b) { b = Neg(a) }']
    for level in range(1, 30):
        calls = "\n".join(f"t{i} = local.f{level - 1}({'a' if i == 0 else f't{i - 1}'})" for i in range(10))
        functions.append(f'<domain: "local", opset_import: ["" : 21, "local" : 1]> f{level} (a) => (t9) {{ {calls} }}')
    proto = model("net (float[2] x) => (float[2] y) { y = local.f29(x) }", *functions)
    assert "nodes with its functions inlined, at most 500000 are read" in refusal(proto)


def test_all_unsupported_operators_are_in_one_error() -> None:
    nodes = [helper.make_node("Sparkle", ["x"], ["a"], "first", domain="com.vendor")]
    nodes += [helper.make_node("Sparkle", ["a"], [f"b{i}"], domain="com.vendor") for i in range(6)]
    nodes += [helper.make_node("Zzz", ["a"], ["y"], "last")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "net", [value("x", 1, [2])], [value("y", 1, [2])])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.vendor", 3)])
    assert refusal(proto) == (
        "net: 2 operators are not supported:\n"
        "  Zzz of ai.onnx, opset 17: 1 node: 'last'\n"
        "  Sparkle of com.vendor, opset 3: 7 nodes: 'first', 'b0', 'b1', 'b2', 'b3', ..."
    )


def test_nodes_in_any_order_are_sorted_and_a_cycle_is_refused() -> None:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Abs", ["x"], ["a"])]
    proto = helper.make_model(helper.make_graph(nodes, "net", [value("x", 1, [2])], [value("y", 1, [2])]))
    proto.opset_import[0].version = 17
    assert [node.op for node in import_model(proto).nodes] == ["Abs", "Neg"]
    proto.graph.node[1].input[0] = "y"
    assert refusal(proto) == "net: node 'Neg' depends on its own results"


def test_optional_and_sequence_types() -> None:
    graph = import_model(model("net (seq(float[N]) s, int64 i) => (float[N] y) { y = SequenceAt(s, i) }"))
    assert str(graph.inputs[0].type) == "seq<float32[N]>"
    assert str(graph.outputs[0].type) == "float32[N]"


# -- shapes --------------------------------------------------------------------------------------------------------

SYMBOLIC = "net (float[N, 3] x, float[N, M] z) => (float[N, K] y) { y = Concat <axis = 1> (x, z) }"


def test_symbols_are_kept_by_name() -> None:
    graph = import_model(model(SYMBOLIC))
    assert [str(value.type) for value in graph.inputs] == ["float32[N,3]", "float32[N,M]"]


@pytest.mark.parametrize("shapes", [{"x": [4, 3], "z": [4, 2]}, {"x": [4, 3], "M": [2]}, {"N": [4], "M": [2]}])
def test_shapes_bind_inputs_and_symbols(shapes: dict[str, list[int]]) -> None:
    graph = import_model(model(SYMBOLIC), shapes=shapes)
    assert [str(value.type) for value in (*graph.inputs, *graph.outputs)] == [
        "float32[4,3]",
        "float32[4,2]",
        "float32[4,5]",
    ]


MISFITS = {
    "net: shape [4, 5] for 'x': it is float32[N,3], whose 3 is fixed": {"x": [4, 5]},
    "net: shape [4] for 'x': it is float32[N,3], 2 sizes are wanted": {"x": [4]},
    "net: shape for 'q': there is no such input; inputs are x, z; symbols are M, N": {"q": [1]},
    "net: input 'z': 'N' is 5 here and 4 elsewhere": {"x": [4, 3], "z": [5, 2]},
    "net: shape [-1, 3] for 'x': sizes are not negative": {"x": [-1, 3]},
}


@pytest.mark.parametrize(("message", "shapes"), MISFITS.items())
def test_shapes_that_do_not_fit_are_refused(message: str, shapes: dict[str, list[int]]) -> None:
    assert refusal(model(SYMBOLIC), shapes=shapes) == message


def test_shape_computations_over_symbols() -> None:
    graph = import_model(
        model("""net (float[N, S, 12] x) => (float[A, B, C, D] y) {
            shape = Shape(x)
            zero = Constant <value_ints = [0]> ()
            one = Constant <value_ints = [1]> ()
            n = Gather(shape, zero)
            s = Gather(shape, one)
            rest = Constant <value_ints = [3, -1]> ()
            wanted = Concat <axis = 0> (n, s, rest)
            y = Reshape(x, wanted)
        }""")
    )
    assert str(graph.outputs[0].type) == "float32[N,S,3,4]"


def test_products_of_symbols_have_one_spelling() -> None:
    graph = import_model(
        model("""net (float[N, S, 12] x) => (float[A, B] y) {
            flat = Constant <value_ints = [-1, 3]> ()
            y = Reshape(x, flat)
        }""")
    )
    assert str(graph.outputs[0].type) == 'float32["4*N*S",3]'


def test_sparse_initializers_become_dense() -> None:
    values = numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    indices = numpy_helper.from_array(np.array([1, 3], np.int64), "i")
    proto = model("net (float[2, 2] x) => (float[2, 2] y) { y = Add(x, w) }")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 2]))
    assert evaluate(import_model(proto), [np.zeros((2, 2), np.float32)])[0].tolist() == [[0, 5], [0, 7]]
    assert proto.graph.sparse_initializer[0].values.data_type == TensorProto.FLOAT
