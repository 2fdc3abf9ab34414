"""The host as a device: runs shared objects in this process, by the interface in `abi`."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache

import numpy as np
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime import abi, cpu, teams
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import (
    HOST_MEMORY,
    Buffer,
    Device,
    DeviceProperties,
    Event,
    Finished,
    MemorySpace,
    host_buffer,
)
from heddle.core.runtime.loader import load_shared, symbol
from heddle.core.runtime.storage import aligned, placed
from heddle.core.runtime.symbols import constants_of

WORKSPACE_ALIGNMENT = 4096

_WORKSPACE, _TEAM, _HEAD = 0, 1, 2  # a frame's words before its pointers

_DONE = Finished()


class Frame:
    """What one running call of a program needs for itself: a table of pointers, scratch memory, and who helps with it.

    `table` is the frame that `abi` describes; its team is null for a call that its own thread does alone. `words` are
    the same for ctypes, and `tables` are where the pointers to inputs and to outputs begin in it.
    """

    __slots__ = ("helpers", "scratch", "table", "tables", "threads", "words")

    def __init__(self, artifact: Artifact, threads: int = 1, room: int = 0) -> None:
        """`room` is the scratch memory of each thread beside the caller's."""
        pointers = len(artifact.signature.inputs) + len(artifact.signature.outputs)
        self.scratch = aligned(artifact.workspace + (threads - 1) * room, WORKSPACE_ALIGNMENT)
        self.table = np.zeros(_HEAD + pointers, np.uint64)
        self.words = (ctypes.c_uint64 * self.table.size).from_buffer(self.table.data)
        first = self.table.ctypes.data + _HEAD * self.table.itemsize
        self.tables = (first, first + len(artifact.signature.inputs) * self.table.itemsize)
        self.table[_WORKSPACE] = self.scratch.ctypes.data
        self.threads = threads
        self.helpers: teams.Team | None = None

    def engage(self, helpers: teams.Team | None) -> None:
        """Let these help with the next run, or nobody."""
        self.helpers = helpers
        self.table[_TEAM] = (helpers.address.value or 0) if helpers is not None else 0


class HostProgram:
    """A shared object with its constants in place; frames are leased, so that several threads may run it at once.

    `threads` is how many work on one call, unless the call is made within `teams.using`; `shared` whether there is
    anything in the code that more than one can work on.
    """

    def __init__(self, artifact: Artifact, threads: int = 1) -> None:
        if reason := unfit(artifact):
            raise ArtifactError(f"{artifact.backend}: {reason}")
        self._artifact = artifact
        self.threads = threads
        self.library = load_shared(artifact.code, artifact.backend)
        self.function = symbol(self.library, abi.ENTRY)
        self.function.restype = ctypes.c_int32  # type: ignore[attr-defined] # what ctypes calls a function
        self.function.argtypes = (ctypes.c_void_p,) * 6  # type: ignore[attr-defined] # likewise
        constants = constants_of(artifact)
        self._placed = [placed(constants[name]) for name in sorted(constants)]
        self.constants = (ctypes.c_void_p * max(1, len(self._placed)))(
            *(host_buffer(array).address for array in self._placed)
        )
        self.services = _services()
        self.frames: list[Frame] = []
        described = artifact.meta.get("team")
        self.shared = isinstance(described, dict) and described.get("version") == abi.TEAM_VERSION
        if self.shared:
            self._help = symbol(self.library, abi.HELP)
            self._help.restype = None  # type: ignore[attr-defined] # what ctypes calls a function
            self._room = int(described["scratch"])  # type: ignore[index,call-overload,arg-type] # a dict, as was found
            self._frames: dict[int, list[Frame]] = {}

    @property
    def artifact(self) -> Artifact:
        return self._artifact

    @property
    def of_helpers(self) -> int:
        """The bytes of scratch memory of the threads beside the caller's."""
        return (self.threads - 1) * self._room if self.shared else 0

    def address(self, name: str) -> int | None:
        """Where a function of the code is that it may but need not export."""
        return ctypes.cast(self.library[name], ctypes.c_void_p).value if hasattr(self.library, name) else None

    def lease(self) -> Frame:
        """A frame that no running call uses; put it back into `frames` afterwards."""
        try:
            return self.frames.pop()
        except IndexError:
            return Frame(self._artifact)

    def enlist(self) -> Frame:
        """A frame for a call of shared code, with as many helpers as are wanted and to be had; then `dismiss` it."""
        threads = teams.wanted() or self.threads
        helpers = teams.take(threads, self._help, ctypes.addressof(self.services)) if threads > 1 else None
        threads = threads if helpers is not None else 1
        try:
            frame = self._frames[threads].pop()
        except (KeyError, IndexError):
            self._frames.setdefault(threads, [])
            frame = Frame(self._artifact, threads, self._room)
        if helpers is not None:
            frame.engage(helpers)
        return frame

    def dismiss(self, frame: Frame) -> None:
        """Take a frame back, and let its helpers go."""
        if frame.helpers is not None:
            teams.give(frame.helpers)
            frame.engage(None)
        self._frames[frame.threads].append(frame)

    def call(self, addresses: Sequence[int]) -> None:
        """Run over inputs, then outputs, at these addresses; DeviceError with the code's own message of a fault."""
        frame = self.enlist() if self.shared else self.lease()
        try:
            frame.words[_HEAD:] = [*addresses]
            workspace, team = frame.words[:_HEAD]
            status = self.function(*frame.tables, self.constants, workspace, self.services, team)
        finally:
            if self.shared:
                self.dismiss(frame)
            else:
                self.frames.append(frame)
        if status:
            raise DeviceError(self.fault(status))

    def fault(self, status: int) -> str:
        """The message of a fault's number."""
        faults = self._artifact.meta.get("faults")
        if isinstance(faults, list) and 0 < status <= len(faults):
            return str(faults[status - 1])
        return f"the code reports fault {status}, which its artifact does not explain"

    def close(self) -> None:
        self.frames.clear()
        if self.shared:
            self._frames.clear()


class HostDevice(Device):
    """The processor that this process runs on; its memory is the process's own."""

    def __init__(self, threads: int = 1) -> None:
        """`threads` work on each call of a program, as far as it is worth their while; results do not depend on it."""
        self.threads = teams.check(threads)

    def properties(self) -> DeviceProperties:
        return DeviceProperties("host", (MemorySpace(HOST_MEMORY, _physical_memory()),))

    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        if memory not in (None, HOST_MEMORY):
            raise DeviceError(f"host: there is no memory {memory!r}, the only one is {HOST_MEMORY!r}")
        try:
            return Buffer(HOST_MEMORY, nbytes, array=aligned(nbytes))
        except MemoryError:
            raise DeviceError(f"host: {nbytes} bytes of memory are not to be had") from None

    def free(self, buffer: Buffer) -> None:
        """Host memory is given back when its buffer is collected."""

    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        _wait(after)
        if source.array is None or target.array is None:
            raise DeviceError(f"host: cannot copy {source.memory!r} to {target.memory!r}, both must be host memory")
        if source.nbytes > target.nbytes:
            raise DeviceError(f"host: a copy of {source.nbytes} bytes does not fit a buffer of {target.nbytes}")
        target.array[: source.nbytes] = source.array
        return Finished()

    def load(self, artifact: Artifact) -> HostProgram:
        return HostProgram(artifact, self.threads)

    def submit(self, program: object, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        if not isinstance(program, HostProgram):
            raise DeviceError(f"host: cannot run a {type(program).__name__}, which another device has loaded")
        signature = program.artifact.signature
        if len(buffers) != len(signature.inputs) + len(signature.outputs):
            raise DeviceError(
                f"host: {len(buffers)} buffers were given to a program of {len(signature.inputs)} inputs"
                f" and {len(signature.outputs)} outputs"
            )
        addresses = [buffer.address for buffer in buffers]
        _wait(after)
        try:
            program.call(addresses)
        except DeviceError as error:
            return Finished(error)
        return _DONE

    def close(self) -> None:
        """Programs are unloaded when they are collected."""


def unfit(artifact: Artifact) -> str:
    """Why this machine cannot run an artifact's code; empty if it can."""
    wanted = artifact.meta.get("machine")
    if wanted is not None and wanted != cpu.machine():
        return f"the code is for {wanted}, this machine is {cpu.machine()}; compile the model here"
    features = artifact.meta.get("features")
    lacking = cpu.missing(map(str, features)) if isinstance(features, list) else []
    if lacking:
        lacks = f"the code needs {', '.join(lacking)}, which this processor lacks"
        return f"{lacks}; compile it on this machine or for an older one"
    if isinstance(features, list) and "amx-tile" in features and not cpu.permits_tiles():
        refused = "the code needs matrix tiles, and the kernel does not let this process use them"
        return f"{refused}; compile it for avx512"
    return ""


def _wait(events: Sequence[Event]) -> None:
    for event in events:
        event.wait()


@cache
def _services() -> ctypes.Array[ctypes.c_void_p]:
    library = ctypes.CDLL(None)
    if not hasattr(library, "erff"):
        library = ctypes.CDLL("libm.so.6")
    addresses = [ctypes.cast(library[name], ctypes.c_void_p).value for name in abi.SERVICES]
    return (ctypes.c_void_p * len(addresses))(*addresses)


@cache
def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return int(np.iinfo(np.int64).max)
