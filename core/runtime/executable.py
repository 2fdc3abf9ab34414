"""Executable: a compiled model, callable from any thread, on whatever devices its steps name."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.binding import bind_inputs, bind_outputs
from heddle.core.runtime.device import Device
from heddle.core.runtime.devices import open_device
from heddle.core.runtime.entry import Entry, host_entry
from heddle.core.runtime.file import Saved, read_file, write_file
from heddle.core.runtime.flight import Flight, Observer, OverrunError, failure, noted
from heddle.core.runtime.host import HostDevice, HostProgram
from heddle.core.runtime.loaded import Loaded, Run
from heddle.core.runtime.outputs import Outputs
from heddle.core.runtime.profile import Profile, StepTime
from heddle.core.runtime.queues import DeviceQueue
from heddle.core.runtime.schedule import Schedule, TensorSpec, check, known
from heddle.core.runtime.summary import Summary, summarise
from numpy.typing import NDArray

Array = NDArray[Any]
Shapes = tuple[tuple[int, ...], ...]
Specialise = Callable[[Mapping[str, tuple[int, ...]]], Schedule]

TIMEOUT = 600.0
"""Seconds that one step may run on a device before the watchdog gives up on it, unless told otherwise."""


class Executable:
    """A compiled model. Immutable to its users; safe to call from several threads.

    Call it with arrays by position or by name; it returns arrays by position and by name. Devices are opened and
    programs placed at the first call, or by `prepare`. `specialise` compiles for input shapes that no schedule
    covers. `devices` gives, by name, either an open device or the options to open it with. `timeout` is the most
    seconds that one step may run on a device (None: for ever); the host's own code cannot be interrupted when it
    is the whole model, since it then runs in the calling thread. `watch` is told of each call and of its wall seconds.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        schedules: Iterable[Schedule] = (),
        *,
        specialise: Specialise | None = None,
        devices: Mapping[str, Device | Mapping[str, Any]] | None = None,
        timeout: float | None = TIMEOUT,
        watch: Callable[[Executable, float], None] | None = None,
    ) -> None:
        self.name, self.inputs, self.outputs, self.timeout = name, tuple(inputs), tuple(outputs), timeout
        self._schedules: dict[Shapes, Schedule] = {}
        for schedule in schedules:
            self._schedules[check(schedule).shapes] = schedule
        self._specialise, self._watch = specialise, watch
        self._state = _State(dict(devices or {}))
        self._names = {spec.name for spec in self.inputs}
        self._result = Outputs.named(spec.name for spec in self.outputs)
        self._lock = threading.RLock()
        self._entry: Entry = self._by_position
        self._faults: list[StepTime] = []
        self._fixed = all(spec.shape is not None for spec in self.inputs)
        weakref.finalize(self, self._state.close)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """What has been compiled, one schedule for each set of input shapes."""
        return tuple(self._schedules.values())

    @property
    def plan(self) -> Summary:
        """What runs where, for the input shapes that were compiled first."""
        return summarise(self.name, self.inputs, self.outputs, next(iter(self._schedules.values()), None))

    @property
    def faults(self) -> tuple[StepTime, ...]:
        """The runs of steps that failed on their device and were made good on the host."""
        return tuple(self._faults)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one file, which `heddle.load` reads without any compiler."""
        write_file(Saved(self.name, self.inputs, self.outputs, self.schedules), path)

    def prepare(self) -> None:
        """Open the devices and place every program that is compiled, which otherwise the first call does."""
        for schedule in self.schedules:
            self._ready(schedule)

    def close(self) -> None:
        """Give everything back; the executable is not called again."""
        self._entry = self._closed
        self._state.close()

    def __enter__(self) -> Executable:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        takes = ", ".join(f"{spec.name}: {spec}" for spec in self.inputs)
        return f"<Executable {self.name}({takes})>"

    # -- calls --------------------------------------------------------------------------------------------------

    def __call__(self, /, *args: Any, out: Any = None, **named: Any) -> Outputs:
        """Compute the outputs of these inputs, given by position or by name.

        `out` gives the arrays to write to: one array, a sequence, or a mapping by name, for all outputs. (An input
        that is itself called `out` is given by position.) InputError when an array does not fit; DeviceError when a
        device fails.
        """
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
        flights: deque[_Call] = deque()
        try:
            for item in inputs:
                call = self._start(self._item(item))
                flights.append(call)
                if len(flights) >= (depth or len(call.loaded.devices) + 1):
                    yield self._finish(flights.popleft())
            while flights:
                yield self._finish(flights.popleft())
        finally:
            while flights:  # the caller stopped early, or a call failed: the others still use their memory
                self._settle(flights.popleft())

    def intermediates(self, *args: Any, **named: Any) -> dict[str, Array]:
        """Every dense value that crosses between regions, and the outputs, for these inputs, by name."""
        seen: dict[str, Array] = {}
        outputs = self._finish(self._start(bind_inputs(self.inputs, args, named), seen.__setitem__))
        return seen | dict(outputs.items())

    def profile(self, *args: Any, repeat: int = 1, **named: Any) -> Profile:
        """The times of each step over `repeat` calls with these inputs, one call after another."""
        arrays = bind_inputs(self.inputs, args, named)
        calls, steps = [], []
        begin = time.monotonic()
        for _ in range(repeat):
            start = time.monotonic()
            call = self._start(arrays)
            self._finish(call)
            calls.append(time.monotonic() - start)
            steps += [
                replace(step, start=step.start - begin)
                for step in sorted(call.flight.times, key=lambda step: step.start)
            ]
        return Profile(tuple(calls), tuple(steps))

    # -- how ----------------------------------------------------------------------------------------------------

    def _item(self, item: Any) -> list[Array]:
        if isinstance(item, Mapping):
            return bind_inputs(self.inputs, (), item)
        return bind_inputs(self.inputs, item if isinstance(item, tuple | list) else (item,), {})

    def _by_position(self, *args: Any) -> Outputs:
        """A call that no generated entry serves (yet)."""
        arrays = bind_inputs(self.inputs, args, {})
        if self._fixed and self._entry == self._by_position:
            loaded = self._loaded(arrays)
            entry = self._generated(loaded)
            if entry is not None:
                self._entry = entry
                return entry(*arrays)
        return self._finish(self._start(arrays))

    def _converted(self, *args: Any) -> Outputs:
        """A call of a generated entry with arrays that are not exactly what it takes."""
        return self._entry(*bind_inputs(self.inputs, args, {}))

    def _closed(self, *args: Any) -> Outputs:
        raise DeviceError(f"{self!r} is closed")

    def _generated(self, loaded: Loaded) -> Entry | None:
        if len(loaded.actions) != 1 or not isinstance(loaded.actions[0].program, HostProgram):
            return None
        (action,) = loaded.actions
        program = loaded.actions[0].program

        def failed(status: int) -> Exception:
            return noted(DeviceError(failure(action, program.fault(status))), action)

        return host_entry(loaded.schedule, program, self._converted, failed)

    def _loaded(self, arrays: Sequence[Array]) -> Loaded:
        """The schedule for the shapes of these arrays on its devices, compiled and placed at its first use."""
        shapes = tuple(array.shape for array in arrays)
        schedule = self._schedules.get(shapes)
        if schedule is None:
            with self._lock:
                schedule = self._schedules.get(shapes) or self._compiled(shapes)
        return self._ready(schedule)

    def _compiled(self, shapes: Shapes) -> Schedule:
        wanted = {spec.name: shape for spec, shape in zip(self.inputs, shapes, strict=True)}
        if self._specialise is None:
            have = "; ".join(
                ", ".join(f"{spec.name}: {spec}" for spec in schedule.inputs) for schedule in self._schedules.values()
            )
            text = ", ".join(f"{name}: [{','.join(map(str, shape))}]" for name, shape in wanted.items())
            raise ArtifactError(
                f"{self.name or 'model'}: the input shapes {text} are not compiled ({have or 'none'} is), and a loaded"
                " file has no compiler; compile the model for these shapes"
            )
        schedule = check(self._specialise(wanted))
        if schedule.shapes != shapes:
            raise ArtifactError(f"{self.name or 'model'}: {schedule.shapes} was compiled where {shapes} was asked for")
        self._schedules[shapes] = schedule
        return schedule

    def _ready(self, schedule: Schedule) -> Loaded:
        loaded = self._state.loaded.get(id(schedule))
        if loaded is None:
            with self._lock:
                loaded = self._state.loaded.get(id(schedule)) or self._state.load(schedule)
        return loaded

    def _start(self, arrays: Sequence[Array], observe: Observer | None = None) -> _Call:
        if self._entry == self._closed:
            raise DeviceError(f"{self!r} is closed")
        loaded = self._loaded(arrays)
        run = loaded.run()
        outputs: dict[str, Array] = {}
        for spec, array in zip(self.inputs, arrays, strict=True):
            run.bind(spec.name, array)
        for name in loaded.schedule.results:
            if name in loaded.producer and name not in outputs:
                dtype, shape = loaded.types[name]
                outputs[name] = np.empty(shape, dtype)
                run.bind(name, outputs[name])
        return _Call(loaded, run, list(arrays), outputs, Flight(loaded, run, self._state.queues, observe), observe)

    def _finish(self, call: _Call) -> Outputs:
        """Wait for a call and give its memory back; where there are fallbacks, a call that hangs is made again."""
        loaded = call.loaded
        try:
            call.flight.wait(self.timeout)
        except OverrunError:
            if all(action.fallback is None for action in loaded.actions if action.queue != "host"):
                raise
            call = self._start(call.arrays, call.observe)
            call.flight.wait(self.timeout)
        finally:
            self._settle(call)
        self._faults += [step for step in call.flight.times if step.fault is not None]
        taken: set[str] = set()
        arrays = []
        for name in loaded.schedule.results:
            # An input, a constant, or a value that is two outputs: each output is an array of its own.
            own = name in call.outputs and name not in taken
            arrays.append(call.outputs[name] if own else call.value(name).copy())
            taken.add(name)
        return self._result(arrays)

    def _settle(self, call: _Call) -> None:
        """Wait until nobody uses a call's memory, as long as the watchdog allows, and take the memory back."""
        if not call.flight.settled and not call.flight.abandoned:
            try:
                call.flight.wait(self.timeout)
            except Exception:
                return
        if call.flight.settled and not call.given_back:
            call.given_back = True
            call.loaded.recycle(call.run)

    def _into(self, arrays: list[Array], out: Any) -> Outputs:
        loaded = self._loaded(arrays)
        shapes = [known(spec) for spec in loaded.schedule.outputs]
        given = bind_outputs(self.outputs, shapes, out)
        direct = (
            len(loaded.actions) == 1
            and isinstance(program := loaded.actions[0].program, HostProgram)
            and sorted(loaded.schedule.results) == sorted(loaded.actions[0].step.outputs)
            and all(array.flags.c_contiguous and array.flags.aligned for array in given)
            and not any(np.may_share_memory(array, other) for array in given for other in arrays)
            and not any(np.may_share_memory(a, b) for i, a in enumerate(given) for b in given[:i])
        )
        if not direct:
            for array, result in zip(given, self._finish(self._start(arrays)), strict=True):
                array[...] = result
            return self._result(given)
        (action,) = loaded.actions
        assert isinstance(program, HostProgram)
        values = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        values |= loaded.schedule.constants
        values |= dict(zip(loaded.schedule.results, given, strict=True))
        try:
            program.call(
                [values[name].ctypes.data for name in action.step.inputs],
                [values[name].ctypes.data for name in action.step.outputs],
            )
        except DeviceError as error:
            raise noted(DeviceError(failure(action, str(error))), action) from error
        return self._result(given)


def load(
    path: str | PathLike[str],
    devices: Mapping[str, Device | Mapping[str, Any]] | None = None,
    timeout: float | None = TIMEOUT,
) -> Executable:
    """The executable in a file that `Executable.save` wrote, with its devices open and its programs placed.

    `devices` gives open devices or their options by name, as `{"vta": {"sim": "rtl"}}`. ArtifactError when the file
    is damaged, newer than this version, or does not fit this machine. Loading a file runs its code: load only files
    that you trust.
    """
    saved = read_file(path)
    executable = Executable(
        saved.name, saved.inputs, saved.outputs, saved.schedules, devices=devices, timeout=timeout
    )
    executable.prepare()
    return executable


class _Call:
    """A call under way: its arrays, which the devices read and write, and its flight."""

    def __init__(
        self,
        loaded: Loaded,
        run: Run,
        arrays: list[Array],
        outputs: dict[str, Array],
        flight: Flight,
        observe: Observer | None,
    ) -> None:
        self.loaded, self.run, self.arrays, self.outputs = loaded, run, arrays, outputs
        self.flight, self.observe, self.given_back = flight, observe, False

    def value(self, name: str) -> Array:
        """The array of a result, after the call."""
        if name in self.outputs:
            return self.outputs[name]
        for spec, array in zip(self.loaded.schedule.inputs, self.arrays, strict=True):
            if spec.name == name:
                return array
        return self.loaded.schedule.constants[name]


class _State:
    """What an executable has opened: devices, their queues, and its schedules on them."""

    def __init__(self, given: Mapping[str, Device | Mapping[str, Any]]) -> None:
        self._given = given
        self._devices: dict[str, Device] = {}
        self.queues: dict[str, DeviceQueue] = {}
        self.loaded: dict[int, Loaded] = {}

    def device(self, name: str) -> Device:
        """The device of this name, opened at its first use."""
        if name not in self._devices:
            given = self._given.get(name)
            if isinstance(given, Device):
                self._devices[name] = given
            else:
                self._devices[name] = HostDevice() if name == "host" and not given else open_device(name, given)
            self.queues[name] = DeviceQueue(name)
        return self._devices[name]

    def load(self, schedule: Schedule) -> Loaded:
        loaded = self.loaded[id(schedule)] = Loaded(schedule, self.device)
        return loaded

    def close(self) -> None:
        for queue in self.queues.values():
            queue.close()
        while self.loaded:
            self.loaded.popitem()[1].close()
        for name, device in self._devices.items():
            if not isinstance(self._given.get(name), Device):
                device.close()
        self._devices.clear()
