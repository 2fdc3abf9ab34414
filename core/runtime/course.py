"""Course: a model whose parts are compiled one after the other, each when the types and values that it needs are known.

A `Part` is machine code: a schedule for each set of shapes and values that reached it. A `Turn` is what the runtime
does itself: it takes a branch, goes round a loop, appends to a sequence. `core/runtime/turns.py` says how.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.errors import ArtifactError, HeddleError
from heddle.core.runtime.schedule import Schedule, check
from heddle.core.runtime.specs import Spec, TensorSpec
from heddle.core.runtime.turns import TURNS
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[Any, ...]
"""The shape of an array; of a sequence, the shapes of its elements."""

_LOG = logging.getLogger(__name__)

LIMIT = 256
"""For how many sets of shapes and values a part is kept compiled; the one that was not used for longest goes first."""


class Machine(Protocol):
    """What runs schedules."""

    def compute(self, schedule: Schedule, arrays: Sequence[Array]) -> Sequence[Array]:
        """The outputs of a schedule."""

    def forget(self, schedule: Schedule) -> None:
        """This schedule is not run again."""


@dataclass(frozen=True)
class Case:
    """What a part is compiled for: the shapes of its inputs, and the arrays of those that it must know."""

    shapes: tuple[Shape | None, ...]
    values: Mapping[str, Array]

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.shapes, tuple(array.tobytes() for array in self.values.values()))


Specialise = Callable[[Case], Schedule]


class Part:
    """What machine code computes between two turns; `by_value` names the inputs whose values it is compiled for.

    A sequence among the inputs is passed element by element; if the output is one (`gathers`), all results are its
    elements. Without `specialise` there is no compiler: only what was compiled before can run.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        by_value: Sequence[str] = (),
        gathers: bool = False,
        made: Sequence[tuple[Case, Schedule]] = (),
        specialise: Specialise | None = None,
    ) -> None:
        self.name, self.inputs, self.outputs, self.gathers = name, tuple(inputs), tuple(outputs), gathers
        self.by_value = tuple(name for name in self.inputs if name in by_value)
        self._passed = tuple(name for name in self.inputs if name not in self.by_value)
        self._specialise, self._full = specialise, False
        self._made: OrderedDict[tuple[Any, ...], tuple[Case, Schedule]] = OrderedDict()
        for case, schedule in made:
            self._made[case.key] = case, check(schedule)
        self._lock = threading.Lock()

    @property
    def made(self) -> tuple[tuple[Case, Schedule], ...]:
        """What has been compiled, and for what."""
        return tuple(self._made.values())

    def run(self, values: dict[str, Any], machine: Machine) -> None:
        """Read the inputs from `values` and bind the outputs there."""
        shapes, arrays = self._seen(values)
        results = self._computed(shapes, {name: values[name] for name in self.by_value}, arrays, machine)
        if self.gathers:
            values[self.outputs[0]] = list(results)
        else:
            values.update(zip(self.outputs, results, strict=True))

    def compute(self, arrays: Sequence[Array], machine: Machine) -> Sequence[Array]:
        """The outputs of a part which is compiled for shapes alone, for its inputs in order."""
        return self._computed(tuple([array.shape for array in arrays]), {}, arrays, machine)

    def _computed(
        self, shapes: tuple[Shape | None, ...], given: dict[str, Array], arrays: Sequence[Array], machine: Machine
    ) -> Sequence[Array]:
        key = (shapes, tuple([array.tobytes() for array in given.values()]) if given else ())
        found = self._made.get(key)
        if found is None or len(self._made) >= LIMIT:
            found = self._found(key, Case(shapes, given), machine)
        return machine.compute(found[1], arrays)

    def _seen(self, values: Mapping[str, Any]) -> tuple[tuple[Shape | None, ...], list[Array]]:
        """The shapes of the inputs, and the arrays that are passed on."""
        try:
            return tuple([values[name].shape for name in self.inputs]), [values[name] for name in self._passed]
        except AttributeError:  # a sequence, or an optional that is absent
            return tuple([shape_of(values[name]) for name in self.inputs]), _flat([values[n] for n in self._passed])

    def prepare(self, case: Case) -> None:
        """Compile for this case now."""
        with self._lock:
            self._compile(case)

    def _found(self, key: tuple[Any, ...], case: Case, machine: Machine) -> tuple[Case, Schedule]:
        """What is compiled for a case, which is then the one that was used last."""
        with self._lock:
            found = self._made.get(key) or self._compile(case)
            self._made.move_to_end(key)
            if len(self._made) > LIMIT:
                _, (_, oldest) = self._made.popitem(last=False)
                machine.forget(oldest)
                if not self._full:
                    self._full = True
                    _LOG.warning(
                        "part %r has been compiled for more than %d cases%s; those that were not used for longest are"
                        " given up, and compiled again when they come back",
                        self.name,
                        LIMIT,
                        f", for each value of {', '.join(self.by_value)}" if self.by_value else "",
                    )
        return found

    def _compile(self, case: Case) -> tuple[Case, Schedule]:
        if self._specialise is None:
            raise ArtifactError(
                f"part {self.name!r} of the model is not compiled for {self._text(case)}, and a loaded file has no"
                " compiler; run the model with such inputs before it is saved"
            )
        kept = Case(case.shapes, {name: array.copy() for name, array in case.values.items()})
        self._made[kept.key] = kept, check(self._specialise(kept))
        return self._made[kept.key]

    def _text(self, case: Case) -> str:
        texts = []
        for name, shape in zip(self.inputs, case.shapes, strict=True):
            value = case.values.get(name)
            texts.append(
                f"{name}: {list(shape or ())}" if value is None else f"{name} = {np.array2string(value, threshold=8)}"
            )
        return ", ".join(texts) or "no inputs"


@dataclass(frozen=True)
class Turn:
    """One operator that the runtime carries out; an absent operand or unused output is None."""

    op: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    bodies: Mapping[str, Course] = field(default_factory=dict)
    name: str = ""

    def run(self, values: dict[str, Any], machine: Machine) -> None:
        """Read the operands from `values` and bind the results there."""
        operands = [None if name is None else values[name] for name in self.inputs]
        bodies = {name: _Bound(course, machine) for name, course in self.bodies.items()}
        try:
            results = TURNS[self.op](*operands, **self.attrs, **bodies)
        except HeddleError as error:
            if not bodies and self.name:
                error.add_note(f"this is the ONNX node {self.name}")
            raise
        if not isinstance(results, tuple):
            results = (results,)
        values.update((name, result) for name, result in zip(self.outputs, results, strict=False) if name is not None)


@dataclass(frozen=True)
class Course:
    """Steps in order over values by name; `inputs` and `outputs` say what is known of what goes in and out."""

    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    steps: tuple[Part | Turn, ...]
    results: tuple[str, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)

    def run(self, arguments: Sequence[Any], machine: Machine) -> list[Any]:
        """The results for these arguments. They may be the arguments or constants themselves."""
        if self._straight is not None:
            part, read, results = self._straight
            known = (*arguments, *part.compute([arguments[i] for i in read], machine))
            return [known[i] for i in results]
        values: dict[str, Any] = dict(self.constants)
        values.update(zip(self._names, arguments, strict=True))
        for step, done in zip(self.steps, self._done, strict=True):
            step.run(values, machine)
            for name in done:
                del values[name]
        return [values[name] for name in self.results]

    @property
    def parts(self) -> Iterator[Part]:
        """Every part, those of bodies included, in order."""
        for step in self.steps:
            if isinstance(step, Part):
                yield step
            else:
                for body in step.bodies.values():
                    yield from body.parts

    @property
    def schedules(self) -> Iterator[Schedule]:
        """Everything that has been compiled."""
        for part in self.parts:
            yield from (schedule for _, schedule in part.made)

    @cached_property
    def _straight(self) -> tuple[Part, tuple[int, ...], tuple[int, ...]] | None:
        """The only step, if it is a part which is compiled for shapes alone and reads nothing but given tensors; which
        arguments it reads; and where the results are, among the arguments and then its outputs."""
        part = self.steps[0] if len(self.steps) == 1 else None
        if not isinstance(part, Part) or part.by_value or part.gathers:
            return None
        tensors = {spec.name for spec in self.inputs if isinstance(spec, TensorSpec)}
        known = (*self._names, *part.outputs)
        if not (tensors.issuperset(part.inputs) and set(known).issuperset(self.results)):
            return None
        return part, tuple(map(self._names.index, part.inputs)), tuple(map(known.index, self.results))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    @cached_property
    def _done(self) -> tuple[tuple[str, ...], ...]:
        """What no later step reads, after each step: its memory may be used again."""
        kept = {*self.results, *(spec.name for spec in self.inputs), *self.constants}
        done: list[tuple[str, ...]] = []
        for step in reversed(self.steps):
            names = {name for name in (*step.inputs, *step.outputs) if name is not None}
            done.append(tuple(sorted(names - kept)))
            kept |= names
        return tuple(reversed(done))


@dataclass(frozen=True)
class _Bound:
    """A body that runs on a machine."""

    course: Course
    machine: Machine

    @property
    def blanks(self) -> tuple[Any, ...]:
        return tuple(map(_blank, self.course.outputs))

    def __call__(self, *inputs: Any) -> list[Any]:
        return self.course.run(inputs, self.machine)


def check_course(course: Course) -> Course:
    """Return the course when every value is bound once and before it is read; else raise ArtifactError."""
    bound: set[str] = set()

    def bind(names: Iterable[str | None], where: str) -> None:
        for name in names:
            if name in bound:
                raise ArtifactError(f"{where}: value {name!r} is bound twice")
            if name is not None:
                bound.add(name)

    def use(names: Iterable[str | None], where: str) -> None:
        for name in names:
            if name is not None and name not in bound:
                raise ArtifactError(f"{where}: value {name!r} is read before it is bound")

    bind((spec.name for spec in course.inputs), "inputs")
    bind(course.constants, "constants")
    for step in course.steps:
        where = f"part {step.name!r}" if isinstance(step, Part) else f"turn {step.op} {step.name!r}"
        use(step.inputs, where)
        bind(step.outputs, where)
    use(course.results, "outputs")
    if len(course.results) != len(course.outputs):
        raise ArtifactError(f"outputs: {len(course.outputs)} are declared, {len(course.results)} are computed")
    return course


def walk(course: Course, arguments: Sequence[Any], machine: Machine) -> list[Any]:
    """The results of a course as arrays of their own, which share no memory with anything."""
    results = course.run(arguments, machine)
    taken = [*_flat(arguments), *course.constants.values()]

    def owned(value: Any) -> Any:
        if isinstance(value, list):
            return [owned(item) for item in value]
        if value is not None and any(np.may_share_memory(value, other) for other in taken):
            value = value.copy()
        if value is not None:
            taken.append(value)
        return value

    return [owned(value) for value in results]


def shape_of(value: Any) -> Shape | None:
    """The shape of an array, or the shapes of a sequence's elements; of what is absent, None."""
    if isinstance(value, np.ndarray):
        return tuple(value.shape)
    return None if value is None else tuple(map(shape_of, value))


def _flat(values: Iterable[Any]) -> list[Array]:
    """The arrays of values, element by element of sequences, without those that are absent."""
    arrays: list[Array] = []
    for value in values:
        if isinstance(value, np.ndarray):
            arrays.append(value)
        elif value is not None:
            arrays += _flat(value)
    return arrays


def _blank(spec: Spec) -> Array | None:
    if not isinstance(spec, TensorSpec):
        return None
    return np.zeros([dim if isinstance(dim, int) else 0 for dim in spec.dims or ()], dtype_named(spec.dtype))
