"""Runs schedules: opens the devices that they name, places their programs, and leads calls through them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.errors import DeviceError
from heddle.core.runtime.device import Device
from heddle.core.runtime.devices import open_device, options_of
from heddle.core.runtime.entry import Entry, host_entry
from heddle.core.runtime.flight import Flight, Observer, OverrunError, failure, noted
from heddle.core.runtime.host import HostDevice, HostProgram
from heddle.core.runtime.loaded import Loaded, Run
from heddle.core.runtime.profile import StepTime
from heddle.core.runtime.queues import DeviceQueue, Workers
from heddle.core.runtime.schedule import Schedule
from numpy.typing import NDArray

Array = NDArray[Any]


class Call:
    """A run of a schedule under way: its arrays, which the devices read and write, and its flight."""

    def __init__(
        self, loaded: Loaded, run: Run, arrays: list[Array], outputs: dict[str, Array], flight: Flight
    ) -> None:
        self.loaded, self.run, self.arrays, self.outputs = loaded, run, arrays, outputs
        self.flight, self.given_back = flight, False

    def value(self, name: str) -> Array:
        """The array of a result, after the call."""
        if name in self.outputs:
            return self.outputs[name]
        for spec, array in zip(self.loaded.schedule.inputs, self.arrays, strict=True):
            if spec.name == name:
                return array
        return self.loaded.schedule.constants[name]


class Engine:
    """Devices, their queues, and schedules on them. Safe to use from several threads.

    `devices` gives, by name, either an open device or the options to open it with; `timeout` is the most seconds that
    one step may run on a device.
    """

    def __init__(self, devices: Mapping[str, Device | Mapping[str, Any]], timeout: float | None) -> None:
        self.timeout = timeout
        self.queues: dict[str, DeviceQueue] = {}
        self._workers = Workers(self.queues)
        self.faults: list[StepTime] = []
        self._given = devices
        self._devices: dict[str, Device] = {}
        self._loaded: dict[int, Loaded] = {}
        self._entries: dict[int, Entry] = {}
        self._retired: dict[int, Loaded] = {}
        self._users: Counter[int] = Counter()
        self._lock = threading.RLock()

    # -- what is placed -----------------------------------------------------------------------------------------

    def ready(self, schedule: Schedule) -> Loaded:
        """The schedule on its devices, placed at its first use."""
        loaded = self._loaded.get(id(schedule))
        if loaded is None:
            with self._lock:
                loaded = self._loaded.get(id(schedule))
                if loaded is None:
                    loaded = self._loaded[id(schedule)] = Loaded(schedule, self._device)
        return loaded

    def forget(self, schedule: Schedule) -> None:
        """Take a schedule off its devices, as soon as no call uses it."""
        with self._lock:
            self._entries.pop(id(schedule), None)
            loaded = self._loaded.pop(id(schedule), None)
            if loaded is None:
                return
            if self._users[id(loaded)]:
                self._retired[id(loaded)] = loaded
            else:
                loaded.close()

    def entry(self, schedule: Schedule, otherwise: Callable[..., Any]) -> Entry | None:
        """A function that runs a schedule of one step of the host's interface, next to without overhead; else None."""
        program = self.program(schedule)
        if program is None:
            return None
        (action,) = self.ready(schedule).actions

        def failed(status: int) -> Exception:
            return noted(DeviceError(failure(action, program.fault(status))), action)

        return host_entry(schedule, program, otherwise, failed)

    def program(self, schedule: Schedule) -> HostProgram | None:
        """The program of a schedule which is one step of the host's interface, with nothing to fall back on."""
        actions = self.ready(schedule).actions
        if len(actions) != 1 or actions[0].fallback is not None:
            return None
        return actions[0].program if isinstance(actions[0].program, HostProgram) else None

    def close(self) -> None:
        """Give everything back."""
        self._workers.close()
        self._entries.clear()
        for places in (self._loaded, self._retired):
            while places:
                places.popitem()[1].close()
        for name, device in self._devices.items():
            if not isinstance(self._given.get(name), Device):
                device.close()
        self._devices.clear()

    def _device(self, name: str) -> Device:
        """The device of this name, opened at its first use."""
        if name not in self._devices:
            given = self._given.get(name)
            if isinstance(given, Device):
                self._devices[name] = given
            else:
                options = options_of(name, self._given)
                self._devices[name] = HostDevice() if name == "host" and not options else open_device(name, options)
            self.queues[name] = DeviceQueue(name)
        return self._devices[name]

    # -- calls --------------------------------------------------------------------------------------------------

    def compute(self, schedule: Schedule, arrays: Sequence[Array]) -> Sequence[Array]:
        """The outputs of a schedule for arrays of its inputs' types, as quickly as may be."""
        found = self._entries.get(id(schedule))
        if found is None:

            def flown(*arrays: Array) -> Any:
                return self.finish(self.start(schedule, _fitted(schedule, arrays)))

            found = self._entries[id(schedule)] = self.entry(schedule, flown) or flown
        return found(*arrays)

    def start(self, schedule: Schedule, arrays: Sequence[Array], observe: Observer | None = None) -> Call:
        """Begin a run over dense arrays of exactly the types of the schedule's inputs."""
        with self._lock:
            loaded = self.ready(schedule)
            self._users[id(loaded)] += 1
        run = loaded.run()
        outputs: dict[str, Array] = {}
        for spec, array in zip(schedule.inputs, arrays, strict=True):
            run.bind(spec.name, array)
        for name in schedule.results:
            if name in loaded.producer and name not in outputs:
                dtype, shape = loaded.types[name]
                outputs[name] = np.empty(shape, dtype)
                run.bind(name, outputs[name])
        return Call(loaded, run, list(arrays), outputs, Flight(loaded, run, self.queues, self._workers, observe))

    def finish(self, call: Call, observe: Observer | None = None) -> list[Array]:
        """Wait for a call and give its memory back; where there are fallbacks, a call that hangs is made again."""
        loaded = call.loaded
        try:
            call.flight.wait(self.timeout)
        except OverrunError:
            if all(action.fallback is None for action in loaded.actions if action.queue != "host"):
                raise
            call = self.start(loaded.schedule, call.arrays, observe)
            call.flight.wait(self.timeout)
        finally:
            self.settle(call)
        self.faults += call.flight.faults
        taken: set[str] = set()
        arrays = []
        for name in loaded.schedule.results:
            # An input, a constant, or a value that is two outputs: each output is an array of its own.
            own = name in call.outputs and name not in taken
            arrays.append(call.outputs[name] if own else call.value(name).copy())
            taken.add(name)
        return arrays

    def settle(self, call: Call) -> None:
        """Wait until nobody uses a call's memory, as long as the watchdog allows, and take the memory back."""
        if not call.flight.settled and not call.flight.abandoned:
            try:
                call.flight.wait(self.timeout)
            except Exception:
                return
        if not call.flight.settled or call.given_back:
            return
        call.given_back = True
        call.loaded.recycle(call.run)
        with self._lock:
            self._users[id(call.loaded)] -= 1
            if not self._users[id(call.loaded)]:
                del self._users[id(call.loaded)]
                retired = self._retired.pop(id(call.loaded), None)
                if retired is not None:
                    retired.close()


class Watched:
    """An engine whose runs are watched: `times` has each step, and `observe` gets each value that a step binds."""

    def __init__(self, engine: Engine, observe: Observer | None = None) -> None:
        self.times: list[StepTime] = []
        self._engine, self._observe = engine, observe

    def compute(self, schedule: Schedule, arrays: Sequence[Array]) -> Sequence[Array]:
        """As an engine does."""
        call = self._engine.start(schedule, _fitted(schedule, arrays), self._observe)
        results = self._engine.finish(call, self._observe)
        self.times += call.flight.times
        return results

    def forget(self, schedule: Schedule) -> None:
        """As an engine does."""
        self._engine.forget(schedule)


def _fitted(schedule: Schedule, arrays: Sequence[Array]) -> list[Array]:
    """The arrays dense, and of the very dtypes that the schedule names."""
    return [
        np.ascontiguousarray(array).view(dtype_named(spec.dtype)).reshape(array.shape)
        for spec, array in zip(schedule.inputs, arrays, strict=True)
    ]
