"""The cycle model against the RTL: layers and random programs, at fixed latency and under jitter and back-pressure."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.isa import Instruction, counter_names, encode_uop, make
from heddle.simulators.verilator import Model
from heddle.simulators.vta.convolution import Layer, assemble_convolution, parse_layer
from heddle.simulators.vta.cycle import CycleReport, cycles, prepare, run
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


def measure(
    config: Config, model: Model, program: list[Instruction], data: np.ndarray, memory: Memory
) -> dict[str, int]:
    machine = Rtl(config, model, data, memory)
    try:
        return dict(machine.run(program, len(data) - 16 * len(program) - 64 & ~4095, [0]))
    finally:
        machine.close()


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


def random_program(config: Config, seed: int, instructions: int) -> tuple[list[Instruction], np.ndarray]:
    """Boxes, loops and walks of every kind, chained through tokens; what they compute does not matter."""
    pick = random.Random(seed)
    beat = config.beat_bytes
    data = np.random.default_rng(seed).integers(0, 256, 1 << 19).astype(np.uint8)
    uops = [
        encode_uop(config, pick.randrange(config.acc_depth // 4), pick.randrange(config.inp_depth // 4), 0)
        for _ in range(config.uop_depth // 2)
    ]
    if pick.random() < 0.5:
        uops = [uops[index // 9 * 9] for index in range(len(uops))]  # runs of one destination
    packed = np.array(uops, np.uint32 if config.uop_bits == 32 else np.uint64).view(np.uint8)
    data[: len(packed)] = packed
    program = [make("LOAD", mem="uop", x=len(packed) // beat, push_next=1), make("SYNC", unit="compute", pop_prev=1)]

    def offset(span: int) -> int:
        return pick.randrange(len(packed) // beat, (len(data) // 2) // beat - span)

    def load() -> Iterator[Instruction]:
        for _ in range(pick.randrange(1, 3)):
            memory = pick.choice(["inp", "inp", "wgt", "prm"])
            element = config.element_bytes(memory) // beat
            x, y, z = pick.randrange(1, 12), pick.randrange(1, 6), pick.randrange(1, 3)
            room = config.element_count(memory) // 2
            if memory == "inp" and pick.random() < 0.6:
                yield make("PAD", **{f"{a}_{s}": pick.randrange(3) for a in "xyz" for s in ("before", "after")})
            elif memory == "inp":
                yield make("PAD")
            while ((x + 4) * (y + 4) * (z + 4) > room and memory == "inp") or x * y * z > room:
                x, y, z = max(1, x - 1), max(1, y - 1), max(1, z - 1)
                if x == y == z == 1:
                    break
            strides = {"y": pick.choice([x * element, x * element + pick.randrange(9)]), "z": pick.randrange(400)}
            yield make("STRIDE", mem=memory, **strides)
            if memory == "inp" and (x + 4) * (y + 4) * (z + 4) > room:
                yield make("PAD")
            yield make("LOAD", mem=memory, offset=offset(3000), x=x, y=y, z=z)

    def work() -> Iterator[Instruction]:
        count = pick.choice([1, 3, 9, 18])
        dst = {f"dst{i}": pick.randrange(3) for i in range(3)}
        yield make("LOOP", **dst, src2=1, src1=pick.randrange(4))
        shape = {"n0": pick.randrange(1, 4), "n1": pick.randrange(1, 7), "n2": pick.randrange(1, 9)}
        begin = pick.randrange(len(uops) - count)
        if pick.random() < 0.2:
            yield make(
                "ALU",
                begin=begin,
                count=count,
                op=pick.choice(["add", "mov", "shr"]),
                use_imm=pick.randrange(2),
                **shape,
            )
        else:
            yield make("GEMM", begin=begin, count=count, overwrite=pick.randrange(2), **shape)

    def store() -> Iterator[Instruction]:
        vector = config.out_bytes // beat
        raw = pick.random() < 0.2
        x, y, z = pick.randrange(1, 9), pick.randrange(1, 5), pick.randrange(1, 3)
        size = x * vector * (4 if raw else 1)
        gap = pick.choice([0, 0, 5])
        way = {"y": size + gap, "z": (size + gap) * y}
        yield make("WALK", acc_x=1, acc_y=2, acc_z=3, **way)
        residual = not raw and pick.random() < 0.4
        if residual:
            yield make("RESIDUAL", offset=offset(3000), **way)
        start = len(data) // 2 // beat + pick.randrange(2000)
        yield make("STORE", raw=raw, residual=residual, offset=start, x=x, y=y, z=z)

    def with_tokens(part: list[Instruction], pops: dict[str, int], pushes: dict[str, int]) -> list[Instruction]:
        acting = [i for i, item in enumerate(part) if item.name in ("LOAD", "GEMM", "ALU", "STORE")]
        first, last = acting[0], acting[-1]
        part[first] = make(part[first].name, **{**part[first].values, **pops})
        part[last] = make(part[last].name, **{**part[last].values, **pushes})
        return part

    depth = pick.randrange(1, 4)
    for turn in range(instructions):
        again = int(turn >= depth)
        program += with_tokens(list(load()), {"pop_next": again}, {"push_next": 1})
        pops = {"pop_prev": 1, "pop_next": again}
        program += with_tokens(list(work()), pops, {"push_prev": 1, "push_next": 1})
        program += with_tokens(list(store()), {"pop_prev": 1}, {"push_prev": 1})
        if pick.random() < 0.05:
            program.append(make("SYNC", unit=pick.choice(["load", "compute", "store"])))
    return [*program, make("FINISH")], data


def compare(config: Config, model: Model, seed: int, memory: Memory, turns: int = 200) -> tuple[int, CycleReport]:
    program, data = random_program(config, seed, turns)
    predicted = cycles(program, config, memory, data=data, bases=[0])
    return measure(config, model, program, data, memory)["cycles"], predicted


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
        memory = Memory(
            latency=random.Random(seed).randrange(1, 200), outstanding=random.Random(seed).choice([1, 4, 64])
        )
        measured, predicted = compare(config, model, seed, memory)
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
