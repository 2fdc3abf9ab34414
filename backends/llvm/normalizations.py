"""Softmax and layer normalization along the last axis, as kernels over rows."""

from __future__ import annotations

from math import prod

import numpy as np
from heddle.backends.llvm.rows import Rows, add_rows
from heddle.core.codegen.kernels.rows import layer_norm, softmax
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.target import Target

F32 = np.dtype(np.float32)


def take_normalization(op: Lowering) -> bool:
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

        add_rows(op, op.output, Rows((x,), make_softmax))
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

    add_rows(op, op.output, Rows((x, scale, shift if shift is not None else scale), make))
    return True
