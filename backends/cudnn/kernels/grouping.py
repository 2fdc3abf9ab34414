"""Computations over the same rows, one after another, as one kernel: softmax and normalizations in a single launch."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from heddle.backends.cudnn.kernels.rows import worthwhile
from heddle.core.codegen.affine import Affine, Axis, flatten, of_axis, unflatten
from heddle.core.codegen.lower import Step
from heddle.core.codegen.nest import replaced
from heddle.core.codegen.tensor import Compute, Load, group, reads, rewrite

MOST_MEMBERS = 8


def grouped(steps: Sequence[Step]) -> list[Step]:
    """The steps with each run of them that works row by row made one; the first one's folds say what a row is."""
    result: list[Step] = []
    position = 0
    while position < len(steps):
        run = _run(steps[position : position + MOST_MEMBERS])
        result.append(_joined(run) if len(run) > 1 else steps[position])
        position += max(1, len(run))
    return result


def _run(steps: Sequence[Step]) -> list[Compute]:
    """As many steps as can be members of one group."""
    first = steps[0]
    if type(first) is not Compute or first.at is not None or not worthwhile(first):
        return []
    count = prod(a.extent for a in first.axes)
    run = [first]
    written = {first.output}
    for step in steps[1:]:
        if type(step) is not Compute or step.at is not None or step.output in written:
            break
        split = _split(step, count)
        if split is None or (split == len(step.axes) and not worthwhile(step)):
            break
        if not all(_same_row(item, step, split, count) for item in reads(step) if item.source in written):
            break
        run.append(step)
        written.add(step.output)
    return run if any(item.source in written for step in run[1:] for item in reads(step)) else []


def _split(step: Compute, count: int) -> int | None:
    """How many of a step's axes are the rows' own, when the first ones are."""
    for split in range(len(step.axes) + 1):
        if prod(a.extent for a in step.axes[:split]) == count:
            while split < len(step.axes) and step.axes[split].extent == 1:
                split += 1
            return split
    return None


def _same_row(item: Load, step: Compute, split: int, count: int) -> bool:
    """Whether an element that a step reads belongs to the row that the step is at."""
    row = flatten(tuple(map(of_axis, step.axes[:split])), tuple(a.extent for a in step.axes[:split]))
    per_row = (item.source.tensor.size or 0) // count
    rest = flatten(item.indices, item.source.shape) - row * per_row
    return rest.low >= 0 and rest.high < per_row


def _joined(run: Sequence[Compute]) -> Compute:
    """The group of a run, its members over the rows of the first."""
    shared = run[0].axes
    count = prod(a.extent for a in shared)
    members = [_member(step, shared, count) for step in run]
    return group([Affine(((axis, 1),)) for axis in shared], members, run[-1].node)


def _member(step: Compute, shared: tuple[Axis, ...], count: int) -> Compute:
    split = _split(step, count)
    assert split is not None
    own = step.axes[:split]
    mapping = dict(_translated(own, shared))
    at = tuple(replaced(index, mapping) for index in step.target)
    return Compute(step.output, step.axes[split:], rewrite(step.body, mapping), at, step.node)


def _translated(own: tuple[Axis, ...], shared: tuple[Axis, ...]) -> list[tuple[Axis, Affine]]:
    """A step's own rows in terms of the shared ones."""
    row = flatten(tuple(map(of_axis, shared)), tuple(a.extent for a in shared))
    return list(zip(own, unflatten(row, tuple(a.extent for a in own)), strict=True))
