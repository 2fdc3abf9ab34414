"""Kernels over the rows of values, as computations on their way through fusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heddle.core.codegen.affine import axis as fresh_axis
from heddle.core.codegen.affine import only_axis
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, Template, template
from heddle.core.codegen.tensor import Compute, load
from heddle.core.ir import Names, Value, tensor
from heddle.core.ops.scalar import Expr


@dataclass(frozen=True, eq=False)
class Rows:
    """A kernel over the rows of values: what it reads, the functions that do it, and the bytes that it works in, for
    which it takes a last pointer."""

    operands: tuple[Value, ...]
    make: Callable[[str, Target], list[Function]]
    scratch: int | None = None


def add_rows(op: Lowering, output: Value, rows: Rows) -> None:
    """Add the computation of a value by a kernel over rows."""
    axes = tuple(only_axis(fresh_axis(size)) for size in output.shape)
    reads = tuple(load(value, *(0 for _ in value.shape)) for value in rows.operands)
    op.add(Compute(output, axes, Expr("rows", output.dtype, reads, rows), node=op.label))


def rows_of(step: Compute, names: Names, target: Target) -> Template | None:
    """The kernel of a computation that `add_rows` added."""
    rows: Rows = step.body.value
    if step.body.op != "rows":
        return None
    # What lies behind a view was put in its place meanwhile, and the view may be gone.
    operands = [read.value.source for read in step.body.args]
    arguments = [*map(Argument, operands), Argument(step.output)]
    scratch = names.fresh(f"{step.output.name}.scratch", tensor("uint8", rows.scratch)) if rows.scratch else None
    if rows.scratch is not None:
        arguments.append(Argument(scratch or step.output))
    return template(step.output, operands, arguments, lambda name: rows.make(name, target), scratch, step.node)
