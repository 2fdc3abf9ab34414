"""How long planning takes, in the processor's own time: real models by cost, and growing graphs.

    python -m benchmarks.planning [--repeat N]

The models, optimised, go to oneDNN and the host; what is imported is imported before. The graphs are 1,000 nodes by
cost over two backends and the host, then matching alone over 5,000, 10,000 and 25,000 nodes with a pattern of
conditions, an option and a repetition.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

from heddle.core.ir import Graph, Node, Value, tensor
from heddle.core.pattern import Pattern, dim, dtype, find, ops, optional, pattern, rank, repeat, size, unary
from heddle.core.plugin import Backend, Figures, Link, get_backend
from heddle.partition import plan

import heddle
from benchmarks.models import build

MODELS = ("densenet121", "bert_base", "resnet50")


@pattern(
    "branch",
    conditions=[
        dtype("x").among("float32", "float16"),
        rank("x").between(2, 4),
        dim("x", 0).multiple_of(4),
        size("y").at_most(1 << 20),
    ],
)
def branch(x: Value, y: Value) -> Value:
    return optional(ops.Relu)(ops.Add(repeat(unary, least=1)(x), y))


@pattern("single", conditions=[dtype("x").among("float32")])
def single(x: Value) -> Value:
    return unary(x)


class Far(Backend):
    """Takes chains that end in a sum; its data lies elsewhere."""

    name = "far"
    patterns: Sequence[Pattern] = (branch,)
    figures = Figures({"*": 1e12}, 1e11, 1e-6, "far", Link(1e-5, 1e10))


class Near(Backend):
    """Takes any elementwise operator of one operand."""

    name = "near"
    patterns: Sequence[Pattern] = (single,)
    figures = Figures({"*": 5e10}, 1e11, 1e-6)


def ladder(count: int) -> Graph:
    """Chains of elementwise operators that meet in sums; every third sum is followed by a Relu."""
    kind = tensor("float32", 64, 64)
    first = Value("x", kind)
    values, nodes = [first], list[Node]()
    while len(nodes) < count:
        number = len(nodes)
        op = ("Tanh", "Exp", "Neg", "Add", "Relu", "Sqrt", "Abs", "Add")[number % 8]
        out = Value(f"v{number}", kind)
        operands = (values[-1], values[max(0, len(values) - 5)]) if op == "Add" else (values[-1],)
        nodes.append(Node(op, operands, (out,)))
        values.append(out)
    return Graph((first,), tuple(nodes), (values[-1],))


def seconds(function: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    backends = [get_backend("onednn"), get_backend("host")]
    plan(ladder(8), backends, "cost")  # what is imported for it is imported once
    for name in MODELS:
        graph = heddle.plan(build(name), backends).inline()
        by_cost, by_order = (
            seconds(partial(plan, graph, backends, place), options.repeat) for place in ("cost", "order")
        )
        print(f"{name}: {len(graph.nodes)} nodes, by cost {by_cost:.2f} s, by order {by_order:.2f} s", flush=True)
    graph = ladder(1000)
    made = plan(graph, [Far(), Near(), get_backend("host")], "cost")
    taken = seconds(partial(plan, graph, [Far(), Near(), get_backend("host")], "cost"), options.repeat)
    print(f"1,000 nodes by cost: {taken:.2f} s; {str(made).splitlines()[0]}")
    for count in (5_000, 10_000, 25_000):
        taken = seconds(partial(find, ladder(count), (branch, single)), 1)
        print(f"matching {count:,} nodes: {taken:.2f} s, {taken / count * 1e6:.0f} us a node")


if __name__ == "__main__":
    main()
