"""The largest and the smallest elements along an axis, by a kernel that finds their places."""

from __future__ import annotations

from math import prod

import numpy as np
from heddle.backends.llvm.rows import Rows, add_rows
from heddle.core.codegen.affine import Affine
from heddle.core.codegen.kernels.ordering import first_places, scratch_bytes
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.narrow import register_type
from heddle.core.codegen.target import Target
from heddle.core.codegen.tensor import I64, indirect, load
from heddle.core.ops.scalar import Expr

MOST = (1 << 31) - 1


def take_selection(op: Lowering) -> bool:
    """Add the computation of a node that selects elements of 32 bits; False, and nothing added, for any other."""
    x = op.operand(0)
    if op.node.op != "TopK" or x is None or x.dtype not in (np.dtype(np.float32), np.dtype(np.int32)):
        return False
    at = op.attrs["axis"] % len(x.shape)
    values, indices = (*op.node.outputs, None)[:2]
    count = next(value.shape[at] for value in (values, indices) if value is not None)
    if 0 in x.shape or not 0 < count <= x.shape[at] <= MOST:
        return False
    places = indices or op.fresh("places", I64, (*x.shape[:at], count, *x.shape[at + 1 :]))
    shape = (prod(x.shape[:at]), x.shape[at], prod(x.shape[at + 1 :]))
    scalar, largest = register_type(x.dtype), bool(op.attrs["largest"])

    def make(name: str, target: Target) -> list[Function]:
        return first_places(name, target, scalar, shape, count, largest=largest, internal=False)

    add_rows(op, places, Rows((x,), make, scratch_bytes(shape[1], count)))
    if values is not None:

        def chosen(*where: Affine) -> Expr:
            place = indirect(load(places, *where), shape[1])
            return load(x, *(place if number == at else i for number, i in enumerate(where)))

        op.compute(values, chosen)
    return True
