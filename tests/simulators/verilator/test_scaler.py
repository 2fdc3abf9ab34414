"""A stream processor with AXI-Lite registers and a reset that is active low, run through the generic wrapper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heddle.core.errors import DeviceError
from heddle.simulators.verilator import AxiLite, Model, RtlHangError, RtlSpec, Stream, Transfers, build

DESIGNS = Path(__file__).parent / "designs"


@pytest.fixture(scope="module")
def model() -> Model:
    return build(RtlSpec("scaler", [DESIGNS / "scaler.sv"], clock="aclk", reset="!aresetn"))


def test_buses_are_recognised_by_their_names(model: Model) -> None:
    assert [(bus.name, bus.kind, bus.leads) for bus in model.buses] == [
        ("s_axil", "axi_lite", False),
        ("in", "stream", False),
        ("out", "stream", True),
    ]


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_streams_carry_data_in_order_whatever_pauses(model: Model, stall: float) -> None:
    bind = {"s_axil": AxiLite(), "in": Stream(stall, seed=1), "out": Stream(stall, seed=2)}
    with model.open(bind=bind) as sim:
        sim.buses["s_axil"].write(0, 3)
        sim.buses["s_axil"].write(4, 100)
        items = np.zeros(500, sim.streams["in"].dtype)
        items["data"] = np.arange(500)
        items["last"][-1] = 1
        result = sim.run(items, until=Transfers("out", 500), watchdog=100)
        out = sim.streams["out"].receive()
        assert out["data"].tolist() == [3 * i + 100 for i in range(500)]
        assert out["last"].nonzero()[0].tolist() == [499]
        assert sim.buses["s_axil"].read(8) == 500
        assert result.cycles == 501 if stall == 0 else result.cycles > 600


def test_registers_answer_with_errors(model: Model) -> None:
    with model.open(bind={"s_axil": AxiLite()}) as sim:
        with pytest.raises(DeviceError, match=r"^s_axil: read at 0x3c: answered with SLVERR$"):
            sim.buses["s_axil"].read(60)
        sim.buses["s_axil"].write(0, 0x1234, strobe=0b01)
        assert sim.buses["s_axil"].read(0) == 0x0034


def test_a_stream_that_nobody_drains_is_a_hang_with_the_state_of_the_buses(model: Model) -> None:
    with model.open(bind={"in": Stream()}) as sim:
        with pytest.raises(RtlHangError, match=r"^scaler: nothing moved for 50 cycles, at cycle \d+") as caught:
            sim.run({"in": np.zeros(10, sim.streams["in"].dtype)}, watchdog=50)
        assert caught.value.__notes__ == ["in: source, 1 sent, 9 queued, valid 1, ready 0"]


def test_interrupts_call_python_and_the_run_goes_on(model: Model) -> None:
    with model.open(bind={"in": Stream(), "out": Stream()}) as sim:
        items = np.zeros(100, sim.streams["in"].dtype)
        items["last"][[10, 50]] = 1
        seen: list[int] = []
        sim.run(
            items, until=Transfers("out", 100), interrupts={"irq": lambda s: seen.append(s.streams["out"].transfers)}
        )
        assert seen == [10, 50]


def test_save_and_restore_repeat_the_same_future(model: Model) -> None:
    with model.open(bind={"in": Stream(0.3, seed=5), "out": Stream(0.3, seed=6)}) as sim:
        items = np.zeros(200, sim.streams["in"].dtype)
        items["data"] = np.arange(200)
        sim.run(items, max_cycles=60)
        saved = sim.save()
        first = sim.run(until=Transfers("out", 200)).cycles, sim.streams["out"].receive().tolist()
        sim.restore(saved)
        assert (sim.run(until=Transfers("out", 200)).cycles, sim.streams["out"].receive().tolist()) == first


def test_ports_by_hand_cycle_by_cycle(model: Model) -> None:
    with model.open() as sim:
        sim.io.out_ready = 1
        sim.io.in_data = 7
        sim["in_valid"] = 1
        assert (sim.io.in_ready, sim.io.out_valid) == (1, 0)
        sim.clock.tick()
        assert (sim.io.out_valid, sim["out_data"]) == (1, 7)
        sim.io.out_ready = 0
        assert sim.io.in_ready == 0
        with pytest.raises(DeviceError, match=r"^in_data: 65536 does not fit in 16 bits$"):
            sim.io.in_data = 1 << 16
