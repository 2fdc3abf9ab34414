"""ONNX graphs as the IR's: names resolved, captures made explicit, functions inlined, each operator in current form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from heddle.core.errors import GraphError, HeddleError, ModelError
from heddle.core.frontend.attributes import attribute_value, bound_attributes
from heddle.core.frontend.bodies import body_types, with_captures
from heddle.core.frontend.builder import Array, Builder, Call
from heddle.core.frontend.constants import constant_array
from heddle.core.frontend.model import FunctionKey, Model, domain_of, full_name, read_model
from heddle.core.frontend.opsets import upgrade
from heddle.core.frontend.order import ordered
from heddle.core.frontend.schemas import check_node
from heddle.core.frontend.signature import Binding, bind_inputs, bound_type
from heddle.core.frontend.survey import function_opsets, survey
from heddle.core.frontend.tensors import array_of, dense_of
from heddle.core.frontend.types import type_of
from heddle.core.ir import Graph, Names, Type, Value, verify
from heddle.core.ops.inference import Inference
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto


def import_model(
    source: str | os.PathLike[str] | bytes | ModelProto,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
) -> Graph:
    """The graph of a model, from a path, bytes or a ModelProto, with every operator in its current form.

    `shapes` gives inputs their dimensions, by name; a size given to a symbol holds wherever the symbol stands. A
    symbol may also be bound by its own name: `{"batch": [4]}`. ModelError when the model is unsound, when Heddle lacks
    operators that it needs (all of them are named), or when `shapes` does not fit it.
    """
    model = read_model(source)
    try:
        survey(model)
        return verify(_Importer(model).main(shapes or {}))
    except (HeddleError, RecursionError) as error:
        if str(error).startswith(f"{model.name}: "):
            raise
        raise ModelError(f"{model.name}: {error}") from error
    except Exception as error:
        # Whatever a damaged file provokes is the file's fault; the cause is in the chain.
        raise ModelError(f"{model.name}: it cannot be read: {type(error).__name__}: {error}") from error


@dataclass
class _Scope:
    """Where names are looked up: one graph or one call of a function, and what surrounds it.

    In an `exact` scope values keep their names; in a call of a function, its results get the names that are `wanted`
    where it is called, and those that are `owned` keep them.
    """

    builder: Builder
    opsets: Mapping[str, int]
    parent: _Scope | None = None
    bindings: Mapping[str, AttributeProto] | None = None
    values: dict[str, Value | None] = field(default_factory=dict)
    tensors: dict[str, TensorProto | SparseTensorProto] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)
    label: str = ""
    exact: bool = False
    owned: frozenset[str] = frozenset()


class _Importer:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.names, self.inference = Names(), Inference()
        self.binding = Binding({})

    # -- graphs ------------------------------------------------------------------------------------------------------

    def main(self, shapes: Mapping[str, Sequence[int | str]]) -> Graph:
        proto = self.model.proto.graph
        scope = _Scope(Builder(self.names, self.inference), self.model.opsets, exact=True)
        self._tensors(scope, proto)
        formals = [info for info in proto.input if info.name not in scope.tensors]
        declared = {}
        for info in formals:
            if info.name in declared or not info.name:
                raise ModelError(f"{self.model.name}: input {info.name!r} is named twice or not at all")
            try:
                declared[info.name] = type_of(info.type)
            except ModelError as error:
                raise ModelError(f"{self.model.name}: input {info.name!r}: {error}") from None
        types, self.binding = bind_inputs(self.model.name, declared, shapes)
        self.names.reserve(declared)
        self.names.reserve(scope.tensors)
        self.names.reserve(name for node in proto.node for name in node.output)
        inputs = [Value(name, type) for name, type in types.items()]
        scope.values.update((value.name, value) for value in inputs)
        outputs = self._graph(scope, proto)
        named = [self._named(scope, value, info.name) for value, info in zip(outputs, proto.output, strict=True)]
        return scope.builder.graph(inputs, named, proto.name)

    def _body(self, proto: GraphProto, around: _Scope, given: Sequence[Type | None]) -> tuple[Graph, Builder]:
        """A graph in an attribute, and its builder; `given` are the types that its node passes to it."""
        scope = _Scope(Builder(self.names, self.inference), around.opsets, around, around.bindings, label=around.label)
        self._tensors(scope, proto)
        formals = [info for info in proto.input if info.name not in scope.tensors]
        if len(formals) != len(given):
            raise GraphError(f"body {proto.name!r} has {len(formals)} inputs, its node passes {len(given)}")
        inputs = []
        for info, known in zip(formals, given, strict=True):
            declared = bound_type(type_of(info.type), self.binding) if info.type.WhichOneof("value") else None
            type = known if known is not None else declared
            if type is None:
                raise GraphError(f"body {proto.name!r}: the type of input {info.name!r} is not known")
            if info.name in scope.values:
                raise GraphError(f"body {proto.name!r}: input {info.name!r} is named twice")
            value = self.names.fresh(info.name, type)
            inputs.append(value)
            scope.values[info.name] = value
        outputs = self._graph(scope, proto)
        return scope.builder.graph(inputs, outputs, proto.name), scope.builder

    def _graph(self, scope: _Scope, proto: GraphProto) -> list[Value]:
        for node in ordered(proto.node, self.model.name):
            self._node(scope, node)
        return [self._required(scope, info.name, f"graph {proto.name!r}") for info in proto.output]

    def _tensors(self, scope: _Scope, proto: GraphProto) -> None:
        for tensor in proto.initializer:
            if tensor.name in scope.tensors or not tensor.name:
                raise ModelError(f"{self.model.name}: initializer {tensor.name!r} is named twice or not at all")
            scope.tensors[tensor.name] = tensor
        for sparse in proto.sparse_initializer:
            if sparse.values.name in scope.tensors or not sparse.values.name:
                raise ModelError(f"{self.model.name}: initializer {sparse.values.name!r} is named twice or not at all")
            scope.tensors[sparse.values.name] = sparse

    def _named(self, scope: _Scope, value: Value, name: str) -> Value:
        """The model's outputs keep their names, also where a function passes a value through."""
        if value.name == name:
            return value
        (result,) = scope.builder.emit(Call("Identity", (value,)), [name], exact=[name])
        assert result is not None
        return result

    # -- names -------------------------------------------------------------------------------------------------------

    def _lookup(self, scope: _Scope, name: str) -> Value | None:
        if not name:
            return None
        if name in scope.values:
            return scope.values[name]
        if name in scope.tensors:
            proto = scope.tensors[name]
            load = array_of if isinstance(proto, TensorProto) else dense_of
            array: Array = load(proto, self.model.folder)
            value = scope.builder.constant(array, name, scope.exact)
            scope.values[name] = value
            return value
        if scope.parent is None:
            raise GraphError(f"%{name} is read, but no input, initializer or node before binds it")
        outer = self._lookup(scope.parent, name)
        if outer is None or scope.parent.builder is scope.builder:
            return outer
        return scope.builder.capture(outer)

    def _required(self, scope: _Scope, name: str, what: str) -> Value:
        value = self._lookup(scope, name)
        if value is None:
            raise GraphError(f"{what}: output {name!r} is absent")
        return value

    def _bind(self, scope: _Scope, name: str, value: Value | None) -> None:
        if name in scope.values or name in scope.tensors:
            raise GraphError(f"%{name} is bound twice")
        scope.values[name] = value

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _node(self, scope: _Scope, proto: NodeProto) -> None:
        try:
            self._add(scope, proto)
        except (HeddleError, ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError) as error:
            raise self._refusal(scope, proto, error) from error
        except (RecursionError, TypeError, ValueError) as error:
            raise self._refusal(scope, proto, error) from error

    def _refusal(self, scope: _Scope, proto: NodeProto, error: Exception) -> Exception:
        """The error with its place, unless it has one already (a node in a body tells its own)."""
        if isinstance(error, ModelError) and str(error).startswith(f"{self.model.name}: "):
            return error
        label = f" {scope.label}{proto.name}" if proto.name else ""
        op = full_name(proto.domain, proto.op_type)
        fact = str(error) if isinstance(error, HeddleError) else f"{type(error).__name__}: {error}"
        return ModelError(f"{self.model.name}: node{label} ({op}): {fact}")

    def _add(self, scope: _Scope, proto: NodeProto) -> None:
        key = (domain_of(proto.domain), proto.op_type, proto.overload)
        attributes = bound_attributes(proto, scope.bindings)
        if key in self.model.functions:
            self._inline(scope, proto, key, attributes)
            return
        check_node(proto, attributes, scope.opsets.get(key[0], 1))
        label = f"{scope.label}{proto.name}" if proto.name else ""
        op = full_name(proto.domain, proto.op_type)
        if op == "Constant":
            (name,) = proto.output
            array = constant_array({a.name: attribute_value(a, self.model.folder) for a in attributes})
            self._bind(
                scope, name, scope.builder.constant(array, self._stem(scope, name), name in scope.owned or scope.exact)
            )
            return
        inputs = [self._lookup(scope, name) for name in proto.input]
        while inputs and inputs[-1] is None:
            inputs.pop()
        call = self._with_bodies(scope, Call(op, tuple(inputs), {}, len(proto.output)), attributes)
        call = upgrade(call, scope.opsets.get(key[0], 1), scope.builder)
        call = Call(call.op, call.inputs, {k: v for k, v in call.attrs.items() if v is not None}, call.outputs)
        names = [self._stem(scope, name) if name else None for name in proto.output]
        exact = [self._stem(scope, name) for name in proto.output if scope.exact or name in scope.owned]
        results = scope.builder.emit(call, names, label, exact)
        for name, value in zip(proto.output, results, strict=True):
            if name:
                self._bind(scope, name, value)

    def _stem(self, scope: _Scope, name: str) -> str:
        return scope.wanted.get(name, name)

    def _with_bodies(self, scope: _Scope, call: Call, attributes: Iterable[AttributeProto]) -> Call:
        """The call with its attributes; graphs become bodies whose captures are the call's last operands."""
        values: dict[str, Any] = {}
        protos: dict[str, GraphProto] = {}
        for attribute in attributes:
            if attribute.type == AttributeProto.GRAPH:
                protos[attribute.name] = attribute.g
            else:
                values[attribute.name] = attribute_value(attribute, self.model.folder)
        if not protos:
            return Call(call.op, call.inputs, values, call.outputs)
        call = Call(call.op, call.inputs, values, call.outputs)
        bodies = {
            name: self._body(proto, scope, body_types(call, proto, self.binding))
            for name, proto in sorted(protos.items())
        }
        return with_captures(call, bodies)

    # -- functions ---------------------------------------------------------------------------------------------------

    def _inline(self, scope: _Scope, proto: NodeProto, key: FunctionKey, attributes: Iterable[AttributeProto]) -> None:
        function = self.model.functions[key]
        if len(proto.input) > len(function.input) or len(proto.output) > len(function.output):
            raise GraphError(
                f"function {key[1]!r} takes {len(function.input)} operands and gives {len(function.output)} results,"
                f" {len(proto.input)} and {len(proto.output)} are used"
            )
        bindings = {attribute.name: attribute for attribute in function.attribute_proto}
        bindings |= {attribute.name: attribute for attribute in attributes}
        inner = _Scope(
            scope.builder,
            function_opsets(self.model, key),
            bindings=bindings,
            values=dict.fromkeys(function.input),
            wanted={
                formal: self._stem(scope, actual)
                for formal, actual in zip(function.output, proto.output, strict=False)
                if actual
            },
            label=f"{scope.label}{proto.name or proto.op_type}/",
            owned=frozenset(
                formal
                for formal, actual in zip(function.output, proto.output, strict=False)
                if scope.exact or actual in scope.owned
            ),
        )
        inner.values.update(
            (formal, self._lookup(scope, actual)) for formal, actual in zip(function.input, proto.input, strict=False)
        )
        for node in ordered(function.node, self.model.name):
            self._node(inner, node)
        for formal, actual in zip(function.output, proto.output, strict=False):
            if actual:
                self._bind(scope, actual, self._required(inner, formal, f"function {key[1]!r}"))
