"""How an operator is defined: its operands, its attributes, its type rule, its meaning in numpy; each exactly once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Node, TensorType, Type, Value
from heddle.core.ir.types import Dim, DType
from heddle.core.ops.scalar import Expr, argument
from heddle.core.ops.scalar import evaluate as evaluate_scalar
from numpy.typing import NDArray

REQUIRED = inspect.Parameter.empty

DTypeName = str
"""The annotation of an attribute that holds the name of a dtype, where ONNX has a number."""


@dataclass(frozen=True)
class Operand:
    """What a type rule knows of one operand: its type and, when it is constant, its value."""

    type: Type
    value: NDArray[Any] | None = None

    @property
    def tensor(self) -> TensorType:
        if not isinstance(self.type, TensorType):
            raise GraphError(f"a tensor was expected, found {self.type}")
        return self.type

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    @property
    def dims(self) -> tuple[Dim, ...] | None:
        return self.tensor.dims

    @property
    def rank(self) -> int | None:
        return None if self.dims is None else len(self.dims)


@dataclass(frozen=True)
class Reduction:
    """What a reduction means, element by element: `finish(fold(combine, initial, map(each, xs)), count)`."""

    initial: Callable[[DType], bool | int | float]
    combine: Callable[[Expr, Expr], Expr]
    each: Callable[[Expr], Expr] = field(default=lambda x: x)
    finish: Callable[[Expr, int], Expr] = field(default=lambda total, count: total)


@dataclass(frozen=True)
class Operator:
    """One operator in its current form.

    `operands` are the names of its inputs (`variadic`: the last takes any number), `required` how many must be
    present; `attributes` maps each attribute to its default, or REQUIRED.
    `infer(*operands, **attributes)` gives the type (or a tuple of types) of its outputs, `evaluate(*arrays,
    **attributes)` their arrays; absent operands are None; a rule that declares `outputs` is told how many there are.
    An elementwise operator has `scalar(*exprs, **attributes)`, a reduction has `reduction`; both other functions
    then come from it. `along(**attributes)` of an elementwise operator is the axis of the first operand on which its
    operands of rank one lie; None where they have blocks of it, and the scalar holds only for operands so spread.
    `dtypes` are the attributes that hold the name of a dtype.
    """

    name: str
    operands: tuple[str, ...]
    required: int
    variadic: bool
    attributes: Mapping[str, Any]
    infer: Callable[..., Type | tuple[Type, ...]]
    evaluate: Callable[..., Any]
    scalar: Callable[..., Expr] | None = None
    reduction: Reduction | None = None
    along: Callable[..., int | None] | None = None
    dtypes: tuple[str, ...] = ()
    doc: str = ""


OPERATORS: dict[str, Operator] = {}


def operator(name: str) -> Operator | None:
    """The operator of this name, or None."""
    return OPERATORS.get(name)


def op(
    name: str,
    infer: Callable[..., Type | tuple[Type, ...]],
    reduction: Reduction | None = None,
    scalar: Callable[..., Expr] | None = None,
    along: Callable[..., int | None] | None = None,
    shared: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Define an operator by its meaning in numpy; operands and attributes are read off the function's signature.

    `shared` are attributes that several operators have, with their defaults; the function takes them by `**`.

    `scalar` is the elementwise meaning of the first output, for an operator that has others in some of its modes;
    it raises GraphError for attributes under which there is none.
    """

    def define(evaluate: Callable[..., Any]) -> Callable[..., Any]:
        _register(name, evaluate, infer, evaluate, scalar=scalar, reduction=reduction, along=along, shared=shared)
        return evaluate

    return define


def elementwise(
    name: str, along: Callable[..., int | None] | None = None
) -> Callable[[Callable[..., Expr]], Callable[..., Expr]]:
    """Define an elementwise operator by its scalar expression; operands broadcast, the dtype is the expression's."""

    def define(scalar: Callable[..., Expr]) -> Callable[..., Expr]:
        def traced(dtypes: Sequence[DType | None], attributes: Mapping[str, Any]) -> Expr:
            try:
                return trace(scalar, dtypes, attributes)
            except GraphError as error:
                raise GraphError(f"{name}: {error}") from None

        def infer(*operands: Operand | None, **attributes: Any) -> Type:
            expr = traced([None if o is None else o.dtype for o in operands], attributes)
            present = [operand.tensor for operand in operands if operand is not None]
            return TensorType(expr.dtype, present[0].dims if along else broadcast(name, present))

        def evaluate(*arrays: NDArray[Any] | None, **attributes: Any) -> NDArray[Any]:
            expr = traced([None if a is None else a.dtype for a in arrays], attributes)
            if along:
                arrays = spread(arrays, along(**attributes), attributes.get("block_size", 0))
            shape = np.broadcast_shapes(*(array.shape for array in arrays if array is not None))
            present = [np.empty(0) if array is None else array for array in arrays]
            return np.array(np.broadcast_to(evaluate_scalar(expr, present), shape))

        _register(name, scalar, infer, evaluate, scalar=scalar, along=along)
        return scalar

    return define


def spread(arrays: Sequence[NDArray[Any] | None], axis: int | None, block: int) -> tuple[NDArray[Any] | None, ...]:
    """Operands shaped to broadcast against the first: vectors laid along its axis, or blocks repeated."""
    first = arrays[0]
    assert first is not None
    return (first, *(None if array is None else _spread(array, first.shape, axis, block) for array in arrays[1:]))


def _spread(array: NDArray[Any], shape: tuple[int, ...], axis: int | None, block: int) -> NDArray[Any]:
    if array.ndim == len(shape) and array.shape != shape and block:
        for i, (have, want) in enumerate(zip(array.shape, shape, strict=True)):
            if have != want:
                array = np.repeat(array, block, axis=i)[(slice(None),) * i + (slice(want),)]
        return array
    if array.ndim != 1 or axis is None or array.size == 1:
        return array.reshape(()) if array.size == 1 else array
    return array.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])


def trace(scalar: Callable[..., Expr], dtypes: Sequence[DType | None], attributes: Mapping[str, Any]) -> Expr:
    """The expression of an elementwise operator for operands of these dtypes."""
    return scalar(*(None if d is None else argument(i, d) for i, d in enumerate(dtypes)), **attributes)


def _register(
    name: str,
    signature: Callable[..., Any],
    infer: Callable[..., Type | tuple[Type, ...]],
    evaluate: Callable[..., Any],
    scalar: Callable[..., Expr] | None = None,
    reduction: Reduction | None = None,
    along: Callable[..., int | None] | None = None,
    shared: Mapping[str, Any] | None = None,
) -> None:
    assert name not in OPERATORS, f"operator {name} is defined twice"
    parameters = [p for p in inspect.signature(signature).parameters.values() if p.name != "outputs"]
    parameters = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    own = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    variadic = bool(positional) and positional[-1].kind is positional[-1].VAR_POSITIONAL
    OPERATORS[name] = Operator(
        name=name,
        operands=tuple(p.name for p in positional),
        required=sum(p.default is REQUIRED and p.kind is not p.VAR_POSITIONAL for p in positional),
        variadic=variadic,
        attributes=MappingProxyType({**(shared or {}), **own}),
        infer=infer,
        evaluate=evaluate,
        scalar=scalar,
        reduction=reduction,
        along=along,
        dtypes=tuple(p.name for p in parameters if "DTypeName" in str(p.annotation)),
        doc=inspect.getdoc(signature) or "",
    )


# -- using a definition --------------------------------------------------------------------------------------------


def attributes_of(node: Node) -> dict[str, Any]:
    """All attributes of a node, the absent ones at their defaults; GraphError for a missing or unknown one."""
    definition = _definition(node)
    unknown = [name for name in node.attrs if name not in definition.attributes]
    if unknown:
        known = ", ".join(definition.attributes) or "none"
        raise GraphError(f"{node.op}: there is no attribute {unknown[0]!r}; it has {known}")
    merged = {**definition.attributes, **node.attrs}
    missing = [name for name, value in merged.items() if value is REQUIRED]
    if missing:
        raise GraphError(f"{node.op}: attribute {missing[0]!r} is missing")
    return merged


def infer_node(node: Node, values: Mapping[Value, NDArray[Any]]) -> tuple[Type, ...]:
    """The types of a node's outputs by the operator's rule; `values` holds the operands that are known."""
    definition = _definition(node)
    _check_arity(definition, node)
    operands = [None if value is None else Operand(value.type, values.get(value)) for value in node.inputs]
    operands += [None] * _absent(definition, node)
    types = definition.infer(*operands, **attributes_of(node), **_outputs(definition.infer, node))
    return types if isinstance(types, tuple) else (types,)


def evaluate_node(
    node: Node, arrays: Sequence[Any], body: Callable[[Graph], Callable[..., Any]] | None = None
) -> tuple[Any, ...]:
    """The values of a node's outputs; `body` makes a graph in an attribute callable."""
    definition = _definition(node)
    _check_arity(definition, node)
    attributes = attributes_of(node)
    if body is not None:
        attributes = {name: body(attr) if isinstance(attr, Graph) else attr for name, attr in attributes.items()}
    absent = [None] * _absent(definition, node)
    results = definition.evaluate(*arrays, *absent, **attributes, **_outputs(definition.evaluate, node))
    results = results if isinstance(results, tuple) else (results,)
    return tuple(np.asarray(result) if isinstance(result, np.generic) else result for result in results)


def _absent(definition: Operator, node: Node) -> int:
    """How many operands at the end are left out."""
    return 0 if definition.variadic else len(definition.operands) - len(node.inputs)


def _definition(node: Node) -> Operator:
    definition = OPERATORS.get(node.op)
    if definition is None:
        raise GraphError(f"{node.op}: there is no such operator")
    return definition


def _check_arity(definition: Operator, node: Node) -> None:
    given = len(node.inputs)
    most = len(definition.operands)
    if given < definition.required or (given > most and not definition.variadic):
        raise GraphError(f"{node.op}: takes {definition.required} to {most} operands, {given} are given")
    missing = [definition.operands[i] for i in range(definition.required) if node.inputs[i] is None]
    if missing:
        raise GraphError(f"{node.op}: operand {missing[0]!r} is missing")


@cache
def _wants_outputs(function: Callable[..., Any]) -> bool:
    return "outputs" in inspect.signature(function).parameters


def _outputs(function: Callable[..., Any], node: Node) -> dict[str, int]:
    return {"outputs": len(node.outputs)} if _wants_outputs(function) else {}


# -- pieces of type rules ------------------------------------------------------------------------------------------


def broadcast(name: str, types: Sequence[TensorType]) -> tuple[Dim, ...] | None:
    """The dimensions of tensors broadcast against each other; None when a rank is unknown."""
    if any(type.dims is None for type in types):
        return None
    rank = max((len(type.dims or ()) for type in types), default=0)
    dims: list[Dim] = []
    for axis in range(-rank, 0):
        here = [type.dims[axis] for type in types if type.dims is not None and len(type.dims) >= -axis]
        sizes = {dim for dim in here if isinstance(dim, int) and dim != 1}
        symbols = [dim for dim in here if isinstance(dim, str)]
        if len(sizes) > 1:
            raise GraphError(f"{name}: shapes do not broadcast: {' and '.join(str(type) for type in types)}")
        if sizes:
            dims.append(sizes.pop())
        elif symbols:
            dims.append(symbols[0] if len(set(symbols)) == 1 else "?")
        else:
            dims.append(1)
    return tuple(dims)


def same_type(x: Operand, *_: Operand | None, **__: Any) -> Type:
    """The rule of operators whose result has the type of the first operand."""
    return x.type
