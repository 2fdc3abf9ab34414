"""Running host code of AArch64 on another machine: a harness in C, made by a cross compiler, under qemu's emulation."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heddle.core.dtypes import dtype_named
from heddle.core.errors import DeviceError
from heddle.core.runtime import abi, cpu
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.symbols import constants_of
from numpy.typing import NDArray

Array = NDArray[Any]

EMULATOR, COMPILER = "qemu-aarch64", "aarch64-linux-gnu-gcc"
ROOT = "/usr/aarch64-linux-gnu"
"""Where Debian's cross compiler keeps the C library of AArch64."""

_missing = [name for name in (EMULATOR, COMPILER) if shutil.which(name) is None]
REASON = (
    f"{' and '.join(_missing)} not installed; apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    if _missing
    else ""
)
"""Why nothing can be run here; empty where it can."""

needed = pytest.mark.skipif(bool(_missing), reason=REASON)
"""The mark of a test that runs such code."""


@cache
def _harness() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """The program, and what keeps its folder."""
    folder = tempfile.TemporaryDirectory(prefix="heddle-foreign-")
    here = Path(folder.name)
    services = ", ".join(f"(void *){name}" for name in abi.SERVICES)
    lines = [f"#define SERVICES {services}", f'#define ENTRY "{abi.ENTRY}"', f'#define HELP "{abi.HELP}"']
    lines += [f"#define {name} {getattr(abi, name)}" for name in ("TEAM_BYTES", "TEAM_THREADS", "TEAM_SERVICES")]
    (here / "interface.h").write_text("\n".join([*lines, ""]))
    source = Path(__file__).with_name("harness.c")
    command = [COMPILER, "-O1", "-Wall", "-Werror", "-I", str(here), str(source), "-o", str(here / "harness")]
    subprocess.run([*command, "-lm", "-ldl", "-lpthread"], check=True)
    return here / "harness", folder


def run(artifact: Artifact, inputs: Sequence[Array], threads: int = 1) -> list[Array]:
    """The outputs of an artifact for AArch64; DeviceError with the code's own message when it reports a fault."""
    team = artifact.meta.get("team")
    constants = constants_of(artifact)
    fixed = [np.ascontiguousarray(constants[name]) for name in sorted(constants)]
    outputs = [np.empty(port.shape, dtype_named(port.dtype)) for port in artifact.signature.outputs]
    scratch = int(team["scratch"]) if isinstance(team, dict) else 0  # type: ignore[arg-type] # a number, by the ABI
    counts = (len(inputs), len(fixed), len(outputs), artifact.workspace, threads if team else 1, scratch)
    parts = [struct.pack("<6q", *counts)]
    for array in (*inputs, *fixed):
        data = np.ascontiguousarray(array).tobytes()
        parts += [struct.pack("<q", len(data)), data]
    parts += [struct.pack("<q", array.nbytes) for array in outputs]
    harness, _ = _harness()
    with tempfile.TemporaryDirectory() as folder:
        code, operands = Path(folder, "code.so"), Path(folder, "operands")
        code.write_bytes(artifact.code)
        operands.write_bytes(b"".join(parts))
        command = [EMULATOR, "-L", ROOT, str(harness), str(code), str(operands)]
        done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0, f"{EMULATOR} ended with {done.returncode}: {done.stderr.decode(errors='replace')}"
    status, kept = struct.unpack_from("<2q", done.stdout)
    assert kept, "the code did not restore the floating-point modes"
    if status:
        faults = artifact.meta["faults"]
        assert isinstance(faults, list)
        raise DeviceError(str(faults[status - 1]))
    at = 16
    for array in outputs:
        flat = np.frombuffer(done.stdout, array.dtype, array.size, at)
        array[...] = flat.reshape(array.shape)
        at += array.nbytes
    return outputs


def is_foreign(artifact: Artifact) -> bool:
    """Whether an artifact is for another processor than that of this process."""
    return artifact.meta["machine"] != cpu.machine()
