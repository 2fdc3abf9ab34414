"""One model on one core: Heddle and its peers in interleaved rounds; medians, ratios, share of the core's peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from heddle.compiler import compile
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels.arithmetic import floating, integers
from heddle.core.codegen.native import peak
from heddle.core.frontend import import_model
from heddle.core.ir import Graph
from heddle.core.passes import optimize
from heddle.measure.peers import PEERS
from heddle.measure.timing import interleaved

Array = NDArray[Any]
_PEAK, _BYTES = "peak", "peak of bytes"
_CALLS = 4


@dataclass(frozen=True)
class Work:
    """Multiply-adds of a model's convolutions and matrix products, of floats and of bytes."""

    floats: int
    bytes: int

    @property
    def total(self) -> int:
        return self.floats + self.bytes


@dataclass(frozen=True)
class Comparison:
    """A model's median seconds under each runtime, `heddle` first, and what follows from them.

    `peak_share` is the time that its multiplications would take at the core's measured peak, over Heddle's time; None
    when it has none. `differences` are Heddle's from each peer: the greatest,
    relative to the greatest magnitude of the peer's output.
    """

    model: str
    work: Work
    seconds: Mapping[str, float]
    peak_share: float | None
    differences: Mapping[str, float]

    @property
    def peers(self) -> tuple[str, ...]:
        return tuple(name for name in self.seconds if name != "heddle")

    def ratio(self, peer: str) -> float:
        """How many times as long as Heddle a peer takes."""
        return self.seconds[peer] / self.seconds["heddle"]

    def json(self) -> dict[str, Any]:
        """The comparison as a value for JSON."""
        return {
            "model": self.model,
            "multiply_adds": {"float": self.work.floats, "bytes": self.work.bytes},
            "median_seconds": dict(self.seconds),
            "ratios": {peer: self.ratio(peer) for peer in self.peers},
            "share_of_peak": self.peak_share,
            "differences": dict(self.differences),
        }


def work_of(graph: Graph) -> Work:
    """The multiplications of a graph as it is written; those whose operands were bytes count as of bytes."""
    made = {value: node.op for node in graph.nodes for value in node.outputs}
    floats = quantized = 0
    for node in graph.nodes:
        shapes = [value.shape if value is not None else () for value in node.inputs]
        out = math.prod(node.outputs[0].shape) if node.outputs[0] is not None else 0
        if node.op in ("Conv", "QLinearConv"):
            count = out * math.prod(shapes[3 if node.op == "QLinearConv" else 1][1:])
        elif node.op in ("MatMul", "QLinearMatMul"):
            count = out * shapes[0][-1]
        elif node.op == "Gemm":
            count = out * shapes[0][0 if node.attrs.get("transA") else 1]
        else:
            continue
        if node.op.startswith("QLinear") or all(made.get(value) == "DequantizeLinear" for value in node.inputs[:2]):
            quantized += count
        else:
            floats += count
    return Work(floats, quantized)


def compare(
    name: str,
    model: ModelProto,
    feed: Mapping[str, Array],
    peers: Sequence[str] = (),
    *,
    rounds: int = 9,
    clock: str = "wall",
    seconds: float = 0.1,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    threads: int = 1,
) -> Comparison:
    """Compile a model and run it beside its peers on the cores that this process may use, each on so many threads.

    In each of the rounds each runtime has its turn of so many seconds; `clock` is one of `timing.CLOCKS`. `options`
    are the backends', as `heddle.compile` takes them.
    """
    executable = compile(model, options=options, threads=threads)
    runs: dict[str, Callable[[], Any]] = {"heddle": lambda: [np.asarray(y) for y in executable(**feed).values()]}
    runs |= {peer: PEERS[peer](model, feed, threads) for peer in peers}
    results = {runtime: run() for runtime, run in runs.items()}
    limits = _limits()
    functions = runs | {key: (lambda run=run: run(_CALLS)) for key, (run, _) in limits.items()}
    times = interleaved(functions, rounds, seconds, clock)
    shapes = {key: array.shape for key, array in feed.items()}
    work = work_of(optimize(import_model(model, shapes)))
    rates = {key: _CALLS * operations / times[key] for key, (_, operations) in limits.items()}
    ideal = 2 * work.floats / rates[_PEAK] + 2 * work.bytes / rates[_BYTES]
    share = ideal / times["heddle"] if work.total else None
    differences = {peer: difference(results["heddle"], results[peer]) for peer in peers}
    return Comparison(name, work, {runtime: times[runtime] for runtime in runs}, share, differences)


def difference(ours: Sequence[Array], theirs: Sequence[Array]) -> float:
    """The greatest difference of any output, relative to the greatest magnitude of that output."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if b.size:
            wide, other = a.astype(np.float64), np.asarray(b).astype(np.float64)
            scale = float(np.abs(other).max()) or 1.0
            worst = max(worst, float(np.abs(wide - other).max()) / scale)
    return worst


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios.

    >>> geometric_mean([1.0, 4.0])
    2.0
    """
    return math.exp(sum(map(math.log, values)) / len(values))


@cache
def _limits() -> Mapping[str, tuple[Callable[[int], None], float]]:
    """What the core can do at most, to be measured in turn with the models."""
    target = targets.host()
    return {_PEAK: peak(floating(target), target), _BYTES: peak(integers(target), target)}
