"""A program on the GPU: its kernels loaded, its constants placed, its plans built; run step by step or as a graph."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Sequence
from ctypes import c_uint64, c_void_p
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from heddle.backends.cudnn.context import Context, GpuEvent
from heddle.backends.cudnn.driver import THREAD_LOCAL_CAPTURE
from heddle.backends.cudnn.program import Launch, Place, Plan, Product, Step, from_bytes
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.artifact import Artifact

ALIGNMENT = 256
MOST_GRAPHS = 8
"""Recorded runs that are kept, one for each set of addresses; the one that was not used for longest goes."""


class Ready(Protocol):
    """A plan or product that a library is ready to run."""

    workspace: int
    """Bytes of scratch memory that a run needs."""

    def run(self, addresses: Sequence[int], workspace: int) -> None:
        """Begin the work on the stream that the library was opened with."""
        ...


class Library(Protocol):
    """What runs plans and products; opened for a context's compute stream."""

    def ready(self, what: Plan | Product) -> Ready:
        """Make a plan or product ready; DeviceError where the library has no way to run it."""
        ...

    def close(self) -> None: ...


@dataclass(eq=False)
class Action:
    """A step made ready: a kernel with its table of arguments, or what a library runs."""

    step: Step
    function: int = 0
    ready: Ready | None = None


class LoadedProgram:
    """A region that is ready to run. Runs are in order on one stream, so that they share the workspace."""

    def __init__(self, context: Context, library: Library, artifact: Artifact, graphs: bool = True) -> None:
        try:
            self.program = from_bytes(artifact.code)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"cudnn: the code is damaged: {error}; compile the model again") from None
        self._artifact, self._context, self._graphs = artifact, context, graphs
        facts = context.facts
        if self.program.capability > facts.capability:
            raise ArtifactError(
                f"cudnn: the code is for compute capability {self.program.capability / 10}, {facts.name} has"
                f" {facts.capability / 10}; compile with --set cudnn.device=sm_{facts.capability}"
            )
        self._blocks: list[int] = []
        self._module = 0
        self._recorded: OrderedDict[tuple[int, ...], int | None] = OrderedDict()
        context.enter()
        try:
            self._constants = self._place_constants()
            if self.program.ptx:
                self._module = context.driver.make("cuModuleLoadData", self.program.ptx.encode() + b"\0")
            self._actions = [self._action(step, library) for step in self.program.steps]
            scratch = max((action.ready.workspace for action in self._actions if action.ready), default=0)
            own = -(-artifact.workspace // ALIGNMENT) * ALIGNMENT
            self._workspace = self._block(own + scratch)
            self._scratch = self._workspace + own
        except BaseException:
            self.close()
            raise

    @property
    def artifact(self) -> Artifact:
        return self._artifact

    def _block(self, nbytes: int) -> int:
        self._blocks.append(self._context.memory.take(nbytes))
        return self._blocks[-1]

    def _place_constants(self) -> dict[str, int]:
        """Where each constant lies, in one block."""
        offsets, total = {}, 0
        for name, array in sorted(self._artifact.constants.items()):
            offsets[name] = total
            total += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        start = self._block(total) if total else 0
        for name, offset in offsets.items():
            array = np.ascontiguousarray(self._artifact.constants[name])
            self._context.upload(array.reshape(-1).view(np.uint8), start + offset).wait()
        return {name: start + offset for name, offset in offsets.items()}

    def _action(self, step: Step, library: Library) -> Action:
        if isinstance(step.what, Launch):
            name = step.what.kernel.encode()
            return Action(step, self._context.driver.make("cuModuleGetFunction", self._module, name))
        try:
            return Action(step, ready=library.ready(step.what))
        except DeviceError as error:
            error.add_note(f"while {step.node or step.what} was made ready")
            raise

    # -- running -----------------------------------------------------------------------------------------------------

    def run(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> GpuEvent:
        """Begin a run over these addresses; the event raises the fault that the code reports, if it does."""
        context = self._context
        driver, stream = context.driver, context.compute
        with context.lock:
            if self.program.faults:
                driver.call("cuMemsetD32Async", self._workspace, 0, 1, stream)
            begin = self._replay if self._graphs else self._issue
            begin(inputs, outputs)
            if not self.program.faults:
                return context.record(stream)
            word = context.pinned.take(4)
            driver.call("cuMemcpyDtoHAsync_v2", word, self._workspace, 4, stream)
            return context.record(stream, lambda: self._look(word))

    def _look(self, word: int) -> None:
        """Raise the fault whose number came back."""
        number = ctypes.c_int32.from_address(word).value
        self._context.pinned.give(word)
        if number:
            raise DeviceError(self.program.faults[number - 1])

    def _replay(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """The first run over some addresses is issued step by step, the second recorded, and from then on replayed."""
        key = (*inputs, *outputs)
        if key not in self._recorded:
            self._issue(inputs, outputs)
            self._keep(key, None)
            return
        recorded = self._recorded[key]
        if recorded is None:
            recorded = self._record(inputs, outputs)
            self._keep(key, recorded)
        self._recorded.move_to_end(key)
        self._context.driver.call("cuGraphLaunch", recorded, self._context.compute)

    def _keep(self, key: tuple[int, ...], recorded: int | None) -> None:
        self._recorded[key] = recorded
        while len(self._recorded) > MOST_GRAPHS:
            _, oldest = self._recorded.popitem(last=False)
            self._forget(oldest)

    def _forget(self, recorded: int | None) -> None:
        if recorded is not None:
            self._context.driver.status("cuStreamSynchronize", self._context.compute)
            self._context.driver.status("cuGraphExecDestroy", recorded)

    def _record(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
        """The steps over these addresses as one graph of the driver's."""
        driver, stream = self._context.driver, self._context.compute
        driver.call("cuStreamBeginCapture_v2", stream, THREAD_LOCAL_CAPTURE)
        try:
            self._issue(inputs, outputs)
        finally:
            graph = c_void_p()
            status = driver.status("cuStreamEndCapture", stream, ctypes.byref(graph))
        if status:
            raise driver.failure("cuStreamEndCapture", status)
        try:
            return driver.make("cuGraphInstantiateWithFlags", graph, 0)
        finally:
            driver.call("cuGraphDestroy", graph)

    def _issue(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        for action in self._actions:
            addresses = [self._address(place, inputs, outputs) for place in action.step.arguments]
            if action.ready is not None:
                action.ready.run(addresses, self._scratch)
            else:
                self._launch(action, addresses)

    def _address(self, place: Place, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
        match place.kind:
            case "inputs":
                return inputs[int(place.at)]
            case "outputs":
                return outputs[int(place.at)]
            case "constants":
                return self._constants[str(place.at)]
            case _:
                return self._workspace + int(place.at)

    def _launch(self, action: Action, addresses: list[int]) -> None:
        """A kernel's first argument is where it writes a fault down."""
        what = action.step.what
        assert isinstance(what, Launch)
        values = [c_uint64(address) for address in (self._workspace, *addresses)]
        table = (c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        size = (what.blocks, 1, 1, what.threads, 1, 1, 0)
        self._context.driver.call("cuLaunchKernel", action.function, *size, self._context.compute, table, None)

    def close(self) -> None:
        """Give back memory, graphs and kernels, when the last run is complete."""
        context, driver = self._context, self._context.driver
        with context.lock:
            driver.status("cuCtxSetCurrent", context.handle)
            driver.status("cuStreamSynchronize", context.compute)
            while self._recorded:
                self._forget(self._recorded.popitem()[1])
            if self._module:
                driver.status("cuModuleUnload", self._module)
                self._module = 0
            while self._blocks:
                context.memory.give(self._blocks.pop())
