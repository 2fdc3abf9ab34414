"""Plans made ready by cuDNN: heuristics choose an engine for the whole graph, or for its parts where none takes it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from heddle.backends.cudnn.context import Context
from heddle.backends.cudnn.describe import described
from heddle.backends.cudnn.program import Plan, Tensor
from heddle.core.dtypes import dtype_named
from heddle.core.errors import DeviceError

MISSING = 'cudnn: NVIDIA\'s front end of cuDNN cannot be used ({}); pip install "heddle[cudnn]"'
ALIGNMENT = 256


class CudnnGraphs:
    """cuDNN, opened for a context's compute stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        try:
            self._cudnn: Any = importlib.import_module("cudnn")
            context.enter()
            self._handle = self._cudnn.create_handle()
            self._cudnn.set_stream(handle=self._handle, stream=context.compute)
        except Exception as error:
            raise DeviceError(MISSING.format(error)) from error

    def ready(self, plan: Plan) -> ReadyPlan:
        """A plan that can be run; DeviceError when cuDNN has no engine even for its parts."""
        try:
            return ReadyPlan((self._built(plan),), ())
        except self._cudnn.cudnnGraphNotSupportedError as error:
            if len(plan.operations) == 1:
                raise DeviceError(f"cudnn: no engine runs {plan.operations[0].kind}: {_first_line(error)}") from error
        first, rest, between = split(plan)
        try:
            return ReadyPlan((self._built(first), *self.ready(rest).parts), (between,))
        except self._cudnn.cudnnGraphNotSupportedError as error:
            raise DeviceError(f"cudnn: no engine runs {plan.operations[0].kind}: {_first_line(error)}") from error

    def _built(self, plan: Plan) -> Part:
        cudnn = self._cudnn
        graph, arguments = described(cudnn, plan, handle=self._handle)
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        if not plan.tf32 and all(tensor.dtype == "float32" for tensor in plan.tensors):
            notes = cudnn.numerical_note
            graph.deselect_numeric_notes([notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS])
        graph.check_support()
        graph.build_plans()
        return Part(graph, arguments, self._handle, int(graph.get_workspace_size()))

    def close(self) -> None:
        self._cudnn.destroy_handle(self._handle)


def split(plan: Plan) -> tuple[Plan, Plan, Tensor]:
    """The first operation by itself and the others, and the tensor between them, then an argument of both."""
    first, *rest = plan.operations
    result = next(tensor for tensor in plan.tensors if tensor.argument is not None)
    count = 1 + max(tensor.argument for tensor in plan.tensors if tensor.argument is not None)
    between = replace(plan.tensors[first.result], dtype=result.dtype, argument=count)
    tensors = (*plan.tensors[: first.result], between, *plan.tensors[first.result + 1 :])
    return _only(Plan(tensors, (first,), plan.tf32)), _only(Plan(tensors, tuple(rest), plan.tf32)), between


def _only(plan: Plan) -> Plan:
    """The plan without the tensors that its operations do not touch; arguments keep their numbers."""
    used = sorted({number for one in plan.operations for number in (*one.operands, one.result)})
    at = {number: place for place, number in enumerate(used)}
    operations = tuple(
        replace(one, operands=tuple(at[number] for number in one.operands), result=at[one.result])
        for one in plan.operations
    )
    return Plan(tuple(plan.tensors[number] for number in used), operations, plan.tf32)


@dataclass(frozen=True, eq=False)
class Part:
    """A graph with its engine chosen, and the front end's tensor of each argument."""

    graph: Any
    arguments: dict[int, Any]
    handle: Any
    workspace: int


class ReadyPlan:
    """The parts of a plan, in order; what lies between them is in the scratch memory."""

    def __init__(self, parts: Sequence[Part], between: Sequence[Tensor]) -> None:
        self.parts = tuple(parts)
        sizes = [-(-prod(t.dims) * dtype_named(t.dtype).itemsize // ALIGNMENT) * ALIGNMENT for t in between]
        self._offsets = [sum(sizes[:number]) for number in range(len(sizes))]
        self._own = sum(sizes)
        self.workspace = self._own + max(part.workspace for part in self.parts)

    def run(self, addresses: Sequence[int], workspace: int) -> None:
        known = [*addresses, *(workspace + offset for offset in self._offsets)]
        for part in self.parts:
            pack = {tensor: known[number] for number, tensor in part.arguments.items()}
            part.graph.execute(pack, workspace + self._own, handle=part.handle)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
