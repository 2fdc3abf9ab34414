"""What lies between sequences and tensors, over the elements of sequences whose lengths are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.frontend.builder import Builder, Call
from heddle.core.ir import Graph, Names, Node, SequenceType, TensorType
from heddle.core.ir.graph import Array
from heddle.core.ops import attributes_of
from heddle.core.ops.inference import Inference

Shapes = Sequence[tuple[int, ...]]


def unrolled(graph: Graph, shapes: Mapping[str, Shapes]) -> Graph:
    """A graph of one ConcatFromSequence or SplitToSequence over the elements instead; another graph as it is.

    `shapes` are those of the elements of each sequence that goes in.
    """
    if len(graph.nodes) != 1 or graph.nodes[0].op not in _UNROLL:
        return graph
    return _UNROLL[graph.nodes[0].op](graph, graph.nodes[0], shapes)


def _concatenated(graph: Graph, node: Node, shapes: Mapping[str, Shapes]) -> Graph:
    (sequence,) = node.operands
    assert isinstance(sequence.type, SequenceType)
    element = sequence.type.element
    parts = shapes[sequence.name]
    if not parts or not isinstance(element, TensorType):
        raise GraphError(f"ConcatFromSequence: {len(parts)} elements of {element} cannot be joined to one tensor")
    attributes = attributes_of(node)
    builder, axis = _builder(graph), attributes["axis"]
    given = [builder.names.fresh(sequence.name, TensorType(element.dtype, shape)) for shape in parts]
    joined = list(given)
    if attributes["new_axis"]:
        axes = builder.constant(np.array([axis], np.int64), "axes")
        joined = [builder.apply("Unsqueeze", value, axes, stem=value.name) for value in given]
    result = builder.emit(Call("Concat", tuple(joined), {"axis": axis}), [node.output.name], node.name)
    return builder.graph(given, [value for value in result if value is not None], graph.name)


def _split(graph: Graph, node: Node, shapes: Mapping[str, Shapes]) -> Graph:
    source, split = node.operands[0], node.inputs[1] if len(node.inputs) > 1 else None
    attributes = attributes_of(node)
    builder, axis = _builder(graph), attributes["axis"] % len(source.shape)
    sizes = _sizes(source.shape[axis], None if split is None else graph.constants[split])
    vector = builder.constant(np.array(sizes, np.int64), "sizes")
    stems = [f"{node.output.name}.{number}" for number in range(len(sizes))]
    call = Call("Split", (source, vector), {"axis": axis}, len(sizes))
    parts = [value for value in (builder.emit(call, stems, node.name) if sizes else ()) if value is not None]
    if split is None and not attributes["keepdims"]:
        axes = builder.constant(np.array([axis], np.int64), "axes")
        parts = [builder.apply("Squeeze", part, axes, stem=part.name) for part in parts]
    return builder.graph(graph.inputs, parts, graph.name)


def _sizes(size: int, split: Array | None) -> list[int]:
    """How large the parts of an axis are: one each, all alike but for the last, or as listed."""
    if split is not None and split.ndim == 1:
        return [int(part) for part in split]
    each = 1 if split is None else int(split.reshape(-1)[0])
    if each < 1:
        raise GraphError(f"SplitToSequence: parts of {each} elements cannot be split off")
    return [min(each, size - start) for start in range(0, size, each)]


def _builder(graph: Graph) -> Builder:
    builder = Builder(Names(graph), Inference())
    builder.constants.update(graph.constants)
    builder.inference.known.update(graph.constants)
    return builder


_UNROLL = {"ConcatFromSequence": _concatenated, "SplitToSequence": _split}
