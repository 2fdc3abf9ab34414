"""Code for AArch64, run under emulation: operators compute what they mean, and the caller's modes are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from heddle.core.codegen import compile_region
from heddle.core.codegen.target import aarch64
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.ir import parse
from heddle.core.runtime import cpu
from heddle.core.runtime.host import HostDevice

from tests import foreign
from tests.core.codegen.test_operators import FLOATS, INTEGERS, SPECIAL, TYPES, lines

EVERY = (
    *lines(),
    *INTEGERS.strip().splitlines(),
    *(f"{name}({dtype}[3,37])" for name in FLOATS.split() for dtype in ("float32", "float64", "float16", "bfloat16")),
    *(f"{name}({dtype}[18]={SPECIAL})" for name in FLOATS.split() for dtype in ("float32", "float64", "float16")),
    *(f'Cast({dtype}[64]) {{to="float32"}}' for dtype in TYPES.split()),
    *(f'Cast(float32[4]=[0, 1, 1.5, 3]) {{to="{dtype}"}}' for dtype in TYPES.split()),
)
SHARE = 10
"""One line in so many is tried each time; all are by `-m long`."""


@foreign.needed
@pytest.mark.parametrize("line", EVERY[::SHARE])
def test_operators_compute_what_they_mean(line: str, agrees: Callable[..., None]) -> None:
    agrees(line, target=aarch64())


@foreign.needed
@pytest.mark.long
@pytest.mark.parametrize("line", EVERY)
def test_every_operator_computes_what_it_means(line: str, agrees: Callable[..., None]) -> None:
    agrees(line, target=aarch64())


HALVED = """graph (%a: float32[64]) -> (%y) {
  const %half: float32[]
  %y: float32[64] = Mul(%a, %half)
}"""


@foreign.needed
def test_small_numbers_are_flushed_if_they_may_be(native: Callable[..., list[np.ndarray]]) -> None:
    graph = parse(HALVED, {"half": np.array(0.5, np.float32)})
    tiny = np.full(64, np.finfo(np.float32).tiny, np.float32)
    assert (native(compile_region(graph, aarch64()), [tiny])[0] == 0).all()
    assert (native(compile_region(graph, aarch64(), flush=False), [tiny])[0] == tiny / 2).all()


@foreign.needed
def test_a_fault_ends_the_run_with_its_message(case: Callable[..., Any], native: Callable[..., Any]) -> None:
    graph, inputs = case("Gather(float32[5,3], int64[2]~5:7)")
    with pytest.raises(DeviceError, match="an index is outside of a dimension of 5"):
        native(compile_region(graph, aarch64()), inputs)


@pytest.mark.skipif(cpu.machine() == "aarch64", reason="this machine runs the code")
def test_another_machine_refuses_the_code(case: Callable[..., Any]) -> None:
    graph, _ = case("Relu(float32[5])")
    with pytest.raises(ArtifactError) as error:
        HostDevice().load(compile_region(graph, aarch64()))
    wanted = f"host: the code is for aarch64, this machine is {cpu.machine()}; compile the model here"
    assert str(error.value) == wanted
