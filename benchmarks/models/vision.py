"""Convolutional networks and a multilayer perceptron; BatchNorm is folded into the convolutions, as exporters do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.models.net import Net


def conv(
    net: Net,
    x: str,
    scope: str,
    channels: tuple[int, int],
    size: int,
    stride: int = 1,
    pad: int | None = None,
    group: int = 1,
    gain: float = 2.0,
) -> str:
    """A convolution with bias whose weights keep the variance of a rectified input (times `gain` / 2)."""
    inputs, outputs = channels
    fan = inputs // group * size * size
    weight = net.weight(f"{scope}.weight", outputs, inputs // group, size, size, scale=(gain / fan) ** 0.5)
    bias = net.weight(f"{scope}.bias", outputs, scale=0.05)
    pads = [size // 2 if pad is None else pad] * 4
    return net.op(
        "Conv",
        [x, weight, bias],
        scope,
        dilations=[1, 1],
        group=group,
        kernel_shape=[size, size],
        pads=pads,
        strides=[stride, stride],
    )


def linear(net: Net, x: str, scope: str, inputs: int, outputs: int, gain: float = 2.0) -> str:
    weight = net.weight(f"{scope}.weight", outputs, inputs, scale=(gain / inputs) ** 0.5)
    bias = net.weight(f"{scope}.bias", outputs, scale=0.01)
    return net.op("Gemm", [x, weight, bias], scope, alpha=1.0, beta=1.0, transB=1)


def relu(net: Net, x: str, scope: str) -> str:
    return net.op("Relu", [x], scope)


def relu6(net: Net, x: str, scope: str) -> str:
    low = net.constant(scope, np.float32(0))
    high = net.constant(scope, np.float32(6))
    return net.op("Clip", [x, low, high], scope)


def max_pool(net: Net, x: str, scope: str, pad: int, ceil: int) -> str:
    return net.op(
        "MaxPool",
        [x],
        scope,
        ceil_mode=ceil,
        dilations=[1, 1],
        kernel_shape=[3, 3],
        pads=[pad] * 4,
        strides=[2, 2],
    )


def pooled(net: Net, x: str) -> str:
    return net.op("Flatten", [net.op("GlobalAveragePool", [x], "")], "", axis=1)


def mlp(net: Net) -> None:
    x = net.input(np.float32, 1, 784)
    x = relu(net, linear(net, x, "f/f.0", 784, 512), "f/f.1")
    x = relu(net, linear(net, x, "f/f.2", 512, 512), "f/f.3")
    net.finish(linear(net, x, "f/f.4", 512, 10, gain=1.0), 1, 10)


def resnet(net: Net, depths: Sequence[int], bottleneck: bool) -> None:
    x = net.input(np.float32, 1, 3, 224, 224)
    x = relu(net, conv(net, x, "stem", (3, 64), 7, 2, gain=1.0), "stem")
    x = max_pool(net, x, "pool", pad=1, ceil=0)
    expansion = 4 if bottleneck else 1
    inputs = 64
    for stage, (width, depth) in enumerate(zip((64, 128, 256, 512), depths, strict=True)):
        for index in range(depth):
            scope = f"stages.{stage}/blocks.{index}"
            stride = 2 if stage and index == 0 else 1
            outputs = width * expansion
            if bottleneck:
                branch = relu(net, conv(net, x, f"{scope}/a", (inputs, width), 1), f"{scope}/a")
                branch = relu(net, conv(net, branch, f"{scope}/b", (width, width), 3, stride), f"{scope}/b")
                branch = conv(net, branch, f"{scope}/c", (width, outputs), 1, gain=0.5)
            else:
                branch = relu(net, conv(net, x, f"{scope}/a", (inputs, width), 3, stride), f"{scope}/a")
                branch = conv(net, branch, f"{scope}/b", (width, outputs), 3, gain=0.5)
            if stride != 1 or inputs != outputs:
                x = conv(net, x, f"{scope}/d", (inputs, outputs), 1, stride, gain=1.0)
            x = relu(net, net.op("Add", [branch, x], scope), scope)
            inputs = outputs
    net.finish(linear(net, pooled(net, x), "fc", inputs, 1000, gain=1.0), 1, 1000)


def mobilenet_v2(net: Net) -> None:
    x = net.input(np.float32, 1, 3, 224, 224)
    x = relu6(net, conv(net, x, "f.0", (3, 32), 3, 2, gain=1.0), "f.0")
    inputs, index = 32, 0
    stages = (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    for factor, outputs, depth, first in stages:
        for position in range(depth):
            index += 1
            scope, stride, hidden = f"f.{index}", first if position == 0 else 1, inputs * factor
            branch = x
            if factor != 1:
                branch = relu6(net, conv(net, branch, f"{scope}/expand", (inputs, hidden), 1), f"{scope}/expand")
            depthwise = conv(net, branch, f"{scope}/depthwise", (hidden, hidden), 3, stride, group=hidden)
            branch = relu6(net, depthwise, f"{scope}/depthwise")
            branch = conv(net, branch, f"{scope}/project", (hidden, outputs), 1, gain=0.7)
            x = net.op("Add", [x, branch], scope) if stride == 1 and inputs == outputs else branch
            inputs = outputs
    x = relu6(net, conv(net, x, "f.18", (320, 1280), 1, gain=1.0), "f.18")
    net.finish(linear(net, pooled(net, x), "fc", 1280, 1000, gain=1.0), 1, 1000)


def squeezenet(net: Net) -> None:
    x = net.input(np.float32, 1, 3, 224, 224)
    x = relu(net, conv(net, x, "f.0", (3, 64), 3, 2, pad=0, gain=1.0), "f.1")
    x = max_pool(net, x, "f.2", pad=0, ceil=1)
    inputs = 64
    fires = (
        (3, 16, 64),
        (4, 16, 64),
        (6, 32, 128),
        (7, 32, 128),
        (9, 48, 192),
        (10, 48, 192),
        (11, 64, 256),
        (12, 64, 256),
    )
    for index, squeeze, expand in fires:
        if index in (6, 9):
            x = max_pool(net, x, f"f.{index - 1}", pad=0, ceil=1)
        scope = f"f.{index}"
        x = relu(net, conv(net, x, f"{scope}/q", (inputs, squeeze), 1), scope)
        left = relu(net, conv(net, x, f"{scope}/a", (squeeze, expand), 1), scope)
        right = relu(net, conv(net, x, f"{scope}/b", (squeeze, expand), 3), scope)
        x = net.op("Concat", [left, right], scope, axis=1)
        inputs = 2 * expand
    x = relu(net, conv(net, x, "f.13", (inputs, 1000), 1, gain=1.0), "f.14")
    net.finish(pooled(net, x), 1, 1000)


def batch_norm(net: Net, x: str, scope: str, channels: int) -> str:
    parts = [
        net.weight(f"{scope}.weight", channels, scale=0.1, offset=1.0),
        net.weight(f"{scope}.bias", channels, scale=0.05),
        net.weight(f"{scope}.running_mean", channels, scale=0.05),
        net.weight(f"{scope}.running_var", channels, scale=0.05, offset=1.0),
    ]
    return net.op("BatchNormalization", [x, *parts], scope, epsilon=1e-5, momentum=0.9, training_mode=0)


def average_pool(net: Net, x: str, scope: str) -> str:
    return net.op(
        "AveragePool", [x], scope, ceil_mode=0, count_include_pad=1, kernel_shape=[2, 2], pads=[0] * 4, strides=[2, 2]
    )


def densenet(net: Net, depths: Sequence[int], growth: int) -> None:
    """Here a BatchNorm comes before its convolution, behind a Concat, and cannot be folded into one."""
    x = net.input(np.float32, 1, 3, 224, 224)
    x = relu(net, conv(net, x, "f/conv0", (3, 64), 7, 2, gain=1.0), "f/relu0")
    x = max_pool(net, x, "f/pool0", pad=1, ceil=0)
    inputs = 64
    for block, depth in enumerate(depths, 1):
        features = [x]
        for layer in range(1, depth + 1):
            scope = f"f/block{block}/layer{layer}"
            joined = x if len(features) == 1 else net.op("Concat", features, scope, axis=1)
            normed = relu(net, batch_norm(net, joined, f"{scope}/norm1", inputs), f"{scope}/relu1")
            narrow = conv(net, normed, f"{scope}/conv1", (inputs, 4 * growth), 1)
            narrow = relu(net, narrow, f"{scope}/relu2")
            features.append(conv(net, narrow, f"{scope}/conv2", (4 * growth, growth), 3, gain=1.0))
            inputs += growth
        x = net.op("Concat", features, f"f/block{block}", axis=1)
        scope = f"f/transition{block}"
        x = relu(net, batch_norm(net, x, f"{scope}/norm", inputs), f"{scope}/relu")
        if block < len(depths):
            x = average_pool(net, conv(net, x, f"{scope}/conv", (inputs, inputs // 2), 1, gain=1.0), f"{scope}/pool")
            inputs //= 2
    net.finish(linear(net, pooled(net, x), "classifier", inputs, 1000, gain=1.0), 1, 1000)
