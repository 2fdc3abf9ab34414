"""From a region's graph to a program: calls of the libraries, kernels for the rest, layouts, memory and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heddle.backends.cudnn import attention, convolutions, products
from heddle.backends.cudnn.calls import Call
from heddle.backends.cudnn.chains import CONVOLUTIONS, PRODUCTS, chains, joins_convolution, joins_product
from heddle.backends.cudnn.kernels.each import each, failing
from heddle.backends.cudnn.kernels.grid import Grid
from heddle.backends.cudnn.kernels.grouping import grouped
from heddle.backends.cudnn.kernels.rows import rows, worthwhile
from heddle.backends.cudnn.layouts import Images
from heddle.backends.libraries.chains import Chain
from heddle.core.codegen.fuse import fuse
from heddle.core.codegen.loops import Buffer
from heddle.core.codegen.lower import Lowering, Step, lower
from heddle.core.codegen.memory import Memory, plan
from heddle.core.codegen.nest import flat, flat_expr
from heddle.core.codegen.tensor import Check, Compute, Group, View
from heddle.core.ir import Graph, Names, Node, Value
from heddle.core.pattern import Match
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Work:
    """One step of a region: a kernel or a call, and the values that are its arguments."""

    what: Grid | Call
    arguments: tuple[Value, ...]
    node: str


@dataclass(frozen=True, eq=False)
class Translation:
    """A region as kernels and calls over planned memory."""

    works: tuple[Work, ...]
    memory: Memory
    constants: Mapping[str, Array]
    faults: tuple[str, ...]


def translate(graph: Graph, attentions: Sequence[Match] = (), tf32: bool = False) -> Translation:
    """The kernels and calls of a region, in order, and where their values lie."""
    names = Names(graph)
    tables: dict[Value, Array] = dict(graph.constants)
    images = Images(names, tables)
    steps = images.settle(graph, _steps(graph, attentions, names, tables, images, tf32))
    steps = grouped(fuse(steps, graph.outputs, tables))
    steps, memory = plan(graph, steps, tables)
    faults: list[str] = []
    works = [_work(step, memory, faults) for step in steps if not isinstance(step, View) and _runs(step)]
    constants = {memory.constant_names[value]: tables[value] for value in memory.constant_names}
    return Translation(tuple(works), memory, constants, tuple(faults))


def _steps(
    graph: Graph,
    attentions: Sequence[Match],
    names: Names,
    tables: dict[Value, Array],
    images: Images,
    tf32: bool,
) -> list[Step]:
    """The tensor expressions and calls of all nodes, in order."""
    whole = {match.outputs[0]: match for match in attentions}
    inside = frozenset(value for match in attentions for node in match.nodes for value in node.results)
    heads = dict.fromkeys(CONVOLUTIONS, joins_convolution) | dict.fromkeys(PRODUCTS, joins_product)
    found = chains(graph, heads, suits, inside)
    steps: list[Step] = []
    for node in graph.nodes:
        chain = found.get(node)
        op = Lowering(chain.head if chain else node, tables, names)
        match = whole.get(node.results[0])
        if match is not None:
            made = attention.attention(op, graph, match)
            steps += [*op.steps, made]
        elif node in found:
            steps += _chain(op, graph, chain, images, tf32)
        elif node.results[0] not in inside:
            lower(op)
            steps += op.steps
        tables |= op.tables
    return steps


def _chain(op: Lowering, graph: Graph, chain: Chain | None, images: Images, tf32: bool) -> list[Step]:
    """The steps of a chain, at its last node; none at the others."""
    if chain is None:
        return []
    if chain.head.op in CONVOLUTIONS:
        made = convolutions.convolution(op, graph, chain, images, tf32)
    else:
        made = products.product(op, chain, tf32)
    return [*op.steps, made]


def suits(node: Node) -> bool:
    """Whether a library computes a node that could be the head of a chain."""
    return convolutions.suits(node) if node.op in CONVOLUTIONS else products.suits(node)


def _runs(step: Step) -> bool:
    """Whether a step does anything at all."""
    axes = () if isinstance(step, View) else step.axes
    return all(a.extent for a in axes)


def _work(step: Step, memory: Memory, faults: list[str]) -> Work:
    """A step as a kernel or call over the values that own memory."""
    assert not isinstance(step, View)
    if isinstance(step, Call):
        return Work(step, tuple(memory.root(value) for value in step.operands), step.node)
    buffers: dict[Value, Buffer] = {}

    def buffer(value: Value) -> Buffer:
        root = memory.root(value)
        if root not in buffers:
            buffers[root] = Buffer(f"b{len(buffers)}", root.dtype, root.tensor.size or 0)
        return buffers[root]

    def parameters() -> tuple[Buffer, ...]:
        return tuple(buffers.values())

    if isinstance(step, Check):
        if step.message not in faults:
            faults.append(step.message)
        bad = flat_expr(step.bad, buffer)
        grid = failing(step.axes, bad, faults.index(step.message) + 1, parameters())
        return Work(grid, tuple(buffers), step.message)
    assert isinstance(step, Compute)
    if isinstance(step, Group) or worthwhile(step):
        grid = rows(step, buffer, parameters)
    else:
        item = flat(step, buffer)
        grid = each(item, parameters())
    return Work(grid, tuple(buffers), step.node)
