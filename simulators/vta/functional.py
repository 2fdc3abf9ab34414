"""The functional model: runs a program bit for bit as the instruction set says, with every check on.

It executes whole instructions in an order that the tokens allow, and keeps for each element who wrote and read it last,
so that reads of what was never written, and accesses that no token orders, are faults and not luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from heddle.hw.vta.config import Config
from heddle.hw.vta.description import BASES
from heddle.hw.vta.isa import Instruction, enum
from heddle.simulators.vta import arithmetic
from heddle.simulators.vta.checks import Checks
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.footprint import Index, Walk, box, distinct, touched, walk
from heddle.simulators.vta.stream import MEMORIES, Step, check_bases, read_stream, register, stride
from heddle.simulators.vta.tokens import Clock, run
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Executed:
    """What the functional model tells about one instruction: its place in the order of execution, what it wrote."""

    order: int
    step: Step
    wrote: tuple[int, int] | None = None
    """For a STORE, the bytes of memory within which it wrote, from the first to behind the last."""


@dataclass(eq=False)
class Functional:
    """An accelerator of one configuration beside a flat byte memory; its on-chip state lasts for one `run`.

    With `compute=False` nothing is calculated and only micro-ops are loaded: that is the static check of a program.
    """

    config: Config
    memory: Bytes
    compute: bool = True
    trace: Callable[[Executed], None] | None = None
    _walks: dict[tuple[object, ...], Walk] = field(default_factory=dict)

    def run(self, program: Sequence[Instruction], bases: Sequence[int], limits: Sequence[int] | None = None) -> None:
        """Run a program with the given base registers; FaultError says what is wrong with it.

        `limits` are the bytes that may be used from each base; without them, all of memory may be.
        """
        self._bases = [*bases, *([0] * (BASES - len(bases)))]
        self._limits = limits
        self._reset()
        check_bases(self.config, program, bases)
        run(read_stream(self.config, program), self.config.queue_depth, self._execute)

    def _reset(self) -> None:
        config, beat = self.config, self.config.beat_bytes
        self._srams: dict[str, NDArray[Any]] = {
            "inp": np.zeros((config.inp_depth, config.bi), np.int8),
            "wgt": np.zeros((config.wgt_depth, config.bo, config.bi), np.int8),
            "uop": np.zeros((config.element_count("uop"), beat), np.uint8),
            "prm": np.zeros((config.prm_depth, config.prm_bytes), np.uint8),
            "acc": np.zeros((config.acc_depth, config.bo), np.int32),
        }
        self._memory = self.memory[: len(self.memory) // beat * beat].reshape(-1, beat)
        self._checks = Checks(config, len(self.memory))
        self._order = 0

    def _execute(self, step: Step, clock: Clock) -> None:
        actions: Mapping[str, Callable[[Step, Clock], tuple[int, int] | None]] = {
            "LOAD": self._load,
            "GEMM": self._gemm,
            "ALU": self._alu,
            "STORE": self._store,
            "SYNC": lambda *_: None,
        }
        wrote = actions[step.name](step, clock)
        if self.trace:
            self.trace(Executed(self._order, step, wrote))
        self._order += 1

    # ------------------------------------------------------------ memory

    def _beats(self, step: Step, source: Instruction | Step, strides: tuple[int, int], size: int) -> Index:
        """The beats of memory of a box of vectors of `size` beats, a row per vector; within the base's limit."""
        z, y = strides
        offsets = box(step, (z, y, size)) + source["offset"]
        beat, base = self.config.beat_bytes, self._bases[source["base"]]
        end = (int(offsets.max()) + size) * beat
        limit = len(self.memory) - base if self._limits is None else self._limits[source["base"]]
        if end > limit:
            kind = "write" if source is step and step.unit == "store" else "read"
            text = f"{step.name}: reaches byte {end} of base {source['base']}, expected at most {limit}"
            raise FaultError(kind, step.index, text)
        return (offsets + base // beat)[:, None] + np.arange(size)

    # ------------------------------------------------------------ LOAD

    def _load(self, step: Step, clock: Clock) -> None:
        config, name = self.config, MEMORIES[step["mem"]]
        element, way = config.element_bytes(name), stride(step)
        beats = self._beats(step, step, (way["z"], way["y"]), element // config.beat_bytes)
        pad = register(step, "PAD" if name == "inp" else "")
        before, after = ([pad[f"{axis}_{side}"] for axis in "zyx"] for side in ("before", "after"))
        inner = (step["z"], step["y"], step["x"])
        outer = tuple(b + n + a for b, n, a in zip(before, inner, after, strict=True))
        count = outer[0] * outer[1] * outer[2]
        self._checks.fetches(step, clock, beats)
        self._checks.loads(step, clock, name, step["sram"], count)
        if not self.compute and name != "uop":
            return
        target: Bytes = self._srams[name].view(np.uint8).reshape(config.element_count(name), element)
        piece = target[step["sram"] : step["sram"] + count].reshape(*outer, element)
        if outer != inner:
            piece[...] = pad["value"]
        z, y, x = (slice(b, b + n) for b, n in zip(before, inner, strict=True))
        piece[z, y, x] = self._memory[beats].reshape(*inner, element)

    # ------------------------------------------------------------ COMPUTE

    def _walk(self, step: Step, clock: Clock) -> Walk:
        """The walk of a step, from the cache if its shape and its micro-ops were seen before."""
        config, begin, end = self.config, step["begin"], step["begin"] + step["count"]
        lines = np.arange(begin // config.uops_per_beat, (end - 1) // config.uops_per_beat + 1)
        self._checks.reads(step, clock, "uop", lines)
        words = self._srams["uop"].view(np.uint32 if config.uop_bits == 32 else np.uint64).reshape(-1)[begin:end]
        shape = (step.name, step["n0"], step["n1"], step["n2"], step.fields.get("warm", 0))
        key = (*shape, register(step, "LOOP"), words.tobytes())
        if key not in self._walks:
            micro = np.stack(arithmetic.split_uops(config, words, step.name == "ALU"), axis=1)
            sources = config.acc_depth if step.name == "ALU" else config.inp_depth
            self._walks[key] = walk(step, micro, sources)
        return self._walks[key]

    def _gemm(self, step: Step, clock: Clock) -> None:
        it = self._walk(step, clock)
        self._checks.reads(step, clock, "inp", it.src + step["src"])
        if step["depthwise"]:
            self._depthwise(step, clock, it)
            return
        self._checks.reads(step, clock, "wgt", it.wgt + step["wgt"])
        self._checks.accumulates(step, clock, it.dst + step["dst"], bool(step["overwrite"]))
        if not self.compute:
            return
        inp = self._srams["inp"][step["src"] :].view(np.uint8 if step["unsigned"] else np.int8)
        wgt = self._srams["wgt"][step["wgt"] :]
        acc = self._srams["acc"][step["dst"] :]
        if step["op"] == enum("accumulate")["add"] and it.distinct:
            for part in it.products:
                result = arithmetic.product(inp, wgt, part.src, part.wgt)
                acc[part.dst] = result if step["overwrite"] else acc[part.dst] + result
            return
        op = arithmetic.ACCUMULATE[step["op"]]
        each = arithmetic.dots(inp, wgt, it.indices(1), it.indices(2))
        combined = np.stack([op.reduce(each[:, run], axis=1) for run in it.runs], axis=1)
        arithmetic.accumulate(acc, it.run_dst, combined, op, bool(step["overwrite"]))

    def _depthwise(self, step: Step, clock: Clock, it: Walk) -> None:
        count, inner, warm = step["count"], step["n2"] + step["warm"], step["warm"]
        rows = np.flatnonzero(np.arange(len(it.loops)) % inner >= warm)
        dst = it.loops[rows, 0] + it.micro[-1, 0] + step["dst"] - warm * register(step, "LOOP")["dst2"]
        tiles = it.loops[rows, 2] + it.micro[-1, 2] + step["wgt"]
        self._checks.reads(step, clock, "wgt", touched(tiles))
        self._checks.accumulates(step, clock, touched(dst), bool(step["overwrite"]))
        if not self.compute:
            return
        inp = self._srams["inp"].view(np.uint8 if step["unsigned"] else np.int8)
        vectors = inp[it.indices(1).reshape(-1) + step["src"]]
        result = arithmetic.depthwise(vectors, rows * count + count - 1, self._srams["wgt"], tiles)
        op = arithmetic.ACCUMULATE[step["op"]]
        arithmetic.accumulate(self._srams["acc"], dst, result, op, bool(step["overwrite"]))

    def _alu(self, step: Step, clock: Clock) -> None:
        it = self._walk(step, clock)
        written = it.dst + step["dst"]
        if not step["use_imm"]:
            self._checks.operands(step, it.src + step["src"], written)
        self._checks.accumulates(step, clock, written, step["op"] == enum("alu")["mov"])
        if not self.compute:
            return
        dst = it.indices(0).reshape(-1) + step["dst"]
        src = None if step["use_imm"] else it.indices(1).reshape(-1) + step["src"]
        arithmetic.alu(self._srams["acc"], step["op"], dst, src, step["imm"])

    # ------------------------------------------------------------ STORE

    def _store(self, step: Step, clock: Clock) -> tuple[int, int]:
        config, way = self.config, register(step, "WALK")
        size = config.out_bytes // config.beat_bytes * (4 if step["raw"] else 1)
        beats = self._beats(step, step, (way["z"], way["y"]), size)
        if not distinct(beats - beats.min()):
            raise FaultError("write", step.index, "STORE: two vectors overlap in memory")
        acc = box(step, (way["acc_z"], way["acc_y"], way["acc_x"])) + step["acc"]
        prm = box(step, (step["prm_z"], 0, step["prm_x"])) + step["prm"]
        self._checks.reads(step, clock, "acc", acc)
        self._checks.reads(step, clock, "prm", prm)
        residual = self._residual(step, clock) if step["residual"] else None
        self._checks.stores(step, clock, beats)
        if self.compute:
            parameters = arithmetic.Parameters.of(config, self._srams["prm"][prm])
            quant = register(step, "QUANT")
            out = arithmetic.drain(self._srams["acc"][acc], parameters, quant, residual, bool(step["raw"]))
            self._memory[beats] = out.reshape(*beats.shape, config.beat_bytes)
        return int(beats.min()) * config.beat_bytes, int(beats.max() + 1) * config.beat_bytes

    def _residual(self, step: Step, clock: Clock) -> Bytes:
        source, size = register(step, "RESIDUAL"), self.config.out_bytes // self.config.beat_bytes
        beats = self._beats(step, source, (source["z"], source["y"]), size)
        self._checks.fetches(step, clock, beats)
        rows: Bytes = self._memory[beats].reshape(len(beats), self.config.out_bytes)
        return rows
