"""Signals of a running model as Python values, read and written in its memory."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from heddle.core.errors import DeviceError
from numpy.typing import NDArray

_SCALARS: dict[int, Any] = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}


class Signal:
    """One signal of the model: `get` and `set` an int, or `array` for an unpacked array.

    `cell` is the ctypes object in the model's memory, for loops that count every microsecond: `cell.value = 1` is
    seen at the next evaluation. It exists for scalars of up to 64 bits and must not be given more bits than `width`.
    """

    def __init__(self, name: str, address: int, width: int, shape: tuple[int, ...], writable: bool) -> None:
        self.name, self.width, self.shape, self.writable = name, width, shape, writable
        self.nbytes = next((size for size in (1, 2, 4, 8) if width <= 8 * size), 4 * math.ceil(width / 32))
        self.address = address
        self.cell: Any = None
        if not shape and self.nbytes in _SCALARS:
            self.cell = _SCALARS[self.nbytes].from_address(address)
        else:
            count = math.prod(shape) * self.nbytes
            self._bytes = (ctypes.c_uint8 * count).from_address(address)

    @property
    def array(self) -> NDArray[Any]:
        """A view of an unpacked array, or of the bytes of a wide vector."""
        flat = np.frombuffer(memoryview(self._bytes), np.uint8)
        if self.nbytes in _SCALARS:
            return flat.view(f"<u{self.nbytes}").reshape(self.shape)
        return flat.reshape(*self.shape, self.nbytes)

    def get(self) -> Any:
        """The value as an unsigned int; of an unpacked array a copy."""
        if self.cell is not None:
            return self.cell.value
        return self.array.copy() if self.shape else int.from_bytes(bytes(self._bytes), "little")

    def set(self, value: Any) -> None:
        """Set the value; negative ints are taken as two's complement, what does not fit is an error."""
        if not self.writable:
            raise DeviceError(f"{self.name}: an output of the design, expected an input or an internal signal to set")
        if self.shape:
            given = np.asarray(value)
            if given.shape != self.array.shape or (given.size and (given.min() < 0 or int(given.max()) >> self.width)):
                raise DeviceError(
                    f"{self.name}: expected an array of shape {self.array.shape} of {self.width}-bit numbers"
                )
            self.array[...] = given
            return
        number = int(value)
        if not -(1 << (self.width - 1)) <= number < 1 << self.width:
            raise DeviceError(f"{self.name}: {number} does not fit in {self.width} bits")
        number &= (1 << self.width) - 1
        if self.cell is not None:
            self.cell.value = number
        else:
            self._bytes[:] = list(number.to_bytes(self.nbytes, "little"))

    def __repr__(self) -> str:
        shape = "".join(f"[{size}]" for size in self.shape)
        return f"<{self.name} {self.width} bits{shape}>"


class Signals:
    """Signals by attribute or key: `io.start = 1`, `io["start"]`. Reading settles the logic after a change."""

    _signals: dict[str, Signal]
    _settle: Callable[[], None]
    _touch: Callable[[], None]

    def __init__(self, signals: dict[str, Signal], settle: Callable[[], None], touch: Callable[[], None]) -> None:
        object.__setattr__(self, "_signals", signals)
        object.__setattr__(self, "_settle", settle)
        object.__setattr__(self, "_touch", touch)

    def signal(self, name: str) -> Signal:
        """The signal of that name."""
        found = self._signals.get(name)
        if found is None:
            raise DeviceError(f"{name}: no such signal; there are: {', '.join(self._signals) or 'none'}")
        return found

    def __getitem__(self, name: str) -> Any:
        signal = self.signal(name)
        self._settle()
        return signal.get()

    def __setitem__(self, name: str, value: Any) -> None:
        self.signal(name).set(value)
        self._touch()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._signals

    def __iter__(self) -> Iterator[str]:
        return iter(self._signals)

    def __dir__(self) -> list[str]:
        return sorted(self._signals)

    def __repr__(self) -> str:
        return "\n".join(f"{name} = {self[name]}" for name in self._signals)
