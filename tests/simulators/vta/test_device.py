"""The device: one artifact, three models behind it, the same integers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.device import host_buffer
from heddle.hw.vta.assembly import assemble
from heddle.simulators.vta.device import VtaDevice
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.program import Section, from_bytes, to_bytes
from heddle.simulators.vta.verifier import Sizes, verify
from numpy.typing import NDArray

from tests.simulators.vta.convolution import arrays, artifact, expected, program

SIZES = Sizes(inputs=[1024], outputs=[1024], constants={"w": 2304})


def run(device: VtaDevice, sections: int = 1) -> tuple[NDArray[np.int8], float | None, dict[str, int]]:
    loaded = device.load(artifact(program(sections)))
    result = np.zeros((8, 8, 16), np.int8)
    event = device.submit(loaded, [host_buffer(arrays()[0]), host_buffer(result)])
    event.wait()
    loaded.close()
    return result, event.modelled_seconds, dict(event.counters)  # type: ignore[attr-defined] # a Finished


@pytest.mark.parametrize("sim", ["functional", "cycle", "rtl"])
def test_the_three_models_give_what_numpy_gives(sim: str) -> None:
    result, seconds, counters = run(VtaDevice(sim=sim))
    assert (result == expected()).all()
    if sim == "functional":
        assert (seconds, counters) == (None, {})
    else:
        assert counters["compute_gemm"] == 576
        assert seconds == counters["cycles"] / 200e6


def test_the_cycle_model_is_near_the_rtl() -> None:
    predicted, counted = (run(VtaDevice(sim=sim))[2]["cycles"] for sim in ("cycle", "rtl"))
    assert abs(predicted - counted) < 0.05 * counted


def test_buffers_of_the_device_and_copies(tmp_path: Path) -> None:
    device = VtaDevice(capacity=1 << 20)
    x, y = device.allocate(1024), device.allocate(1024)
    device.copy(host_buffer(arrays()[0]), x).wait()
    device.submit(device.load(artifact()), [x, y]).wait()
    result = np.zeros((8, 8, 16), np.int8)
    device.copy(y, host_buffer(result)).wait()
    assert (result == expected()).all()
    device.free(x)
    with pytest.raises(DeviceError, match=r"it was freed or never allocated$"):
        device.free(x)
    with pytest.raises(DeviceError, match=r"^vta: no room for 2097152 bytes"):
        device.allocate(2 << 20)


def test_memory_is_given_back() -> None:
    device = VtaDevice(capacity=1 << 16)
    for _ in range(50):
        assert (run(device)[0] == expected()).all()


def test_one_section_at_rtl_and_the_rest_functional() -> None:
    result, seconds, counters = run(VtaDevice(region="conv1"), sections=3)
    assert (result == expected()).all()
    assert counters["compute_gemm"] == 576
    assert seconds is not None


def test_waveforms_of_one_region(tmp_path: Path) -> None:
    waves = tmp_path / "conv.fst"
    run(VtaDevice(region="conv", waves=str(waves)))
    assert waves.stat().st_size > 1000


@pytest.mark.parametrize("sim", ["functional", "rtl"])
def test_a_program_that_hangs_says_so(sim: str) -> None:
    stuck = tuple(assemble("LOAD mem=inp base=0\nSYNC unit=compute pop_next\nFINISH"))
    made = dataclasses.replace(program(), sections=(Section("stuck", stuck),))
    device = VtaDevice(sim=sim, watchdog=500)
    loaded = device.load(artifact(made))
    event = device.submit(loaded, [host_buffer(arrays()[0]), host_buffer(np.zeros(1024, np.int8))])
    with pytest.raises(FaultError, match=r"deadlock.*store_to_compute 0") as error:
        event.wait()
    assert error.value.kind == "deadlock"
    assert "compute queue: instruction 1: SYNC unit=compute pop_next" in error.value.__notes__
    assert error.value.__notes__[-1] == "device vta, nodes conv"
    good = device.submit(device.load(artifact()), [host_buffer(arrays()[0]), host_buffer(np.zeros(1024, np.int8))])
    good.wait()


def test_programs_survive_as_bytes() -> None:
    made = program(2)
    again = from_bytes(to_bytes(made))
    assert again == made
    assert to_bytes(again) == to_bytes(made)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b"XVTA" + b[4:],
        lambda b: b[:200] + b"!" + b[201:],
        lambda b: b[:20],
        lambda b: b + b"x",
    ],
)
def test_damaged_programs_are_refused(damage) -> None:  # type: ignore[no-untyped-def] # a lambda
    with pytest.raises(ArtifactError, match=r"^accelerator program: "):
        from_bytes(damage(to_bytes(program())))


def test_the_verifier_accepts_what_runs_and_names_what_cannot() -> None:
    verify(program(2), SIZES)
    with pytest.raises(FaultError, match=r"reaches byte 1024 of base 0, expected at most 1008"):
        verify(program(), dataclasses.replace(SIZES, inputs=[1008]))
    lines = list(program().sections[0].instructions)
    lines[7] = assemble("GEMM count=9 n1=8 n2=8 overwrite push_next")[0]
    with pytest.raises(FaultError, match=r"reads uop that instruction 0 of LOAD wrote; no token orders them") as error:
        verify(dataclasses.replace(program(), sections=(Section("s", tuple(lines)),)), SIZES)
    assert error.value.__notes__ == ["section s"]
