"""What cuDNN and cuBLASLt compute, said again in plain numpy over strided memory: an oracle, not for speed.

It knows nothing of Heddle's operators: a plan is read as cuDNN's documentation defines its operations.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from ctypes import c_char, c_void_p
from typing import Any

import numpy as np
from heddle.backends.cudnn.program import Operation, Plan, Product, Tensor
from heddle.core.dtypes import dtype_named
from heddle.core.errors import DeviceError
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[Any]
Task = ctypes.CFUNCTYPE(None, c_void_p)


def memory(address: int, dims: Sequence[int], strides: Sequence[int], dtype: str) -> Array:
    """The tensor at an address."""
    kind = dtype_named(dtype)
    last = sum((n - 1) * s for n, s in zip(dims, strides, strict=True))
    flat = np.frombuffer((c_char * ((last + 1) * kind.itemsize)).from_address(address), kind)
    return as_strided(flat, tuple(dims), tuple(s * kind.itemsize for s in strides))


class NumpyLibrary:
    """Runs plans and products as work on a stream of the driver's, so that it is captured and ordered like all else."""

    def __init__(self, driver: Any, stream: int, refuse: frozenset[str] = frozenset()) -> None:
        self._driver, self._stream, self._refuse = driver, stream, refuse
        self.tasks: list[Any] = []
        self.ran: list[str] = []

    def ready(self, what: Plan | Product) -> ReadyTask:
        kinds = {one.kind for one in what.operations} if isinstance(what, Plan) else {"product"}
        if kinds & self._refuse:
            raise DeviceError(f"cudnn: no engine runs {', '.join(sorted(kinds))}")
        return ReadyTask(self, what)

    def begin(self, what: Plan | Product, addresses: Sequence[int]) -> None:
        at = tuple(addresses)
        name = "+".join(one.kind for one in what.operations) if isinstance(what, Plan) else "product"

        def task(_: Any) -> None:
            self.ran.append(name)
            run_plan(what, at) if isinstance(what, Plan) else run_product(what, at)

        kept = Task(task)
        self.tasks.append(kept)
        function = self._driver._library.cuLaunchHostFunc
        assert function(c_void_p(self._stream), kept, None) == 0

    def close(self) -> None:
        """Nothing is held."""


class ReadyTask:
    workspace = 256

    def __init__(self, library: NumpyLibrary, what: Plan | Product) -> None:
        self._library, self._what = library, what

    def run(self, addresses: Sequence[int], workspace: int) -> None:
        self._library.begin(self._what, addresses)


def run_plan(plan: Plan, addresses: Sequence[int]) -> None:
    """Every operation in float32, rounded where a tensor is real."""
    held: dict[int, Array] = {}

    def value(number: int) -> Array:
        if number not in held:
            held[number] = _read(plan.tensors[number], addresses)
        return held[number]

    for operation in plan.operations:
        result = plan.tensors[operation.result]
        found = compute(operation, [value(number) for number in operation.operands], result.dims)
        assert found.shape == result.dims, f"{operation} gives {found.shape}, its tensor is {result.dims}"
        held[operation.result] = found
        if result.argument is not None:
            target = memory(addresses[result.argument], result.dims, result.strides, result.dtype)
            target[...] = found.astype(target.dtype)


def _read(tensor: Tensor, addresses: Sequence[int]) -> Array:
    assert tensor.argument is not None, "a tensor that nothing gives is read"
    return memory(addresses[tensor.argument], tensor.dims, tensor.strides, tensor.dtype).astype(np.float32)


def compute(operation: Operation, operands: list[Array], dims: tuple[int, ...]) -> Array:
    """One operation of cuDNN's graph."""
    numbers = operation.numbers
    match operation.kind:
        case "convolution":
            return convolve(operands[0], operands[1], numbers)
        case "deconvolution":
            return spread_back(operands[0], operands[1], numbers, dims)
        case "add":
            return operands[0] + operands[1]
        case "relu":
            x, low = operands[0], numbers.get("low", 0.0)
            bounded = np.maximum(x, low) if "slope" not in numbers else np.where(x > 0, x, x * numbers["slope"])
            return np.minimum(bounded, numbers.get("high", np.inf)).astype(np.float32)
        case "sigmoid":
            return 1 / (1 + np.exp(-operands[0]))
        case "tanh":
            return np.tanh(operands[0])
        case "attention":
            q, k, v = operands[:3]
            scores = np.einsum("bhqc,bhkc->bhqk", q, k) * np.float32(numbers["scale"])
            scores = scores + operands[3] if len(operands) > 3 else scores
            raised = np.exp(scores - scores.max(-1, keepdims=True))
            return np.einsum("bhqk,bhkc->bhqc", raised / raised.sum(-1, keepdims=True), v)
        case kind:
            raise AssertionError(f"cuDNN has no {kind}")


def taps(w: Array) -> Any:
    """Every place of a filter."""
    return itertools.product(*(range(n) for n in w.shape[2:]))


def convolve(x: Array, w: Array, numbers: dict[str, Any]) -> Array:
    """Cross-correlation; as many groups as the image has times the filter's channels."""
    padding, strides, dilations = (numbers[name] for name in ("padding", "strides", "dilations"))
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    groups = x.shape[1] // w.shape[1]
    sizes = [
        (n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(x.shape[2:], w.shape[2:], dilations, strides, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *sizes), np.float32)
    each = w.shape[0] // groups
    for at in taps(w):
        window = tuple(
            slice(a * d, a * d + (n - 1) * s + 1, s) for a, d, s, n in zip(at, dilations, strides, sizes, strict=True)
        )
        for g in range(groups):
            part = x[:, g * w.shape[1] : (g + 1) * w.shape[1]][(slice(None), slice(None), *window)]
            y[:, g * each : (g + 1) * each] += np.einsum(
                "nc...,kc->nk...", part, w[(slice(g * each, (g + 1) * each), slice(None), *at)]
            )
    return y


def spread_back(loss: Array, w: Array, numbers: dict[str, Any], dims: tuple[int, ...]) -> Array:
    """The gradient of a convolution with respect to its image."""
    padding, strides, dilations = (numbers[name] for name in ("padding", "strides", "dilations"))
    groups = dims[1] // w.shape[1]
    each = w.shape[0] // groups
    x = np.zeros((dims[0], dims[1], *(n + 2 * p for n, p in zip(dims[2:], padding, strict=True))), np.float32)
    for at in taps(w):
        window = tuple(
            slice(a * d, a * d + (n - 1) * s + 1, s)
            for a, d, s, n in zip(at, dilations, strides, loss.shape[2:], strict=True)
        )
        for g in range(groups):
            part = np.einsum(
                "nk...,kc->nc...",
                loss[:, g * each : (g + 1) * each],
                w[(slice(g * each, (g + 1) * each), slice(None), *at)],
            )
            x[:, g * w.shape[1] : (g + 1) * w.shape[1]][(slice(None), slice(None), *window)] += part
    return x[(slice(None), slice(None), *(slice(p, p + n) for n, p in zip(dims[2:], padding, strict=True)))]


def run_product(product: Product, addresses: Sequence[int]) -> None:
    """Column-major, as cuBLASLt sees it: the transposed result from the transposed factors."""
    a, b, *more, result = addresses
    turned_a, turned_b = product.turned
    stride_a, stride_b = product.strides
    for batch in range(product.batch):
        left = _matrix(b, (product.n, product.k), turned_b, batch * stride_b, product.dtype)
        right = _matrix(a, (product.k, product.m), turned_a, batch * stride_a, product.dtype)
        found = np.float32(product.alpha) * (left.astype(np.float32) @ right.astype(np.float32))
        size = np.dtype(dtype_named(product.dtype)).itemsize
        offset = batch * product.m * product.n * size
        rest = list(more)
        if product.bias:
            found = found + memory(rest.pop(0), (product.n, 1), (1, 1), product.dtype).astype(np.float32)
        if product.addend:
            found = found + memory(rest.pop(0) + offset, found.shape, (1, product.n), product.dtype).astype(np.float32)
        target = memory(result + offset, found.shape, (1, product.n), product.dtype)
        target[...] = (np.maximum(found, 0) if product.relu else found).astype(target.dtype)


def _matrix(address: int, shape: tuple[int, int], turned: bool, offset: int, dtype: str) -> Array:
    """A factor's transpose: columns lie in a row unless it is turned."""
    rows, columns = shape
    at = address + offset * np.dtype(dtype_named(dtype)).itemsize
    return memory(at, shape, (columns, 1) if turned else (1, rows), dtype)
