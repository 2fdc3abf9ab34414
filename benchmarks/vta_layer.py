"""Array utilisation and simulation speed of the accelerator's RTL on one hand-assembled layer: 3x3, 64x64, 56x56.

    python benchmarks/vta_layer.py [--latency 100] [--repeat 3]

Everything counts, from the first fetch to the last acknowledged write, weights included. Tiles are two rows of output;
inputs, accumulators and weights lie in memory as pixel-major vectors, halves of `inp` and `acc` alternate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.isa import Instruction, encode_uop, make
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl

SIZE, CHANNELS, ROWS = 56, 64, 2
BASES = (0, 1 << 18, 1 << 19, (1 << 19) + 4096, 600_064)
"""Byte addresses of the input, the weights, the micro-ops, the drain parameters and the output."""
CODE, MEMORY_BYTES = 1 << 20, 2 << 20


def program(config: Config) -> tuple[Sequence[Instruction], Sequence[int]]:
    """The instructions and micro-ops of the layer; the array must be square and divide the channels."""
    blocks = CHANNELS // config.bi
    row, taps = (SIZE + 2) * blocks, 9 * blocks
    uops = [
        encode_uop(config, 0, kh * row + kw * blocks + block, (block * 3 + kh) * 3 + kw)
        for block in range(blocks)
        for kh in range(3)
        for kw in range(3)
    ]
    code = [
        make("LOAD", mem="uop", base=2, x=-(-len(uops) // config.uops_per_beat)),
        make("STRIDE", mem="inp", y=SIZE * blocks * config.bi // config.beat_bytes),
        make("LOOP", dst1=SIZE * blocks, dst2=blocks, src1=row, src2=blocks),
        make("QUANT", lo1=-128, hi1=127),
        make("WALK", acc_x=1, acc_y=blocks, y=blocks * config.bo // config.beat_bytes),
    ]
    tiles = range(0, SIZE, ROWS)
    for tile, y in enumerate(tiles):
        code += _tile(config, tile, y, blocks, taps, len(uops), last=tile + 2 >= len(tiles))
    return [*code, make("FINISH")], uops


def _tile(config: Config, tile: int, y: int, blocks: int, taps: int, uops: int, last: bool) -> list[Instruction]:
    side, first = tile % 2, tile == 0
    inp, acc = side * config.inp_depth // 2, side * config.acc_depth // 2
    top, bottom = int(y == 0), int(y + ROWS == SIZE)
    pixel = blocks * config.bi // config.beat_bytes
    tile_beats = taps * config.wgt_bytes // config.beat_bytes
    code = [
        make("PAD", x_before=blocks, x_after=blocks, y_before=top, y_after=bottom),
        make("LOAD", mem="inp", sram=inp, offset=(y - 1 + top) * SIZE * pixel, x=SIZE * blocks,
             y=ROWS + 2 - top - bottom, pop_next=int(tile >= 2), push_next=1),
    ]  # fmt: skip
    if first:  # the weights of each output block, so that the first is used while the others come
        code += [
            make("LOAD", mem="wgt", base=1, sram=o * taps, offset=o * tile_beats, x=taps, push_next=1)
            for o in range(blocks)
        ]
        code += [make("LOAD", mem="prm", base=3, x=blocks, push_next=1), make("SYNC", unit="compute", pop_prev=1)]
    for o in range(blocks):
        ends = o == blocks - 1
        code.append(make(
            "GEMM", dst=acc + o, src=inp, wgt=o * taps, count=uops, n1=ROWS, n2=SIZE, overwrite=1,
            pop_prev=int(o == 0 or first), pop_next=int(o == 0 and tile >= 2),
            push_prev=int(ends and not last), push_next=int(ends),
        ))  # fmt: skip
    if first:
        code += [make("SYNC", unit="compute", pop_prev=1, push_next=1), make("SYNC", unit="store", pop_prev=1)]
    store = make("STORE", acc=acc, prm_x=1, base=4, offset=y * SIZE * pixel, x=blocks, y=ROWS * SIZE, pop_prev=1,
                 push_prev=int(not last))  # fmt: skip
    return [*code, store]


def memory(config: Config, uops: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Random activations and weights, the micro-ops and drain parameters, in place."""
    rng = np.random.default_rng(0)
    image = np.zeros(MEMORY_BYTES, np.uint8)
    blocks = CHANNELS // config.bo
    prm = [np.zeros(config.bo, "<i4"), np.full(config.bo, 1 << 20, "<i4"), np.full(config.bo, 29, np.uint8)] * blocks
    parts = [
        rng.integers(0, 256, SIZE * SIZE * CHANNELS, dtype=np.uint8),
        rng.integers(0, 256, 9 * CHANNELS * CHANNELS, dtype=np.uint8),
        np.array(uops, np.uint32).view(np.uint8),
        np.concatenate([part.view(np.uint8) for part in prm]),
    ]
    for base, part in zip(BASES, parts, strict=False):
        image[base : base + len(part)] = part
    return image


def measure(config: Config, latency: int, repeat: int = 1) -> tuple[dict[str, int], float]:
    """The counters of the layer, checked against the functional model, and the cycles per second of the fastest run."""
    code, uops = program(config)
    image = memory(config, uops)
    expected = image.copy()
    Functional(config, expected).run(code, BASES)
    rtl = Rtl(config, build_rtl(config), image, Memory(latency=latency))
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        counters = dict(rtl.run(code, CODE, BASES))
        seconds.append(time.process_time() - start)
    rtl.close()
    if (image[:CODE] != expected[:CODE]).any():
        raise SystemExit("the RTL's result differs from the functional model's")
    return counters, counters["cycles"] / min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=int, nargs="+", default=[1, 100, 200])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print("latency    cycles  utilisation  simulated Mcycle/s")
    for latency in options.latency:
        counters, speed = measure(load_config("reference"), latency, options.repeat)
        share = counters["compute_gemm"] / counters["cycles"]
        print(f"{latency:7d} {counters['cycles']:9d} {share:12.2%} {speed / 1e6:10.2f}")


if __name__ == "__main__":
    main()
