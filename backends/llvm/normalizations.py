"""Softmax and layer normalization along the last axis, as kernels over rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from heddle.core.codegen.affine import axis as fresh_axis
from heddle.core.codegen.affine import only_axis
from heddle.core.codegen.kernels.rows import layer_norm, softmax
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, Template, template
from heddle.core.codegen.tensor import Compute, load
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr

F32 = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Rows:
    """A kernel over the rows of a value: what it reads, and the functions that do it."""

    operands: tuple[Value, ...]
    make: Callable[[str, Target], list[Function]]


def take_rows(op: Lowering) -> bool:
    """Add the computation of a node that a kernel over rows can do; False, and nothing added, for any other."""
    x = op.operand(0)
    if op.node.op not in ("Softmax", "LogSoftmax", "LayerNormalization") or x is None or x.dtype != F32 or 0 in x.shape:
        return False
    if not x.shape or op.attrs["axis"] % len(x.shape) != len(x.shape) - 1:
        return False
    rows, length = prod(x.shape[:-1]), x.shape[-1]
    if op.node.op != "LayerNormalization":
        logarithmic = op.node.op == "LogSoftmax"

        def make_softmax(name: str, target: Target) -> list[Function]:
            return softmax(name, target, rows, length, logarithmic=logarithmic, internal=False)

        _add(op, Rows((x,), make_softmax))
        return True
    scale, shift = op[1], op.operand(2)
    if (
        any(value is not None for value in op.node.outputs[1:])
        or scale.dtype != F32
        or op.attrs["stash_type"] != "float32"
    ):
        return False
    if scale.tensor.size != length or (shift is not None and shift.tensor.size != length):
        return False
    epsilon, shifted = op.attrs["epsilon"], shift is not None

    def make(name: str, target: Target) -> list[Function]:
        return layer_norm(name, target, rows, length, epsilon, shifted=shifted, internal=False)

    _add(op, Rows((x, scale, shift if shift is not None else scale), make))
    return True


def rows_of(step: Compute, target: Target) -> Template | None:
    """The kernel of a computation that `take_rows` added."""
    rows = step.body.value
    if step.body.op != "rows":
        return None
    # What lies behind a view was put in its place meanwhile, and the view may be gone.
    operands = [read.value.source for read in step.body.args]
    arguments = [*map(Argument, operands), Argument(step.output)]
    return template(step.output, operands, arguments, lambda name: rows.make(name, target), node=step.node)


def _add(op: Lowering, rows: Rows) -> None:
    axes = tuple(only_axis(fresh_axis(size)) for size in op.output.shape)
    reads = tuple(load(value, *(0 for _ in value.shape)) for value in rows.operands)
    op.add(Compute(op.output, axes, Expr("rows", F32, reads, rows), node=op.label))
