"""Convolution layers assembled by hand: for benchmarks, tests and the comparison of configurations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config, log2
from heddle.hw.vta.isa import Instruction, make
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layer:
    """A convolution of a square kernel over `size` x `size` pixels, padded by half the kernel."""

    size: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    residual: bool = False

    @property
    def out_size(self) -> int:
        return (self.size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1


def parse_layer(text: str) -> Layer:
    """A layer from text such as `56x56x64x128k3s2r`: height, width, channels in and out, kernel, stride, residual.

    >>> parse_layer("28x28x128x128k3")
    Layer(size=28, inputs=128, outputs=128, kernel=3, stride=1, residual=False)
    """
    match = re.fullmatch(r"(\d+)x\1x(\d+)x(\d+)k([1357])(?:s([12]))?(r?)", text)
    if match is None:
        raise DeviceError(f"layer {text!r}: expected SIZExSIZExINPUTSxOUTPUTSkKERNEL, as in 56x56x64x64k3")
    size, inputs, outputs, kernel, stride, residual = match.groups()
    return Layer(int(size), int(inputs), int(outputs), int(kernel), int(stride or 1), bool(residual))


@dataclass(frozen=True)
class Assembled:
    """A program with the memory that it needs: base register 0 is 0, the instructions shall lie at byte `code`."""

    instructions: tuple[Instruction, ...]
    memory: NDArray[np.uint8]
    code: int
    slots: int
    """The cycles of the array that the layer needs: one per vector, tile and tap."""


@dataclass(frozen=True)
class _Tiling:
    """How a layer is cut: output rows, input blocks and output blocks of a tile; and where things lie, in beats."""

    layer: Layer
    config: Config
    rows: int
    in_blocks: int
    out_blocks: int
    places: dict[str, int] = field(default_factory=dict)

    @property
    def all_in(self) -> int:
        return -(-self.layer.inputs // self.config.bi)

    @property
    def all_out(self) -> int:
        return -(-self.layer.outputs // self.config.bo)

    @property
    def width(self) -> int:
        """Of a padded row of input."""
        return self.layer.size + 2 * (self.layer.kernel // 2)

    def in_rows(self, rows: int) -> int:
        return (rows - 1) * self.layer.stride + self.layer.kernel

    def fits(self) -> bool:
        taps = self.layer.kernel**2
        return (
            self.in_blocks * self.in_rows(self.rows) * self.width <= self.config.inp_depth // 2
            and self.out_blocks * self.in_blocks * taps <= self.config.wgt_depth // 2
            and self.out_blocks * self.rows * self.layer.out_size <= self.config.acc_depth // 2
            and 2 * self.in_blocks * taps <= self.config.uop_depth - 2 * self.config.uops_per_beat
        )


def assemble_convolution(layer: Layer, config: Config, seed: int = 0) -> Assembled:
    """A layer over random data, double-buffered; DeviceError when the configuration's memories are too small for it."""
    tiling = _choose(layer, config)
    micro: dict[int, int] = {}
    body = list(_body(tiling, micro))
    words = [word for rows in micro for word in _micro_ops(tiling, rows)]
    lines = len(words) // config.uops_per_beat
    uops = make("LOAD", mem="uop", offset=tiling.places["uop"], x=lines)
    instructions = (uops, *body, make("FINISH"))
    beat = config.beat_bytes
    code = -(-tiling.places["end"] * beat // 4096) * 4096
    memory = np.zeros(code + 16 * len(instructions) + 4096, np.uint8)
    data = tiling.places["uop"] * beat
    memory[:data] = np.random.default_rng(seed).integers(0, 256, data)
    packed = np.array(words, np.uint32 if config.uop_bits == 32 else np.uint64).view(np.uint8)
    memory[data : data + packed.size] = packed
    slots = layer.out_size**2 * tiling.all_in * tiling.all_out * layer.kernel**2
    return Assembled(instructions, memory, code, slots)


def _choose(layer: Layer, config: Config) -> _Tiling:
    """The tiling with all input channels if possible, then of the most work per tile."""
    most_in, most_out = -(-layer.inputs // config.bi), -(-layer.outputs // config.bo)
    candidates = [
        _Tiling(layer, config, rows, in_blocks, out_blocks)
        for in_blocks in range(most_in, 0, -1)
        if most_in % in_blocks == 0
        for out_blocks in range(most_out, 0, -1)
        if most_out % out_blocks == 0
        for rows in range(1, layer.out_size + 1)
    ]
    fitting = [tiling for tiling in candidates if tiling.fits()]
    if not fitting:
        raise DeviceError(f"configuration {config.name}: its memories hold no tile of {layer}; take a larger one")
    best = max(fitting, key=lambda t: (t.in_blocks, min(t.out_blocks * t.rows, 16), t.rows))
    beat, taps = config.beat_bytes, layer.kernel**2
    sizes = {
        "inp": best.all_in * layer.size**2 * config.inp_bytes // beat,
        "wgt": best.all_in * best.all_out * taps * config.wgt_bytes // beat,
        "prm": best.all_out * config.prm_bytes // beat,
        "residual": best.all_out * layer.out_size**2 * config.out_bytes // beat,
        "uop": config.uop_depth // config.uops_per_beat,
        "out": best.all_out * layer.out_size**2 * config.out_bytes // beat,
    }
    at = 0
    for name, size in sizes.items():
        best.places[name] = at
        at += -(-size // 64) * 64
    best.places["end"] = at
    return best


def _micro_ops(tiling: _Tiling, rows: int) -> list[int]:
    """The taps of all input blocks of a tile of that many input rows, padded to whole beats."""
    kernel, config = tiling.layer.kernel, tiling.config
    acc, inp = log2(config.acc_depth), log2(config.inp_depth)
    words = [
        ((block * rows + y) * tiling.width + x) << acc | ((block * kernel + y) * kernel + x) << (acc + inp)
        for block in range(tiling.in_blocks)
        for y in range(kernel)
        for x in range(kernel)
    ]
    return words + [0] * (-len(words) % config.uops_per_beat)


def _body(tiling: _Tiling, micro: dict[int, int]) -> Iterator[Instruction]:
    layer, config, places = tiling.layer, tiling.config, tiling.places
    taps, out = layer.kernel**2, layer.out_size
    out_beats = config.out_bytes // config.beat_bytes
    yield make("LOAD", mem="prm", offset=places["prm"], x=min(tiling.all_out, config.prm_depth))
    loads = stores = 0
    for block in range(0, tiling.all_out, tiling.out_blocks):
        for row in range(0, out, tiling.rows):
            rows = min(tiling.rows, out - row)
            half = stores % 2 * (config.acc_depth // 2)
            for first in range(0, tiling.all_in, tiling.in_blocks):
                yield from _loads(tiling, block, first, row, rows, loads)
                last = first + tiling.in_blocks == tiling.all_in
                begin = micro.setdefault(tiling.in_rows(rows), sum(len(_micro_ops(tiling, r)) for r in micro))
                width = tiling.width * layer.stride
                yield make(
                    "LOOP",
                    dst0=rows * out,
                    dst1=out,
                    dst2=1,
                    src1=width,
                    src2=layer.stride,
                    wgt0=tiling.in_blocks * taps,
                )
                yield make(
                    "GEMM", dst=half, src=loads % 2 * (config.inp_depth // 2), wgt=loads % 2 * (config.wgt_depth // 2),
                    begin=begin, count=tiling.in_blocks * taps, n0=tiling.out_blocks, n1=rows, n2=out,
                    overwrite=first == 0,
                    pop_prev=1, push_prev=1, pop_next=first == 0 and stores >= 2, push_next=last,
                )  # fmt: skip
                loads += 1
            place = (block * out + row) * out * out_beats
            strides = {"y": out * out_beats, "z": out * out * out_beats}
            yield make("WALK", acc_x=1, acc_y=out, acc_z=rows * out, **strides)
            yield make("QUANT", lo1=-128, hi1=127, lo2=-128, hi2=127, ma=1, mr=1)
            if layer.residual:
                yield make("RESIDUAL", offset=places["residual"] + place, **strides)
            yield make(
                "STORE", acc=half, prm=block % config.prm_depth, prm_z=1, residual=layer.residual,
                offset=places["out"] + place, x=out, y=rows, z=tiling.out_blocks, pop_prev=1, push_prev=1,
            )  # fmt: skip
            stores += 1


def _loads(tiling: _Tiling, block: int, first: int, row: int, rows: int, loads: int) -> Iterator[Instruction]:
    """The input rows and the weights of one GEMM, into the half of the memories that the one before does not use."""
    layer, config, places = tiling.layer, tiling.config, tiling.places
    pad, taps, size = layer.kernel // 2, layer.kernel**2, layer.size
    inp, wgt = config.inp_bytes // config.beat_bytes, config.wgt_bytes // config.beat_bytes
    top = row * layer.stride - pad
    low, high = max(0, top), min(size, top + tiling.in_rows(rows))
    above, below = low - top, top + tiling.in_rows(rows) - high
    yield make("PAD", x_before=pad, x_after=pad, y_before=above, y_after=below)
    yield make("STRIDE", mem="inp", y=size * inp, z=size * size * inp)
    yield make(
        "LOAD", mem="inp", sram=loads % 2 * (config.inp_depth // 2),
        offset=places["inp"] + (first * size + low) * size * inp,
        x=size, y=high - low, z=tiling.in_blocks, pop_next=loads >= 2,
    )  # fmt: skip
    yield make("STRIDE", mem="wgt", y=tiling.all_in * taps * wgt)
    yield make(
        "LOAD", mem="wgt", sram=loads % 2 * (config.wgt_depth // 2), x=tiling.in_blocks * taps, y=tiling.out_blocks,
        offset=places["wgt"] + (block * tiling.all_in + first) * taps * wgt, push_next=1,
    )  # fmt: skip
