"""More designs that the wrapper knows nothing of: a serial port, a clock crossing, a table behind a memory port."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heddle.simulators.verilator import (
    Bundle,
    Clock,
    Dram,
    Equals,
    RtlBuildError,
    RtlSpec,
    RtlStoppedError,
    SimpleMemory,
    Stream,
    Transfers,
    build,
)
from heddle.simulators.verilator.coverage import read_coverage

DESIGNS = Path(__file__).parent / "designs"
SUMMER = RtlSpec("summer", [DESIGNS / "summer.sv"], reset="rst", internals=["u_sum.total", "phase"])


def test_a_serial_port_looped_back_on_itself() -> None:
    model = build(RtlSpec("uart", [DESIGNS / "uart.sv"], reset="rst", params={"DIV": 6}))
    assert model.buses == ()
    received = []
    with model.open() as sim:
        sim.io.rxd = 1
        for byte in (0x55, 0x00, 0xFF, 0xA3):
            sim.io.tx_byte, sim.io.tx_start = byte, 1
            sim.clock.tick()
            sim.io.tx_start = 0
            while sim.io.tx_busy or not received or received[-1] != byte:
                sim.io.rxd = sim.io.txd
                sim.clock.tick()
                if sim.io.rx_strobe:
                    received.append(sim.io.rx_byte)
    assert received == [0x55, 0x00, 0xFF, 0xA3]


@pytest.mark.parametrize(("write", "read"), [(10, 37), (37, 10), (10, 10)])
def test_a_stream_crosses_from_one_clock_to_another(write: int, read: int) -> None:
    spec = RtlSpec(
        "crossing",
        [DESIGNS / "crossing.sv"],
        params={"W": 72},
        clock=[Clock("wclk"), Clock("rclk")],
        reset=["!wrst_n", "rrst"],
    )
    spec = RtlSpec(**{**vars(spec), "clock": [Clock("wclk", write), Clock("rclk", read, phase=3)]})
    items = np.random.default_rng(1).integers(0, 256, (300, 12)).astype(np.uint8)
    items[:, 9:] = 0
    with build(spec).open(bind={"s_axis": Stream(), "m_axis": Stream(clock="rclk", stall=0.2)}) as sim:
        sim.run(items, until=Transfers("m_axis", 300), watchdog=500)
        assert np.array_equal(sim.streams["m_axis"].receive(), items)
        assert sim.io.history.tolist() == items[:-5:-1, 0].tolist()
        assert sim.clocks["wclk"].cycles * write == pytest.approx(
            sim.clocks["rclk"].cycles * read, abs=2 * max(write, read)
        )


@pytest.mark.parametrize("latency", [1, 0])
def test_a_table_behind_a_memory_port(latency: int) -> None:
    table = Dram(256 * 5)  # words of 36 bits take 5 bytes
    values = [(i * 0x123456789) % (1 << 36) for i in range(16)]
    with build(SUMMER).open(bind={"mem": SimpleMemory(table, latency)}) as sim:
        words = sim.contents(table).reshape(256, 5)
        for index, value in enumerate(values):
            words[index] = list(value.to_bytes(5, "little"))
        sim.run(until=Equals("phase", 1))
        assert sim.internals["u_sum.total"] == 0
        sim.run(until="finished")
        assert int.from_bytes(words[16].tobytes(), "little") == sum(values) % (1 << 36) == sim.internals["u_sum.total"]


def test_internal_names_are_checked() -> None:
    with pytest.raises(
        RtlBuildError, match=r"^summer: internals names u_add.x, but there is no instance u_add; there are: u_sum$"
    ):
        build(RtlSpec(**{**vars(SUMMER), "internals": ["u_add.x"]}))


def test_ports_of_unusual_names_are_bundled_by_hand() -> None:
    signals = {"addr": "mem_addr", "enable": "mem_en", "rdata": "mem_rdata"}
    model = build(RtlSpec(**{**vars(SUMMER), "ports": {"table": Bundle("memory", signals)}}))
    assert [(bus.name, list(bus.ports)) for bus in model.buses] == [("table", ["addr", "enable", "rdata"])]


def test_failed_assertions_stop_the_run_and_coverage_is_counted(tmp_path: Path) -> None:
    table = Dram(256 * 5)
    with build(SUMMER, "cover").open(bind={"mem": SimpleMemory(table)}) as sim:
        sim.run(until="finished")
        sim.coverage(tmp_path / "first")
    with build(SUMMER, "cover").open(bind={"mem": SimpleMemory(table)}) as sim:
        sim.contents(table)[0] = 13
        with pytest.raises(
            RtlStoppedError, match=r"^summer: summer.sv:\d+: Assertion failed in TOP.summer: thirteen is unlucky, at"
        ):
            sim.run(max_cycles=1000)
        sim.coverage(tmp_path / "second")
    first, both = read_coverage([tmp_path / "first"]), read_coverage([tmp_path / "first", tmp_path / "second"])
    assert (first.share("line").hit, first.share("line").total) == (7, 7)
    assert 0 < first.share("toggle").hit < both.share("toggle").hit < both.share("toggle").total
    assert {Path(name).name for name in both.files} == {"summer.sv", "accumulate.sv"}
