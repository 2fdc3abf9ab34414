"""The order of each device's jobs, and the threads that run them.

A thread that has run a job goes on with what became ready by it, where that one's device is free: a call that goes from
device to device stays in one thread, and a second thread works only where two devices do at once.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from queue import SimpleQueue

from heddle.core.errors import DeviceError


class DeviceQueue:
    """Lets one job at a time on a device; of those that wait, the one with the lowest rank comes next."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stuck: str | None = None
        """What the watchdog saw when it gave up on the job that runs; None again as soon as that job returns."""
        self._waiting: list[Job] = []
        self._busy = False
        self._lock = threading.Lock()

    def admit(self, job: Job) -> bool:
        """Whether the device is free and this job has it from now on; else the job waits for its turn."""
        with self._lock:
            if self._busy:
                heapq.heappush(self._waiting, job)
                return False
            self._busy = True
            return True

    def release(self) -> Job | None:
        """The job that has the device after the one that has it now; None when none waits, and the device is free."""
        self.stuck = None
        with self._lock:
            if self._waiting:
                return heapq.heappop(self._waiting)
            self._busy = False
            return None


@dataclass(frozen=True, eq=False, slots=True)
class Job:
    """Something to run on a device. `run` returns the jobs that became ready by it, and must not raise."""

    queue: DeviceQueue
    rank: tuple[int, int]
    run: Callable[[], Sequence[Job]]

    def __lt__(self, other: Job) -> bool:
        return self.rank < other.rank


class Workers:
    """Threads that run jobs, made when all that there are have work; no more than there are devices.

    That many are enough: a thread that holds no device is on its way to take the next job that is handed over.
    """

    def __init__(self, devices: Sized) -> None:
        self._devices = devices
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._handed: SimpleQueue[Job | None] = SimpleQueue()
        self._process, self._count = os.getpid(), 0
        self._spare = 0  # threads that have nothing to do, less the jobs that were handed over and not taken yet

    def start(self, jobs: Sequence[Job]) -> None:
        """Let jobs run, each when its device is free; DeviceError when there is no thread to be had."""
        for job in jobs:
            if job.queue.admit(job):
                self._hand(job)

    def close(self) -> None:
        """Let the threads end after the jobs that there are."""
        with self._lock:
            for _ in range(self._count):
                self._handed.put(None)
            self._forget()

    def _hand(self, job: Job) -> None:
        """Give an admitted job to a thread: one that has nothing to do, else a new one, else whichever is first."""
        with self._lock:
            if self._process != os.getpid():  # the threads stayed behind when the process was forked
                self._forget()
            new = self._spare <= 0 and self._count < len(self._devices) and self._grow()
            if not self._count:
                job.queue.release()
                raise DeviceError(f"device {job.queue.name!r}: the system gives this process no more threads")
            self._spare -= not new
            self._handed.put(job)

    def _grow(self) -> bool:
        """Make a thread; False when the system gives none."""
        try:
            threading.Thread(target=self._work, args=(self._handed,), name="heddle-worker", daemon=True).start()
        except RuntimeError:
            return False
        self._count += 1
        return True

    def _work(self, handed: SimpleQueue[Job | None]) -> None:
        while (job := handed.get()) is not None:
            mine = [job]
            del job  # it holds the memory of its call
            self._carry(mine)
            with self._lock:
                self._spare += handed is self._handed

    def _carry(self, mine: list[Job]) -> None:
        """Run admitted jobs and what becomes ready by them; other threads get what can run beside that."""
        while mine:
            job = mine.pop()
            ready = job.run()
            free = [other for other in ready if other.queue.admit(other)]
            following = job.queue.release()
            if following is not None:
                free.append(following)
            mine += free[:1]
            for other in free[1:]:
                self._hand(other)
                del other
            del job, ready, free, following
