"""The cycle model against the RTL: layers and random programs, at fixed latency and under jitter and back-pressure."""

from __future__ import annotations

import random

import numpy as np
import pytest
from heddle.core.errors import DeviceError
from heddle.hw.vta.config import load_config
from heddle.hw.vta.isa import counter_names, make
from heddle.simulators.verilator import Model
from heddle.simulators.vta.accuracy import compare, fixed_latency, random_program
from heddle.simulators.vta.convolution import Layer, assemble_convolution, parse_layer
from heddle.simulators.vta.cycle import cycles, prepare, run
from heddle.simulators.vta.events.simulate import simulate
from heddle.simulators.vta.events.state import state_size
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl

LAYERS = ["28x28x32x64k3", "28x28x64x32k3s2", "28x28x64x32k1", "14x14x256x64k3", "28x28x32x32k3r"]


@pytest.fixture(scope="module")
def reference() -> Model:
    return build_rtl(load_config("reference"))


@pytest.fixture(scope="module")
def tiny() -> Model:
    return build_rtl(load_config("tiny"))


@pytest.mark.parametrize("latency", [3, 100])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_take_the_predicted_cycles(reference: Model, name: str, latency: int) -> None:
    config, memory = load_config("reference"), Memory(latency=latency)
    layer = assemble_convolution(parse_layer(name), config)
    machine = Rtl(config, reference, layer.memory, memory)
    measured = machine.run(layer.instructions, layer.code, [0])
    machine.close()
    predicted = cycles(layer.instructions, config, memory, data=layer.memory, bases=[0])
    assert predicted.cycles == pytest.approx(measured["cycles"], rel=0.01)
    assert predicted.counters["compute_gemm"] == layer.slots == measured["compute_gemm"]
    for counter in counter_names():  # waiting is an estimate, work is exact
        assert predicted.counters[counter] == pytest.approx(measured[counter], abs=0.02 * measured["cycles"]), counter


def test_the_counters_of_a_unit_sum_to_the_cycles() -> None:
    config = load_config("reference")
    layer = assemble_convolution(Layer(14, 64, 64, residual=True), config)
    report = cycles(layer.instructions, config, data=layer.memory, bases=[0])
    assert set(report.counters) == set(counter_names())
    for unit in ("fetch", "load", "compute", "store"):
        assert sum(n for name, n in report.counters.items() if name.startswith(f"{unit}_")) == report.cycles
        assert all(n >= 0 for n in report.counters.values())


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_at_fixed_latency(tiny: Model, reference: Model, seed: int) -> None:
    name, model = ("tiny", tiny) if seed % 2 else ("reference", reference)
    memory = Memory(
        latency=random.Random(seed).choice([1, 20, 150]), outstanding=random.Random(seed).choice([2, 8, 64])
    )
    measured, predicted = compare(load_config(name), model, seed, memory)
    assert measured > 10_000
    assert predicted.cycles == pytest.approx(measured, rel=0.05)


def test_random_programs_in_aggregate_under_jitter(tiny: Model) -> None:
    pairs = [
        compare(load_config("tiny"), tiny, seed, Memory(30, 16, jitter_seed=seed + 1, backpressure=0.1 * (seed % 3)))
        for seed in range(20, 26)
    ]
    assert sum(p.cycles for _, p in pairs) == pytest.approx(sum(m for m, _ in pairs), rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("name", ["reference", "tiny", "small", "tall", "wide", "large"])
def test_many_random_programs(name: str) -> None:
    config = load_config(name)
    model = build_rtl(config)
    for seed in range(1000, 1100):
        measured, predicted = compare(config, model, seed, fixed_latency(seed))
        if measured > 10_000:
            assert predicted.cycles == pytest.approx(measured, rel=0.05), seed


def test_the_source_means_the_same_in_python_and_compiled() -> None:
    config = load_config("tiny")
    program, data = random_program(config, 5, 30)
    prepared = prepare(program, config, data, [0])
    compiled = run(prepared, Memory(latency=40, jitter_seed=3, backpressure=0.2))
    count = len(program)
    shape = [count, config.queue_depth, config.read_window, config.residual_depth, 16, 128 // config.bus_bits]
    settings = np.array([*shape, 4096 // config.beat_bytes, config.out_bytes // config.beat_bytes, 40, 64, 40, 205, 3])
    state = np.zeros(state_size(count), np.int64)
    assert simulate(prepared.rows.reshape(-1), settings, state) == compiled.cycles


def test_a_program_that_never_ends_is_refused_with_the_heads_of_its_queues() -> None:
    program = [make("GEMM", pop_prev=1), make("STORE", pop_prev=1), make("FINISH")]
    with pytest.raises(DeviceError, match=r"^cycle model: the program never ends") as caught:
        cycles(program, load_config("tiny"))
    assert caught.value.__notes__ == [
        "load queue: empty",
        "compute queue: instruction 0: GEMM",
        "store queue: instruction 1: STORE",
    ]
