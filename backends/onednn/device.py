"""Runs oneDNN programs: primitives, weights in the library's layouts and scratch memory are made when one is loaded."""

from __future__ import annotations

import ctypes
import threading
import weakref
from ctypes import c_void_p

from heddle.backends.onednn.frames import OnednnFrame
from heddle.backends.onednn.library import library
from heddle.backends.onednn.loading import Loading
from heddle.backends.onednn.primitives import Form, form
from heddle.backends.onednn.program import from_json
from heddle.core.errors import ArtifactError
from heddle.core.runtime import teams
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import HOST_MEMORY, DeviceProperties, MemorySpace
from heddle.core.runtime.host import Frame, HostDevice, HostProgram


class OnednnProgram(HostProgram):
    """A loaded region, which is called as the host's code is; its frames hold what the library needs for one run.

    The library makes primitives for a number of threads: there is a form of the program for each number that calls
    have asked for. The first is made when the program is loaded.
    """

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        super().__init__(artifact)
        try:
            self.program = from_json(artifact.meta["program"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"onednn: the program is damaged: {error!r}; compile the model again") from None
        self.threads = self.program.threads if threads is None else threads
        self.shared = True  # by OpenMP, not by teams: frames are enlisted for a number of threads
        self.lib = library()
        names = {"execute": "dnnl_primitive_execute", "bind": "dnnl_memory_set_data_handle"}
        self.functions = {word: self.lib.address(name) for word, name in names.items()} | {
            word: ctypes.cast(getattr(self.lib, word), c_void_p).value or 0 for word in ("set_threads", "get_threads")
        }
        self.arrays = dict(zip(sorted(artifact.constants), self._placed, strict=True))
        self._loading = Loading(self.lib, self.program, self.arrays)
        self._finish = weakref.finalize(self, self.lib.destroy, self._loading.owned)
        self._making = threading.Lock()
        self.forms: dict[int, Form] = {}
        self._waiting: dict[int, list[OnednnFrame]] = {}
        self.form(self.threads)

    @property
    def of_helpers(self) -> int:
        """No scratch memory of the runtime's: the library's threads share that of the frame."""
        return 0

    def form(self, threads: int) -> Form:
        """The primitives for so many threads."""
        with self._making:
            if threads not in self.forms:
                self.forms[threads] = form(self._loading, threads)
                self._waiting[threads] = []
            return self.forms[threads]

    def enlist(self) -> OnednnFrame:
        """A frame for as many threads as are wanted; then `dismiss` it."""
        threads = teams.wanted() or self.threads
        try:
            return self._waiting[threads].pop()
        except (KeyError, IndexError):
            return OnednnFrame(self, self.form(threads))

    def dismiss(self, frame: Frame) -> None:
        assert isinstance(frame, OnednnFrame)
        self._waiting[frame.form.threads].append(frame)

    def close(self) -> None:
        self._waiting.clear()
        self._finish()


class OnednnDevice(HostDevice):
    """The processor, as oneDNN uses it; its memory is the process's own. UnavailableError without the library."""

    def __init__(self, threads: int | None = None) -> None:
        """`threads` work on each call of a program, as many as it was compiled for unless it is said here."""
        super().__init__(1 if threads is None else threads)
        self._given = threads
        library()

    def properties(self) -> DeviceProperties:
        return DeviceProperties("onednn", (MemorySpace(HOST_MEMORY, super().properties().memories[0].capacity),))

    def load(self, artifact: Artifact) -> OnednnProgram:
        return OnednnProgram(artifact, self._given)
