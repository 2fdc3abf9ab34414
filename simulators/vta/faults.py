"""What a simulated accelerator reports when a program is wrong: the kind of fault, the instruction, the queues."""

from __future__ import annotations

from heddle.core.errors import DeviceError


class FaultError(DeviceError):
    """A program did what the instruction set forbids.

    `kind` is `illegal`, `bounds`, `token`, `read` or `write` (the hardware's error bits), `deadlock`, `uninitialised`,
    `race`, `watchdog` or `alignment` (a base register that is no whole beat); `index` is the instruction, from 0 on.
    """

    def __init__(self, kind: str, index: int, message: str) -> None:
        super().__init__(f"instruction {index}: {message}" if index >= 0 else message)
        self.kind = kind
        self.index = index
