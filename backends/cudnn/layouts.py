"""Which values lie with their channels last, and the steps rewritten so that they are written and read there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from heddle.backends.cudnn.calls import Call
from heddle.core.codegen.affine import Affine, flatten, unflatten
from heddle.core.codegen.fuse import changed
from heddle.core.codegen.lower import Step
from heddle.core.codegen.tensor import Check, Compute, Load, View, compute, load, reads
from heddle.core.ir import Graph, Names, TensorType, Value
from heddle.core.ops.scalar import Expr
from numpy.typing import NDArray

Array = NDArray[Any]


class Images:
    """The values that some call of the library wants with their channels last, and the values that hold them so."""

    def __init__(self, names: Names, tables: dict[Value, Array]) -> None:
        self._names, self._tables = names, tables
        self.held: dict[Value, Value] = {}

    def last(self, value: Value) -> Value:
        """The value with its channels last; of a constant, a constant of its own."""
        if value not in self.held:
            dims = _moved(value.shape)
            self.held[value] = self._names.fresh(f"{value.name}.last", TensorType(value.dtype, dims))
            if value in self._tables:
                array = np.moveaxis(self._tables[value], 1, -1)
                self._tables[self.held[value]] = np.ascontiguousarray(array)
        return self.held[value]

    def settle(self, graph: Graph, steps: Sequence[Step]) -> list[Step]:
        """The steps with every such value made where it is wanted, as far as possible by who computes it."""
        for step in steps:
            self._follow(step)
        inside = {held: value for value, held in self.held.items()}
        dense = set(graph.outputs) | {value for step in steps if isinstance(step, Call) for value in step.operands}
        last = {written: number for number, step in enumerate(steps) for written in _written(step)}
        result: list[Step] = [self._copy(value) for value in graph.inputs if value in self.held]
        for number, step in enumerate(steps):
            result += self._laid(step)
            for value in _written(step):
                if last[value] != number:
                    continue
                if isinstance(step, Call) and value in self.held:
                    result.append(self._copy(value))
                elif not isinstance(step, View) and inside.get(value, value) in dense & self.held.keys():
                    result.append(self._dense(inside.get(value, value)))
        return result

    def _follow(self, step: Step) -> None:
        """What is computed from such values, over the same channels or places, lies like them."""
        if isinstance(step, Call) or not isinstance(step, Compute):
            return
        output = step.output
        for item in reads(step):
            shape = item.source.shape
            if item.source in self.held and item.source not in self._tables and len(shape) == len(output.shape) > 2:
                near = shape[1] == output.shape[1] or shape[2:] == output.shape[2:]
                if near and shape[0] == output.shape[0]:
                    self.last(output)
                    return

    def _leaf(self, item: Load) -> Expr | None:
        """A read of a value where it lies."""
        if item.source not in self.held or item.source in self._tables:
            return None
        return self._element(item.source, item.indices)

    def _element(self, value: Value, indices: Sequence[Affine]) -> Expr:
        return load(self.held[value], *_moved(tuple(indices)))

    def _copy(self, value: Value) -> Compute:
        """The value as it lies where channels are last, from where it is dense."""
        return compute(self.held[value], lambda n, *i: load(value, n, i[-1], *i[:-1]), "layout")

    def _dense(self, value: Value) -> Compute:
        """The value where it is dense, from where its channels are last."""
        return compute(value, lambda *i: self._element(value, i), "layout")

    def _laid(self, step: Step) -> list[Step]:
        """The step over values where they lie."""
        if isinstance(step, Call):
            return [step]
        if isinstance(step, View):
            return self._view(step)
        return [self._moved_output(changed(step, leaf=self._leaf))]

    def _moved_output(self, step: Step) -> Step:
        """A computation that writes its output where it lies."""
        if not isinstance(step, Compute) or step.output not in self.held:
            return step
        held = self.held[step.output]
        if step.at is not None:
            return replace(step, output=held, at=_moved(step.at))
        return replace(step, output=held, axes=_moved(step.axes))

    def _view(self, step: View) -> list[Step]:
        """A view of a value whose elements lie in another order is a copy, which goes into who reads it."""
        source, output = step.source, step.output
        copied = [self._copy(output)] if output in self.held else []
        if source not in self.held or source in self._tables:
            return [step, *copied]
        shape = source.shape
        if shape[1] == 1 or all(n == 1 for n in shape[2:]):
            return [View(output, self.held[source]), *copied]

        def body(*indices: Affine) -> Expr:
            return self._element(source, unflatten(flatten(tuple(indices), output.shape), shape))

        return [compute(output, body, "layout"), *copied]


def _moved(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Dimensions, indices or axes with the second one last."""
    return (items[0], *items[2:], items[1])


def _written(step: Step) -> tuple[Value, ...]:
    """The value that a step gives, whole or in part."""
    return () if isinstance(step, Check) else (step.output,)
