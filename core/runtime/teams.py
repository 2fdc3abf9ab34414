"""Teams of threads that help with the host's programs: made when first wanted, kept, lent to one call at a time.

A helper is a thread of Python that spends its life in compiled code (see `abi`), without the interpreter's lock: it
sleeps there while there is nothing to do, and ends with the process. However many calls there are at once, no more
helpers are kept than the process has processors beside the caller's, unless one call alone asks for more; a call that
gets no team is done by its own thread, with the same result.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from heddle.core.errors import DeviceError
from heddle.core.runtime import abi
from heddle.core.runtime.storage import aligned

Help = Callable[[ctypes.c_void_p, int], None]


class Team:
    """So many threads, the caller's included. `address` is what compiled code takes."""

    def __init__(self, threads: int, help_: Help, services: int) -> None:
        """RuntimeError when the system gives no more threads."""
        self.threads = threads
        self._memory = aligned(abi.TEAM_BYTES, 128)
        self._memory[:] = 0
        self._memory[abi.TEAM_THREADS :][:4].view(np.int32)[0] = threads
        self._memory[abi.TEAM_SERVICES :][:8].view(np.int64)[0] = services
        self.address = ctypes.c_void_p(self._memory.ctypes.data)
        for lane in range(1, threads):
            # The thread holds the memory, and the code that it runs through `help_`.
            run, name = self._work, f"heddle-helper-{threads}.{lane}"
            threading.Thread(target=run, args=(help_, lane), name=name, daemon=True).start()

    def _work(self, help_: Help, lane: int) -> None:
        help_(self.address, lane)


class _Pool:
    """The teams of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[int, list[Team]] = {}
        self._helpers = 0

    def take(self, threads: int, help_: Help, services: int) -> Team | None:
        """A team that nobody uses, or None when there are helpers enough at work."""
        try:
            return self._idle[threads].pop()
        except (KeyError, IndexError):
            pass
        with self._lock:
            wanted = threads - 1
            if self._helpers + wanted > max(processors() - 1, wanted):
                return None
            try:
                team = Team(threads, help_, services)
            except RuntimeError:
                return None
            self._helpers += wanted
            self._idle.setdefault(threads, [])
            return team

    def give(self, team: Team) -> None:
        self._idle[team.threads].append(team)


_pool = _Pool()


def take(threads: int, help_: Help, services: int) -> Team | None:
    """A team of so many threads for one call, to be given back after it; None when the call is to be done alone."""
    return _pool.take(threads, help_, services)


_wanted: ContextVar[int | None] = ContextVar("threads", default=None)


def wanted() -> int | None:
    """How many threads calls that are made here and now are to use; None where nobody has said it."""
    return _wanted.get()


@contextmanager
def using(threads: int | None) -> Iterator[None]:
    """Within, each call of an executable by this thread is done by so many threads, whatever it was loaded with.

    None leaves that to each executable.

    >>> with using(2):
    ...     wanted()
    2
    """
    token = _wanted.set(None if threads is None else check(threads))
    try:
        yield
    finally:
        _wanted.reset(token)


def give(team: Team) -> None:
    """Give a team back."""
    _pool.give(team)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check(threads: int) -> int:
    """The same number, when it is one of threads; DeviceError else."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST:
        raise DeviceError(f"host: threads is {threads!r}, a number from 1 to {MOST} is expected")
    return threads


MOST = 128
"""The most threads of one call."""


def _forget() -> None:
    """In a process made by fork there are no helpers: it makes its own."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
