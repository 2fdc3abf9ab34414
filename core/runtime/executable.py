"""Executable: a compiled model, callable from any thread, on whatever devices its steps name."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime import teams
from heddle.core.runtime.binding import bind_inputs, bind_outputs
from heddle.core.runtime.course import Course, Machine, check_course, shape_of, walk
from heddle.core.runtime.device import Device, host_buffer
from heddle.core.runtime.devices import with_threads
from heddle.core.runtime.engine import Call, Engine, Watched
from heddle.core.runtime.entry import Entry
from heddle.core.runtime.file import Saved, read_file, write_file
from heddle.core.runtime.flight import failure, noted
from heddle.core.runtime.memory import MemoryUse, memory_use
from heddle.core.runtime.outputs import Outputs
from heddle.core.runtime.profile import Profile, StepTime
from heddle.core.runtime.schedule import Schedule, check, known
from heddle.core.runtime.specs import Spec, TensorSpec
from heddle.core.runtime.summary import Summary, summarise
from numpy.typing import NDArray

Array = NDArray[Any]
Program = Schedule | Course
Shapes = tuple[tuple[int, ...] | None, ...]
"""The shape of each input; None of a sequence or optional, whose elements are seen at the call."""
Specialise = Callable[[Mapping[str, tuple[int, ...]]], Program]

TIMEOUT = 600.0
"""Seconds that one step may run on a device before the watchdog gives up on it, unless told otherwise."""


class Executable:
    """A compiled model. Immutable to its users; safe to call from several threads.

    Call it with arrays by position or by name; it returns arrays by position and by name. Devices are opened and
    programs placed at the first call, or by `prepare`. `specialise` compiles for input shapes that no program
    covers. `devices` gives, by name, either an open device or the options to open it with. `timeout` is the most
    seconds that one step may run on a device (None: for ever); the host's own code cannot be interrupted when it
    is the whole model, since it then runs in the calling thread. `watch` is told of each call and of its wall seconds.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Spec],
        outputs: Sequence[Spec],
        programs: Iterable[Program] = (),
        *,
        specialise: Specialise | None = None,
        devices: Mapping[str, Device | Mapping[str, Any]] | None = None,
        timeout: float | None = TIMEOUT,
        watch: Callable[[Executable, float], None] | None = None,
    ) -> None:
        self.name, self.inputs, self.outputs = name, tuple(inputs), tuple(outputs)
        self._fixed = all(spec.shape is not None for spec in self.inputs if isinstance(spec, TensorSpec))
        self._programs: dict[Shapes, Program] = {_shapes(program): _checked(program) for program in programs}
        self._specialise, self._watch = specialise, watch
        self._engine = Engine(dict(devices or {}), timeout)
        self._names = {spec.name for spec in self.inputs}
        self._result = Outputs.named(spec.name for spec in self.outputs)
        self._lock = threading.RLock()
        self._entry: Entry = self._by_position
        weakref.finalize(self, self._engine.close)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def programs(self) -> tuple[Program, ...]:
        """How the outputs are computed, for each set of input shapes that was compiled."""
        return tuple(self._programs.values())

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """All machine code there is: of each program the schedule, or those of its parts that are compiled."""
        return tuple(schedule for program in self.programs for schedule in _schedules(program))

    @property
    def plan(self) -> Summary:
        """What runs where, for the input shapes that were compiled first."""
        return summarise(self.name, self.inputs, self.outputs, next(iter(self.programs), None))

    @property
    def memory(self) -> MemoryUse:
        """What the host's memory must hold for this executable, for what is compiled; opens its devices."""
        return memory_use([self._engine.ready(schedule) for schedule in self.schedules])

    @property
    def faults(self) -> tuple[StepTime, ...]:
        """The runs of steps that failed on their device and were made good on the host."""
        return tuple(self._engine.faults)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything that is compiled to one file, which `heddle.load` reads without any compiler."""
        write_file(Saved(self.name, self.inputs, self.outputs, self.programs), path)

    def prepare(self) -> None:
        """Open the devices and place every program that is compiled, which otherwise the first call does."""
        for schedule in self.schedules:
            self._engine.ready(schedule)

    def close(self) -> None:
        """Give everything back; the executable is not called again."""
        self._entry = self._closed
        self._engine.close()

    def __enter__(self) -> Executable:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        takes = ", ".join(f"{spec.name}: {spec}" for spec in self.inputs)
        return f"<Executable {self.name}({takes})>"

    # -- calls --------------------------------------------------------------------------------------------------

    def __call__(self, /, *args: Any, out: Any = None, threads: Any = None, **named: Any) -> Outputs:
        """Compute the outputs of these inputs, given by position or by name.

        `threads` of the host work on this call, instead of as many as the executable was made or loaded with.

        `out` gives the arrays to write to: one array, a sequence, or a mapping by name, for all outputs. (Inputs that
        are themselves called `out` or `threads` are given by position.) InputError when an array does not fit;
        DeviceError when a device fails.
        """
        if threads is not None:
            with teams.using(threads):
                return self(*args, out=out, **named)
        if self._watch is not None:
            return self._watched(self._watch, args, out, named)
        if out is None and not named and len(args) == len(self.inputs):
            return self._entry(*args)
        if out is None and not args and named.keys() == self._names:
            return self._entry(*[named[spec.name] for spec in self.inputs])
        arrays = bind_inputs(self.inputs, args, named)
        return self._entry(*arrays) if out is None else self._into(arrays, out)

    def _watched(
        self, watch: Callable[[Executable, float], None], args: Sequence[Any], out: Any, named: Mapping[str, Any]
    ) -> Outputs:
        start = time.perf_counter()
        arrays = bind_inputs(self.inputs, args, named)
        outputs = self._entry(*arrays) if out is None else self._into(arrays, out)
        watch(self, time.perf_counter() - start)
        return outputs

    def stream(self, inputs: Iterable[Any], depth: int | None = None) -> Iterator[Outputs]:
        """The outputs of successive inputs, in order, while up to `depth` of them are under way on the devices.

        Each item is a mapping by name, a tuple or list by position, or the array of a model with one input.
        """
        if self._entry != self._by_position:
            for item in inputs:
                yield self._entry(*self._item(item))
            return
        flights: deque[Call] = deque()
        try:
            for item in inputs:
                values = self._item(item)
                program = self._program(values)
                if isinstance(program, Course):
                    yield self._result(walk(program, values, self._engine))
                    continue
                call = self._engine.start(program, values)
                flights.append(call)
                if len(flights) >= (depth or len(call.loaded.devices) + 1):
                    yield self._result(self._engine.finish(flights.popleft()))
            while flights:
                yield self._result(self._engine.finish(flights.popleft()))
        finally:
            while flights:  # the caller stopped early, or a call failed: the others still use their memory
                self._engine.settle(flights.popleft())

    def intermediates(self, *args: Any, **named: Any) -> dict[str, Array]:
        """Every dense value that crosses between regions, and the outputs, for these inputs, by name.

        Of a value inside a loop, the last one.
        """
        seen: dict[str, Array] = {}
        outputs = self.through(Watched(self._engine, seen.__setitem__), *args, **named)
        return seen | dict(outputs.items())

    def profile(self, *args: Any, repeat: Any = 1, **named: Any) -> Profile:
        """The times of each step over `repeat` calls with these inputs, one call after another."""
        values = bind_inputs(self.inputs, args, named)
        calls, steps = [], []
        begin = time.monotonic()
        for _ in range(repeat):
            watched = Watched(self._engine)
            start = time.monotonic()
            self._run(self._program(values), values, watched)
            calls.append(time.monotonic() - start)
            steps += [step.since(begin) for step in sorted(watched.times, key=lambda step: step.start)]
        return Profile(tuple(calls), tuple(steps))

    def through(self, machine: Machine, *args: Any, **named: Any) -> Outputs:
        """The outputs of these inputs when `machine` runs the schedules that they lead through."""
        values = bind_inputs(self.inputs, args, named)
        return self._run(self._program(values), values, machine)

    # -- how ----------------------------------------------------------------------------------------------------

    def _item(self, item: Any) -> list[Any]:
        if isinstance(item, Mapping):
            return bind_inputs(self.inputs, (), item)
        return bind_inputs(self.inputs, item if isinstance(item, tuple | list) else (item,), {})

    def _by_position(self, *args: Any) -> Outputs:
        """A call that no generated entry serves (yet)."""
        values = bind_inputs(self.inputs, args, {})
        program = self._program(values)
        if self._fixed and isinstance(program, Schedule) and self._entry == self._by_position:
            entry = self._engine.entry(program, self._converted)
            if entry is not None:
                self._entry = entry
                return entry(*values)
        return self._run(program, values, self._engine)

    def _run(self, program: Program, values: Sequence[Any], machine: Machine) -> Outputs:
        if isinstance(program, Course):
            return self._result(walk(program, values, machine))
        return self._result(machine.compute(program, values))

    def _converted(self, *args: Any) -> Outputs:
        """A call of a generated entry with arrays that are not exactly what it takes."""
        return self._entry(*bind_inputs(self.inputs, args, {}))

    def _closed(self, *args: Any) -> Outputs:
        raise DeviceError(f"{self!r} is closed")

    def _program(self, values: Sequence[Any]) -> Program:
        """What computes the outputs for inputs of the shapes of these, compiled at its first use."""
        if self._entry == self._closed:
            raise DeviceError(f"{self!r} is closed")
        shapes = tuple(
            value.shape if isinstance(spec, TensorSpec) else None
            for spec, value in zip(self.inputs, values, strict=True)
        )
        program = self._programs.get(shapes)
        if program is None:
            with self._lock:
                program = self._programs.get(shapes) or self._compiled(shapes)
        return program

    def _compiled(self, shapes: Shapes) -> Program:
        wanted = {spec.name: shape for spec, shape in zip(self.inputs, shapes, strict=True) if shape is not None}
        if self._specialise is None:
            have = "; ".join(", ".join(f"{spec.name}: {spec}" for spec in program.inputs) for program in self.programs)
            text = ", ".join(f"{name}: [{','.join(map(str, shape))}]" for name, shape in wanted.items())
            raise ArtifactError(
                f"{self.name or 'model'}: the input shapes {text} are not compiled ({have or 'none'} is), and a loaded"
                " file has no compiler; compile the model for these shapes"
            )
        program = _checked(self._specialise(wanted))
        if _shapes(program) != shapes:
            raise ArtifactError(f"{self.name or 'model'}: {_shapes(program)} was compiled where {shapes} was asked for")
        self._programs[shapes] = program
        return program

    def _into(self, arrays: list[Any], out: Any) -> Outputs:
        program = self._program(arrays)
        if isinstance(program, Course):
            results = walk(program, arrays, self._engine)
            given = bind_outputs(self.outputs, [shape_of(result) or () for result in results], out)
            for array, result in zip(given, results, strict=True):
                array[...] = result
            return self._result(given)
        given = bind_outputs(self.outputs, [known(spec) for spec in program.outputs], out)
        native = self._engine.program(program)
        direct = (
            native is not None
            and sorted(program.results) == sorted(program.steps[0].outputs)
            and all(array.flags.c_contiguous and array.flags.aligned for array in given)
            and not any(np.may_share_memory(array, other) for array in given for other in arrays)
            and not any(np.may_share_memory(a, b) for i, a in enumerate(given) for b in given[:i])
        )
        if native is None or not direct:
            for array, result in zip(given, self._engine.finish(self._engine.start(program, arrays)), strict=True):
                array[...] = result
            return self._result(given)
        (action,) = self._engine.ready(program).actions
        values = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        values |= program.constants
        values |= dict(zip(program.results, given, strict=True))
        try:
            native.call([host_buffer(values[name]).address for name in (*action.step.inputs, *action.step.outputs)])
        except DeviceError as error:
            raise noted(DeviceError(failure(action, str(error))), action) from error
        return self._result(given)


def load(
    path: str | PathLike[str],
    devices: Mapping[str, Device | Mapping[str, Any]] | None = None,
    timeout: float | None = TIMEOUT,
    threads: int | None = None,
) -> Executable:
    """The executable in a file that `Executable.save` wrote, with its devices open and its programs placed.

    `devices` gives open devices or their options by name, as `{"vta": {"sim": "rtl"}}`; `threads` of the host work on
    each call, one by default: it is the option `threads` of the device `host`. ArtifactError when the file
    is damaged, newer than this version, or does not fit this machine. Loading a file runs its code: load only files
    that you trust.
    """
    saved = read_file(path)
    devices = with_threads(devices, threads)
    executable = Executable(saved.name, saved.inputs, saved.outputs, saved.programs, devices=devices, timeout=timeout)
    executable.prepare()
    return executable


def _schedules(program: Program) -> Iterable[Schedule]:
    return (program,) if isinstance(program, Schedule) else program.schedules


def _shapes(program: Program) -> Shapes:
    """The input shapes that a program is for."""
    return tuple(known(spec) if isinstance(spec, TensorSpec) else None for spec in program.inputs)


def _checked(program: Program) -> Program:
    return check(program) if isinstance(program, Schedule) else check_course(program)
