"""A thread for each device, which runs what is ready there, the oldest call first."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable

Job = Callable[[], None]


class DeviceQueue:
    """Runs jobs one after another in a thread of its own, which starts with the first job.

    Jobs carry a rank; of those that wait, the one with the lowest rank runs next. A job must not raise.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stuck: str | None = None
        """What the watchdog saw when it gave up on the job that runs; None again as soon as that job returns."""
        self._ready: list[tuple[tuple[int, int], Job]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, rank: tuple[int, int], job: Job) -> None:
        """Let `job` run when its turn comes; `rank` is unique."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"heddle {self.name}", daemon=True)
                self._thread.start()
            heapq.heappush(self._ready, (rank, job))
            self._changed.notify()

    def close(self) -> None:
        """Let the thread end after the jobs that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ready:
                    if self._closed:
                        return
                    self._changed.wait()
                _, job = heapq.heappop(self._ready)
            job()
            self.stuck = None
            del job  # it holds the memory of its call
