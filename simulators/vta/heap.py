"""The memory of a simulated device: one flat array of bytes, and which parts of it are in use."""

from __future__ import annotations

import threading

import numpy as np
from heddle.core.errors import DeviceError
from numpy.typing import NDArray

ALIGNMENT = 64


class Heap:
    """First fit over a flat memory: `take` gives byte addresses, `give_back` frees them. Safe for several threads."""

    def __init__(self, capacity: int) -> None:
        self.memory: NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self._free: list[tuple[int, int]] = [(0, capacity)]
        self._used: dict[int, int] = {}
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> int:
        """The address of `nbytes` bytes; DeviceError when there is no such room."""
        size = max(ALIGNMENT, -(-nbytes // ALIGNMENT) * ALIGNMENT)
        with self._lock:
            for place, (start, room) in enumerate(self._free):
                if room >= size:
                    rest = [(start + size, room - size)] if room > size else []
                    self._free[place : place + 1] = rest
                    self._used[start] = size
                    return start
            free = sum(room for _, room in self._free)
        raise DeviceError(f"vta: no room for {nbytes} bytes, {free} of {len(self.memory)} are free; raise `capacity`")

    def give_back(self, start: int) -> None:
        """Free what `take` gave at an address; DeviceError for any other address."""
        with self._lock:
            if start not in self._used:
                raise DeviceError(f"vta: there is no buffer at {start:#x}, it was freed or never allocated")
            merged: list[tuple[int, int]] = []
            for low, room in sorted([*self._free, (start, self._used.pop(start))]):
                if merged and sum(merged[-1]) == low:
                    merged[-1] = (merged[-1][0], merged[-1][1] + room)
                else:
                    merged.append((low, room))
            self._free = merged
