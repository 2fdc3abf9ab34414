"""An AXI4 master of no relation to the accelerator: timing of the memory, rules of the bus, errors, waveforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heddle.core.errors import DeviceError
from heddle.simulators.verilator import (
    Axi4,
    Dram,
    Model,
    RtlHangError,
    RtlProtocolError,
    RtlRangeError,
    RtlSpec,
    RunResult,
    Simulation,
    build,
)

SPEC = RtlSpec("copier", [Path(__file__).parent / "designs" / "copier.sv"], reset="rst", params={"DW": 128})
SIZE = 1 << 16


@pytest.fixture(scope="module")
def model() -> Model:
    return build(SPEC)


def copy(model: Model, memory: Dram, src: int, dst: int, words: int, fault: int = 0) -> tuple[Simulation, RunResult]:
    sim = model.open(memory, {"m_axi": Axi4()})
    sim.memory[:] = np.random.default_rng(0).integers(0, 256, memory.size)
    sim.io.src, sim.io.dst, sim.io.words, sim.io.fault, sim.io.start = src, dst, words, fault, 1
    return sim, sim.run(until="done", watchdog=1000)


@pytest.mark.parametrize(
    "timing",
    [
        {},
        {"latency": 100},
        {"latency": 9, "outstanding": 1},
        {"latency": 3, "bytes_per_cycle": 5.5},
        {"latency": 30, "jitter_seed": 3, "backpressure": 0.4},
    ],
    ids=str,
)
def test_the_copy_is_right_whatever_the_memory_does(model: Model, timing: dict[str, float]) -> None:
    memory = Dram(SIZE, **timing)  # type: ignore[arg-type]  # a mapping of several types
    sim, result = copy(model, memory, 48, 0x8010, 500)
    wanted = np.random.default_rng(0).integers(0, 256, SIZE).astype(np.uint8)
    wanted[0x8010 : 0x8010 + 8000] = wanted[48 : 48 + 8000]
    assert np.array_equal(sim.memory, wanted)
    assert sim.io.error == 0
    assert result.counters["m_axi"]["read_beats"] == result.counters["m_axi"]["write_beats"] == 500


def test_cycles_follow_latency_and_bandwidth(model: Model) -> None:
    # a burst is: address, latency, beats, address, beats, latency, and one cycle to look at the answer
    one = [copy(model, Dram(SIZE, latency=latency), 0, 0x8000, 16)[1].cycles for latency in (1, 2, 51)]
    assert one[1] - one[0] == 2
    assert one[2] - one[0] == 100
    free = copy(model, Dram(SIZE), 0, 0x8000, 1024)[1].cycles
    half = copy(model, Dram(SIZE, bytes_per_cycle=8), 0, 0x8000, 1024)[1].cycles
    # twice the cycles per beat, in both directions; each burst finds a credit of up to 2 beats from the pause before it
    assert 1024 * 2 - 64 * 2 * 2 <= half - free <= 1024 * 2


def test_jitter_is_reproducible_and_depends_on_the_seed(model: Model) -> None:
    def cycles(seed: int) -> int:
        return copy(model, Dram(SIZE, latency=20, jitter_seed=seed), 0, 0x8000, 300)[1].cycles

    assert cycles(1) == cycles(1)
    assert len({cycles(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (1, r"^copier: m_axi ar channel: the burst crosses a 4 KiB boundary: address 0xf80, 16 beats of 16 bytes, at"),
        (2, r"^copier: m_axi ar channel: valid was withdrawn before it was accepted, at cycle \d+"),
        (3, r"^copier: m_axi w channel: wlast is 1 at beat 1 of 16, at cycle \d+"),
    ],
)
def test_broken_rules_of_the_bus_are_named(model: Model, fault: int, message: str) -> None:
    with pytest.raises(RtlProtocolError, match=message):
        copy(model, Dram(SIZE, backpressure=0.3, jitter_seed=1), 0x80, 0x8080, 1024, fault)


def test_an_address_outside_the_memory_ends_the_run_or_is_answered(model: Model) -> None:
    with pytest.raises(RtlRangeError, match=r"ar channel: 256 bytes at address 0x10000, the memory has 0x10000 bytes"):
        copy(model, Dram(SIZE), SIZE - 256, 0, 32)
    with model.open(Dram(SIZE), {"m_axi": Axi4(errors="respond")}) as sim:
        sim.io.src, sim.io.words, sim.io.start = SIZE - 256, 32, 1
        sim.run(until="done")
        assert sim.io.error == 1


def test_faults_are_answered_with_errors(model: Model) -> None:
    for fault, error in ((0x100, 1), (0x200, 0)):
        sim, _ = copy(model, Dram(SIZE, faults=[(fault, fault + 1)]), 0, 0x8000, 32)
        assert sim.io.error == error


def test_a_run_that_does_not_end_says_what_the_bus_waits_for(model: Model) -> None:
    with pytest.raises(
        RtlHangError, match=r"^copier: 'done' did not come true within 50 cycles, at cycle 54"
    ) as caught:
        model_run(model)
    assert caught.value.__notes__[0].startswith("m_axi: memory, 0 reads done, 1 open, arvalid 0 arready 1 rvalid 0")


def model_run(model: Model) -> None:
    with model.open(Dram(SIZE, latency=200), {"m_axi": Axi4()}) as sim:
        sim.io.words, sim.io.start = 4, 1
        sim.run(until="done", max_cycles=50)


def test_save_in_the_middle_of_a_burst(model: Model) -> None:
    memory = Dram(SIZE, latency=20, jitter_seed=5, backpressure=0.2)
    with model.open(memory, {"m_axi": Axi4()}) as sim:
        sim.memory[:] = np.random.default_rng(0).integers(0, 256, SIZE)
        sim.io.dst, sim.io.words, sim.io.start = 0x8000, 200, 1
        sim.run(max_cycles=333)
        saved = sim.save()
        first = sim.run(until="done").cycles
        after = sim.memory.copy()
        sim.restore(saved)
        assert not np.array_equal(sim.memory, after)
        assert sim.run(until="done").cycles == first
        assert np.array_equal(sim.memory, after)


def test_wrong_bindings_are_refused(model: Model) -> None:
    with pytest.raises(DeviceError, match=r"^copier: no bus axi to bind; there are: m_axi \(axi4\)$"):
        model.open(Dram(SIZE), {"axi": Axi4()})
    with pytest.raises(DeviceError, match=r"^copier: bus m_axi needs a memory; give one to open\(\) or to its Axi4$"):
        model.open(bind={"m_axi": Axi4()})


@pytest.mark.parametrize("waves", ["fst", pytest.param("vcd", marks=pytest.mark.long)])
def test_waveforms(waves: str, tmp_path: Path) -> None:
    model = build(SPEC, "trace", waves=waves)  # type: ignore[arg-type]  # parametrize gives plain strings
    with model.open(Dram(SIZE), {"m_axi": Axi4()}) as sim:
        sim.io.words, sim.io.start = 4, 1
        with sim.trace(tmp_path / "waves"):
            sim.run(until="done")
        written = (tmp_path / "waves").read_bytes()
        if waves == "vcd":
            assert b"$var wire 32" in written
            assert b"m_axi_araddr" in written
        else:
            assert written[0] == 0  # the header block of FST, of 329 bytes
            assert int.from_bytes(written[1:9], "big") == 329
        with (
            pytest.raises(DeviceError, match=r"^copier: no waveforms in /no/such/folder/x: No such file"),
            sim.trace("/no/such/folder/x"),
        ):
            pass
