"""Every operator of ONNX is defined, with the operands, attributes and defaults that ONNX gives it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from heddle.core.ops import OPERATORS, REQUIRED
from onnx import defs

IMPORTED_AWAY = ("Constant", "ConstantOfShape", "Scatter", "Upsample")
"""Constants are no operators here; the deprecated ones are read as what replaced them."""

CAPTURING = ("If", "Loop", "Scan", "SequenceMap")
DTYPES = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
DTYPES |= {onnx.TensorProto.DOUBLE: "float64", onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UNDEFINED: None}

SCHEMAS = {
    schema.name: schema
    for schema in sorted(defs.get_all_schemas(), key=lambda schema: (schema.name, schema.since_version))
    if schema.domain == "" and schema.name not in IMPORTED_AWAY
}


def test_every_operator_is_defined_and_no_other():
    ours = {name for name in OPERATORS if "." not in name}
    assert ours == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_operands(name):
    schema, ours = SCHEMAS[name], OPERATORS[name]
    kinds = [operand.option for operand in schema.inputs]
    names = [operand.name.lower() for operand in schema.inputs]
    if name == "If":
        assert ours.operands == (*names, "captures")
    else:
        assert ours.operands == tuple(names)
        assert ours.variadic == (defs.OpSchema.FormalParameterOption.Variadic in kinds)
    assert ours.required == kinds.count(defs.OpSchema.FormalParameterOption.Single)


@pytest.mark.parametrize("name", SCHEMAS)
def test_attributes(name):
    schema, ours = SCHEMAS[name], OPERATORS[name]
    theirs = {key: default(attribute, key in ours.dtypes) for key, attribute in schema.attributes.items()}
    own = {key: value for key, value in ours.attributes.items() if not (key == "captures" and name in CAPTURING)}
    assert own.keys() == theirs.keys()
    for key, value in theirs.items():
        assert same(own[key], value), f"{key}: {own[key]!r}, ONNX has {value!r}"


def default(attribute: Any, is_dtype: bool) -> Any:
    """The default of an attribute as the IR writes it."""
    if attribute.required:
        return REQUIRED
    if not attribute.default_value.name:
        return None
    value = onnx.helper.get_attribute_value(attribute.default_value)
    if is_dtype:
        return DTYPES[value]
    if isinstance(value, bytes):
        return value.decode()
    return tuple(item.decode() if isinstance(item, bytes) else item for item in value) if is_list(value) else value


def is_list(value: Any) -> bool:
    return not isinstance(value, int | float | str)


def same(ours: Any, theirs: Any) -> bool:
    return np.float32(ours) == np.float32(theirs) if isinstance(theirs, float) else bool(ours == theirs)


def test_attributes_that_name_a_dtype():
    named = {(op, key) for op, ours in OPERATORS.items() for key in ours.dtypes if "." not in op}
    assert {key for _, key in named} == {
        *("dtype", "output_datatype", "output_dtype", "precision", "softmax_precision", "stash_type", "to")
    }
