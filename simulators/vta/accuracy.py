"""How far the cycle model is from the RTL, over random programs that keep all units and memory busy.

`python -m heddle.simulators.vta.accuracy` prints the worst and the mean deviation on each configuration.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.hw.vta.isa import Instruction, encode_uop, make
from heddle.simulators.verilator import Model
from heddle.simulators.vta.cycle import CycleReport, cycles
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def random_program(config: Config, seed: int, instructions: int) -> tuple[list[Instruction], Bytes]:
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


def measure(
    config: Config, model: Model, program: Sequence[Instruction], data: Bytes, memory: Memory
) -> Mapping[str, int]:
    """The counters of a program at RTL, which lies at the end of its data."""
    machine = Rtl(config, model, data, memory)
    try:
        return machine.run(program, len(data) - 16 * len(program) - 64 & ~4095, [0])
    finally:
        machine.close()


def compare(config: Config, model: Model, seed: int, memory: Memory, turns: int = 200) -> tuple[int, CycleReport]:
    """The cycles of a random program at RTL, and the prediction."""
    program, data = random_program(config, seed, turns)
    predicted = cycles(program, config, memory, data=data, bases=[0])
    return measure(config, model, program, data, memory)["cycles"], predicted


def fixed_latency(seed: int) -> Memory:
    """A memory without jitter, of a latency and a number of bursts that the seed says."""
    pick = random.Random(seed)
    return Memory(latency=pick.randrange(1, 200), outstanding=pick.choice([1, 4, 64]))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="deviation of the cycle model from the RTL on random programs")
    parser.add_argument("--programs", type=int, default=40, help="of each configuration")
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--configs", nargs="+", default=config_names())
    options = parser.parse_args(arguments)
    worst = 0.0
    for name in options.configs:
        config = load_config(name)
        model, found = build_rtl(config), []
        for seed in range(options.first, options.first + options.programs):
            measured, predicted = compare(config, model, seed, fixed_latency(seed))
            if measured > 10_000:
                found.append((abs(predicted.cycles - measured) / measured, seed))
        most, seed = max(found)
        worst = max(worst, most)
        mean = sum(share for share, _ in found) / len(found)
        print(f"{name}: {len(found)} programs above 10,000 cycles, mean {mean:.2%}, worst {most:.2%} (seed {seed})")
    return 1 if worst > 0.05 else 0


if __name__ == "__main__":
    sys.exit(main())
