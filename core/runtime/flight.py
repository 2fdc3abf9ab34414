"""One call on its way through the devices: each step is a job of its device's queue when what it needs is there."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from heddle.core.errors import DeviceError
from heddle.core.runtime import teams
from heddle.core.runtime.device import Device, Event, Program, Transfer, host_buffer, transferring
from heddle.core.runtime.loaded import HOST, Action, At, Loaded, Run
from heddle.core.runtime.profile import StepTime
from heddle.core.runtime.queues import DeviceQueue, Job, Workers
from numpy.typing import NDArray

LOG = logging.getLogger("heddle")

_SERIAL = itertools.count()

Observer = Callable[[str, NDArray[Any]], None]


class _Ran(NamedTuple):
    """A step that has run, of which a `StepTime` is made only for who asks."""

    action: Action
    event: Event | None
    start: float
    wall: float
    fault: str | None
    copies: list[Transfer]


class Flight:
    """Starts when it is made. `wait` returns when every step is complete, or raises what went wrong.

    `run` holds the memory; the caller may use it again only when `settled` is true.
    """

    def __init__(
        self,
        loaded: Loaded,
        run: Run,
        queues: Mapping[str, DeviceQueue],
        workers: Workers,
        observe: Observer | None = None,
    ) -> None:
        self.loaded, self.run = loaded, run
        self._ran: list[_Ran] = []
        self._queues, self._observe = queues, observe
        self._serial = next(_SERIAL)
        self._threads = teams.wanted()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._missing = [len(action.needs) for action in loaded.actions]
        self._started: dict[int, float] = {}
        self._waiting: set[int] = set()
        self._error: Exception | None = None
        self.abandoned = False
        """Whether the watchdog gave up on a step that may still write to this flight's memory."""
        first = [index for index, missing in enumerate(self._missing) if missing == 0]
        self._under_way = len(first)
        if not first:
            self._done.set()
        workers.start(self._jobs(first))

    @property
    def settled(self) -> bool:
        """Whether no device touches this flight's memory any more."""
        return self._done.is_set() and not self.abandoned

    @property
    def times(self) -> list[StepTime]:
        """What each step took that has run."""
        return [_time(ran) for ran in self._ran]

    @property
    def faults(self) -> list[StepTime]:
        """Those steps that were made good on the host."""
        return [_time(ran) for ran in self._ran if ran.fault is not None]

    def wait(self, timeout: float | None) -> None:
        """Return when every step is complete. `timeout` is the most seconds that one step may run.

        DeviceError when a step fails or overruns; its device is then stuck until that step returns.
        """
        pause = timeout
        while not self._done.wait(pause):
            assert timeout is not None
            with self._lock:
                pause = self._overdue(timeout)
                if pause > 0:
                    continue
                self.abandoned = True
            break
        if self._error is not None:
            raise self._error

    def _overdue(self, timeout: float) -> float:
        """Seconds until the oldest step is overdue; 0 when it is or its device is stuck, and then the error is set."""
        index, start = min(self._started.items(), key=lambda item: item[1], default=(None, 0.0))
        if index is not None:
            left = start + timeout - time.monotonic()
            if left > 0:
                return left
            action, message = self.loaded.actions[index], f"no answer after {timeout:g} s"
            self._queues[action.queue].stuck = message
            self._error = noted(OverrunError(failure(action, f"{message}; a longer timeout may be set")), action)
            return 0.0
        for index in sorted(self._waiting):
            action = self.loaded.actions[index]
            stuck = self._queues[action.queue].stuck
            if stuck is not None:
                self._error = noted(OverrunError(failure(action, f"the device is stuck: {stuck}")), action)
                return 0.0
        return timeout

    def _jobs(self, indices: Sequence[int]) -> list[Job]:
        """The jobs of these steps, which are ready; those whose device is stuck go to the host, or fail."""
        with self._lock:
            self._waiting.update(indices)
        jobs = []
        for index in indices:
            action = self.loaded.actions[index]
            queue = self._queues[action.queue]
            use_fallback = queue.stuck is not None and action.fallback is not None
            chosen = self._queues["host"] if use_fallback else queue
            if chosen.stuck is not None:
                self._fail(action, DeviceError(f"the device is stuck: {chosen.stuck}"))
                self._leave(index)  # with an error nothing more becomes ready
            else:
                jobs.append(Job(chosen, (self._serial, index), partial(self._step, index, queue.stuck)))
        return jobs

    def _leave(self, index: int) -> list[int]:
        """Note that a step is over; the steps that are ready now."""
        ready = []
        with self._lock:
            self._started.pop(index, None)
            self._waiting.discard(index)
            if self._error is None:
                for reader in self.loaded.readers[index]:
                    self._missing[reader] -= 1
                    if self._missing[reader] == 0:
                        ready.append(reader)
            self._under_way += len(ready) - 1
            if self._under_way == 0:
                self._done.set()
        return ready

    def _fail(self, action: Action, error: Exception) -> None:
        raised = DeviceError(failure(action, str(error) or repr(error)))
        raised.__cause__ = error
        with self._lock:
            if self._error is None:
                self._error = noted(raised, action)

    def _step(self, index: int, stuck: str | None) -> list[Job]:
        """Run one step on its device, or on the host when that was stuck; the jobs that are ready after it."""
        action = self.loaded.actions[index]
        start, fault = time.monotonic(), stuck
        event: Event | None = None
        copies: list[Transfer] = []
        with self._lock:
            cancelled = self._error is not None
            self._started[index] = start
            self._waiting.discard(index)
        try:
            if not cancelled:
                with teams.using(self._threads) if self._threads is not None else nullcontext():
                    if stuck is None:
                        event, fault = self._on_device(action, copies)
                    else:
                        self._on_host(action)
                self._ran.append(_Ran(action, event, start, time.monotonic() - start, fault, copies))
                if self._observe is not None:
                    self._show(action, self._observe)
        except Exception as error:
            self._fail(action, error)
        return self._jobs(self._leave(index))

    def _on_device(self, action: Action, copies: list[Transfer]) -> tuple[Event | None, str | None]:
        try:
            return _submit(action, self.run, copies), None
        except Exception as error:
            if action.fallback is None or self.abandoned:
                raise
            LOG.warning("%s; the region runs again on the host", failure(action, str(error) or repr(error)))
            self._on_host(action)
            return None, str(error) or repr(error)

    def _on_host(self, action: Action) -> None:
        assert action.fallback is not None
        names = (*action.step.inputs, *action.step.outputs)
        _run(self.loaded.host, action.fallback, [self.run.buffers[At(name, HOST)] for name in names])

    def _show(self, action: Action, observe: Observer) -> None:
        """Give the observer a copy of each value that this step has bound and that lies dense."""
        for name, port in zip(action.step.outputs, action.step.artifact.signature.outputs, strict=True):
            if port.layout == "dense":
                at = next(at for at in action.buffers if at.value == name)
                dtype, shape = self.loaded.types[name]
                copy = np.empty(shape, dtype)
                if At(name, HOST) in self.run.buffers:
                    copy[...] = self.run.array(name)
                else:
                    action.device.copy(self.run.buffers[at], host_buffer(copy)).wait()
                observe(name, copy)


class OverrunError(DeviceError):
    """A step ran longer than the watchdog allows; what it writes to may still change."""


def _submit(action: Action, run: Run, copies: list[Transfer]) -> Event:
    if not action.fetch and not action.flush:
        event = _submitted(action, run, ())
        event.wait()
        return event
    where, ports = {at.value: at for at in action.buffers}, (*action.step.inputs, *action.step.outputs)
    fetched = []
    for name in action.fetch:
        near = run.buffers[At(name, HOST)]
        with transferring(copies, ports.index(name), near.nbytes):
            fetched.append(action.device.copy(near, run.buffers[where[name]]))
    event = _submitted(action, run, fetched)
    event.wait()
    for name in action.flush:
        near = run.buffers[At(name, HOST)]
        with transferring(copies, ports.index(name), near.nbytes):
            action.device.copy(run.buffers[where[name]], near, (event,)).wait()
    return event


def _submitted(action: Action, run: Run, fetched: Sequence[Event]) -> Event:
    event: Event | None = action.device.submit(action.program, [run.buffers[at] for at in action.buffers], fetched)
    if event is None:
        raise DeviceError("its submit returns no event; one whose work is done returns Finished()")
    return event


def _time(ran: _Ran) -> StepTime:
    step = ran.action.step
    return StepTime(
        step.name,
        step.artifact.backend,
        ran.action.queue,
        ran.start,
        ran.wall,
        getattr(ran.event, "modelled_seconds", None),
        getattr(ran.event, "counters", {}),
        step.artifact.nodes,
        ran.fault,
        (*step.inputs, *step.outputs),
        len(step.inputs),
        (*ran.copies, *getattr(ran.event, "transfers", ())),
    )


def _run(device: Device, program: Program, buffers: list[Any]) -> None:
    device.submit(program, buffers).wait()


def failure(action: Action, what: str) -> str:
    step = action.step
    return f"region {step.name!r} of backend {step.artifact.backend!r} on device {action.queue!r}: {what}"


def noted(error: Exception, action: Action) -> Exception:
    """The same error with the ONNX nodes that the region computes in its notes."""
    if action.step.artifact.nodes:
        error.add_note(f"the region computes the ONNX nodes {', '.join(action.step.artifact.nodes)}")
    return error
