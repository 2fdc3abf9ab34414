"""The passes in their order, verified and told of one by one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Sequence

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Pass, verify
from heddle.core.passes.bound_counts import bound_counts
from heddle.core.passes.captures import sink_constants
from heddle.core.passes.common_subexpressions import CommonSubexpressions
from heddle.core.passes.dead_code import dead_code
from heddle.core.passes.expand_composites import ExpandComposites
from heddle.core.passes.fold_constants import FoldConstants
from heddle.core.passes.fold_scales import fold_scales
from heddle.core.passes.identities import identities
from heddle.core.passes.infer_shapes import infer_shapes
from heddle.core.passes.take_branches import take_branches

PRIMITIVE = frozenset(
    (
        *("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"),
        *("Attention", "LinearAttention", "CausalConvWithState", "AffineGrid", "Range"),
    )
)
"""Composites that every backend does better whole; the function bodies of the last five hold control flow."""


def default_passes(keep_composites: Collection[str] = PRIMITIVE) -> tuple[Pass, ...]:
    """The passes that every graph goes through, in order."""
    return (
        dead_code,
        sink_constants,
        infer_shapes,
        FoldConstants(),
        take_branches,
        identities,
        ExpandComposites(frozenset(keep_composites)),
        FoldConstants(),
        take_branches,
        identities,
        fold_scales,
        CommonSubexpressions(),
        dead_code,
        infer_shapes,
    )


def outline_passes() -> tuple[Pass, ...]:
    """The passes of a graph that is compiled part by part; each part goes through the default ones afterwards."""
    return (
        dead_code,
        sink_constants,
        infer_shapes,
        FoldConstants(),
        take_branches,
        identities,
        bound_counts,
        CommonSubexpressions(),
        dead_code,
        infer_shapes,
    )


def optimize(graph: Graph, passes: Sequence[Pass] | None = None, keep_composites: Collection[str] = PRIMITIVE) -> Graph:
    """The graph after `passes` (the default ones, if None); `keep_composites` names operators not to expand.

    A pass that raises, or leaves a graph that breaks the rules, is named in the GraphError. The environment variable
    HEDDLE_DEBUG tells more and more to stderr: 1 each pass with its time and the number of nodes; 2 the first and the
    last graph; 3 the graph after each pass that changed it; 4 the graph after each pass.
    """
    level = _level()
    _tell(level >= 2, "graph before the passes", graph)
    chosen = default_passes(keep_composites) if passes is None else passes
    graph = verify(graph)
    for number, step in enumerate(chosen):
        started = time.perf_counter()
        after = _apply(step, graph)
        seconds = time.perf_counter() - started
        if level >= 1:
            counts = f"{len(graph.nodes):6} -> {len(after.nodes):6} nodes"
            print(f"heddle: {step.__name__:24} {seconds * 1e3:9.1f} ms {counts}", file=sys.stderr)
        last = number == len(chosen) - 1
        _tell(
            level >= 4 or (level == 3 and after is not graph) or (level == 2 and last), f"after {step.__name__}", after
        )
        graph = after
    return graph


def _apply(step: Pass, graph: Graph) -> Graph:
    try:
        after = step(graph)
        return after if after is graph else verify(after)
    except GraphError as error:
        named = GraphError(f"pass {step.__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            named.add_note(note)
        named.add_note(f"the graph before the pass:\n{graph}")
        raise named from error


def _level() -> int:
    text = os.environ.get("HEDDLE_DEBUG", "")
    return int(text) if text.isdigit() else 0


def _tell(wanted: bool, title: str, graph: Graph) -> None:
    if wanted:
        print(f"heddle: {title}:\n{graph}", file=sys.stderr)
