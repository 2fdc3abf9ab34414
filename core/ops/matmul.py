"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type
from heddle.core.ops.registry import Operand, broadcast, op
from numpy.typing import NDArray


def matmul_type(a: Operand, b: Operand) -> Type:
    if a.dims is None or b.dims is None:
        return TensorType(a.dtype, None)
    if not a.dims or not b.dims:
        raise GraphError(f"MatMul: operands must have at least one dimension: {a.type} and {b.type}")
    left, right = a.dims if len(a.dims) > 1 else (1, *a.dims), b.dims if len(b.dims) > 1 else (*b.dims, 1)
    if isinstance(left[-1], int) and isinstance(right[-2], int) and left[-1] != right[-2]:
        raise GraphError(f"MatMul: inner dimensions differ: {a.type} and {b.type}")
    batch = broadcast("MatMul", [TensorType(a.dtype, left[:-2]), TensorType(b.dtype, right[:-2])])
    assert batch is not None
    rows = (left[-2],) if len(a.dims) > 1 else ()
    columns = (right[-1],) if len(b.dims) > 1 else ()
    return TensorType(a.dtype, (*batch, *rows, *columns))


@op("MatMul", infer=matmul_type)
def matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.matmul(a, b))
