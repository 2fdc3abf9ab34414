"""A GPU that is not there: the driver's fake, the libraries in numpy, and each kernel in its form for the processor."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from heddle.backends.cudnn.backend import Cudnn
from heddle.backends.cudnn.device import CudnnDevice
from heddle.backends.cudnn.driver import Driver
from heddle.backends.cudnn.kernels.code import host_function, target_of
from heddle.backends.cudnn.kernels.grid import Grid
from heddle.backends.cudnn.kernels.ptx import Kernels
from heddle.backends.cudnn.lower import translate
from heddle.backends.cudnn.patterns import ATTENTION
from heddle.core.codegen.build import Unit, shared_object
from heddle.core.codegen.llvm import module
from heddle.core.codegen.target import host
from heddle.core.plugin import Region
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.loader import load_shared

from tests.backends.cudnn.numpy_library import NumpyLibrary

MEMORY = 8 << 30
_LOADED: dict[str, ctypes.CDLL] = {}


@cache
def built(name: str) -> Path:
    """The fake driver as a shared object of this name; skips where there is no C compiler."""
    path = Path(tempfile.mkdtemp(prefix="heddle-fake-")) / name
    source = Path(__file__).with_name("fake_driver.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-w", f"-Wl,-soname,{name}", "-o", str(path), str(source), "-lpthread"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the fake driver needs a C compiler: {error}")
    return path


@cache
def fake() -> Driver:
    """The fake driver, under a name that nobody takes for the real one's."""
    driver = Driver(str(built("libpretence.so")))
    driver._library.fake_count.restype = ctypes.c_long
    driver._library.fake_live.restype = ctypes.c_long
    driver._library.fake_used.restype = ctypes.c_size_t
    return driver


def reset(memory: int = MEMORY, capability: int = 80) -> Driver:
    """The fake driver with nothing broken in it, and so much memory beside what others still hold."""
    driver = fake()
    if memory != MEMORY:
        gc.collect()
    driver._library.fake_reset(ctypes.c_size_t(memory), capability)
    return driver


def count(name: str) -> int:
    """How often a function of the driver was called since `reset`."""
    return int(fake()._library.fake_count(name.encode()))


def live() -> int:
    """Blocks of memory, streams, events, modules and graphs that were made and not given back."""
    return int(fake()._library.fake_live())


def device(graphs: bool = True, refuse: frozenset[str] = frozenset()) -> CudnnDevice:
    """A device on the fake driver whose libraries are numpy's."""
    opened = CudnnDevice(graphs=graphs, driver=fake())
    opened._library = NumpyLibrary(fake(), opened.context.compute, refuse)
    return opened


def install(grids: dict[str, Grid]) -> None:
    """Let the fake driver find these kernels by name, compiled for the processor."""
    new = {name: grid for name, grid in grids.items() if name not in _LOADED}
    if not new:
        return
    units = [
        Unit(module([host_function(grid, name, host())], host().triple), explicit=True) for name, grid in new.items()
    ]
    library = load_shared(shared_object(units, list(new), host()), "kernels")
    for name, grid in new.items():
        address = ctypes.cast(library[name], ctypes.c_void_p)
        fake()._library.fake_kernel(name.encode(), address, len(grid.parameters) + 1)
        _LOADED[name] = library


def grids_of(region: Region, tf32: bool = False) -> dict[str, Grid]:
    """The kernels of a region by the names that they have in its program."""
    attentions = [match for match in region.matches if match.pattern.name == ATTENTION]
    kernels = Kernels(target_of(80))
    works = translate(region.body, attentions, tf32).works
    return {kernels.add(work.what): work.what for work in works if isinstance(work.what, Grid)}


class SimulatedCudnn(Cudnn):
    """The backend as it is, which also hands its kernels to the fake driver."""

    def compile(self, region: Region) -> Artifact:
        install(grids_of(region, self.options.tf32))
        return super().compile(region)


def opened(**options: Any) -> SimulatedCudnn:
    return SimulatedCudnn(SimulatedCudnn.Options(**options))
