"""Which element types an operator's operands may have, by ONNX's own schemas."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import onnx

from heddle.core.ops import OPERATORS
from heddle.testing.rules import TOGETHER

_NAMES = {"float": "float32", "double": "float64"}


@cache
def schema_types(op: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """For each operand the type variable it is written with and the dtypes of it; nothing where there is no schema."""
    domain, _, name = op.rpartition(".")
    if domain or not onnx.defs.has(name):
        return ()
    schema = onnx.defs.get_schema(name)
    variables: Mapping[str, tuple[str, ...]] = {
        constraint.type_param_str: tuple(filter(None, map(_dtype, constraint.allowed_type_strs)))
        for constraint in schema.type_constraints
    }
    return tuple(
        (given.type_str, variables.get(given.type_str) or tuple(filter(None, [_dtype(given.type_str)])))
        for given in schema.inputs
    )


def _dtype(text: str) -> str:
    """The name of a dtype that ONNX writes `tensor(float)`; nothing for sequences and optionals."""
    if not text.startswith("tensor("):
        return ""
    name = text.removeprefix("tensor(").removesuffix(")")
    return _NAMES.get(name, name)


def role(op: str, number: int) -> str:
    """The operator's own name of an operand, or what it is within those that belong together."""
    operands = OPERATORS[op].operands
    if number < len(operands) - 1:
        return operands[number]
    last = TOGETHER.get(op, operands[-1:])
    return last[(number - len(operands) + 1) % len(last)]
