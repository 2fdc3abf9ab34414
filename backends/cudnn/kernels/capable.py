"""What kernels are made for: why a node can not be one, or several, of independent threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heddle.backends.cudnn.kernels.functions import FUNCTIONS
from heddle.core.codegen.affine import Affine, Opaque
from heddle.core.codegen.fuse import fuse
from heddle.core.codegen.lower import Lowering, Step, lower
from heddle.core.codegen.narrow import register_type
from heddle.core.codegen.tensor import Check, Group, View, reads, walk
from heddle.core.codegen.vmath import AVAILABLE
from heddle.core.errors import BackendError
from heddle.core.ir import Names, Node, Value, dtype_name
from heddle.core.ops.scalar import Expr, is_floating
from heddle.core.runtime.abi import MATH
from numpy.typing import NDArray

SMALL_POWERS = (0.5, -1, 1, 2, 3, 4)
"""The exponents that are multiplied out."""


def refusal(node: Node, constants: Mapping[Value, NDArray[Any]]) -> str | None:
    """Why no kernel of threads that do not wait for each other computes a node; None when one does."""
    op = Lowering(node, constants, Names())
    try:
        lower(op)
    except BackendError as error:
        return str(error).removeprefix("host: ")
    known = {value: constants[value] for value in node.operands if value in constants} | op.tables
    return next(filter(None, map(_refused, fuse(op.steps, node.results, known))), None)


def _refused(step: Step) -> str | None:
    if isinstance(step, View):
        return None
    if isinstance(step, Group):
        return "each of its turns needs the one before, takes what threads compute apart"
    if not isinstance(step, Check):
        if any(item.source == step.output for item in reads(step)):
            return "its elements are computed one from another, takes what threads compute apart"
        if any(_computed(index) for index in step.at or ()):
            return "where it writes is computed, takes places that are known"
    body = step.bad if isinstance(step, Check) else step.body
    return next(filter(None, map(_missing, walk(body))), None)


def _computed(index: Affine) -> bool:
    return any(isinstance(atom, Opaque) for atom, _ in index.terms)


def _missing(item: Expr) -> str | None:
    """The name of a function that there is no code for."""
    functions = {"mod": "fmod"}.get(item.op, item.op)
    if functions not in MATH or (not is_floating(item.args[-1].dtype) and item.op != "pow"):
        return None
    if item.op == "pow" and (item.args[1].op == "const" and item.args[1].value in SMALL_POWERS):
        return None
    if item.op == "pow" and not is_floating(item.dtype):
        return None
    if (item.op, register_type(item.dtype)) in (AVAILABLE | FUNCTIONS):
        return None
    return f"there is no code for {item.op} of {dtype_name(item.dtype)} on the GPU"
