"""Memory that is kept after use: asking the driver for memory stops the GPU, so blocks are handed out again."""

from __future__ import annotations

import threading
from collections.abc import Callable

from heddle.backends.cudnn.driver import DeviceMemoryError

SMALL, LARGE = 512, 1 << 20
"""Sizes are rounded up to a multiple of the first, and of the second from there on."""


class Pool:
    """Blocks of one memory by size. Safe to use from several threads.

    What is given back may be handed out at once: its next user's work comes after on the same streams, or its last
    user has waited.
    """

    def __init__(self, allocate: Callable[[int], int], release: Callable[[int], object]) -> None:
        self._allocate, self._release = allocate, release
        self._free: dict[int, list[int]] = {}
        self._sizes: dict[int, int] = {}
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that the driver has given, in use or not."""
        return sum(self._sizes.values())

    @property
    def used(self) -> int:
        """Bytes that somebody uses now."""
        return self.held - sum(size * len(blocks) for size, blocks in self._free.items())

    def take(self, nbytes: int) -> int:
        """The address of a block of at least so many bytes; DeviceMemoryError when there is no such memory."""
        size = _rounded(nbytes)
        with self._lock:
            blocks = self._free.get(size)
            if blocks:
                return blocks.pop()
            try:
                address = self._allocate(size)
            except DeviceMemoryError:
                self._trim()
                address = self._asked(size)
            self._sizes[address] = size
            return address

    def give(self, address: int) -> None:
        """Give back what `take` gave."""
        with self._lock:
            self._free.setdefault(self._sizes[address], []).append(address)

    def trim(self) -> None:
        """Give back to the driver what nobody uses."""
        with self._lock:
            self._trim()

    def close(self) -> None:
        """Give everything back to the driver, in use or not."""
        with self._lock:
            self._free.clear()
            while self._sizes:
                self._release(self._sizes.popitem()[0])

    def _trim(self) -> None:
        for blocks in self._free.values():
            while blocks:
                address = blocks.pop()
                del self._sizes[address]
                self._release(address)

    def _asked(self, size: int) -> int:
        try:
            return self._allocate(size)
        except DeviceMemoryError:
            raise DeviceMemoryError(
                f"cudnn: {size} bytes of memory are not to be had, {self.held} are in use by this process;"
                " use a smaller batch, or close executables that are not needed"
            ) from None


def _rounded(nbytes: int) -> int:
    to = SMALL if nbytes < LARGE else LARGE
    return max(1, -(-nbytes // to)) * to
