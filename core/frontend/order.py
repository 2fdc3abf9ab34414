"""Puts the nodes of a graph into an order in which each value is bound before it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from heddle.core.errors import ModelError
from onnx import GraphProto, NodeProto


def ordered(nodes: Sequence[NodeProto], model: str) -> Sequence[NodeProto]:
    """The nodes, in their own order where that is sound; ModelError when they form a cycle."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [sorted({makers[name] for name in _read(node) if name in makers}) for node in nodes]
    if all(not need or need[-1] < index for index, need in enumerate(needs)):
        return nodes
    done: list[int] = []
    state = [0] * len(nodes)
    for start in range(len(nodes)):
        stack = [(start, iter(needs[start]))] if not state[start] else []
        state[start] = state[start] or 1
        while stack:
            index, rest = stack[-1]
            step = next((need for need in rest if state[need] != 2), None)
            if step is None:
                stack.pop()
                state[index] = 2
                done.append(index)
            elif state[step] == 1:
                node = nodes[step]
                raise ModelError(f"{model}: node {node.name or node.op_type!r} depends on its own results")
            else:
                state[step] = 1
                stack.append((step, iter(needs[step])))
    return [nodes[index] for index in done]


def _read(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, those of the graphs inside it too."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from _free(attribute.g)


def _free(graph: GraphProto) -> Iterator[str]:
    bound = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    bound |= {tensor.values.name for tensor in graph.sparse_initializer}
    bound |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        yield from (name for name in _read(node) if name not in bound)
    yield from (info.name for info in graph.output if info.name not in bound)
