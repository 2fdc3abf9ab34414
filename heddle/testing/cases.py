"""Cases of a pattern: small graphs made from its conditions, with types, shapes, attributes, constants and inputs.

A case lies within all conditions, or just beyond one of them: then the backend must leave it, or compute it rightly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heddle.core.errors import GraphError, InputError
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph
from heddle.core.pattern import Pattern, find
from heddle.testing.drawing import Drawing, ImpossibleError
from heddle.testing.instance import Pick, instance
from heddle.testing.limits import Limit
from heddle.testing.values import Fill, Span, fill

FILLS: tuple[Fill, ...] = ("normal", "normal", "zeros", "ones", "limits", "special", "denormal")
_IN_TURN: tuple[Fill, ...] = ("normal", "limits", "special")
"""How the calls of a case beyond the limits are filled: of those there are few, so each sees all that matters."""
_NO_CASE = (GraphError, InputError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError)
"""What operators' rules and meanings raise where choices do not go together."""


@dataclass(frozen=True, eq=False)
class Case:
    """One graph to offload, how its inputs are filled, and the seed that they come from; `beyond` is what it breaks.

    Inputs that are places, lengths or classes have whole numbers within `spans`; those that are shapes are `given`.
    Without `specials`, for a device whose NaN and infinities are its own, floats are ordinary numbers instead; those of
    16 bits are ordinary instead of large as well, since sums of these overflow on their way.
    """

    pattern: Pattern
    graph: Graph
    fill: Fill = "normal"
    seed: int = 0
    beyond: Limit | None = None
    spans: Mapping[str, Span] = field(default_factory=dict)
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    specials: bool = True

    def inputs(self, call: int = 0) -> list[NDArray[Any]]:
        """The arrays of one call, other ones for each call."""
        random = np.random.default_rng((self.seed, call))
        rounds = any(node.op in ("QuantizeLinear", "Cast") for node in self.graph.nodes)
        fill_: Fill = self.fill if self.beyond is None else _IN_TURN[call % len(_IN_TURN)]
        how: Fill = "normal" if rounds and fill_ == "special" else fill_
        return [
            self.given[value.name].astype(value.dtype)
            if value.name in self.given
            else fill(value.tensor, self._bearable(how, value.dtype), random, self.spans.get(value.name))
            for value in self.graph.inputs
        ]

    def _bearable(self, how: Fill, dtype: np.dtype[Any]) -> Fill:
        floats = dtype.kind in "fV"
        apart = how == "special" or (how == "limits" and dtype.itemsize <= 2)
        return "normal" if not self.specials and floats and apart else how

    def reference(self, call: int = 0) -> list[NDArray[Any]]:
        """What one call computes, by the operators' own meaning."""
        with np.errstate(all="ignore"):
            return [np.asarray(array) for array in evaluate(self.graph, self.inputs(call))]

    def __str__(self) -> str:
        return f"{self.graph}\ninputs: {self.fill}, seed {self.seed}"


def draw_case(pattern: Pattern, pick: Pick[Any], seed: int = 0, beyond: Limit | None = None) -> Case:
    """A case by these choices, within the pattern's limits or beyond one; ImpossibleError when they make none."""
    try:
        drawing = Drawing(pattern, instance(pattern, pick), pick, np.random.default_rng(seed), beyond)
        graph = drawing.graph()
        within = any(len(match.nodes) == len(graph.nodes) for match in find(graph, (pattern,)).matches)
        if within and beyond is not None:
            raise ImpossibleError(f"the pattern takes it, though it should break {beyond}")
        if not within and beyond is None:
            raise ImpossibleError(_why(pattern, graph))
        case = Case(pattern, graph, pick(FILLS), seed, beyond, drawing.spans, drawing.held)
        case.reference()
    except _NO_CASE as error:
        raise ImpossibleError(str(error)) from error
    return case


def _why(pattern: Pattern, graph: Graph) -> str:
    refusals = find(graph, (pattern,)).refusals
    reasons = dict.fromkeys(refusal.reason for refusal in refusals.values())
    return "; ".join(reasons) or "the pattern takes a part of it"
