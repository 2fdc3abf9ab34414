"""Python's side of the agents: streams that take and give arrays, and register buses that read and write."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from heddle.core.errors import DeviceError
from heddle.simulators.verilator.bundles import Bus
from heddle.simulators.verilator.elaborate import Port
from heddle.simulators.verilator.harness import STREAM_CONTROL, data_port, item_bytes
from heddle.simulators.verilator.library import Access
from numpy.typing import ArrayLike, NDArray

DEFAULT_TIMEOUT = 100_000


class StreamEnd:
    """The end of a stream that Python holds: `send` what the design shall take, or `receive` what it gave.

    An item is an unsigned integer of the payload's width, or a record of its fields where there are several; a field
    of more than 64 bits is a row of bytes, the lowest first.
    """

    def __init__(self, library: ctypes.CDLL, handle: int, index: int, bus: Bus) -> None:
        self._library, self._handle, self._index = library, handle, index
        self.bus = bus
        self._fields = {role: port for role, port in bus.ports.items() if role not in STREAM_CONTROL}
        formats = [(role or "data", *_field(port)) for role, port in self._fields.items()]
        only = _field(next(iter(self._fields.values()))) if len(formats) == 1 else ()
        self.dtype: np.dtype[Any] = np.dtype(only[0] if len(only) == 1 else only) if only else np.dtype(formats)
        self.nbytes = item_bytes(bus)
        count = ctypes.c_uint64.from_address(library.hd_transfers(handle, index))
        self.transfers_cell = count

    @property
    def transfers(self) -> int:
        """How many items went through so far."""
        return int(self.transfers_cell.value)

    def send(self, items: ArrayLike) -> None:
        """Queue items for the design; they go out as it takes them."""
        if self.bus.leads:
            raise DeviceError(f"{self.bus.name}: the design sends on this stream, expected receive()")
        data = self._packed(items)
        self._library.hd_send(self._handle, self._index, data.ctypes.data, data.nbytes)

    @property
    def waiting(self) -> int:
        """How many items are queued for the design, or were received and not taken by `receive` yet."""
        return int(self._library.hd_held(self._handle, self._index)) // self.nbytes

    def receive(self) -> NDArray[Any]:
        """The items that the design gave since the last call."""
        if not self.bus.leads:
            raise DeviceError(f"{self.bus.name}: the design receives on this stream, expected send()")
        data = np.empty(int(self._library.hd_held(self._handle, self._index)), np.uint8)
        self._library.hd_take(self._handle, self._index, data.ctypes.data, data.nbytes)
        if self.dtype.shape:
            return data.reshape(-1, *self.dtype.shape)
        return data.view(self.dtype)

    def _packed(self, items: ArrayLike) -> NDArray[np.uint8]:
        wanted = self.dtype
        if wanted.names is None:
            (port,) = self._fields.values()
            return _checked(self.bus.name, port, items, wanted)
        records = np.atleast_1d(np.asarray(items, dtype=wanted))
        for role, port in self._fields.items():
            _checked(f"{self.bus.name}.{role}", port, records[role], wanted[role])
        return np.ascontiguousarray(records).view(np.uint8).reshape(-1)


def _field(port: Port) -> tuple[Any, ...]:
    return (f"<u{port.nbytes}",) if port.nbytes in (1, 2, 4, 8) else ("u1", (port.nbytes,))


def _checked(name: str, port: Port, items: ArrayLike, wanted: np.dtype[Any]) -> NDArray[np.uint8]:
    """The bytes of `items`; negative ones are taken as two's complement."""
    given = np.asarray(items)
    if wanted.shape:
        rows = np.ascontiguousarray(given, np.uint8).reshape(-1, wanted.shape[0]) if given.dtype == np.uint8 else None
        if rows is None:
            raise DeviceError(f"{name}: {port.width} bits wide, expected rows of {wanted.shape[0]} bytes (uint8)")
        return rows.reshape(-1)
    if given.dtype.kind not in "iub":
        raise DeviceError(f"{name}: expected integers of {port.width} bits, got {given.dtype}")
    low, high = (int(given.min()), int(given.max())) if given.size else (0, 0)
    if high >> port.width or low < -(1 << (port.width - 1)):
        raise DeviceError(f"{name}: values from {low} to {high} do not fit in {port.width} bits")
    mask = np.uint64((1 << port.width) - 1)
    return np.ascontiguousarray((given.reshape(-1).astype(np.uint64) & mask).astype(wanted)).view(np.uint8)


class RegisterBus:
    """The registers behind a bus that the design follows. An access runs the clock until it is answered."""

    def __init__(
        self,
        library: ctypes.CDLL,
        handle: int,
        index: int,
        bus: Bus,
        wait: Callable[[str, int, Callable[[], bool]], None],
    ) -> None:
        self._library, self._handle, self._index, self._wait = library, handle, index, wait
        self.bus = bus
        self.nbytes = data_port(bus).width // 8

    def read(self, address: int, timeout: int = DEFAULT_TIMEOUT) -> int:
        """The word at a byte address; DeviceError when it is answered with an error, or not within `timeout` cycles."""
        return int.from_bytes(bytes(self._do(address, None, None, timeout).data[: self.nbytes]), "little")

    def write(self, address: int, value: int, strobe: int | None = None, timeout: int = DEFAULT_TIMEOUT) -> None:
        """Write a word (or the bytes of it that `strobe` has bits for) at a byte address."""
        self._do(address, value, strobe, timeout)

    def _do(self, address: int, value: int | None, strobe: int | None, timeout: int) -> Access:
        channel = "arvalid" if value is None else "awvalid"
        if channel not in self.bus.ports:
            raise DeviceError(f"{self.bus.name}: the bus has no {'read' if value is None else 'write'} channels")
        access = Access(address=address, write=value is not None)
        if value is not None:
            if not -(1 << (8 * self.nbytes - 1)) <= value < 1 << 8 * self.nbytes:
                raise DeviceError(f"{self.bus.name}: {value} does not fit in {8 * self.nbytes} bits")
            word = value & ((1 << 8 * self.nbytes) - 1)
            access.data[: self.nbytes] = list(word.to_bytes(self.nbytes, "little"))
            lanes = (1 << self.nbytes) - 1 if strobe is None else strobe
            access.strobes[:] = list(lanes.to_bytes(16, "little"))
        self._library.hd_access(self._handle, self._index, access)
        done = Access()
        what = f"{self.bus.name}: {'read' if value is None else 'write'} at 0x{address:x}"
        self._wait(what, timeout, lambda: bool(self._library.hd_accessed(self._handle, self._index, done)))
        if done.response & 2:
            raise DeviceError(f"{what}: answered with {'SLVERR' if done.response == 2 else 'DECERR'}")
        return done
