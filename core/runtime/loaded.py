"""A schedule whose artifacts are loaded on devices: where each value lies, who copies what, who waits for whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact, Port
from heddle.core.runtime.device import HOST_MEMORY, Buffer, Device, Program, host_buffer
from heddle.core.runtime.overlay import before, disjoint, overlay
from heddle.core.runtime.schedule import Schedule, Step, check
from heddle.core.runtime.storage import aligned
from numpy.typing import NDArray


class Place(NamedTuple):
    """A memory in which a value lies: that of the process, or one of a device."""

    device: str
    memory: str


HOST = Place("", HOST_MEMORY)


class At(NamedTuple):
    """A value in one of its places."""

    value: str
    place: Place


@dataclass(frozen=True)
class Action:
    """A step made ready: what to copy to the device, what to run over which buffers, what to copy back."""

    step: Step
    device: Device
    program: Program
    fallback: Program | None
    fetch: tuple[str, ...]
    buffers: tuple[At, ...]
    flush: tuple[str, ...]
    needs: tuple[int, ...]

    @property
    def queue(self) -> str:
        """The device in whose order this runs."""
        return self.step.artifact.device


class Loaded:
    """A schedule on its devices. `run()` gives the memory of one call; give it back with `recycle`."""

    def __init__(self, schedule: Schedule, device: Callable[[str], Device]) -> None:
        self.schedule = check(schedule)
        self.types = {name: (dtype_named(dtype), shape) for name, (dtype, shape) in schedule.types.items()}
        self.producer = {name: i for i, step in enumerate(schedule.steps) for name in step.outputs}
        self.actions = self._actions(device)
        self.readers: list[list[int]] = [[] for _ in self.actions]
        for index, action in enumerate(self.actions):
            for needed in action.needs:
                self.readers[needed].append(index)
        self.host = device("host")
        self.devices = {action.queue: action.device for action in self.actions}
        self._plan_memory()
        self._runs: list[Run] = []

    def nbytes(self, value: str) -> int:
        dtype, shape = self.types[value]
        return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize

    # -- what each step does ------------------------------------------------------------------------------------

    def _actions(self, device: Callable[[str], Device]) -> list[Action]:
        steps = self.schedule.steps
        places = [self._places(step, device(step.artifact.device)) for step in steps]
        read_at = {
            At(name, place)
            for step, (inputs, _) in zip(steps, places, strict=True)
            for name, place in zip(step.inputs, inputs, strict=True)
        }
        self.at_home = set(self.schedule.results) | {name for name, place in read_at if place == HOST}
        self.at_home |= {name for step in steps if step.fallback for name in (*step.inputs, *step.outputs)}
        made_at = {
            name: place
            for step, (_, outputs) in zip(steps, places, strict=True)
            for name, place in zip(step.outputs, outputs, strict=True)
        }
        self.at_home |= {name for name, place in read_at if place != made_at.get(name, HOST)}
        actions = []
        fetched: dict[At, int] = {}
        for index, (step, (inputs, outputs)) in enumerate(zip(steps, places, strict=True)):
            needs = {self.producer[name] for name in step.inputs if name in self.producer}
            fetch = []
            for name, place in zip(step.inputs, inputs, strict=True):
                if place == HOST or (made_at.get(name) == place and not self._survives(name)) or name in fetch:
                    continue
                # One copy serves all readers; with fallbacks each makes its own, since the first may have failed.
                if At(name, place) in fetched and step.fallback is None:
                    needs.add(fetched[At(name, place)])
                    continue
                fetch.append(name)
                fetched[At(name, place)] = index
            flush = [
                name
                for name, place in zip(step.outputs, outputs, strict=True)
                if place != HOST and name in self.at_home
            ]
            opened = device(step.artifact.device)
            actions.append(
                Action(
                    step,
                    opened,
                    self._load(opened, step.artifact, step),
                    self._load(device("host"), step.fallback, step) if step.fallback else None,
                    tuple(fetch),
                    tuple(map(At, (*step.inputs, *step.outputs), (*inputs, *outputs))),
                    tuple(flush),
                    tuple(sorted(needs)),
                )
            )
        return actions

    def _survives(self, name: str) -> bool:
        """Whether a fault of the step that binds this value is survived, so that only its host copy is certain."""
        return name in self.producer and self.schedule.steps[self.producer[name]].fallback is not None

    def _load(self, device: Device, artifact: Artifact, step: Step) -> Program:
        try:
            return device.load(artifact)
        except ArtifactError as error:
            error.add_note(f"while region {step.name!r} was loaded")
            raise

    def _places(self, step: Step, device: Device) -> tuple[list[Place], list[Place]]:
        known = {memory.name for memory in device.properties().memories} | {HOST_MEMORY}
        where = f"region {step.name!r} of backend {step.artifact.backend!r}"

        def place(name: str, port: Port) -> Place:
            if port.memory not in known:
                raise ArtifactError(
                    f"{where}: port {port.name!r} lies in {port.memory!r}, device {step.artifact.device!r} has"
                    f" {', '.join(sorted(known))}"
                )
            return HOST if port.memory == HOST_MEMORY else Place(step.artifact.device, port.memory)

        signature = step.artifact.signature
        inputs = list(map(place, step.inputs, signature.inputs))
        outputs = list(map(place, step.outputs, signature.outputs))
        for name, port in zip((*step.inputs, *step.outputs), (*signature.inputs, *signature.outputs), strict=True):
            if port.layout != "dense" and not self._private(step, name, port):
                raise ArtifactError(
                    f"{where}: port {port.name!r} has the layout {port.layout!r} where the other side of the edge is"
                    " dense; both sides must declare the same layout and memory"
                )
        return inputs, outputs

    def _private(self, step: Step, name: str, port: Port) -> bool:
        """Whether all that touch a value agree with this port on layout, memory and device, and nobody else sees it."""
        if name in self.schedule.results or name not in self.producer or step.fallback is not None:
            return False
        for other in self.schedule.steps:
            names = (*other.inputs, *other.outputs)
            ports = (*other.artifact.signature.inputs, *other.artifact.signature.outputs)
            for its_name, its_port in zip(names, ports, strict=True):
                if its_name == name and (
                    (its_port.layout, its_port.memory) != (port.layout, port.memory)
                    or other.artifact.device != step.artifact.device
                ):
                    return False
        return True

    # -- where each value lies ----------------------------------------------------------------------------------

    def _plan_memory(self) -> None:
        """Offsets in one arena for values in host memory; shared buffers for those in a device's memory."""
        touched: dict[At, list[int]] = {}
        for index, action in enumerate(self.actions):
            for at in action.buffers:
                touched.setdefault(at, []).append(index)
                if at.value in self.at_home or at.place == HOST:
                    touched.setdefault(At(at.value, HOST), []).append(index)
        done = before([action.needs for action in self.actions])
        outside = {spec.name for spec in self.schedule.inputs} | set(self.schedule.constants)
        outside |= set(self.schedule.results)
        self.inside = [at.value for at in touched if at.place == HOST and at.value not in outside]
        lives = [touched[At(name, HOST)] for name in self.inside]
        self.offsets, self.arena = overlay([self.nbytes(name) for name in self.inside], lives, done)
        self.slots: list[tuple[Place, int]] = []
        self.slot: dict[At, int] = {}
        users: list[list[At]] = []
        for at in (at for at in touched if at.place != HOST):
            size = self.nbytes(at.value)
            for slot, sharers in enumerate(users):
                if self.slots[slot] == (at.place, size) and all(
                    disjoint(touched[at], touched[other], done) for other in sharers
                ):
                    break
            else:
                slot = len(users)
                users.append([])
                self.slots.append((at.place, size))
            users[slot].append(at)
            self.slot[at] = slot

    def run(self) -> Run:
        """The memory of one call that no other call uses."""
        try:
            return self._runs.pop()
        except IndexError:
            return Run(self)

    def recycle(self, run: Run) -> None:
        self._runs.append(run)

    def close(self) -> None:
        """Give back the memory of all runs, and the programs."""
        while self._runs:
            self._runs.pop().free()
        for action in self.actions:
            action.program.close()
            if action.fallback is not None:
                action.fallback.close()


class Run:
    """The buffers of one call, by value and place; those of inputs and outputs are set at each call."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        arena = aligned(loaded.arena)
        self.buffers: dict[At, Buffer] = {}
        for name, offset in zip(loaded.inside, loaded.offsets, strict=True):
            size = loaded.nbytes(name)
            self.buffers[At(name, HOST)] = Buffer(HOST_MEMORY, size, array=arena[offset : offset + size])
        for name, array in loaded.schedule.constants.items():
            self.buffers[At(name, HOST)] = host_buffer(np.ascontiguousarray(array))
        self._slots: list[Buffer] = []
        try:
            for place, size in loaded.slots:
                self._slots.append(loaded.devices[place.device].allocate(size, place.memory))
        except BaseException:
            self.free()
            raise
        for at, slot in loaded.slot.items():
            self.buffers[at] = self._slots[slot]

    def bind(self, name: str, array: NDArray[Any]) -> None:
        """Let a value lie in this dense array for the next call."""
        self.buffers[At(name, HOST)] = host_buffer(array)

    def array(self, name: str) -> NDArray[Any]:
        """The value as it lies in host memory now."""
        dtype, shape = self._loaded.types[name]
        raw = self.buffers[At(name, HOST)].array
        assert raw is not None
        return raw.view(dtype).reshape(shape)

    def free(self) -> None:
        for (place, _), buffer in zip(self._loaded.slots, self._slots, strict=False):
            self._loaded.devices[place.device].free(buffer)
        self._slots.clear()
