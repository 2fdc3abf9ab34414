"""How the host does better than plain loops: kernels for contractions, in layouts that suit them, with fused tails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heddle.backends.llvm.choices import Choices
from heddle.backends.llvm.convolutions import Dequantized, note_transposed, sliding_of, take_dequantized, take_sliding
from heddle.backends.llvm.dot_kernels import accepts_dot_tail, dot_kernels, dot_of
from heddle.backends.llvm.dots import take_dot
from heddle.backends.llvm.fusion import (
    into_one_reader,
    is_movement,
    is_pointwise,
    movement_into,
    pointwise_into_readers,
    read_by,
    through_views,
    wideners_into_readers,
)
from heddle.backends.llvm.images import accepts_tail
from heddle.backends.llvm.layouts import Layouts
from heddle.backends.llvm.normalizations import take_normalization
from heddle.backends.llvm.products import Products, match_product
from heddle.backends.llvm.rows import rows_of
from heddle.backends.llvm.selections import take_selection
from heddle.core.codegen.lower import Lowering, Step
from heddle.core.codegen.target import Target
from heddle.core.codegen.template import Template
from heddle.core.codegen.tensor import Check, Compute, written
from heddle.core.ir import Graph, Names, Value
from numpy.typing import NDArray


class Kernels:
    """The strategy of kernel templates."""

    def __init__(self, strict: bool = False, choices: Choices | None = None) -> None:
        """`strict` keeps to sums in the order of their definition: no minimal filtering. `choices` are schedules."""
        self.strict, self.choices = strict, choices
        self.dequantized: dict[Value, Dequantized] = {}

    def take(self, lowering: Lowering) -> bool:
        note_transposed(lowering, self.dequantized)
        taken = take_dequantized(lowering, self.dequantized) or take_sliding(lowering, self.dequantized)
        taken = taken or take_dot(lowering, self.dequantized)
        return taken or take_normalization(lowering) or take_selection(lowering)

    def improve(
        self, graph: Graph, steps: Sequence[Step], tables: dict[Value, NDArray[Any]], names: Names, target: Target
    ) -> list[Step]:
        steps = wideners_into_readers(through_views(steps), graph.outputs)
        # What follows a convolution alone is its own first: where two of them meet, what each gives is narrow then.
        steps = into_one_reader(steps, graph.outputs, _is_sliding, accepts_tail)
        steps = pointwise_into_readers(steps, graph.outputs)
        movements = {step.output: step for step in steps if isinstance(step, Compute) and is_movement(step)}
        steps = [_with_movement(step, movements) for step in steps]
        steps = into_one_reader(steps, graph.outputs, _is_product, _is_product)
        steps = into_one_reader(steps, graph.outputs, _is_sliding, accepts_tail)
        steps = into_one_reader(steps, graph.outputs, _is_dot, accepts_dot_tail)
        steps = _needed(steps, graph.outputs)
        choices = self.choices or Choices(target, self.strict)
        steps = dot_kernels(steps, tables, names, target, choices)
        steps = Layouts(graph, steps, tables, names, target, choices).run()
        products = Products(tables, names, target, choices)
        made = [one for step in steps for one in _kernels(step, products, names, target)]
        return _needed(made, graph.outputs)


def _kernels(step: Step, products: Products, names: Names, target: Target) -> list[Step]:
    if not isinstance(step, Compute) or isinstance(step, Template):
        return [step]
    rows = rows_of(step, names, target)
    return [rows] if rows else products.steps(step) or [step]


def _is_sliding(step: Compute) -> bool:
    return sliding_of(step) is not None


def _is_dot(step: Compute) -> bool:
    return dot_of(step) is not None


def _is_product(step: Compute) -> bool:
    return match_product(step) is not None


def _with_movement(step: Step, movements: dict[Value, Compute]) -> Step:
    """A product that reads behind transpositions, if it is one then."""
    if not isinstance(step, Compute) or is_pointwise(step):
        return step
    moved = movement_into(step, movements)
    return moved if moved is not step and match_product(moved) else step


def _needed(steps: Sequence[Step], kept: Sequence[Value]) -> list[Step]:
    """The steps without those whose results nobody reads any more."""
    wanted = set(kept)
    result: list[Step] = []
    for step in reversed(steps):
        made = written(step) if isinstance(step, Compute) else () if isinstance(step, Check) else (step.output,)
        if not made or wanted.intersection(made):
            wanted.update(read_by(step))
            result.append(step)
    return result[::-1]
