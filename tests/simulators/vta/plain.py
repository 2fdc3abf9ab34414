"""The accelerator once more, as the plain loops of the instruction set's chapter, sharing no code with the models.

Steps run in program order, which is an order that tokens allow whenever a program was written front to back.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make

WORD = 1 << 32


def int32(value: int) -> int:
    return (value + WORD // 2) % WORD - WORD // 2


def int8(value: int) -> int:
    return (value + 128) % 256 - 128


def half_even(value: Fraction) -> int:
    return round(value)  # Python rounds halves to even


class Plain:
    """Runs a program over a bytearray."""

    def __init__(self, config: Config, memory: bytearray) -> None:
        self.c, self.memory = config, memory
        self.inp = [bytes(config.bi)] * config.inp_depth
        self.wgt = [bytes(config.wgt_bytes)] * config.wgt_depth
        self.uop = bytearray(config.uop_depth * config.uop_bits // 8)
        self.prm = [bytes(config.prm_bytes)] * config.prm_depth
        self.acc = [[0] * config.bo for _ in range(config.acc_depth)]
        self.registers: dict[str, Instruction] = {}

    def run(self, program: Sequence[Instruction], bases: Sequence[int]) -> None:
        self.bases = bases
        for i in program:
            if i.name == "STRIDE":
                self.registers[f"STRIDE{i['mem']}"] = i
            elif i.name in ("PAD", "LOOP", "WALK", "QUANT", "RESIDUAL"):
                self.registers[i.name] = i
            elif i.name not in ("SYNC", "FINISH"):
                getattr(self, i.name.lower())(i)

    def register(self, name: str) -> Instruction:
        return self.registers.get(name) or make(name.rstrip("0123"))

    def load(self, i: Instruction) -> None:
        c = self.c
        name = ("inp", "wgt", "uop", "prm")[i["mem"]]
        size = {"inp": c.bi, "wgt": c.bi * c.bo, "uop": c.bus_bits // 8, "prm": 9 * c.bo}[name]
        beat, stride = c.bus_bits // 8, self.register(f"STRIDE{i['mem']}")
        pad = self.register("PAD") if name == "inp" else make("PAD")
        at = i["sram"]
        for z in range(-pad["z_before"], i["z"] + pad["z_after"]):
            for y in range(-pad["y_before"], i["y"] + pad["y_after"]):
                for x in range(-pad["x_before"], i["x"] + pad["x_after"]):
                    element = bytes([pad["value"]]) * size
                    if 0 <= z < i["z"] and 0 <= y < i["y"] and 0 <= x < i["x"]:
                        start = (
                            self.bases[i["base"]] + (i["offset"] + z * stride["z"] + y * stride["y"]) * beat + x * size
                        )
                        element = bytes(self.memory[start : start + size])
                    if name == "uop":
                        self.uop[at * size : (at + 1) * size] = element
                    else:
                        getattr(self, name)[at] = element
                    at += 1

    def micro(self, number: int) -> tuple[int, int, int]:
        c, size = self.c, self.c.uop_bits // 8
        word = int.from_bytes(self.uop[number * size : (number + 1) * size], "little")
        a, b = c.acc_depth, c.inp_depth
        return word % a, word // a % b, word // a // b % c.wgt_depth

    def gemm(self, i: Instruction) -> None:
        c, loop = self.c, self.register("LOOP")
        bi, bo = c.bi, c.bo
        history = [[0] * bi for _ in range(bi)]
        for i0 in range(i["n0"]):
            for i1 in range(i["n1"]):
                for i2 in range(i["warm"] + i["n2"]):
                    for u in range(i["count"]):
                        m_dst, m_src, m_wgt = self.micro(i["begin"] + u)
                        s = i["src"] + m_src + i0 * loop["src0"] + i1 * loop["src1"] + i2 * loop["src2"]
                        w = i["wgt"] + m_wgt + i0 * loop["wgt0"] + i1 * loop["wgt1"] + i2 * loop["wgt2"]
                        j2 = i2 - i["warm"]
                        d = i["dst"] + m_dst + i0 * loop["dst0"] + i1 * loop["dst1"] + j2 * loop["dst2"]
                        x = [v if i["unsigned"] else int8(v) for v in self.inp[s]]
                        tile = [int8(v) for v in self.wgt[w]]
                        if i["depthwise"]:
                            history = [x, *history[:-1]]
                            if j2 < 0 or u < i["count"] - 1:
                                continue
                            p = [sum(history[t][o] * tile[o * bi + t] for t in range(bi)) for o in range(bo)]
                            first = bool(i["overwrite"])
                        else:
                            p = [sum(x[b] * tile[o * bi + b] for b in range(bi)) for o in range(bo)]
                            first = i["overwrite"] and (u == 0 or m_dst != self.micro(i["begin"] + u - 1)[0])
                        join = (lambda a, b: a + b, max, min, lambda a, b: a * b)[i["op"]]
                        self.acc[d] = [q if first else int32(join(a, q)) for a, q in zip(self.acc[d], p, strict=True)]

    def alu(self, i: Instruction) -> None:
        loop, c = self.register("LOOP"), self.c
        for i0 in range(i["n0"]):
            for i1 in range(i["n1"]):
                for i2 in range(i["n2"]):
                    for u in range(i["count"]):
                        m_dst, m_src, _ = self.micro(i["begin"] + u)
                        d = i["dst"] + m_dst + i0 * loop["dst0"] + i1 * loop["dst1"] + i2 * loop["dst2"]
                        f = [loop[f"src{level}"] % c.acc_depth for level in range(3)]
                        s = i["src"] + m_src % c.acc_depth + i0 * f[0] + i1 * f[1] + i2 * f[2]
                        right = [i["imm"]] * c.bo if i["use_imm"] else self.acc[s]
                        self.acc[d] = [self.operate(i["op"], a, b) for a, b in zip(self.acc[d], right, strict=True)]

    @staticmethod
    def operate(op: int, a: int, b: int) -> int:
        table = (a + b, max(a, b), min(a, b), a * b, a >> (b & 31), a << (b & 31), b)
        return int32(table[op])

    def store(self, i: Instruction) -> None:
        c, walk, quant = self.c, self.register("WALK"), self.register("QUANT")
        source, beat = self.register("RESIDUAL"), self.c.bus_bits // 8
        size = c.bo * (4 if i["raw"] else 1)
        for k in range(i["z"]):
            for j in range(i["y"]):
                for x in range(i["x"]):
                    a = self.acc[i["acc"] + k * walk["acc_z"] + j * walk["acc_y"] + x * walk["acc_x"]]
                    prm = self.prm[i["prm"] + (x if i["prm_x"] else 0) + (k if i["prm_z"] else 0)]
                    at = (
                        self.bases[source["base"]]
                        + (source["offset"] + k * source["z"] + j * source["y"]) * beat
                        + x * c.bo
                    )
                    residual = self.memory[at : at + c.bo]
                    out = b"".join(
                        self.requantize(o, a[o], prm, quant, residual[o] if i["residual"] else None, i["raw"])
                        for o in range(c.bo)
                    )
                    start = self.bases[i["base"]] + (i["offset"] + k * walk["z"] + j * walk["y"]) * beat + x * size
                    self.memory[start : start + size] = out

    def requantize(self, o: int, acc: int, prm: bytes, q: Instruction, residual: int | None, raw: int) -> bytes:
        bo = self.c.bo
        bias = int.from_bytes(prm[4 * o : 4 * o + 4], "little", signed=True)
        multiplier = int.from_bytes(prm[4 * (bo + o) : 4 * (bo + o) + 4], "little") % (1 << 31)
        shift = prm[8 * bo + o] % 64
        if raw:
            return (int32(acc + bias) % WORD).to_bytes(4, "little")
        value = half_even(Fraction((acc + bias) * multiplier, 1 << shift)) + q["z1"]
        value = min(max(value, q["lo1"]), q["hi1"])
        if residual is not None:
            r = residual if q["unsigned"] else int8(residual)
            both = (value - q["z1"]) * q["ma"] + (r - q["zr"]) * q["mr"]
            value = min(max(half_even(Fraction(both, 1 << q["shift"])) + q["z2"], q["lo2"]), q["hi2"])
        return (value % 256).to_bytes(1, "little")
