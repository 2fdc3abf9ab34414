"""Runs a device in a process of its own, so that a hang or a crash in native code ends there and not here."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heddle.core.errors import DeviceError, HeddleError
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.calling import CallingDevice
from heddle.core.runtime.device import Device, DeviceProperties, Event, host_buffer
from heddle.core.runtime.devices import open_device


class IsolatedDevice(CallingDevice):
    """Another device in a child process, which is ended when it does not answer within `timeout` seconds.

    Give it to `heddle.compile(..., devices={"mine": IsolatedDevice("mine")})`. After a hang or a crash the run fails
    with a DeviceError that names the device, and the next run starts a fresh process. Arrays are copied to and fro.
    """

    def __init__(self, device: str | type[Device], options: Mapping[str, Any] | None = None, timeout: float = 60.0):
        self.device, self.options, self.timeout = device, dict(options or {}), timeout
        self.label = device if isinstance(device, str) else str(getattr(device, "name", device.__name__))
        self._lock = threading.Lock()
        self._child: Any = None
        self._pipe: Connection | None = None
        self._loaded: set[int] = set()
        self._count = 0

    def properties(self) -> DeviceProperties:
        return DeviceProperties(self.label, super().properties().memories)

    def prepare(self, artifact: Artifact) -> tuple[int, Artifact]:
        """The artifact under a number that no other has; loaded in the child at once, and again after a restart."""
        with self._lock:
            self._count += 1
            made = (self._count, artifact)
            self._ensure(made)
            return made

    def call(self, made: Any, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
        number, _ = made
        with self._lock:
            self._ensure(made)
            shapes = [(array.shape, array.dtype) for array in outputs]
            results = self._ask(("run", number, [np.ascontiguousarray(array) for array in inputs], shapes))
            for target, result in zip(outputs, results, strict=True):
                target[...] = result

    def close(self) -> None:
        with self._lock:
            self._end()

    @property
    def alive(self) -> bool:
        """Whether the child process runs."""
        return self._child is not None and self._child.is_alive()

    def _ensure(self, made: tuple[int, Artifact]) -> None:
        if not self.alive:
            self._start()
        if made[0] not in self._loaded:
            self._ask(("load", *made))
            self._loaded.add(made[0])

    def _start(self) -> None:
        self._end()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs, self.device, self.options), daemon=True)
        self._child.start()
        theirs.close()
        self._ask(("ready",))

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join()
        if self._pipe is not None:
            self._pipe.close()
        self._child, self._pipe = None, None
        self._loaded.clear()

    def _ask(self, request: tuple[Any, ...]) -> Any:
        assert self._pipe is not None
        try:
            self._pipe.send(request)
            if not self._pipe.poll(self.timeout):
                self._end()
                raise DeviceError(
                    f"device {self.label!r}: no answer within {self.timeout:g} s; its process was ended, "
                    "the next run starts a fresh one"
                )
            good, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._child.join(1)
            code = self._child.exitcode
            self._end()
            raise DeviceError(
                f"device {self.label!r}: its process crashed (exit code {code}); the next run starts a fresh one"
            ) from error
        if not good:
            raise DeviceError(f"device {self.label!r}: {answer}")
        return answer


def _serve(pipe: Connection, device: str | type[Device], options: Mapping[str, Any]) -> None:
    """The child: opens the device, and does what it is asked until the pipe closes."""
    opened: Device | None = None
    programs: dict[int, Any] = {}
    while True:
        try:
            what, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            if opened is None:
                opened = open_device(device, options) if isinstance(device, str) else device(**options)
            if what == "load":
                number, artifact = arguments
                programs[number] = opened.load(artifact)
                pipe.send((True, None))
            elif what == "run":
                number, inputs, shapes = arguments
                pipe.send((True, _run(opened, programs[number], inputs, shapes)))
            else:
                pipe.send((True, None))
        except Exception as error:
            pipe.send((False, str(error) if isinstance(error, HeddleError) else f"{type(error).__name__}: {error}"))


def _run(device: Device, program: Any, inputs: Sequence[NDArray[Any]], shapes: Sequence[Any]) -> list[NDArray[Any]]:
    """One run on a device, with whatever copies its memory wants."""
    signature = program.artifact.signature
    outputs = [np.empty(shape, dtype) for shape, dtype in shapes]
    arrays = [*inputs, *outputs]
    ports = (*signature.inputs, *signature.outputs)
    near = [host_buffer(array) for array in arrays]
    far = [
        buffer if port.memory == "host" else device.allocate(buffer.nbytes, port.memory)
        for buffer, port in zip(near, ports, strict=True)
    ]
    events: list[Event] = []
    for here, there in zip(near[: len(inputs)], far, strict=False):
        if here is not there:
            events.append(device.copy(here, there))
    device.submit(program, far, events).wait()
    for here, there in zip(near[len(inputs) :], far[len(inputs) :], strict=True):
        if here is not there:
            device.copy(there, here).wait()
    for here, there in zip(near, far, strict=True):
        if here is not there:
            device.free(there)
    return outputs
