"""Depthwise convolution and the convolution of 1x1 after it: one after the other, or in turns over bands of rows.

    python -m benchmarks.bands [--core N] [--clock cpu]

In turns, what lies between the two stays in a near cache, which is what fusing them could win. Shapes of MobileNetV2.
Microseconds, without those of the calls themselves; the ratio is the best of the bands to the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import conv, depthwise
from heddle.core.codegen.kernels.image import Image, Window, per_channel
from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.native import aligned, repeated
from heddle.core.codegen.target import Target

from heddle.measure.timing import CLOCKS, interleaved, pin

# Channels, pixels, stride of the depthwise one; outputs of the other.
SHAPES = [
    *((32, 112, 1, 16), (96, 112, 2, 24), (144, 56, 1, 24), (144, 56, 2, 32), (192, 28, 1, 32), (192, 28, 2, 64)),
    *((384, 14, 1, 64), (384, 14, 1, 96), (576, 14, 1, 96)),
]
BANDS = (2, 4, 7, 8, 14)


@dataclass(frozen=True)
class Pair:
    """Two layers on this machine."""

    target: Target
    channels: int
    pixels: int
    stride: int
    outputs: int

    @property
    def rows(self) -> int:
        return (self.pixels - 1) // self.stride + 1

    def calls(self, band: int) -> list[Callable[[int], None]]:
        """The calls that compute both layers, by so many rows."""
        lanes, rows, rng = self.target.lanes(4), self.rows, np.random.default_rng(0)
        source = Image(self.channels, self.pixels, self.pixels, lanes, (1, 1, 1, 1))
        between = Image(self.channels, band, rows, lanes)
        out = Image(self.outputs, band, rows, lanes, (0, 0, rows - band, 0))
        single = depthwise.Depthwise(source, between, Window((3, 3), (self.stride,) * 2, pads=(1, 1)))
        dense = conv.Conv(between, out, Window((1, 1)))
        first, second = depthwise.default(single, self.target), conv.default(dense, self.target)
        taps = rng.standard_normal((self.channels, 1, 3, 3), np.float32)
        matrix = rng.standard_normal((self.outputs, self.channels, 1, 1), np.float32)
        a, b = aligned(np.ones(source.size, np.float32)), aligned(np.zeros(between.size, np.float32))
        y, bias = aligned(np.zeros(out.size, np.float32)), aligned(np.zeros(1024, np.float32))
        left = aligned(depthwise.pack(taps, single, self.target, first))
        right = aligned(conv.pack(matrix, dense, self.target, second))
        tail = Tail(lambda f, total, operands: f.add(total, operands[0]), (per_channel(lanes),))
        found = []
        for row in range(0, rows, band):
            functions = depthwise.depthwise("kernel", self.target, single, first, tail)
            found.append(repeated(functions, self.target, [[a[row * self.stride * source.row :], left, b, bias, b]]))
            functions = conv.conv("kernel", self.target, dense, second, tail)
            found.append(repeated(functions, self.target, [[b, right, y[row * out.row :], bias, y]]))
        return found


def _in_turn(calls: list[Callable[[int], None]]) -> Callable[[], None]:
    def run() -> None:
        for call in calls:
            call(1)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    options = parser.parse_args()
    pin(options.core)
    target = targets.host()
    nothing = repeated([Function("kernel", [("a", "ptr")])], target, [[aligned(np.zeros(8, np.float32))]])
    print(f"{'layers':<24}{'whole':>8}" + "".join(f"{f'by {band}':>8}" for band in BANDS) + f"{'ratio':>8}")
    for channels, pixels, stride, outputs in SHAPES:
        pair = Pair(target, channels, pixels, stride, outputs)
        calls = {band: pair.calls(band) for band in (pair.rows, *BANDS) if not pair.rows % band}
        functions = {f"{band}": _in_turn(found) for band, found in calls.items()}
        functions["nothing"] = _in_turn([nothing] * 100)
        times = interleaved(functions, 9, 0.02, options.clock)
        call = times["nothing"] / 100
        net = {band: times[f"{band}"] - len(found) * call for band, found in calls.items()}
        columns = (f"{net[band] * 1e6:>8.1f}" if band in net else " " * 8 for band in (pair.rows, *BANDS))
        ratio = min(net[band] for band in net if band != pair.rows) / net[pair.rows]
        label = f"{channels}x{pixels}x{pixels} /{stride} {outputs}"
        print(f"{label:<24}" + "".join(columns) + f"{ratio:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
