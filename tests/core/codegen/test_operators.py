"""Every operator's generated code against the operator's meaning, over shapes, types and attributes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

MOVEMENT = """
Reshape(float32[2,6], int64[2]=[3, -1])
Reshape(float32[2,0,6], int64[3]=[3, 0, 2]) {allowzero=1}
Flatten(int8[2,3,4]) {axis=2}
Squeeze(float32[1,3,1], int64[1]=[0])
Unsqueeze(float32[3], int64[2]=[0, 2])
Identity(float64[5])
Shape(float32[2,3])
Size(float32[2,3])
Transpose(float32[2,3,4])
Transpose(float32[5,17,33]) {perm=[0, 2, 1]}
Transpose(bfloat16[3,2]) {perm=[1, 0]}
Transpose(float32[37,50]) {perm=[1, 0]}
Transpose(int8[2,32,3,48]) {perm=[0, 3, 2, 1]}
Transpose(float64[16,2,16]) {perm=[2, 1, 0]}
Expand(float32[3,1], int64[3]=[2, 3, 4])
Tile(int32[2,3], int64[2]=[2, 3])
DepthToSpace(float32[1,12,2,3]) {blocksize=2}
DepthToSpace(float32[2,12,2,3]) {blocksize=2, mode="CRD"}
SpaceToDepth(float32[2,3,4,6]) {blocksize=2}
SpaceToDepth(float32[2,3,4,6]) {blocksize=2, mode="CRD"}
EyeLike(float32[3,5]) {k=1}
EyeLike(int32[4,3]) {dtype="float64", k=-1}
Slice(float32[5,6,7], int64[2]=[1, -3], int64[2]=[4, 100], int64[2]=[0, 2])
Slice(float32[5,6], int64[2]=[4, 5], int64[2]=[-100, 0], int64[2]=[0, 1], int64[2]=[-1, -2])
Slice(int8[5], int64[1]=[3], int64[1]=[1])
Concat(float32[2,3], float32[2,1], float32[2,0]) {axis=1}
Concat(int64[2], int64[3]) {axis=0}
Split/3(float32[7,2]) {num_outputs=3}
Split/2(float32[2,5], int64[2]=[1, 4]) {axis=1}
Pad(float32[2,3], int64[4]=[1, 0, 2, 1], float32[]=[7])
Pad(float32[4,5], int64[4]=[-1, 2, 1, -2])
Pad(float32[4,5], int64[2]=[2, 3], _, int64[1]=[1]) {mode="reflect"}
Pad(int32[4,3], int64[4]=[2, 1, 0, 5]) {mode="edge"}
Pad(float32[4,3], int64[4]=[5, 1, 3, 2]) {mode="wrap"}
CenterCropPad(float32[5,2], int64[2]=[3, 5])
Trilu(float32[2,4,5])
Trilu(int64[4,4], int64[]=[-1]) {upper=0}
ReverseSequence(float32[4,3], int64[3]=[1, 2, 4])
ReverseSequence(float32[3,4], int64[3]=[1, 2, 4]) {batch_axis=0, time_axis=1}
Dropout/2(float32[3,4])
Range(float32[]=[1], float32[]=[4], float32[]=[0.5])
Range(int64[]=[10], int64[]=[2], int64[]=[-3])
"""

INDEXING = """
Gather(float32[5,3], int64[2,2]~-5:5)
Gather(float32[2,5,3], int32[4]~0:5) {axis=1}
Gather(float32[5], int64[]~0:5)
GatherElements(float32[3,4], int64[2,4]~-3:3)
GatherElements(float32[3,4], int32[3,2]~0:4) {axis=1}
GatherND(float32[3,4,5], int64[6,2]~-3:3)
GatherND(float32[2,3,4], int64[2,1]~0:3) {batch_dims=1}
ScatterElements(float32[5,4], int64[2,4]=[[0,1,2,3],[1,0,3,2]], float32[2,4])
ScatterElements(float32[5,4], int64[3,2]~-4:4, float32[3,2]) {axis=1, reduction="add"}
ScatterElements(int32[5], int64[6]~0:5, int32[6]) {reduction="max"}
ScatterElements(float32[5], int64[6]~0:5, float32[6]) {reduction="mul"}
ScatterND(float32[4,3], int64[2,1]=[[3],[0]], float32[2,3])
ScatterND(float32[4,3], int64[5,2]~0:3, float32[5]) {reduction="min"}
TensorScatter(float32[2,5,3], float32[2,2,3], int64[2]=[1, 3])
TensorScatter(float32[2,5,3], float32[2,2,3], int64[2]=[4, 3]) {mode="circular"}
OneHot(int64[3]~-4:4, int64[]=[4], float32[2])
OneHot(float32[2,3], int64[]=[5], int32[2]=[1, 7]) {axis=1}
"""

REDUCTION = """
ReduceSum(float32[3,40,5])
ReduceSum(float32[3,40,5], int64[1]=[1])
ReduceSum(float32[3,4,70], int64[1]=[0]) {keepdims=0}
ReduceSum(float32[3,4,5], int64[2]=[0, -1])
ReduceSum(float32[3,4], int64[0]=[]) {noop_with_empty_axes=1}
ReduceSum(float32[3,0,2], int64[1]=[1])
ReduceSum(int32[7,5], int64[1]=[1])
ReduceMean(float32[4,100], int64[1]=[1])
ReduceMean(float16[4,10], int64[1]=[1])
ReduceMean(bfloat16[4,10], int64[1]=[0])
ReduceProd(float32[3,5], int64[1]=[1])
ReduceMax(float32[3,50], int64[1]=[1])
ReduceMax(int8[3,50], int64[1]=[0])
ReduceMax(bool[3,5], int64[1]=[0])
ReduceMin(float64[3,5], int64[1]=[1])
ReduceMin(uint8[3,5], int64[1]=[1])
ReduceL1(float32[3,5], int64[1]=[1])
ReduceL2(float32[3,5], int64[1]=[1])
ReduceSumSquare(float32[3,5], int64[1]=[1])
ReduceLogSumExp(float32[3,5], int64[1]=[1])
ArgMax(float32[3,50]) {axis=1}
ArgMax(int32[6,5]) {axis=0, keepdims=0, select_last_index=1}
ArgMin(float32[3,5]) {axis=-1}
CumSum(float32[3,5], int64[]=[1])
CumSum(float32[3,5], int64[]=[0]) {reverse=1}
CumSum(int32[7], int64[]=[0]) {exclusive=1}
CumProd(float32[2,5], int64[]=[1]) {exclusive=1, reverse=1}
"""

CONTRACTION = """
MatMul(float32[7,33], float32[33,40])
MatMul(float32[33], float32[33,5])
MatMul(float32[4,33], float32[33])
MatMul(float32[9], float32[9])
MatMul(float32[2,1,3,4], float32[5,4,6])
MatMul(int32[3,4], int32[4,5])
MatMul(float64[3,4], float64[4,17])
MatMul(float16[3,4], float16[4,5])
MatMul(float32[3,0], float32[0,5])
MatMul(float32[12,8], float32[8,128])
Gemm(float32[5,6], float32[6,7], float32[7])
Gemm(float32[6,5], float32[9,6], float32[5,1]) {transA=1, transB=1, alpha=0.5, beta=2.0}
Einsum(float32[2,3,4], float32[2,4,5]) {equation="bij,bjk->bik"}
Einsum(float32[3,3]) {equation="ii->i"}
Einsum(float32[3,4]) {equation="ij->"}
Einsum(float32[2,3,4], float32[4,5]) {equation="...ij,jk->...ik"}
Einsum(float32[2,3], float32[3,4], float32[4,5]) {equation="ij,jk,kl->il"}
Conv(float32[1,3,8,20], float32[4,3,3,3], float32[4]) {pads=[1, 1, 1, 1]}
Conv(float32[2,4,9,9], float32[6,2,3,3]) {group=2, strides=[2, 2]}
Conv(float32[1,4,9,9], float32[4,1,3,3], float32[4]) {group=4, dilations=[2, 2], auto_pad="SAME_UPPER"}
Conv(float32[1,2,20], float32[3,2,4]) {auto_pad="SAME_LOWER", strides=[3]}
Conv(float32[1,2,4,5,6], float32[3,2,2,2,2])
Conv(float64[1,2,5,5], float64[3,2,3,3])
ConvTranspose(float32[1,2,4,5], float32[2,3,3,3], float32[3])
ConvTranspose(float32[1,4,4,5], float32[4,3,3,2]) {group=2, strides=[3, 2], pads=[1, 0, 2, 1], output_padding=[1, 0]}
ConvTranspose(float32[1,1,3,3], float32[1,2,3,3]) {strides=[3, 2], output_shape=[10, 8]}
ConvTranspose(float32[1,1,3,3], float32[1,1,2,2]) {dilations=[2, 2], auto_pad="SAME_UPPER", strides=[2, 2]}
Col2Im(float32[1,5,5], int64[2]=[5, 5], int64[2]=[1, 5])
Col2Im(float32[1,8,9], int64[2]=[5, 5], int64[2]=[2, 2]) {strides=[2, 2], pads=[1, 0, 0, 1]}
MatMulInteger(uint8[4,3], int8[3,5], uint8[]=[7], int8[5])
MatMulInteger(int8[4,3], uint8[3,5], int8[4], uint8[]=[2])
QLinearMatMul(U[2,4], F[]=[0.1], U[]=[3], U[4,3], F[]=[0.2], U[]=[5], F[]=[0.3], U[]=[9])
QLinearMatMul(I[2,2,4], F[]=[0.1], I[]=[3], I[2,4,3], F[3]=[0.2, 0.1, 0.3], I[3]=[5, 1, 2], F[]=[0.3], I[]=[9])
ConvInteger(uint8[1,2,5,5], uint8[3,2,3,3], uint8[]=[3]) {pads=[1, 1, 1, 1]}
QLinearConv(U[1,2,5,5], F[]=[0.1], U[]=[3], I[3,2,3,3], F[3]=[0.2, 0.3, 0.1], I[3], F[]=[0.5], U[]=[9], int32[3])
"""

POOLING = """
AveragePool(float32[1,2,6,9]) {kernel_shape=[3, 2], strides=[2, 1]}
AveragePool(float32[1,2,6,6]) {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}
AveragePool(float32[1,2,6,6]) {kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1, ceil_mode=1, strides=[2, 2]}
MaxPool(float32[1,2,6,20]) {kernel_shape=[2, 2]}
MaxPool(float32[1,2,7,7]) {kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, auto_pad="SAME_LOWER"}
MaxPool(int8[1,2,7]) {kernel_shape=[3], dilations=[2], pads=[1, 1]}
MaxPool/2(float32[2,2,5,5]) {kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]}
MaxPool/2(float32[1,2,5,5]) {kernel_shape=[2, 2], storage_order=1}
LpPool(float32[1,2,6,6]) {kernel_shape=[3, 3], p=3}
GlobalAveragePool(float32[2,3,7,7])
GlobalMaxPool(float32[2,3,7,7])
GlobalLpPool(float32[2,3,7,7]) {p=1}
MaxUnpool(float32[1,1,2,2], int64[1,1,2,2]=[5, 7, 13, 15]) {kernel_shape=[2, 2], strides=[2, 2]}
MaxUnpool(float32[1,1,2,2], int64[1,1,2,2]=[5, 7, 13, 15], int64[4]=[1, 1, 5, 5]) {kernel_shape=[2, 2], strides=[2, 2]}
"""

NORMALIZATION = """
Softmax(float32[5,70])
Softmax(float32[2,5,3]) {axis=1}
Softmax(float16[2,5])
Softmax(bfloat16[2,5])
LogSoftmax(float32[5,7])
LogSoftmax(float64[5,7,2]) {axis=0}
Hardmax(float32[5,7])
LpNormalization(float32[3,5]) {p=2}
LpNormalization(float32[3,5]) {axis=0, p=1}
LayerNormalization(float32[4,64], float32[64], float32[64])
LayerNormalization/3(float32[2,3,8], float32[3,8]) {axis=1}
LayerNormalization(float16[4,8], float16[8])
RMSNormalization(float32[4,64], float32[64])
InstanceNormalization(float32[2,3,5,5], float32[3], float32[3])
GroupNormalization(float32[2,6,5,5], float32[6], float32[6]) {num_groups=3}
MeanVarianceNormalization(float32[2,3,4,5])
LRN(float32[1,5,3,3]) {size=3}
LRN(float32[1,5,3,3]) {size=4, alpha=0.1, beta=0.5, bias=2.0}
BatchNormalization(float32[2,3,4,4], float32[3], float32[3], float32[3], float32[3]=[0.5, 1, 2])
"""

QUANTIZATION = """
QuantizeLinear(float32[3,4], float32[]=[0.1], uint8[]=[128])
QuantizeLinear(float32[3,4], float32[4]=[0.1, 0.2, 0.3, 0.4], int8[4]=[0, 1, -3, 4]) {axis=1}
QuantizeLinear(float32[3,4], float32[3,2]=[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]) {axis=1, block_size=2}
QuantizeLinear(float32[3,4], float32[]=[0.5], int4[]=[1])
QuantizeLinear(float32[3,4], float32[]=[2], float8e4m3fn[]=[0])
QuantizeLinear(float32[3,4], float32[]=[0.001], uint16[]=[32767])
DequantizeLinear(uint8[3,4], float32[]=[0.1], uint8[]=[128])
DequantizeLinear(int8[3,4], float32[3]=[0.1, 0.2, 0.3], int8[3]=[1, 2, 3]) {axis=0}
DequantizeLinear(int32[3,4], float32[]=[0.1])
DequantizeLinear(uint4[3,4], float32[]=[0.1], uint4[]=[3])
DequantizeLinear(float8e5m2[3,4], float32[]=[0.1])
DynamicQuantizeLinear/3(float32[30])
"""


RECURRENT = """
RNN/2(F[5,2,3], F[1,4,3], F[1,4,4])
RNN/2(F[5,2,3], F[1,4,3], F[1,4,4], F[1,8], int32[2]=[3, 5], F[1,2,4]) {direction="reverse", clip=0.5}
RNN/2(F[2,5,3], F[2,4,3], F[2,4,4], F[2,8]) {direction="bidirectional", layout=1, activations=["Relu", "Affine"]}
LSTM/3(F[5,2,3], F[1,16,3], F[1,16,4])
LSTM/3(F[5,2,3], F[2,16,3], F[2,16,4], F[2,32], int32[2]=[2, 5], F[2,2,4], F[2,2,4], F[2,12]) \\
    {direction="bidirectional"}
LSTM/3(F[2,5,3], F[1,16,3], F[1,16,4], F[1,32]) {layout=1, input_forget=1, clip=1.0}
GRU/2(F[5,2,3], F[1,12,3], F[1,12,4])
GRU/2(F[5,2,3], F[2,12,3], F[2,12,4], F[2,24], int32[2]=[5, 4]) {direction="bidirectional"}
GRU/2(F[5,2,3], F[1,12,3], F[1,12,4], F[1,24], _, F[1,2,4]) {linear_before_reset=1, direction="reverse"}
"""

ATTENTION = """
Attention(F[2,3,4,8], F[2,3,6,8], F[2,3,6,8])
Attention/4(F[2,4,24], F[2,6,12], F[2,6,12], bool[4,6]) {q_num_heads=6, kv_num_heads=3, is_causal=1, softcap=2.0}
Attention/3(F[2,3,4,8], F[2,3,6,8], F[2,3,6,10], F[2,1,4,11], F[2,3,5,8], F[2,3,5,10]) {is_causal=1, scale=0.1}
Attention(F[2,3,4,8], F[2,3,6,8], F[2,3,6,10], F[2,3,4,4], _, _, int64[2]=[3, 4])
Attention/4(float16[1,2,4,8], float16[1,2,6,8], float16[1,2,6,8]) {qk_matmul_output_mode=3, left_window_size=1}
LinearAttention/2(F[1,4,8], F[1,4,4], F[1,4,6], _, F[1,4,4], F[1,4,2]) {q_num_heads=4, kv_num_heads=2}
LinearAttention/2(F[1,4,4], F[1,4,4], F[1,4,6], F[1,2,2,3]) {q_num_heads=2, kv_num_heads=2, update_rule="linear"}
CausalConvWithState/2(F[1,3,6], F[3,1,4], F[3], F[1,3,3]) {activation="silu"}
CausalConvWithState/2(F[1,3,6], F[3,1,4])
RotaryEmbedding(F[2,3,4,8], F[50,4], F[50,4], int64[2,4]~0:50)
RotaryEmbedding(F[2,4,24], F[2,4,3], F[2,4,3]) {num_heads=3, interleaved=1, rotary_embedding_dim=6}
"""

SAMPLING = """
Resize(F[1,2,3,4], _, F[4]=[1, 1, 2, 2])
Resize(F[1,2,3,4], _, F[4]=[1, 1, 2, 2]) {coordinate_transformation_mode="asymmetric", nearest_mode="floor"}
Resize(F[1,2,5,7], _, F[4]=[1, 1, 0.6, 0.6]) {mode="linear"}
Resize(F[1,2,5,7], _, F[4]=[1, 1, 0.6, 0.6]) {mode="linear", antialias=1}
Resize(F[1,1,4,4], _, F[4]=[1, 1, 2.5, 2]) {mode="cubic", coordinate_transformation_mode="align_corners"}
Resize(F[1,1,4,4], _, _, int64[2]=[7, 3]) {mode="cubic", axes=[2, 3], exclude_outside=1}
Resize(int8[1,1,4,4], _, _, int64[4]=[1, 1, 7, 3]) {coordinate_transformation_mode="half_pixel_symmetric"}
Resize(F[1,1,4,4], F[8]=[0, 0, 0.4, 0.6, 1, 1, 1.2, 0.7], _, int64[4]=[1, 1, 3, 3]) \
    {mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=10.0}
GridSample(F[1,2,4,5], F[1,3,6,2])
GridSample(F[1,2,4,5], F[1,3,6,2]) {mode="nearest", padding_mode="border"}
GridSample(F[1,1,4,5], F[1,3,6,2]) {mode="cubic", padding_mode="reflection", align_corners=1}
GridSample(F[1,1,3,4,5], F[1,2,3,2,3]) {padding_mode="reflection"}
GridSample(F[2,3,4,5], F[2,3,6,2]) {mode="cubic", padding_mode="border"}
GridSample(F[1,2,3,4,5], F[1,2,3,2,3]) {mode="linear", align_corners=1}
GridSample(F[1,2,3,4,3], F[1,2,1,2,3]) {mode="cubic"}
GridSample(float64[1,2,2,2]=[[1,2],[3,4],[5,6],[7,8]], F[1,3,1,2])
AffineGrid(F[2,2,3], int64[4]=[2, 3, 4, 5])
AffineGrid(F[2,3,4], int64[5]=[2, 3, 2, 4, 5]) {align_corners=1}
DFT(F[1,10,2])
DFT(F[2,10,4,1], int64[]=[8], int64[]=[1]) {onesided=1}
DFT(F[1,10,2], _, int64[]=[1]) {inverse=1}
DFT(F[1,6,2], int64[]=[10], int64[]=[1]) {inverse=1, onesided=1}
STFT(F[1,32,1], int64[]=[8], F[16])
TopK/2(F[3,7], int64[1]=[3])
TopK/2(F[3,70], int64[1]=[5])
TopK/2(F[1,16]=[1,nan,-inf,2,nan,inf,-inf,3,3,1,nan,0,0,0,0,0], int64[1]=[2])
TopK/2(int8[40,3], int64[1]=[4]) {axis=0, largest=0}
TopK/2(F[3,7,2], int64[1]=[4]) {axis=1, largest=0}
TopK/2(int64[20]~0:5, int64[1]=[20]) {axis=0}
RoiAlign(F[2,3,9,8], F[3,4]=[0,0,9,4,1,2,20,22,5,5,3,2], int64[3]=[0,1,0]) \
    {output_height=3, output_width=2, sampling_ratio=2, spatial_scale=0.5}
RoiAlign(F[2,3,9,8], F[2,4]=[0,0,9,4,-3,-2,5,4], int64[2]=[0,1]) \
    {output_height=2, output_width=3, sampling_ratio=3, mode="max", coordinate_transformation_mode="output_half_pixel"}
"""

COUNTED = """
heddle.NonZeroBounded/2(int32[3,4,2]~-1:2)
heddle.NonZeroBounded/2(bool[7])
heddle.NonZeroBounded/2(float32[3]=[0, nan, -0.0])
heddle.NonZeroBounded/2(float32[0,3])
heddle.NonZeroBounded/2(float32[])
heddle.CompressBounded/2(float32[4,3], bool[4]) {axis=0}
heddle.CompressBounded/2(float32[4,3], bool[2]) {axis=-1}
heddle.CompressBounded/2(bfloat16[2,3,2], bool[9])
heddle.CompressBounded/2(float32[3], bool[3]=[0, 0, 0])
heddle.SliceBounded/2(float32[6,5], int64[1]~0:5, int64[1]~3:7) {axis=0, size=7}
heddle.SliceBounded/2(int8[2,6,3], int64[1]~-6:0, int64[1]~-3:0) {axis=-2, size=6}
heddle.SliceBounded/2(float32[4], int32[1]=[3], int32[1]=[5]) {axis=0, size=2}
heddle.SliceBounded/2(float32[4], int64[1]=[-1], int64[1]=[1]) {axis=0, size=2}
heddle.SliceBounded/2(float32[0,3], int64[1]=[0], int64[1]=[2]) {axis=0, size=2}
heddle.UniqueBounded/5(int64[20]~0:6)
heddle.UniqueBounded/5(int8[4,5]~-2:2) {sorted=0}
heddle.UniqueBounded/5(float32[8]=[3, nan, -inf, nan, 0, 3, inf, -inf])
heddle.UniqueBounded/5(uint8[6,2,2]~0:2) {axis=0}
heddle.UniqueBounded/5(int32[2,9]~0:2) {axis=-1, sorted=0}
heddle.UniqueBounded/5(int64[17,20]~-50:50)
heddle.UniqueBounded/5(int8[300]~-99:99) {sorted=0}
heddle.UniqueBounded/5(float32[513]~0:1) {sorted=0}
heddle.UniqueBounded/4(bool[257])
heddle.UniqueBounded/4(bool[9])
heddle.UniqueBounded/2(float64[1])
heddle.NonMaxSuppressionBounded/2(F[2,9,4], F[2,3,9], int64[1]=[4], F[1]=[0.3], F[1]=[-0.5])
heddle.NonMaxSuppressionBounded/2(F[1,9,4], F[1,1,9], int64[]=[20], F[]=[0.1]) {center_point_box=1}
heddle.NonMaxSuppressionBounded/2(F[1,5,4], F[1,2,5])
"""


def lines() -> list[str]:
    """Every line of the families above, abbreviations written out."""
    families = (
        MOVEMENT,
        INDEXING,
        REDUCTION,
        CONTRACTION,
        POOLING,
        NORMALIZATION,
        QUANTIZATION,
        ATTENTION,
        RECURRENT,
        SAMPLING,
        COUNTED,
    )
    text = "".join(families).replace("\\\n", "")
    for short, name in {"U[": "uint8[", "I[": "int8[", "F[": "float32["}.items():
        text = text.replace(f" {short}", f" {name}").replace(f"({short}", f"({name}")
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize("line", lines())
def test_generated_code_computes_what_the_operator_means(line: str, agrees: Callable[..., None]) -> None:
    agrees(line)


FLOATS = """
Relu LeakyRelu ThresholdedRelu Elu Celu Selu Sigmoid HardSigmoid HardSwish Swish Softplus Softsign Mish Gelu Shrink
Neg Abs Sign Reciprocal Sqrt Exp Log Erf Floor Ceil Round Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh
IsNaN IsInf Clip
"""


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", FLOATS.split())
def test_functions_of_floats(name: str, dtype: str, agrees: Callable[..., None]) -> None:
    agrees(f"{name}({dtype}[3,37])")


SPECIAL = "[nan, inf, -inf, 0.0, -0.0, 1.0, -1.0, 1e-3, 3.5, -2.5, 0.5, 1.5, 100.0, -100.0, 10.0, -88.0, 88.0, 65504.0]"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", FLOATS.split())
def test_functions_of_special_floats(name: str, dtype: str, agrees: Callable[..., None]) -> None:
    agrees(f"{name}({dtype}[18]={SPECIAL})", ulps=4)


BINARY = """
Add(D[3,4], D[4])
Sub(D[3,1], D[1,4])
Mul(D[3,4], D[])
Div(D[9,9], D[9])
Pow(D[3,4], D[4])
Mod(D[30], D[30])
Sum(D[3], D[2,3], D[])
Max(D[3], D[2,3])
Min(D[3], D[2,3], D[2,1])
Equal(D[40], D[40])
Less(D[40], D[40])
GreaterOrEqual(D[40], D[40])
Where(bool[3,1], D[4], D[3,4])
Clip(D[20], D[], D[])
"""


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int32", "int64", "uint8", "uint32"])
@pytest.mark.parametrize("line", BINARY.strip().splitlines())
def test_arithmetic_of_two_operands(line: str, dtype: str, agrees: Callable[..., None]) -> None:
    if line.startswith("Mod") and dtype.startswith("float"):
        line += " {fmod=1}"
    agrees(line.replace("D[", f"{dtype}["))


INTEGERS = """
BitwiseAnd(int32[9], int32[9])
BitwiseXor(uint8[9], uint8[9])
BitwiseNot(int16[9])
BitShift(uint8[20], uint8[20]) {direction="LEFT"}
BitShift(uint32[20], uint32[20]~0:40) {direction="RIGHT"}
And(bool[9], bool[9])
Or(bool[9], bool[1])
Xor(bool[9], bool[9])
Not(bool[9])
Abs(int8[9])
Neg(int64[9])
Sign(int32[9])
Relu(int32[9])
Mod(int64[30], int64[30]) {fmod=1}
PRelu(float32[2,3], float32[3])
SwiGLU(float32[2,3], float32[2,3])
Gelu(float32[30]) {approximate="tanh"}
Mean(float32[3], float32[2,3])
Div(int32[4]=[7, -7, -2147483648, 5], int32[4]=[-2, 2, -1, 0])
"""


@pytest.mark.parametrize("line", INTEGERS.strip().splitlines())
def test_logic_and_integers(line: str, agrees: Callable[..., None]) -> None:
    agrees(line)


TYPES = (
    "float16 float32 float64 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float4e2m1 "
    "int4 uint4 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool"
)


@pytest.mark.parametrize("source", TYPES.split())
def test_casts_to_every_type(source: str, agrees: Callable[..., None]) -> None:
    for to in TYPES.split():
        if {source, to} == {"int4", "uint4"}:
            continue  # numpy has no such conversion to compare with
        if to.startswith("uint") and "float" in source:
            agrees(f'Cast({source}[4]=[0, 1, 1.5, 3]) {{to="{to}"}}')  # negative floats have no unsigned value
        else:
            agrees(f'Cast({source}[64]) {{to="{to}"}}')
