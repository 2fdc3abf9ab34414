"""What this machine's processor can do, to refuse code that it cannot run."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_KERNEL_NAMES = {
    "bmi": "bmi1",
    "lzcnt": "abm",
    "sahf": "lahf_lm",
    "prfchw": "3dnowprefetch",
    "64bit": "lm",
    "crc32": "sse4_2",
    "pclmul": "pclmulqdq",
    "sse3": "pni",
    "rdrnd": "rdrand",
    "sha": "sha_ni",
    "neon": "asimd",
    "fp-armv8": "fp",
    "dotprod": "asimddp",
    "fullfp16": "asimdhp",
}
"""Features whose name in LLVM differs from the one that the Linux kernel lists by more than punctuation."""

_UNLISTED = frozenset({"shstk"})
"""Features that kernels hide from the list though the processor has them, and that code does not depend on."""


_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18
"""The system call, ARCH_REQ_XCOMP_PERM, and the number of the tiles' state (Linux, arch/x86, xstate)."""


@cache
def features() -> frozenset[str] | None:
    """The processor's features as the kernel lists them, without punctuation; None where there is no such list."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return frozenset(_plain(flag) for flag in found.group(1).split()) if found else None


def missing(wanted: Iterable[str]) -> list[str]:
    """Those of the features, by their names in LLVM, that this processor lacks; none where it cannot be known."""
    have = features()
    if have is None:
        return []
    return [name for name in wanted if name not in _UNLISTED and _plain(_KERNEL_NAMES.get(name, name)) not in have]


@cache
def permits_tiles() -> bool:
    """Ask the kernel to let this process use matrix tiles, which it saves only for those that have asked; its answer.

    Without that leave the first instruction of theirs ends the process.
    """
    if machine() != "x86_64":
        return False
    try:
        return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0)
    except (OSError, AttributeError):
        return False


def machine() -> str:
    """The architecture, as `x86_64` or `aarch64`."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
