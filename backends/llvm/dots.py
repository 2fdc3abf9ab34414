"""Matrix products of bytes with constant weights: exact sums by kernels of integers, with what follows fused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from heddle.backends.llvm import matrices
from heddle.backends.llvm.choices import Choices
from heddle.backends.llvm.convolutions import Dequantized
from heddle.backends.llvm.held import BYTES
from heddle.backends.llvm.matrices import Schedule
from heddle.backends.llvm.products import located
from heddle.backends.llvm.tails import fits, less, operands_of, tail_of
from heddle.core.codegen.affine import axis as fresh_axis
from heddle.core.codegen.affine import flatten, of_axis, only_axis
from heddle.core.codegen.kernels import gemm, tiles
from heddle.core.codegen.kernels.arithmetic import arithmetic_of
from heddle.core.codegen.kernels.tail import Place
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.lower import Lowering, Step
from heddle.core.codegen.lower.quantization import number, requantized
from heddle.core.codegen.narrow import storage_type
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Argument, template
from heddle.core.codegen.tensor import Compute, load, part, walk
from heddle.core.codegen.values import I8, I16, I32
from heddle.core.ir import Names, Value, tensor
from heddle.core.ops.scalar import Expr, cast, const
from numpy.typing import NDArray

Array = NDArray[Any]
INT32, FLOAT32 = np.dtype(np.int32), np.dtype(np.float32)
LARGEST = 255
"""No byte and no difference of two is of greater magnitude."""


@dataclass(frozen=True, eq=False)
class Dot:
    """Sums of products of a value's bytes, along its last axis, with `weights` of [*batch, k, n], whole numbers of at
    most 9 bits; `batch` is empty or the value's own."""

    source: Value
    weights: Array


@dataclass(frozen=True, eq=False)
class _Factors:
    """What an operator multiplies: bytes less a zero point, with whole numbers; each with its scale."""

    source: Value
    zero_point: Expr
    weights: Array
    scale: Array


def take_dot(op: Lowering, known: dict[Value, Dequantized]) -> bool:
    """Add the computation of a product of bytes with a constant; False, and nothing added, for any other node.

    `known` are the tensors that are made of integers.
    """
    if op.node.op in ("MatMul", "Gemm"):
        return _take_dequantized(op, known)
    if op.node.op == "QLinearMatMul":
        return _take_qlinear(op)
    return op.node.op == "MatMulInteger" and _take_integers(op)


def _take_dequantized(op: Lowering, known: dict[Value, Dequantized]) -> bool:
    x, w, bias = known.get(op[0]), known.get(op[1]), op.operand(2)
    if x is None or w is None or x.scale.size != 1 or op.output.dtype != FLOAT32:
        return False
    integers = op.constants.get(w.source, op.tables.get(w.source))
    if integers is None or integers.ndim < 2:
        return False
    turned = op.node.op == "Gemm" and bool(op.attrs["transB"])
    if op.node.op == "Gemm" and (op.attrs["transA"] or op.attrs["alpha"] != 1 or op.attrs["beta"] != 1):
        return False
    columns = integers.ndim - (2 if turned else 1)
    if w.scale.size > 1 and w.axis != columns:
        return False
    centred = integers.astype(np.int32) - _along(w.zero_point, columns, integers.ndim)
    weights = np.swapaxes(centred, -1, -2) if turned else centred
    if bias is not None and bias.shape[-1:] != (weights.shape[-1],):
        return False
    scale = (x.scale.reshape(()).astype(np.float64) * w.scale.reshape(-1)).astype(np.float32)
    factors = _Factors(x.source, const(int(x.zero_point.reshape(())), INT32), weights, scale)

    def finished(total: Expr, scaled: Expr, row: Expr | None) -> Expr:
        product = cast(total, FLOAT32) * scaled
        return product if row is None else product + row

    return _add(op, factors, finished, bias)


def _take_qlinear(op: Lowering) -> bool:
    scales = [op.known(i) for i in (1, 4, 6)]
    zeros = [op.known(i) for i in (2, 5, 7)]
    weights = op.known(3)
    if weights is None or weights.ndim < 2 or any(array is None for array in (*scales, *zeros)):
        return False
    a_scale, b_scale, y_scale = (np.asarray(array) for array in scales)
    a_zero, b_zero, y_zero = (np.asarray(array) for array in zeros)
    single = a_scale.size == a_zero.size == y_scale.size == y_zero.size == 1
    if not single or a_scale.dtype != FLOAT32 or b_scale.ndim > 1 or b_scale.size not in (1, weights.shape[-1]):
        return False
    scale = (a_scale.reshape(()) * b_scale.reshape(-1) / y_scale.reshape(())).astype(np.float32)
    centred = weights.astype(np.int32) - _along(b_zero, weights.ndim - 1, weights.ndim)
    factors = _Factors(op[0], const(int(a_zero.reshape(())), INT32), centred, scale)
    zero, dtype = const(int(y_zero.reshape(())), INT32), op.output.dtype
    return _add(op, factors, lambda total, scaled, _: requantized(total, scaled, zero, dtype))


def _take_integers(op: Lowering) -> bool:
    weights, zeros = op.known(1), op.known(3)
    a_zero = op.operand(2)
    if weights is None or weights.ndim < 2 or (op.operand(3) is not None and zeros is None):
        return False
    if a_zero is not None and a_zero.tensor.size != 1:
        return False
    if zeros is not None and zeros.size not in (1, weights.shape[-1]):
        return False
    subtracted = np.zeros((), np.int32) if zeros is None else zeros
    centred = weights.astype(np.int32) - _along(subtracted, weights.ndim - 1, weights.ndim)
    zero = const(0, INT32) if a_zero is None else cast(number(a_zero), INT32)
    return _add(op, _Factors(op[0], zero, centred, np.ones(1, np.float32)), lambda total, *_: total)


def _along(values: Array, axis: int, rank: int) -> Array:
    """Numbers that belong to one axis of an array, or a single one, as integers to be broadcast."""
    integers = values.astype(np.int32).reshape(-1)
    return integers.reshape([-1 if i == axis else 1 for i in range(rank)]) if integers.size > 1 else integers


def _add(
    op: Lowering,
    factors: _Factors,
    finished: Callable[[Expr, Expr, Expr | None], Expr],
    bias: Value | None = None,
) -> bool:
    """Add the exact sums, less what the zero point adds to them, as `finished` makes results of them and of a scale
    and a bias by column."""
    x, weights = factors.source, factors.weights
    depth, columns = weights.shape[-2:]
    batched = weights.ndim > 2 and weights.shape[:-2] == x.shape[:-2]
    if x.dtype.name not in BYTES or len(x.shape) < 2 or 0 in op.output.shape or not depth:
        return False
    if not (batched or prod(weights.shape[:-2]) == 1) or op.output.shape != (*x.shape[:-1], columns):
        return False
    if depth * LARGEST * LARGEST >= 1 << 31:
        return False
    if not batched:
        weights = weights.reshape(depth, columns)
    axes = tuple(only_axis(fresh_axis(size)) for size in op.output.shape)
    here = tuple(map(of_axis, axes))
    where = (*(here[:-2] if batched else ()), here[-1])
    total = Expr("dot", INT32, (load(x, *(0 for _ in x.shape)),), Dot(x, weights))
    if factors.zero_point.op != "const" or factors.zero_point.value:
        sums = op.table("sums", weights.sum(axis=-2, dtype=np.int32))
        total = total - factors.zero_point * load(sums, *where)
    scale = const(float(factors.scale[0]), FLOAT32)
    if factors.scale.size > 1:
        scale = load(op.table("scale", factors.scale), here[-1])
    row = None
    if bias is not None:
        shape = bias.shape
        row = load(bias, *(0 if size == 1 else i for size, i in zip(shape, here[-len(shape) :], strict=True)))
    op.add(Compute(op.output, axes, finished(total, scale, row), node=op.label))
    return True


# -- kernels -------------------------------------------------------------------------------------------------------


def dot_of(step: Compute) -> Expr | None:
    """The sums of products of bytes in a computation."""
    return next((item for item in walk(step.body) if item.op == "dot"), None)


def accepts_dot_tail(step: Compute) -> bool:
    """Whether a kernel can compute what stands around the sums in a step."""
    leaf = dot_of(step)
    if leaf is None or not fits(step.body, leaf, (I8, I32)):
        return False
    return _places(step, leaf) is not None


def _places(step: Compute, leaf: Expr) -> list[tuple[Expr, Place, int]] | None:
    """Where what else a step reads lies along (batch, row) and by column, and at which byte it begins; None if it is
    written or read in another order than the sums are in."""
    dot: Dot = leaf.value
    shape = (*dot.source.shape[:-1], dot.weights.shape[-1])
    if step.at is not None or tuple(axis.extent for axis in step.axes) != shape or step.output.shape != shape:
        return None
    dense = {axis: prod(shape[i + 1 :]) for i, axis in enumerate(step.axes)}
    batch = dot.weights.ndim - 2
    found = []
    for item in operands_of(step.body, leaf):
        value = item.value.source
        axes = [axis for axis in step.axes if axis.extent != 1]
        strided = located(value, flatten(item.value.indices, value.shape), axes)
        if strided is None:
            return None
        steps = {axis: strided.steps.get(axis, 0) for axis in step.axes}
        groups = (step.axes[:batch], step.axes[batch:-1], step.axes[-1:])
        strides = []
        for group in groups:
            wide = [axis for axis in group if axis.extent != 1]
            own, whole = [steps[axis] for axis in wide], [dense[axis] for axis in wide]
            inner = whole[-1] if whole else 1
            if any(own) and any(a * inner != b * own[-1] for a, b in zip(own, whole, strict=True)):
                return None
            strides.append(own[-1] if own else 0)
        *outer, column = strides
        if column not in (0, 1):
            return None
        kind = storage_type(value.dtype)
        found.append((item, Place((*outer[1 - bool(batch) :],), column, kind), strided.origin * kind.bits // 8))
    return found


def dot_kernels(
    steps: Sequence[Step], tables: dict[Value, Array], names: Names, target: Target, choices: Choices
) -> list[Step]:
    """The steps with every product of bytes done by a kernel, of bytes as the machine wants them."""
    made: list[Step] = []
    held: dict[tuple[Value, str], Value] = {}
    for step in steps:
        leaf = dot_of(step) if isinstance(step, Compute) else None
        if leaf is None:
            made.append(step)
            continue
        # Only a Compute has sums of products.
        made += _kernel(step, leaf, tables, names, target, choices, held)  # type: ignore[arg-type]
    return made


def _kernel(
    step: Compute,
    leaf: Expr,
    tables: dict[Value, Array],
    names: Names,
    target: Target,
    choices: Choices,
    held: dict[tuple[Value, str], Value],
) -> list[Step]:
    dot: Dot = leaf.value
    weights, source = dot.weights, dot.source
    narrow = target.vnni and weights.min() >= -128 and weights.max() <= 127
    scalar = I8 if narrow else I16
    depth, columns = weights.shape[-2:]
    each = arithmetic_of(target, scalar).depth
    filled = -(-depth // each) * each
    batch = weights.shape[:-2]
    count = prod(batch)
    rows = prod(source.shape[:-1]) // count
    made: list[Step] = []
    # Tiles take bytes as they are; few rows are better done by vectors.
    in_place = narrow and target.tiles_of_bytes and filled == depth and rows >= tiles.ROWS // 2
    if not in_place and (source, scalar.scalar) not in held:
        held[source, scalar.scalar] = names.fresh(
            f"{source.name}.held", tensor("uint8" if narrow else "int16", *source.shape[:-1], filled)
        )
        made.append(_holding(source, held[source, scalar.scalar], step.node))
    a = source if in_place else held[source, scalar.scalar]
    problem = gemm.Gemm(
        m=rows,
        n=columns,
        k=filled,
        a=(filled, 1),
        out=Place((*((rows * columns,) if batch else ()), columns), 1, storage_type(step.output.dtype)),
        batch=(count,) if batch else (),
        a_batch=(rows * filled,) if batch else (),
        scalar=scalar,
        signed=in_place and source.dtype.name == "int8",
    )
    places = _places(step, leaf)
    assert places is not None, f"{step.node}: {step} has no kernel"
    tail = tail_of(target, step.body, leaf, [(item, place) for item, place, _ in places])
    pointers = [Argument(item.value.source, start) for item, _, start in places]
    if narrow and source.dtype.name == "int8" and not in_place:
        sums = weights.sum(axis=-2, dtype=np.int32) * 128
        excess = _table(names, tables, f"{step.output.name}.excess", sums)
        tail = less(tail, Place((*((columns,) if batch else ()), 0), 1, I32))
        pointers.insert(0, Argument(excess))
    schedule: Schedule = choices(problem)
    parts = weights.reshape(-1, depth, columns).astype(np.int8 if narrow else np.int16)
    packed, panel = matrices.packed(parts, problem, target, schedule)
    problem = replace(problem, b_batch=(panel,) if batch else ())
    b = _table(names, tables, f"{step.output.name}.packed", packed)
    reads = [a, b, *(pointer.value for pointer in pointers)]
    arguments = [Argument(a), Argument(b), Argument(step.output), *pointers, Argument(step.output)]

    def functions(name: str) -> list[Function]:
        return matrices.product(name, target, problem, schedule, tail)

    made.append(template(step.output, reads, arguments, functions, None, step.node))
    return made


def _holding(source: Value, held: Value, node: str) -> Compute:
    """The step that brings bytes into words, or signed ones into unsigned ones that are 128 greater.

    What fills up the last step of the reduction is left as it is: the weights there are zero.
    """

    def body(*where: Any) -> Expr:
        element = load(source, *where)
        if held.dtype.itemsize == 1 and source.dtype.name == "int8":
            return cast(cast(element, INT32) + 128, held.dtype)
        return cast(element, held.dtype)

    return part(held, source.shape, lambda *where: where, body, node)


def _table(names: Names, tables: dict[Value, Array], stem: str, array: Array) -> Value:
    value = names.fresh(stem, tensor(array.dtype, *array.shape))
    tables[value] = array
    return value
