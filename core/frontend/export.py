"""Graphs as ONNX models of the newest opset: for viewers, minimal reproductions, and other runtimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from heddle.core.errors import GraphError
from heddle.core.frontend.bodies import capture_count
from heddle.core.frontend.tensors import tensor_proto
from heddle.core.frontend.types import ENUM_ATTRIBUTES, element_number, type_proto
from heddle.core.ir import Graph, Node, OptionalType, SequenceType, TensorType, Value
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto, defs, helper


def export_model(graph: Graph, producer: str = "heddle") -> ModelProto:
    """The graph as an ONNX model, which `import_model` reads back as an equal graph but for names inside of bodies.

    Names of inputs and outputs are kept.
    """
    proto = _Exporter().graph(graph, {})
    return helper.make_model(proto, opset_imports=_imports(graph), producer_name=producer)


def export_regions(graph: Graph, regions: Sequence[tuple[str, Graph]], producer: str = "heddle") -> ModelProto:
    """A graph that was divided into regions, as a model whose nodes are the regions: for viewers.

    `regions` are the name of the backend and the body of each, in order.
    """
    made = [region_call(backend, body) for backend, body in regions]
    constants = {value: array for _, body in regions for value, array in body.constants.items()}
    calls = replace(graph, nodes=tuple(made), constants={**graph.constants, **constants})
    return export_calls(calls, {node.op: body for node, (_, body) in zip(made, regions, strict=True)}, producer)


def region_call(backend: str, body: Graph, name: str = "") -> Node:
    """The node that calls a region: its operator is of the domain of its backend, `heddle.vta`; weights are passed."""
    name = name or body.name
    return Node(f"heddle.{backend}.{name.replace('.', '_')}", (*body.inputs, *body.constants), body.outputs, name=name)


def export_calls(graph: Graph, functions: Mapping[str, Graph], producer: str = "heddle") -> ModelProto:
    """A graph of which some nodes are calls, as a model; `functions` are the bodies by the operators of these nodes."""
    made = []
    for op, body in functions.items():
        domain, _, name = op.rpartition(".")
        reads = [value.name for value in (*body.inputs, *body.constants)]
        gives = [value.name for value in body.outputs]
        inner = [node_proto(node) for node in body.nodes]
        made.append(helper.make_function(domain, name, reads, gives, inner, _imports(body)))
    proto = _Exporter().graph(graph, {})
    imports = _imports(graph, *functions.values())
    return helper.make_model(proto, opset_imports=imports, producer_name=producer, functions=made)


def _imports(*graphs: Graph) -> list[OperatorSetIdProto]:
    """The newest opset of each domain whose operators graphs use."""
    nodes = [node for graph in graphs for inner in graph.walk() for node in inner.nodes]
    domains = sorted({node.op.rpartition(".")[0] for node in nodes} - {""})
    imports = [helper.make_opsetid("", defs.onnx_opset_version())]
    return imports + [helper.make_opsetid(domain, _domain_version(domain)) for domain in domains]


def node_proto(node: Node) -> NodeProto:
    """One node without bodies as ONNX writes it, its values under their own names."""
    return _Exporter().node(node, {})


def _domain_version(domain: str) -> int:
    versions = [schema.since_version for schema in defs.get_all_schemas() if schema.domain == domain]
    return max(versions, default=1)


class _Exporter:
    """Hands out the names: ONNX wants each to be bound once, in a graph and in the graphs around it."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def graph(self, graph: Graph, outer: Mapping[Value, str], own: int | None = None) -> GraphProto:
        """A graph; of a body, the inputs from number `own` on are captures, whose names `outer` gives."""
        names = dict(outer)
        inputs = graph.inputs if own is None else graph.inputs[:own]
        for value in (*inputs, *graph.constants, *(value for node in graph.nodes for value in node.results)):
            names[value] = self._fresh(value.name)
        nodes = [self.node(node, names) for node in graph.nodes]
        outputs: list[ValueInfoProto] = []
        for value in graph.outputs:
            name = names[value]
            if own is not None and (value not in graph.producers or name in [o.name for o in outputs]):
                name = self._fresh(f"{value.name}.out")
                nodes.append(helper.make_node("Identity", [names[value]], [name]))
            outputs.append(helper.make_value_info(name, type_proto(value.type)))
        return helper.make_graph(
            nodes,
            graph.name or "graph",
            [helper.make_value_info(names[value], type_proto(value.type)) for value in inputs],
            outputs,
            [tensor_proto(array, names[value]) for value, array in graph.constants.items()],
            value_info=[
                helper.make_value_info(names[value], type_proto(value.type))
                for node in graph.nodes
                for value in node.results
                if value not in graph.outputs
            ],
        )

    def node(self, node: Node, names: Mapping[Value, str]) -> NodeProto:
        domain, _, op = node.op.rpartition(".")
        captures = capture_count(node) if node.graphs else 0
        operands = node.inputs[: len(node.inputs) - captures]
        proto = helper.make_node(
            op,
            ["" if value is None else names.get(value, value.name) for value in operands],
            ["" if value is None else names.get(value, value.name) for value in node.outputs],
            node.name,
            domain=domain,
        )
        for name, attr in node.attrs.items():
            if isinstance(attr, Graph):
                proto.attribute.append(self._body(name, attr, node, captures, names))
            elif name != "captures":  # ONNX has no count: what a body reads from outside has its name there
                proto.attribute.append(_attribute(name, attr, node))
        return proto

    def _body(self, name: str, body: Graph, node: Node, captures: int, names: Mapping[Value, str]) -> AttributeProto:
        own = len(body.inputs) - captures
        outer = {}
        for inside, outside in zip(body.inputs[own:], node.inputs[len(node.inputs) - captures :], strict=True):
            assert outside is not None, "a capture is never absent"
            outer[inside] = names.get(outside, outside.name)
        return helper.make_attribute(name, self.graph(body, outer, own))

    def _fresh(self, stem: str) -> str:
        name, count = stem, 0
        while name in self.taken:
            count += 1
            name = f"{stem}.{count}"
        self.taken.add(name)
        return name


def _attribute(name: str, attr: Any, node: Node) -> AttributeProto:
    if name in ENUM_ATTRIBUTES and isinstance(attr, str):
        return helper.make_attribute(name, element_number(attr))
    if isinstance(attr, TensorType | SequenceType | OptionalType):
        return helper.make_attribute(name, type_proto(attr))
    if isinstance(attr, str):
        return helper.make_attribute(name, attr.encode("utf-8", "surrogateescape"))
    if isinstance(attr, tuple):
        items = [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item for item in attr]
        return helper.make_attribute(name, items, attr_type=None if items else _empty_kind(name, node))
    if isinstance(attr, int | float):
        return helper.make_attribute(name, attr)
    raise GraphError(f"{node.op}: attribute {name!r} of type {type(attr).__name__} has no form in ONNX")


def _empty_kind(name: str, node: Node) -> int:
    """The kind of an empty list, which only the operator's schema can tell."""
    domain, _, op = node.op.rpartition(".")
    if defs.has(op, domain):
        attributes = defs.get_schema(op, domain=domain).attributes
        if name in attributes:
            return int(attributes[name].type)  # type: ignore[no-any-return, call-overload]  # it has no stubs
    return int(AttributeProto.INTS)
