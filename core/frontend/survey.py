"""Looks over a whole model before it is imported: what is unsupported, nested too deep, or too large."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from heddle.core.errors import ModelError
from heddle.core.frontend.model import FunctionKey, Model, domain_of, full_name, opset_versions
from heddle.core.frontend.opsets import RULES
from heddle.core.ops import operator
from onnx import GraphProto, NodeProto

MAX_DEPTH = 48
"""How deep graphs and calls of functions may be nested."""

MAX_NODES = 500_000
"""How many nodes a model may have when its functions are inlined."""


@dataclass
class _Survey:
    model: Model
    unsupported: dict[tuple[str, str, int], list[str]] = field(default_factory=dict)
    sizes: dict[FunctionKey, tuple[int, int]] = field(default_factory=dict)
    open: list[FunctionKey] = field(default_factory=list)


def survey(model: Model) -> None:
    """ModelError that names every unsupported operator; or for recursion, too deep nesting, or too many nodes."""
    state = _Survey(model)
    check_names(model.name, model.proto.graph)
    nodes, _ = _size(state, model.proto.graph.node, model.opsets, 0)
    if nodes > MAX_NODES:
        raise ModelError(f"{model.name}: it has {nodes} nodes with its functions inlined, at most {MAX_NODES} are read")
    if state.unsupported:
        raise ModelError(_message(state))


def _size(state: _Survey, nodes: Iterable[NodeProto], opsets: dict[str, int], depth: int) -> tuple[int, int]:
    """How many nodes these are when everything is inlined, and how deep they are nested."""
    if depth > MAX_DEPTH:
        raise ModelError(f"{state.model.name}: graphs and functions are nested more than {MAX_DEPTH} levels deep")
    count, deepest = 0, depth
    for node in nodes:
        count += 1
        texts = (node.op_type, node.domain, node.overload, node.name, *node.input, *node.output)
        check_text(state.model.name, (*texts, *(attribute.name for attribute in node.attribute)))
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                check_names(state.model.name, body)
                inner, level = _size(state, body.node, opsets, depth + 1)
                count, deepest = count + inner, max(deepest, level)
        key = (domain_of(node.domain), node.op_type, node.overload)
        if key in state.model.functions:
            inner, levels = _function_size(state, key, depth)
            count, deepest = count + inner, max(deepest, depth + levels)
            if deepest > MAX_DEPTH:
                raise ModelError(f"{state.model.name}: functions are nested more than {MAX_DEPTH} levels deep")
        elif not _is_known(full_name(node.domain, node.op_type)):
            where = (key[0], node.op_type, opsets.get(key[0], 0))
            state.unsupported.setdefault(where, []).append(node.name or next(iter(node.output), ""))
    return count, deepest


def check_names(model: str, graph: GraphProto) -> None:
    """ModelError when a graph or something that it declares has a name that is no text."""
    declared = (info.name for info in (*graph.input, *graph.output))
    tensors = (tensor.name for tensor in graph.initializer)
    check_text(model, (graph.name, *declared, *tensors, *(tensor.values.name for tensor in graph.sparse_initializer)))


def check_text(model: str, texts: Iterable[object]) -> None:
    """ModelError when something is no text: protobuf gives bytes that are not UTF-8 as they are."""
    for text in texts:
        if not isinstance(text, str):
            raise ModelError(f"{model}: it is damaged: the name {text!r} is not UTF-8")


def _function_size(state: _Survey, key: FunctionKey, depth: int) -> tuple[int, int]:
    if key in state.open:
        path = " -> ".join(name for _, name, _ in [*state.open[state.open.index(key) :], key])
        raise ModelError(f"{state.model.name}: function {key[1]!r} calls itself: {path}")
    if key not in state.sizes:
        state.open.append(key)
        function = state.model.functions[key]
        opsets = function_opsets(state.model, key)
        count, deepest = _size(state, function.node, opsets, depth + 1)
        state.sizes[key] = count, deepest - depth
        state.open.pop()
    return state.sizes[key]


def function_opsets(model: Model, key: FunctionKey) -> dict[str, int]:
    """The opsets that a function's body is written for; domains that it does not name are the model's."""
    return {**model.opsets, **opset_versions(model.functions[key].opset_import, f"{model.name}: function {key[1]!r}")}


def _is_known(name: str) -> bool:
    return name == "Constant" or name in RULES or operator(name) is not None


def _message(state: _Survey) -> str:
    lines = []
    for (domain, op, version), names in sorted(state.unsupported.items()):
        shown = ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
        opset = f"opset {version}" if version else "an opset that the model does not import"
        nodes = "1 node" if len(names) == 1 else f"{len(names)} nodes"
        lines.append(f"  {op} of {domain or 'ai.onnx'}, {opset}: {nodes}: {shown}")
    kinds = "1 operator is" if len(lines) == 1 else f"{len(lines)} operators are"
    return "\n".join([f"{state.model.name}: {kinds} not supported:", *lines])
