"""A graph compiled to one native function: lowering, fusion, memory plan, kernels, and the run that calls them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from heddle.core.codegen.build import Unit, shared_object, unit, units_of
from heddle.core.codegen.calling import calling
from heddle.core.codegen.emit import emit
from heddle.core.codegen.entry import Invocation, Scratch, entry
from heddle.core.codegen.fuse import fuse
from heddle.core.codegen.llvm import Division
from heddle.core.codegen.loops import Buffer, Kernel, nest
from heddle.core.codegen.lower import Lowering, Step, lower
from heddle.core.codegen.memory import Memory, plan, size_in_memory
from heddle.core.codegen.nest import Namer, check_statements, flat, statements
from heddle.core.codegen.target import Target
from heddle.core.codegen.team import team
from heddle.core.codegen.template import Template
from heddle.core.codegen.tensor import Check, Group, View
from heddle.core.ir import Graph, Names, Value, dtype_name
from heddle.core.runtime.abi import CALL, ENTRY, HELP, TEAM_VERSION
from heddle.core.runtime.artifact import JSON, Artifact, Port, Signature
from heddle.core.runtime.storage import placed
from numpy.typing import NDArray


class Strategy(Protocol):
    """A better way than plain loops for some of a region's nodes."""

    def take(self, lowering: Lowering) -> bool:
        """Add a node's steps in its own way; False leaves the node to the rules, with nothing added."""
        ...

    def improve(
        self, graph: Graph, steps: Sequence[Step], tables: dict[Value, NDArray[Any]], names: Names, target: Target
    ) -> list[Step]:
        """Other steps of the same meaning, for one machine; constants that they need are added to `tables`."""
        ...


@dataclass(frozen=True, eq=False)
class Call:
    """One kernel of a region and the values that it is called with, in the order of its parameters."""

    kernel: Kernel | Template
    values: tuple[Value, ...]
    faults: bool = False


@dataclass(frozen=True, eq=False)
class Program:
    """A region as calls of kernels over planned memory."""

    graph: Graph
    calls: tuple[Call, ...]
    memory: Memory
    constants: dict[str, NDArray[Any]]
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"{call.kernel}\n  with {', '.join(map(str, call.values))}" for call in self.calls)


def lower_graph(
    graph: Graph, names: Names, strategy: Strategy | None = None
) -> tuple[list[Step], dict[Value, NDArray[Any]]]:
    """The tensor expressions of all nodes, in order, and every constant, those that rules made included."""
    steps: list[Step] = []
    tables: dict[Value, NDArray[Any]] = dict(graph.constants)
    for node in graph.nodes:
        lowering = Lowering(node, tables, names)
        if strategy is None or not strategy.take(lowering):
            lower(lowering)
        steps += lowering.steps
        tables |= lowering.tables
    return steps, tables


def program(graph: Graph, target: Target, strategy: Strategy | None = None) -> Program:
    """The kernels of a region and the memory that they work in."""
    names = Names(graph)
    steps, tables = lower_graph(graph, names, strategy)
    if strategy is not None:
        steps = strategy.improve(graph, steps, tables, names, target)
    steps = fuse(steps, graph.outputs, tables)
    steps, memory = plan(graph, steps, tables)
    faults: list[str] = []
    calls: list[Call] = []
    lanes = target.lanes(4)
    for step in steps:
        if isinstance(step, View):
            continue
        if isinstance(step, Template):
            calls.append(Call(step, tuple(memory.root(argument.value) for argument in step.arguments)))
            continue
        call = _call(step, memory, faults, lanes)
        if call.kernel.body:
            calls.append(call)
    constants = {memory.constant_names[value]: placed(tables[value]) for value in memory.constant_names}
    return Program(graph, tuple(calls), memory, constants, tuple(faults))


def _call(step: Step, memory: Memory, faults: list[str], lanes: int) -> Call:
    buffers: dict[Value, Buffer] = {}

    def buffer(value: Value) -> Buffer:
        root = memory.root(value)
        if root not in buffers:
            buffers[root] = Buffer(f"b{len(buffers)}", root.dtype, root.tensor.size or 0)
        return buffers[root]

    names = Namer()
    if isinstance(step, Check):
        if step.message not in faults:
            faults.append(step.message)
        body = check_statements(step, buffer, faults.index(step.message) + 1, names)
        written: frozenset[Buffer] = frozenset()
    else:
        assert not isinstance(step, View | Template)
        members = step.members if isinstance(step, Group) else (step,)
        items = [flat(member, buffer) for member in members]
        shared = step.axes if isinstance(step, Group) else ()
        body = nest(shared, [stmt for item in items for stmt in statements(item, names, lanes)])
        written = frozenset(item.buffer for item in items)
    kernel = Kernel(tuple(buffers.values()), written, body)
    return Call(kernel, tuple(buffers), isinstance(step, Check))


def compile_region(graph: Graph, target: Target, strategy: Strategy | None = None, *, flush: bool = True) -> Artifact:
    """The artifact of a graph for a machine; BackendError names what no code is generated for.

    `flush`: numbers too small for a normal float count as zero while the code runs, which saves much time.
    """
    made = program(graph, target, strategy)
    units: list[Unit] = []
    calls: list[Invocation] = []
    for call in made.calls:
        if isinstance(call.kernel, Template):
            assert call.kernel.functions is not None
            functions = call.kernel.functions("kernel")
            name, one = units_of(functions, target)
        else:
            functions = [emit(call.kernel, "kernel", target)]
            name, one = unit(functions[-1], "kernel", target)
        units.append(one)
        calls.append(_invocation(made, name, call, functions[-1].division))
    meta: dict[str, JSON] = {"faults": list(made.faults), "machine": target.architecture}
    meta["features"] = list(target.features)
    exports, scratch = [ENTRY, CALL], Scratch(made.memory.workspace, _scratch_of_helpers(made, calls))
    if any(call.division for call in calls):
        units.append(Unit(team(target), explicit=True))
        exports.append(HELP)
        meta["team"] = {"version": TEAM_VERSION, "scratch": scratch.size}
    units.append(Unit(calling(target)))
    units.append(Unit(entry(calls, sorted(made.constants), target, flush, scratch)))
    return Artifact(
        backend="host",
        device="host",
        signature=Signature(tuple(map(_port, graph.inputs)), tuple(map(_port, graph.outputs))),
        code=shared_object(units, exports, target),
        constants=made.constants,
        workspace=made.memory.workspace,
        meta=meta,
        nodes=tuple(node.name for node in graph.nodes if node.name),
    )


def _port(value: Value) -> Port:
    return Port(value.name, dtype_name(value.dtype), value.shape)


def _invocation(made: Program, name: str, call: Call, division: Division | None) -> Invocation:
    places = [made.memory.places[value] for value in call.values]
    if isinstance(call.kernel, Template):
        offsets = [argument.offset for argument in call.kernel.arguments]
        scratch = call.values.index(call.kernel.scratch) if call.kernel.scratch is not None else None
        arguments = tuple(zip(places, offsets, strict=True))
        return Invocation(name, arguments, plain=False, division=division, scratch=scratch)
    arguments = tuple((place, 0) for place in places)
    return Invocation(name, arguments, faults=call.faults, division=division)


def _scratch_of_helpers(made: Program, calls: Sequence[Invocation]) -> int:
    """How many bytes of scratch memory a thread needs for the kernels in pieces."""
    needed = [
        size_in_memory(call.values[invocation.scratch])
        for call, invocation in zip(made.calls, calls, strict=True)
        if invocation.division is not None and invocation.scratch is not None
    ]
    return max(needed, default=0)
