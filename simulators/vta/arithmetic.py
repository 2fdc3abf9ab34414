"""The accelerator's arithmetic on arrays: dot products, accumulation, ALU operations and the drain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.hw.vta.config import Config
from heddle.hw.vta.description import description
from heddle.hw.vta.isa import Instruction, enum
from heddle.simulators.vta.footprint import Index, distinct
from numpy.typing import NDArray

ACCUMULATE: tuple[np.ufunc, ...] = (np.add, np.maximum, np.minimum, np.multiply)
"""The accumulate operations by their number; arrays are int32, so that add and multiply wrap."""

SINGLE_THREAD = 1 << 18
"""Products of so few multiplications are done in one thread by BLAS; more threads would cost small ones more."""

Ints = NDArray[Any]


def split_uops(config: Config, words: Ints, alu: bool) -> tuple[Index, ...]:
    """The dst, src and wgt fields of micro-ops; those of ALU have a src of acc's width and no wgt."""
    widths, parts, at = config.widths(), [], 0
    for name, width in description()["uop"]["fields"]:
        parts.append(((words.astype(np.uint64) >> np.uint64(at)) & np.uint64((1 << widths[width]) - 1)).astype(np.intp))
        at += widths[width]
        if alu and name == "src":
            parts[-1] &= (1 << widths["acc_index"]) - 1
        if alu and name == "wgt":
            parts[-1] *= 0
    return tuple(parts)


def product(inp: Ints, wgt: Ints, src: Index, tiles: Index) -> Ints:
    """The sums of vectors `src[r, :]` times tiles `tiles[c, :]`: int32 of shape (r, c, bo), exact."""
    members, bo, bi = src.shape[1], wgt.shape[1], wgt.shape[2]
    exact32 = members * bi * 128 * 255 < 1 << 24 or (inp.dtype == np.int8 and members * bi * 128 * 128 < 1 << 24)
    kind = np.float32 if exact32 else np.float64
    left: Ints = inp[src].reshape(len(src), members * bi).astype(kind)
    right: Ints = wgt[tiles].transpose(0, 2, 1, 3).reshape(len(tiles) * bo, members * bi).astype(kind).T
    sums: Ints = np.empty((len(left), right.shape[1]), kind)
    rows = max(1, SINGLE_THREAD // right.size)
    for start in range(0, len(left), rows):
        np.matmul(left[start : start + rows], right, out=sums[start : start + rows])
    return wrapped(sums.astype(np.int64) if members > 1 << 15 else sums).reshape(len(src), len(tiles), bo)


def wrapped(values: Ints) -> Ints:
    """Whole numbers as int32, modulo 2^32."""
    if values.dtype == np.int64:
        return (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return values.astype(np.int32)


def dots(inp: Ints, wgt: Ints, src: Index, tiles: Index) -> Ints:
    """The dot product of each vector with its tile: int32 of shape (*src.shape, bo)."""
    vectors, numbers = inp[src.reshape(-1)].astype(np.float32), tiles.reshape(-1)
    result = np.empty((len(vectors), wgt.shape[1]), np.int32)
    for tile in np.unique(numbers):
        rows = numbers == tile
        result[rows] = vectors[rows] @ wgt[tile].astype(np.float32).T
    shaped: Ints = result.reshape(*src.shape, wgt.shape[1])
    return shaped


def depthwise(vectors: Ints, at: Index, wgt: Ints, tiles: Index) -> Ints:
    """Each lane's sum over the last vectors read at each of the positions `at`, with a tile for each of them."""
    taps = wgt.shape[2]
    padded = np.concatenate([np.zeros((taps - 1, taps), np.int32), vectors.astype(np.int32)])
    history = padded[at[:, None] + (taps - 1 - np.arange(taps))]
    sums: Ints = np.einsum("nko,nok->no", history, wgt[tiles].astype(np.int32))
    return sums


def accumulate(acc: Ints, dst: Index, values: Ints, op: np.ufunc, overwrite: bool) -> None:
    """Let values join accumulators in order of execution; with `overwrite`, the last one of a destination stays."""
    flat, rows = dst.reshape(-1), values.reshape(-1, values.shape[-1])
    if not overwrite:
        op.at(acc, flat, rows)
    elif distinct(flat):
        acc[flat] = rows
    else:
        kept, last = np.unique(flat[::-1], return_index=True)
        acc[kept] = rows[::-1][last]


def operate(op: int, left: Ints, right: Ints) -> Ints:
    """One ALU operation on int32 arrays."""
    names = {number: name for name, number in enum("alu").items()}
    result: Ints
    match names[op]:
        case "add":
            result = left + right
        case "max":
            result = np.maximum(left, right)
        case "min":
            result = np.minimum(left, right)
        case "mul":
            result = left * right
        case "shr":
            result = left >> (right & 31)
        case "shl":
            result = left << (right & 31)
        case _:
            result = np.broadcast_to(right, left.shape)
    return result


def alu(acc: Ints, op: int, dst: Index, src: Index | None, imm: int) -> None:
    """Run ALU iterations as if one after the other, several at once where none depends on another."""
    if src is None:
        operand = np.full((1, 1), imm, np.int32)
        if distinct(dst):
            acc[dst] = operate(op, acc[dst], operand)
            return
        for start in _rounds(dst):
            acc[dst[start]] = operate(op, acc[dst[start]], operand)
        return
    if distinct(dst) and not np.isin(src[src != dst], dst).any():
        acc[dst] = operate(op, acc[dst], acc[src])
    elif op < len(ACCUMULATE) and not np.isin(src, dst).any():
        ACCUMULATE[op].at(acc, dst, acc[src])
    else:
        for d, s in zip(dst.tolist(), src.tolist(), strict=True):
            acc[d] = operate(op, acc[d], acc[s])


def _rounds(dst: Index) -> list[Index]:
    """Positions grouped so that no destination occurs twice in a group; the groups keep the order of execution."""
    order = np.argsort(dst, kind="stable")
    first = np.r_[True, np.diff(dst[order]) != 0]
    starts = np.flatnonzero(first)
    occurrence = np.arange(len(dst)) - np.repeat(starts, np.diff(np.r_[starts, len(dst)]))
    return [order[occurrence == number] for number in range(int(occurrence.max()) + 1)]


@dataclass(frozen=True)
class Parameters:
    """The drain parameters of some channels, as int64 arrays of one shape."""

    bias: Ints
    multiplier: Ints
    shift: Ints

    @staticmethod
    def of(config: Config, rows: Ints) -> Parameters:
        """From elements of the `prm` memory, a row of bytes each."""
        words = np.ascontiguousarray(rows[:, : 8 * config.bo]).view("<i4").reshape(len(rows), 2, config.bo)
        multiplier = words[:, 1].astype(np.int64) & 0x7FFFFFFF
        return Parameters(words[:, 0].astype(np.int64), multiplier, (rows[:, 8 * config.bo :] & 63).astype(np.int64))


def rounded_shift(value: Ints, shift: Ints) -> Ints:
    """`value / 2**shift` to nearest, halves to even, in int64."""
    floor = value >> shift
    rest = value - (floor << shift)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    up = (rest > half) | ((rest == half) & (shift > 0) & (floor & 1 == 1))
    rounded: Ints = floor + (up & (shift > 0))
    return rounded


def drain(acc: Ints, prm: Parameters, quant: Instruction, residual: Ints | None, raw: bool) -> Ints:
    """The bytes that STORE writes for accumulator vectors, a row each."""
    total = acc.astype(np.int64) + prm.bias
    if raw:
        words: Ints = np.ascontiguousarray(wrapped(total)).view(np.uint8)
        return words
    scaled = rounded_shift(total * prm.multiplier, prm.shift)
    q = np.minimum(np.maximum(scaled + quant["z1"], quant["lo1"]), quant["hi1"])
    if residual is not None:
        other = residual.view(np.uint8 if quant["unsigned"] else np.int8).astype(np.int64)
        both = (q - quant["z1"]) * quant["ma"] + (other - quant["zr"]) * quant["mr"]
        added = rounded_shift(both, np.array(quant["shift"])) + quant["z2"]
        q = np.minimum(np.maximum(added, quant["lo2"]), quant["hi2"])
    packed: Ints = (q & 0xFF).astype(np.uint8)
    return packed
