"""Transformer encoders: BERT (MiniLM is one) and ViT."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from benchmarks.models.net import Net

TOKENS = 128


def projection(net: Net, x: str, scope: str, inputs: int, outputs: int) -> str:
    """A linear layer over the last axis; the vector of biases is the same in all layers of a size."""
    bias = net.shared("bias", f"{scope}.bias", outputs, scale=0.02)
    weight = net.weight(f"{scope}.weight", inputs, outputs, scale=0.7 * inputs**-0.5)
    return net.op("Add", [bias, net.op("MatMul", [x, weight], scope)], scope)


def layer_norm(net: Net, x: str, scope: str, size: int) -> str:
    weight = net.shared("scale", f"{scope}.weight", size, scale=0.1, offset=1.0)
    bias = net.shared("shift", f"{scope}.bias", size, scale=0.1)
    return net.op("LayerNormalization", [x, weight, bias], scope, axis=-1, epsilon=1e-12)


def gelu(net: Net, x: str, scope: str) -> str:
    root = net.op("Div", [x, net.constant(scope, np.float32(2**0.5))], scope)
    error = net.op("Erf", [root], scope)
    half = net.op("Add", [error, net.constant(scope, np.float32(1))], scope)
    return net.op("Mul", [net.op("Mul", [x, half], scope), net.constant(scope, np.float32(0.5))], scope)


def attention(net: Net, x: str, scope: str, tokens: int, hidden: int, heads: int, casts: bool) -> str:
    """Self-attention up to its output projection; `casts`: the casts of the weights that do nothing are there too."""
    size = hidden // heads
    query = projection(net, x, f"{scope}/query", hidden, hidden)
    key = projection(net, x, f"{scope}/key", hidden, hidden)
    value = projection(net, x, f"{scope}/value", hidden, hidden)
    split = [net.constant(scope, np.array([1, tokens, -1, size], np.int64)) for _ in range(3)]
    query, key, value = (
        net.op("Reshape", [part, shape], scope, allowzero=0)
        for part, shape in zip((query, key, value), split, strict=True)
    )
    query = net.op("Transpose", [query], scope, perm=[0, 2, 1, 3])
    value = net.op("Transpose", [value], scope, perm=[0, 2, 1, 3])
    key = net.op("Transpose", [key], scope, perm=[0, 2, 3, 1])
    scores = net.op("MatMul", [query, key], scope)
    scores = net.op("Mul", [scores, net.constant(scope, np.float32(size**-0.5))], scope)
    weights = net.op("Softmax", [scores], scope, axis=-1)
    for _ in range(2 if casts else 0):
        weights = net.op("Cast", [weights], scope, to=1)
    mixed = net.op("Transpose", [net.op("MatMul", [weights, value], scope)], scope, perm=[0, 2, 1, 3])
    joined = net.constant(scope, np.array([1, tokens, -1], np.int64))
    return net.op("Reshape", [mixed, joined], scope, allowzero=0)


def expanded(net: Net, x: str, shape: list[int], scope: str) -> str:
    """How the exporter writes `x.expand(shape)`: sizes of -1 become 1 first."""
    wanted = net.constant(scope, np.array(shape, np.int64))
    rank = net.constant(scope, np.array([len(shape)], np.int64))
    ones = net.op("ConstantOfShape", [rank], scope, value=numpy_helper.from_array(np.ones(1, np.int64)))
    minus = net.op("Mul", [ones, net.constant(scope, np.array(-1, np.int64))], scope)
    kept = net.op("Where", [net.op("Equal", [wanted, minus], scope), ones, wanted], scope)
    return net.op("Expand", [x, kept], scope)


def bert(net: Net, hidden: int, layers: int, heads: int) -> None:
    x = net.input(np.int64, 1, TOKENS)
    scope = "embeddings"
    words = net.weight("word_embeddings", 30522, hidden, scale=0.02)
    positions = net.weight("position_embeddings", 512, hidden, scale=0.02)
    types = net.weight("token_type_embeddings", 2, hidden, scale=0.02)
    ids = net.constant(scope, np.arange(TOKENS, dtype=np.int64)[None])
    zeros = net.constant(scope, np.zeros((1, 512), np.int64))
    kinds = net.op("GatherElements", [expanded(net, zeros, [1, -1], scope), ids], scope, axis=1)
    kinds = expanded(net, kinds, [1, TOKENS], scope)
    word = net.op("Gather", [words, x], f"{scope}/word_embeddings")
    kind = net.op("Gather", [types, kinds], f"{scope}/token_type_embeddings")
    total = net.op("Add", [word, kind], scope)
    position = net.op("Gather", [positions, ids], f"{scope}/position_embeddings")
    x = layer_norm(net, net.op("Add", [total, position], scope), f"{scope}/norm", hidden)
    for layer in range(layers):
        scope = f"layer.{layer}"
        mixed = attention(net, x, f"{scope}/attention", TOKENS, hidden, heads, casts=False)
        mixed = projection(net, mixed, f"{scope}/attention/output", hidden, hidden)
        x = layer_norm(net, net.op("Add", [mixed, x], f"{scope}/attention"), f"{scope}/attention/norm", hidden)
        wide = gelu(net, projection(net, x, f"{scope}/intermediate", hidden, 4 * hidden), f"{scope}/gelu")
        narrow = projection(net, wide, f"{scope}/output", 4 * hidden, hidden)
        x = layer_norm(net, net.op("Add", [narrow, x], f"{scope}/output"), f"{scope}/output/norm", hidden)
    net.finish(x, 1, TOKENS, hidden)


def vit(net: Net, hidden: int, layers: int, heads: int) -> None:
    x = net.input(np.float32, 1, 3, 224, 224)
    scope = "embeddings"
    cls = net.weight("cls_token", 1, 1, hidden, scale=0.02)
    positions = net.weight("position_embeddings", 1, 197, hidden, scale=0.02)
    weight = net.weight("patch.weight", hidden, 3, 16, 16, scale=768**-0.5)
    bias = net.weight("patch.bias", hidden, scale=0.02)
    first = net.constant(scope, np.array(0, np.int64))
    x = net.op(
        "Conv",
        [x, weight, bias],
        f"{scope}/patch",
        dilations=[1, 1],
        group=1,
        kernel_shape=[16, 16],
        pads=[0, 0, 0, 0],
        strides=[16, 16],
    )
    shape = net.op("Shape", [x], f"{scope}/patch")
    axes, start, end = (net.constant(f"{scope}/patch", np.array([n], np.int64)) for n in (0, 0, 2))
    front = net.op("Slice", [shape, start, end, axes], f"{scope}/patch")
    rest = net.constant(f"{scope}/patch", np.array([-1], np.int64))
    flat = net.op("Concat", [front, rest], f"{scope}/patch", axis=0)
    x = net.op("Reshape", [x, flat], f"{scope}/patch", allowzero=0)
    x = net.op("Transpose", [x], f"{scope}/patch", perm=[0, 2, 1])
    x = net.op("Concat", [expanded(net, cls, [1, -1, -1], scope), x], scope, axis=1)
    x = net.op("Add", [x, positions], scope)
    for layer in range(layers):
        scope = f"layers.{layer}"
        normed = layer_norm(net, x, f"{scope}/before", hidden)
        mixed = attention(net, normed, f"{scope}/attention", 197, hidden, heads, casts=True)
        x = net.op("Add", [projection(net, mixed, f"{scope}/attention/output", hidden, hidden), x], scope)
        wide = projection(net, layer_norm(net, x, f"{scope}/after", hidden), f"{scope}/fc1", hidden, 4 * hidden)
        narrow = projection(net, gelu(net, wide, f"{scope}/gelu"), f"{scope}/fc2", 4 * hidden, hidden)
        x = net.op("Add", [narrow, x], scope)
    x = net.op("Gather", [layer_norm(net, x, "norm", hidden), first], "", axis=1)
    head = net.weight("fc.weight", 1000, hidden, scale=hidden**-0.5)
    bias = net.weight("fc.bias", 1000, scale=0.01)
    net.finish(net.op("Gemm", [x, head, bias], "fc", alpha=1.0, beta=1.0, transB=1), 1, 1000)
