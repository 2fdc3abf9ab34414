"""The benchmarks' networks as modules of PyTorch, for `torch.compile`, from the same optimised graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from heddle.core.frontend import import_model
from heddle.core.ir import Graph, Node
from heddle.core.ops import attributes_of
from heddle.core.passes import optimize
from onnx import ModelProto

Tensor = Any
"""torch.Tensor: PyTorch is imported only where it is the peer."""


def compiled(model: ModelProto, x: np.ndarray[Any, Any], device: str, tf32: bool) -> Callable[[], np.ndarray[Any, Any]]:
    """A call of the model through `torch.compile`, copies to the device and back included."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    module = torch.compile(module_of(optimize(import_model(model)), device), mode="reduce-overhead")

    def call() -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            found: np.ndarray[Any, Any] = module(torch.from_numpy(x).to(device)).cpu().numpy()
        return found

    return call


def module_of(graph: Graph, device: str) -> Any:
    """A module of one input and one output; KeyError for an operator that is not among `RULES`."""
    import torch

    (source,), (result,) = graph.inputs, graph.outputs
    held = {value: torch.from_numpy(np.array(array)).to(device) for value, array in graph.constants.items()}

    class Network(torch.nn.Module):  # type: ignore[misc] # PyTorch is not among the checker's packages
        def forward(self, x: Tensor) -> Tensor:
            known = {source: x, **held}
            for node in graph.nodes:
                operands = [known[value] for value in node.inputs if value is not None]
                known[node.results[0]] = RULES[node.op](torch, node, operands)
            return known[result]

    return Network().eval()


def _conv(torch: Any, node: Node, operands: list[Tensor]) -> Tensor:
    attrs = attributes_of(node)
    x, padding = _padded(torch, operands[0], attrs["pads"], 0.0)
    w, *bias = operands[1:]
    axes = len(w.shape) - 2
    kernel = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
    ones = (1,) * axes
    strides, dilations = attrs["strides"] or ones, attrs["dilations"] or ones
    return kernel(x, w, *(bias or [None]), strides, padding, dilations, attrs["group"])


def _max_pool(torch: Any, node: Node, operands: list[Tensor]) -> Tensor:
    attrs = attributes_of(node)
    x, padding = _padded(torch, operands[0], attrs["pads"], float("-inf"))
    return torch.max_pool2d(
        x, attrs["kernel_shape"], attrs["strides"] or (1, 1), padding, attrs["dilations"] or (1, 1),
        bool(attrs["ceil_mode"]),
    )  # fmt: skip


def _padded(torch: Any, x: Tensor, pads: tuple[int, ...] | None, fill: float) -> tuple[Tensor, tuple[int, ...]]:
    """The image and how wide its border is; where sides differ, with the border."""
    axes = len(x.shape) - 2
    before, after = (pads or (0,) * 2 * axes)[:axes], (pads or (0,) * 2 * axes)[axes:]
    if before == after:
        return x, before
    sides = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return torch.nn.functional.pad(x, sides, value=fill), (0,) * axes


def _gemm(torch: Any, node: Node, operands: list[Tensor]) -> Tensor:
    attrs = attributes_of(node)
    a, b, *c = operands
    a, b = (a.T if attrs["transA"] else a), (b.T if attrs["transB"] else b)
    product = attrs["alpha"] * (a @ b)
    return product + attrs["beta"] * c[0] if c else product


def _gather(torch: Any, node: Node, operands: list[Tensor]) -> Tensor:
    x, indices = operands
    axis = int(attributes_of(node)["axis"]) % len(x.shape)
    picked = torch.index_select(x, axis, indices.reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _layer_norm(torch: Any, node: Node, operands: list[Tensor]) -> Tensor:
    attrs = attributes_of(node)
    x, *rest = operands
    return torch.nn.functional.layer_norm(x, x.shape[int(attrs["axis"]) :], *rest, eps=attrs["epsilon"])


def _clip(torch: Any, node: Node, operands: list[Tensor]) -> Tensor:
    return torch.clamp(*operands)


RULES: Mapping[str, Callable[[Any, Node, list[Tensor]], Tensor]] = {
    "Conv": _conv, "MaxPool": _max_pool, "Gemm": _gemm, "Gather": _gather, "LayerNormalization": _layer_norm,
    "Clip": _clip,
    "GlobalAveragePool": lambda torch, node, x: x[0].mean(tuple(range(2, len(x[0].shape))), keepdim=True),
    "Flatten": lambda torch, node, x: torch.flatten(x[0], int(attributes_of(node)["axis"])),
    "Reshape": lambda torch, node, x: x[0].reshape(node.results[0].shape),
    "Transpose": lambda torch, node, x: x[0].permute(attributes_of(node)["perm"]),
    "Concat": lambda torch, node, x: torch.cat(x, int(attributes_of(node)["axis"])),
    "Softmax": lambda torch, node, x: torch.softmax(x[0], int(attributes_of(node)["axis"])),
    "MatMul": lambda torch, node, x: x[0] @ x[1],
    "Add": lambda torch, node, x: x[0] + x[1],
    "Mul": lambda torch, node, x: x[0] * x[1],
    "Div": lambda torch, node, x: x[0] / x[1],
    "Relu": lambda torch, node, x: torch.relu(x[0]),
    "Erf": lambda torch, node, x: torch.erf(x[0]),
}  # fmt: skip
"""What the networks of `benchmarks.cudnn` consist of."""
