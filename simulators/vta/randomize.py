"""Random programs that are right by construction: jobs of loads, computation and stores, two of which may overlap."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, encode_uop, enum, make
from numpy.typing import NDArray

INPUT, OUTPUT, TABLES, CODE = 0, 1, 2, 3
"""Base registers of a random case: random data, what STOREs write, micro-ops, and the program itself."""


@dataclass(frozen=True)
class Case:
    """A program with its memory and base registers; `code` is where the program itself lies."""

    program: Sequence[Instruction]
    memory: NDArray[np.uint8]
    bases: Sequence[int]

    @property
    def code(self) -> int:
        return self.bases[CODE]


@dataclass
class _Half:
    """What one half of the on-chip memories holds: elements loaded from its start, accumulators written."""

    inp: int = 0
    wgt: int = 0
    prm: int = 0
    acc: int = 0


@dataclass
class _Maker:
    config: Config
    rng: random.Random
    program: list[Instruction] = field(default_factory=list)
    uops: list[int] = field(default_factory=list)
    out: int = 0
    data_beats: int = 0

    def add(self, name: str, **values: int | str) -> None:
        self.program.append(make(name, **values))

    def between(self, low: int, high: int) -> int:
        return self.rng.randint(low, max(low, high))

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability


def random_case(config: Config, seed: int, jobs: int = 4) -> Case:
    """A random program of `jobs` jobs for a configuration; the same seed gives the same case."""
    rng = random.Random(seed)
    numbers = np.random.default_rng(seed)
    beat = config.beat_bytes
    data_beats = max(2048, 6 * config.wgt_bytes * 16 // beat)
    maker = _Maker(config, rng, data_beats=data_beats)
    halves = (_Half(), _Half())
    tables: list[list[int]] = []
    for job in range(jobs):
        _job(maker, halves[job % 2], job, tables)
    for _ in range(2):
        maker.add("SYNC", unit=rng.choice(("load", "compute", "store")))
    maker.add("FINISH")
    image = _tables(config, tables)
    data = numbers.integers(0, 256, data_beats * beat, dtype=np.uint8)
    data[numbers.random(len(data)) < 0.05] = rng.choice((0x80, 0x7F, 0x00, 0xFF))
    sizes = [len(data), maker.out * beat, len(image), (len(maker.program) + 1) * 16]
    bases, at = [], 0
    for size in sizes:
        bases.append(at)
        at += -(-size // 4096) * 4096 + rng.choice((0, 64, 128)) // beat * beat
    memory = np.zeros(at + 64, np.uint8)
    memory[: len(data)] = data
    memory[bases[TABLES] : bases[TABLES] + len(image)] = image
    return Case(tuple(maker.program), memory, tuple(bases))


def _tables(config: Config, tables: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """The micro-ops of all jobs, each job's from a beat of its own."""
    kind = np.uint32 if config.uop_bits == 32 else np.uint64
    rows = [np.array([*t, *([0] * (-len(t) % config.uops_per_beat))], kind).view(np.uint8) for t in tables]
    return np.concatenate(rows) if rows else np.zeros(0, np.uint8)


def _job(maker: _Maker, half: _Half, job: int, tables: list[list[int]]) -> None:
    """Loads, computation and stores of one job in its half of the memories, beside the job before it in the other."""
    config, side = maker.config, job % 2
    lines = config.element_count("uop") // 2
    start = sum(-(-len(t) // config.uops_per_beat) for t in tables)
    table: list[int] = []
    tables.append(table)
    _loads(maker, half, side, job)
    compute = _compute(maker, half, side, table)
    count = -(-len(table) // config.uops_per_beat)
    maker.add("LOAD", mem="uop", sram=side * lines, base=TABLES, offset=start, x=count, push_next=1)
    carriers = [at for at, instruction in enumerate(compute) if instruction.name != "LOOP"]
    first, last = (carriers[0], carriers[-1]) if maker.chance(0.7) else (0, len(compute))
    if first == 0:
        compute.insert(0, make("SYNC", unit="compute"))
        last += 1
    if last == len(compute):
        compute.append(make("SYNC", unit="compute"))
    compute[first] = _with(compute[first], pop_prev=1)
    compute[last] = _with(compute[last], push_next=1)
    if job:  # the stores of the job before are over: its half is free for the loads of the next job
        place = maker.rng.choice(
            [at for at in range(first + 1, len(compute) + 1) if at > last or compute[at - 1].name != "LOOP"]
        )
        compute.insert(place, make("SYNC", unit="compute", pop_next=1, push_prev=1))
    maker.program += compute
    stores = maker.between(1, 3)
    for number in range(stores):
        _store(maker, half, side, first=number == 0, last=number == stores - 1)


def _with(instruction: Instruction, **bits: int) -> Instruction:
    return make(instruction.name, **{**instruction.values, **bits})


def _loads(maker: _Maker, half: _Half, side: int, job: int) -> None:
    """Random LOADs into one half; the first waits until that half is free."""
    config = maker.config
    kinds = ["inp", "wgt", "prm"] if job < 2 else [k for k in ("inp", "wgt", "prm") if maker.chance(0.7)]
    maker.rng.shuffle(kinds)
    maker.add("SYNC", unit="load", pop_next=int(job >= 2))
    for kind in kinds:
        room = min(config.element_count(kind) // 2, {"inp": 200, "wgt": 10, "prm": 6}[kind])
        beats = config.element_bytes(kind) // config.beat_bytes
        pads = dict.fromkeys(("x_before", "x_after", "y_before", "y_after", "z_before", "z_after"), 0)
        x, y, z = maker.between(1, 12), maker.between(1, 4), maker.between(1, 2)
        if kind == "inp" and maker.chance(0.6):
            pads = {name: maker.between(0, 2) for name in pads}
        while True:
            outer = [n + pads[f"{a}_before"] + pads[f"{a}_after"] for a, n in (("x", x), ("y", y), ("z", z))]
            if outer[0] * outer[1] * outer[2] <= room:
                break
            x, y, z = max(1, x - 2), max(1, y - 1), 1
            pads = dict.fromkeys(pads, 0) if x == y == 1 else pads
        if kind == "inp":
            maker.add("PAD", **pads, value=maker.between(0, 255))
        row = x * beats
        stride_y = row if maker.chance(0.4) else row + maker.between(0, 9)
        stride_z = stride_y * y + maker.between(0, 9)
        maker.add("STRIDE", mem=kind, y=stride_y, z=stride_z)
        span = stride_z * (z - 1) + stride_y * (y - 1) + row
        offset = maker.between(0, maker.data_beats - span)
        depth = config.element_count(kind)
        maker.add("LOAD", mem=kind, sram=side * depth // 2, base=INPUT, offset=offset, x=x, y=y, z=z)
        setattr(half, kind, max(getattr(half, kind), outer[0] * outer[1] * outer[2]))


def _compute(maker: _Maker, half: _Half, side: int, table: list[int]) -> list[Instruction]:
    """GEMMs and ALUs over one half; the first GEMM makes the accumulators that the others use."""
    code: list[Instruction] = []
    for number in range(maker.between(1, 4)):
        if number == 0 or maker.chance(0.6):
            _gemm(maker, half, side, table, code)
        else:
            _alu(maker, half, side, table, code)
        if maker.chance(0.15):
            code.append(make("SYNC", unit="compute"))
    return code


def _gemm(maker: _Maker, half: _Half, side: int, table: list[int], code: list[Instruction]) -> None:
    config = maker.config
    depthwise = config.depthwise and maker.chance(0.3)
    n = [maker.between(1, 3), maker.between(1, 4), maker.between(1, 5)]
    count, warm = maker.between(1, 6), maker.between(0, 3) if depthwise else 0
    inner = n[2] + warm
    room = min(config.acc_depth // 2, 96)
    src = _factors(maker, [n[0], n[1], inner], half.inp)
    wgt = _factors(maker, [n[0], n[1], inner], half.wgt)
    fresh = half.acc == 0 or maker.chance(0.4)
    dst = _factors(maker, n, room if fresh else half.acc, spread=fresh)
    deep = (n[0], n[1], inner)
    free = (_free(room if fresh else half.acc, dst, n), _free(half.inp, src, deep), _free(half.wgt, wgt, deep))
    run = maker.between(0, free[0])
    begin = len(table)
    for _ in range(count):
        run = maker.between(0, free[0]) if maker.chance(0.4) else run
        table.append(encode_uop(config, run, maker.between(0, free[1]), maker.between(0, free[2])))
    base = side * config.acc_depth // 2
    if fresh:  # clear what the walk may touch, then everything below it is written
        _clear(maker, side, room, table, code)
        half.acc = room
    code.append(make("LOOP", **{f"{kind}{level}": factor for kind, factors in (("dst", dst), ("src", src), ("wgt", wgt))
                                for level, factor in enumerate(factors)}))  # fmt: skip
    code.append(make(
        "GEMM", dst=base, src=side * config.inp_depth // 2, wgt=side * config.wgt_depth // 2,
        begin=side * config.uop_depth // 2 + begin, count=count, n0=n[0], n1=n[1], n2=n[2],
        op=maker.rng.choice(("add", "add", "add", "max", "min", "mul")), overwrite=maker.between(0, 1),
        unsigned=maker.between(0, 1), depthwise=int(depthwise), warm=warm,
    ))  # fmt: skip


def _clear(maker: _Maker, side: int, room: int, table: list[int], code: list[Instruction]) -> None:
    """Set accumulators to a number, so that nothing is read that was never written."""
    table.append(encode_uop(maker.config, 0, 0, 0))
    code.append(make("LOOP", dst2=1))
    begin = side * maker.config.uop_depth // 2 + len(table) - 1
    imm = maker.between(-(1 << 23), (1 << 23) - 1)
    base = side * maker.config.acc_depth // 2
    code.append(make("ALU", dst=base, begin=begin, n2=room, op="mov", use_imm=1, imm=imm))


def _alu(maker: _Maker, half: _Half, side: int, table: list[int], code: list[Instruction]) -> None:
    config = maker.config
    n = [maker.between(1, 2), maker.between(1, 3), maker.between(1, 5)]
    limit = min(half.acc, 1 << min(config.widths()["inp_index"], config.widths()["acc_index"]))
    dst, src = _factors(maker, n, limit), _factors(maker, n, limit)
    free = (_free(limit, dst, n), _free(limit, src, n))
    begin, count = len(table), maker.between(1, 4)
    table.extend(encode_uop(config, maker.between(0, free[0]), maker.between(0, free[1]), 0) for _ in range(count))
    code.append(make("LOOP", **{f"{kind}{level}": factor for kind, factors in (("dst", dst), ("src", src))
                                for level, factor in enumerate(factors)}))  # fmt: skip
    base = side * config.acc_depth // 2
    immediate = maker.chance(0.5)
    code.append(make(
        "ALU", dst=base, src=base, begin=side * config.uop_depth // 2 + begin, count=count, n0=n[0], n1=n[1], n2=n[2],
        op=maker.rng.choice(tuple(enum("alu"))), use_imm=int(immediate),
        imm=maker.between(-(1 << 23), (1 << 23) - 1) if maker.chance(0.5) else maker.between(-9, 9),
    ))  # fmt: skip


def _free(limit: int, factors: Sequence[int], counts: Sequence[int]) -> int:
    """The highest start from which loops stay below a limit."""
    return limit - 1 - sum(factor * (count - 1) for factor, count in zip(factors, counts, strict=True))


def _factors(maker: _Maker, counts: Sequence[int], limit: int, spread: bool = False) -> list[int]:
    """Loop factors that keep indices below a limit; with `spread` larger ones are preferred."""
    left, factors = limit - 1, [0, 0, 0]
    for level in maker.rng.sample(range(3), 3):
        most = left // max(1, counts[level] - 1) if counts[level] > 1 else maker.between(0, 9)
        factors[level] = maker.between(0, min(most, 12 if spread else 5))
        left -= factors[level] * (counts[level] - 1)
    return factors


def _store(maker: _Maker, half: _Half, side: int, first: bool, last: bool) -> None:
    """One STORE of accumulators of a half to memory that no other STORE writes."""
    config = maker.config
    raw = maker.chance(0.2)
    residual = not raw and maker.chance(0.4)
    size = config.out_bytes // config.beat_bytes * (4 if raw else 1)
    n = {"z": maker.between(1, 2), "y": maker.between(1, 3), "x": maker.between(1, 9)}
    acc = _factors(maker, [n["z"], n["y"], n["x"]], half.acc)
    start = maker.between(0, _free(half.acc, acc, tuple(n.values())))
    prm_x, prm_z = int(maker.chance(0.4) and n["x"] <= half.prm), 0
    prm_z = int(maker.chance(0.4) and n["z"] + (n["x"] if prm_x else 0) <= half.prm)
    used = (n["x"] - 1) * prm_x + (n["z"] - 1) * prm_z
    prm = side * config.prm_depth // 2 + maker.between(0, half.prm - 1 - used)
    row = n["x"] * size
    stride_y = row if maker.chance(0.4) else row + maker.between(0, 9)
    stride_z = stride_y * n["y"] + maker.between(0, 9)
    maker.add("WALK", acc_x=acc[2], acc_y=acc[1], acc_z=acc[0], y=stride_y, z=stride_z)
    _quant(maker)
    if residual:
        width = n["x"] * config.out_bytes // config.beat_bytes
        step_y = width if maker.chance(0.4) else width + maker.between(0, 9)
        step_z = step_y * n["y"] + maker.between(0, 9)
        span = step_z * (n["z"] - 1) + step_y * (n["y"] - 1) + width
        maker.add("RESIDUAL", base=INPUT, offset=maker.between(0, maker.data_beats - span), y=step_y, z=step_z)
    maker.add(
        "STORE", acc=side * config.acc_depth // 2 + start, prm=prm, prm_x=prm_x, prm_z=prm_z, residual=int(residual),
        raw=int(raw), base=OUTPUT, offset=maker.out, **n, pop_prev=int(first), push_prev=int(last),
    )  # fmt: skip
    maker.out += stride_z * (n["z"] - 1) + stride_y * (n["y"] - 1) + row + maker.between(0, 300)
    if maker.chance(0.2):
        maker.add("SYNC", unit="store")


def _quant(maker: _Maker) -> None:
    low, high = maker.rng.choice(((-128, 127), (0, 255), (0, 100), (-20, 30), (-256, 255)))
    small = maker.chance(0.5)
    maker.add(
        "QUANT", z1=maker.between(-256, 255) if maker.chance(0.3) else maker.between(-9, 9), lo1=low, hi1=high,
        ma=maker.between(0, 15) if small else maker.between(0, (1 << 24) - 1),
        mr=maker.between(0, 15) if small else maker.between(0, (1 << 24) - 1),
        shift=maker.between(0, 5) if small else maker.between(15, 40),
        zr=maker.between(-256, 255), z2=maker.between(-256, 255),
        lo2=maker.between(-256, -1), hi2=maker.between(0, 255), unsigned=maker.between(0, 1),
    )  # fmt: skip
