"""The models that Heddle is measured with: built here, with random weights of sensible scales, the same each time.

`build(name)` gives a ModelProto of opset 17 with input `x` and output `y`, in the form in which PyTorch's exporter
writes these networks: BatchNorm folded, Shape/Slice/Concat chains and shared vectors behind Identity where it emits
them. `NAME_int8` is quantized to uint8 activations and int8 weights per channel, `NAME_int8s` to symmetric int8.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from onnx import ModelProto

from benchmarks.models.net import Array, Net
from benchmarks.models.quantized import quantize
from benchmarks.models.transformers import bert, vit
from benchmarks.models.vision import densenet, mlp, mobilenet_v2, resnet, squeezenet

BUILDERS: dict[str, Callable[[Net], None]] = {
    "mlp": mlp,
    "squeezenet": squeezenet,
    "mobilenetv2": mobilenet_v2,
    "resnet18": lambda net: resnet(net, (2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda net: resnet(net, (3, 4, 6, 3), bottleneck=True),
    "vit_tiny": lambda net: vit(net, hidden=192, layers=12, heads=3),
    "minilm": lambda net: bert(net, hidden=384, layers=6, heads=12),
    "bert_base": lambda net: bert(net, hidden=768, layers=12, heads=12),
}

NAMES = tuple(BUILDERS)
"""The models of the comparisons with other runtimes."""

BUILDERS["densenet121"] = lambda net: densenet(net, (6, 12, 24, 16), growth=32)


def build(name: str) -> ModelProto:
    """The model of this name, the same bytes each time; KeyError when there is none."""
    base, _, form = name.partition("_int8")
    net = Net(base, zlib.crc32(base.encode()))
    BUILDERS[base](net)
    model = net.model()
    if not name.endswith(("_int8", "_int8s")):
        return model
    return quantize(model, [example(base, seed) for seed in range(1, 9)], symmetric=form == "s")


def example(name: str, seed: int = 0) -> Array:
    """An input for the model of this name."""
    rng = np.random.default_rng(seed)
    base = name.partition("_int8")[0]
    if base in ("minilm", "bert_base"):
        return rng.integers(0, 30000, (1, 128), np.int64)
    return rng.standard_normal((1, 784) if base == "mlp" else (1, 3, 224, 224), np.float32)
