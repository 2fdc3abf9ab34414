"""Rules of types where something is symbolic, unknown, constant or wrong; read as text."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.ir import parse
from heddle.core.ops import infer_node

OPERAND = re.compile(r"_|\w*\[[^\]]*\]")


def infer(line: str) -> str:
    """The types of `Op(type, [constant], _) {attributes} -> number of outputs`; a list is a constant vector."""
    line, _, count = line.partition(" -> ")
    op, _, rest = line.partition("(")
    operands, _, attrs = rest.rpartition(")")
    parameters, names, known = [], [], {}
    for number, text in enumerate(OPERAND.findall(operands)):
        if text == "_":
            names.append("_")
            continue
        if text.startswith("["):
            array = np.array(json.loads(text))
            known[f"x{number}"] = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
            text = f"{known[f'x{number}'].dtype}[{array.size}]"
        parameters.append(f"%x{number}: {text}")
        names.append(f"%x{number}")
    results = ", ".join(f"%y{i}: float32[*]" for i in range(int(count or 1)))
    inputs, arguments = ", ".join(parameters), ", ".join(names)
    (node,) = parse(f"graph ({inputs}) -> () {{ {results} = {op}({arguments}) {attrs} }}").nodes
    values: dict[Any, Any] = {value: known[value.name] for value in node.operands if value.name in known}
    return ", ".join(str(type) for type in infer_node(node, values))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Add(float32[N,1], float32[4])", "float32[N,4]"),
        ("Add(float32[N,3], float32[M,1])", "float32[?,3]"),
        ("Add(float32[*], float32[4])", "float32[*]"),
        ("Equal(int64[2], int64[2])", "bool[2]"),
        ('Cast(float32[N]) {to="int8"}', "int8[N]"),
        ("Reshape(float32[N,3,4], [0, -1])", "float32[N,12]"),
        ("Reshape(float32[N,3,4], [-1, 12])", "float32[N,12]"),
        ("Reshape(float32[N,3,4], [-1, 6])", 'float32["2*N",6]'),
        ("Reshape(float32[N,M], [-1])", 'float32["M*N"]'),
        ("Reshape(float32[*], [0, 5])", "float32[?,5]"),
        ("Reshape(float32[6], int64[2])", "float32[?,?]"),
        ("Reshape(float32[6], int64[?])", "float32[*]"),
        ("Flatten(float32[N,3,4])", "float32[N,12]"),
        ("Squeeze(float32[1,N,1], [0])", "float32[N,1]"),
        ("Squeeze(float32[1,N,1])", "float32[*]"),
        ("Squeeze(float32[1,3,1])", "float32[3]"),
        ("Unsqueeze(float32[N], [0, -1])", "float32[1,N,1]"),
        ("Expand(float32[1,N], [3, 1, 1])", "float32[3,1,N]"),
        ("Transpose(float32[N,2,3])", "float32[3,2,N]"),
        ("Shape(float32[N,2,3])", "int64[3]"),
        ("Shape(float32[N,2,3]) {start=1}", "int64[2]"),
        ("Shape(float32[*])", "int64[?]"),
        ("Slice(float32[N,8], [0], [9223372036854775807], [0])", "float32[N,8]"),
        ("Slice(float32[N,8], [1, 1], [3, 7], [0, 1], [1, 2])", "float32[?,3]"),
        ("Slice(float32[N,8], [-1], [-9], [1], [-1])", "float32[N,8]"),
        ("Slice(float32[N,8], int64[1], int64[1], [1])", "float32[N,?]"),
        ("Concat(float32[N,2], float32[N,3]) {axis=1}", "float32[N,5]"),
        ("Concat(float32[N,2], float32[3,2]) {axis=0}", 'float32["N+3",2]'),
        ("Concat(float32[?,2], float32[4,M]) {axis=1}", 'float32[4,"M+2"]'),
        ("Split(float32[N,7]) {axis=1, num_outputs=3} -> 3", "float32[N,3], float32[N,3], float32[N,1]"),
        ("Split(float32[N,7], [3, 4]) {axis=0} -> 2", "float32[3,7], float32[4,7]"),
        ("Pad(float32[N,3], [0, 1, 0, 2])", "float32[N,6]"),
        ("Tile(float32[N,3], [1, 2])", "float32[N,6]"),
        ("Gather(float32[N,3], int64[2,M]) {axis=1}", "float32[N,2,M]"),
        ("GatherND(float32[N,3,4], int64[5,2])", "float32[5,4]"),
        ("OneHot(int64[N], [7], float32[2])", "float32[N,7]"),
        ("NonZero(float32[N,3])", "int64[2,?]"),
        ("TopK(float32[N,9], [3]) -> 2", "float32[N,3], int64[N,3]"),
        ("Range([0], [7], [2])", "int64[4]"),
        ("Range(int64[], int64[], int64[])", "int64[?]"),
        ("ReduceSum(float32[N,3], [1])", "float32[N,1]"),
        ("ReduceSum(float32[N,3], int64[1]) {keepdims=0}", "float32[?]"),
        ("ReduceMax(float32[*]) {keepdims=0}", "float32[]"),
        ("ArgMax(float32[N,3]) {axis=1, keepdims=0}", "int64[N]"),
        ("MatMul(float32[B,2,3], float32[3,N])", "float32[B,2,N]"),
        ("MatMul(float32[3], float32[3])", "float32[]"),
        ("Gemm(float32[3,N], float32[4,3]) {transA=1, transB=1}", "float32[N,4]"),
        ('Einsum(float32[B,2,3], float32[B,3,N]) {equation="bij,bjk->bik"}', "float32[B,2,N]"),
        ("Conv(float32[N,3,H,8], float32[6,3,3,3]) {pads=[1, 1, 1, 1]}", "float32[N,6,H,8]"),
        ("Conv(float32[N,3,H,8], float32[6,3,3,3]) {strides=[2, 2]}", "float32[N,6,?,3]"),
        ('Conv(float32[N,3,9,8], float32[6,3,3,3]) {auto_pad="SAME_UPPER", strides=[2, 2]}', "float32[N,6,5,4]"),
        ("MaxPool(float32[1,3,7,7]) {kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1}", "float32[1,3,4,4]"),
        ("ConvTranspose(float32[N,3,4,4], float32[3,5,3,3]) {strides=[2, 2]}", "float32[N,5,9,9]"),
        ("GlobalAveragePool(float32[N,C,H,W])", "float32[N,C,1,1]"),
        ("Resize(float32[N,3,8,8], _, [1.0, 1.0, 2.0, 0.5])", "float32[N,3,16,4]"),
        ("Resize(float32[N,3,8,8], _, _, [1, 3, 5, 6])", "float32[1,3,5,6]"),
        ("LayerNormalization(float16[N,4], float16[4]) -> 3", "float16[N,4], float32[N,1], float32[N,1]"),
        ("QuantizeLinear(float32[N,4], float32[], int8[])", "int8[N,4]"),
        ("com.microsoft.QLinearGlobalAveragePool(uint8[N,3,4,4], float32[], uint8[], float32[], int8[])",
         "int8[N,3,1,1]"),
        ("com.microsoft.QLinearAveragePool(uint8[N,3,4,4], float32[], uint8[], float32[], int8[]) "
         "{kernel_shape=[2, 2], channels_last=0}",
         "int8[N,3,3,3]"),
        ("DequantizeLinear(uint8[N,4], float16[4])", "float16[N,4]"),
        ("LSTM(float32[T,N,5], float32[2,16,5], float32[2,16,4]) "
         '{direction="bidirectional", hidden_size=4} -> 3',
         "float32[T,2,N,4], float32[2,N,4], float32[2,N,4]"),
    ],
)  # fmt: skip
def test_types(line, expected):
    assert infer(line) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Add(float32[2], float32[3])", "Add: shapes do not broadcast: float32[2] and float32[3]"),
        ("Add(float32[2], int64[2])", "Add: operands must have one dtype: float32 and int64"),
        ("MatMul(float32[2,4], float32[5,3])", "MatMul: inner dimensions differ: float32[2,4] and float32[5,3]"),
        ("Reshape(float32[2,3], [4])", "Reshape: float32[2,3] does not have the elements of [4]"),
        ("Reshape(float32[2,3], [-1, -1])", "Reshape: the shape is [-1, -1], it may hold sizes and at most one -1"),
        ("Transpose(float32[2,3]) {perm=[0, 2]}", "Transpose: axis 2 does not exist, the rank is 2"),
        ("Concat(float32[2,3], float32[2,4]) {axis=0}", "Concat: dimensions differ: 3 and 4"),
        ("Squeeze(float32[2,1], [0])", "Squeeze: dimension 0 of float32[2,1] is not 1"),
        ("Conv(float32[1,3,8,8], float32[4,2,3,3])",
         "Conv: channels do not fit in 1 groups: float32[1,3,8,8] and float32[4,2,3,3]"),
        ("MaxPool(float32[1,3,2,2]) {kernel_shape=[3, 3]}",
         "MaxPool: a window of 3 does not fit an input of 2 padded by 0 and 0"),
        ("ConvTranspose(float32[1,2,2,3], float32[2,4,2,2]) {pads=[2, 0, 2, 0]}",
         "ConvTranspose: pads of [2, 0, 2, 0] cut more than the [3, 4] elements that there are"),
        ("Relu(float32[2]) {alpha=1.0}", "Relu: there is no attribute 'alpha'; it has none"),
        ("Concat(float32[2])", "Concat: attribute 'axis' is missing"),
        ("Add(float32[2])", "Add: takes 2 to 2 operands, 1 are given"),
        ("Add(float32[2], _)", "Add: operand 'b' is missing"),
        ("Frobnicate(float32[2])", "Frobnicate: there is no such operator"),
        ('Pad(float32[2], [1, 1]) {mode="mirror"}',
         "Pad: mode is 'mirror', it must be one of constant, reflect, edge, wrap"),
    ],
)  # fmt: skip
def test_errors(line, message):
    with pytest.raises(GraphError) as raised:
        infer(line)
    assert str(raised.value) == message
