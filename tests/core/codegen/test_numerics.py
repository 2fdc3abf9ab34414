"""NaN, infinity, signed zero and overflow in operators of several elements, as the reference has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

ROW = "[nan, 1, inf, -inf, 0, -0.0, -1, 3e38, -3e38, 1e-45]"
INFINITE = "[[inf, 1, 2], [-inf, -inf, -inf], [nan, 1, 2], [-inf, 1, -1], [0, 0, 0]]"

LINES = f"""
Max(float32[10]={ROW}, float32[]=[0])
Max(float32[10,1]={ROW}, float32[10]={ROW})
Min(float32[10,1]={ROW}, float32[10]={ROW})
Add(float32[10,1]={ROW}, float32[10]={ROW})
Mul(float32[10,1]={ROW}, float32[10]={ROW})
Div(float32[10,1]={ROW}, float32[10]={ROW})
Pow(float32[10,1]={ROW}, float32[10]={ROW})
Equal(float32[10,1]={ROW}, float32[10]={ROW})
Less(float32[10,1]={ROW}, float32[10]={ROW})
GreaterOrEqual(float32[10,1]={ROW}, float32[10]={ROW})
Mod(float32[10,1]={ROW}, float32[10]={ROW}) {{fmod=1}}
Clip(float32[10]={ROW}, float32[]=[-1], float32[]=[1])
ReduceSum(float32[5,3]={INFINITE}, int64[1]=[1])
ReduceMax(float32[5,3]={INFINITE}, int64[1]=[1])
ReduceMin(float32[5,3]={INFINITE}, int64[1]=[0])
ReduceMean(float32[5,3]={INFINITE}, int64[1]=[1])
ReduceLogSumExp(float32[5,3]={INFINITE}, int64[1]=[1])
ArgMax(float32[5,3]={INFINITE}) {{axis=1}}
ArgMin(float32[5,3]={INFINITE}) {{axis=1}}
Softmax(float32[5,3]={INFINITE})
LogSoftmax(float32[5,3]={INFINITE})
TopK/2(float32[5,3]={INFINITE}, int64[1]=[2])
CumSum(float32[5,3]={INFINITE}, int64[]=[1])
MaxPool(float32[1,1,5,3]={INFINITE}) {{kernel_shape=[2, 2], pads=[1, 1, 1, 1]}}
AveragePool(float32[1,1,5,3]={INFINITE}) {{kernel_shape=[2, 2], pads=[1, 1, 1, 1]}}
LayerNormalization(float32[5,3]={INFINITE}, float32[3])
MatMul(float32[5,3]={INFINITE}, float32[3,5]=[[0,1,2,3,4],[1,1,1,1,1],[2,0,0,0,1]])
Sub(int8[3]=[-128, 127, 0], int8[3]=[1, -1, 5])
Mul(int32[2]=[2147483647, -2147483648], int32[2]=[2, -1])
Abs(int8[2]=[-128, 127])
Neg(int64[1]=[-9223372036854775808])
Add(uint8[2]=[255, 3], uint8[2]=[1, 254])
"""


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_extremes_are_the_references(line: str, agrees: Callable[..., None]) -> None:
    agrees(line, ulps=4, flush=False)


def test_sums_of_many_are_not_less_exact(agrees: Callable[..., None]) -> None:
    agrees("ReduceSum(float32[2,100000], int64[1]=[1])", ulps=64)
