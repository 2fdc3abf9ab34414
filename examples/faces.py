"""Find faces on the accelerator: quantize a face detector, draw its boxes on a picture, compare with float.

    python examples/faces.py [PICTURE.ppm] [--model tests/models/rfb320.onnx] [-o faces.png]

Without a picture it draws a few faces itself. Boxes of the float model are green, those of the int8 model on the
simulated accelerator red. Needs `pip install heddle[quantize]`.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import heddle
from heddle.quantize import quantize

Array = NDArray[Any]
HEIGHT, WIDTH = 240, 320
SURE, OVERLAP = 0.7, 0.3
FLOAT_TAIL = ("Mul_*", "Add_*", "Exp_*", "Slice_*", "Div_*", "Sub_*", "Softmax_*")
"""What turns features into boxes stays in float: bytes cannot hold pixels of a whole picture."""


def picture(seed: int) -> Array:
    """A drawing of one to three faces as [row][column][red, green, blue] bytes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    image = np.stack([90 + 60 * np.sin(rows / 70 + seed), 110 + columns / 8, 130 + rows / 6], -1)
    count = int(rng.integers(1, 4))

    def blend(inside: Array, colour: tuple[float, float, float], soft: float) -> None:
        share = 1 / (1 + np.exp(np.clip(soft * (inside - 1), -50, 50)))
        image[...] = image * (1 - share[..., None]) + np.array(colour) * share[..., None]

    for number in range(count):
        size = rng.uniform(28, 44)
        x, y = WIDTH * (number + 0.5) / count + rng.uniform(-8, 8), HEIGHT / 2 + rng.uniform(-30, 30)

        def ellipse(dx: float, dy: float, rx: float, ry: float) -> Array:
            across = (columns - x - dx * size) / (rx * size)  # noqa: B023
            down = (rows - y - dy * size) / (ry * size)  # noqa: B023
            return np.hypot(across, down)

        blend(ellipse(0, 1.9, 1.3, 0.9), (60, 70, 120), 30)  # shoulders
        blend(ellipse(0, 0.9, 0.4, 0.7), (200, 150, 125), 30)  # neck
        blend(ellipse(0, -0.25, 0.95, 1.15), (50, 35, 25), 30)  # hair
        blend(ellipse(0, 0, 0.78, 1.05), (222, 175, 148), 30)  # skin
        for side in (-1, 1):
            blend(ellipse(side * 0.32, -0.35, 0.2, 0.05), (60, 40, 30), 8)  # brow
            blend(ellipse(side * 0.32, -0.17, 0.16, 0.08), (245, 240, 235), 12)
            blend(ellipse(side * 0.32, -0.17, 0.07, 0.08), (40, 30, 25), 8)  # pupil
            blend(ellipse(side * 0.1, 0.22, 0.07, 0.05), (150, 95, 80), 6)  # nostril
        blend(ellipse(0, 0.05, 0.07, 0.24), (235, 192, 165), 5)  # nose
        blend(ellipse(0, 0.52, 0.3, 0.09), (165, 70, 70), 9)  # mouth
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def prepared(image: Array) -> Array:
    """A picture as the detector takes it."""
    return ((image.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]


def faces(outputs: Any) -> list[tuple[float, Array]]:
    """Scores and boxes (left, top, right, bottom; parts of the picture), the surest first, without overlaps."""
    scores, boxes = outputs["scores"][0, :, 1], outputs["boxes"][0]
    found: list[tuple[float, Array]] = []
    for index in np.argsort(-scores):
        if scores[index] < SURE:
            break
        if all(overlap(boxes[index], box) < OVERLAP for _, box in found):
            found.append((float(scores[index]), boxes[index]))
    return found


def overlap(one: Array, other: Array) -> float:
    """The area in both boxes as a part of that in either."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = float(np.prod(np.maximum(high - low, 0)))
    return both / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - both)


def outline(image: Array, box: Array, colour: tuple[int, int, int]) -> None:
    """Draw a box of two pixels' width."""
    left, right = (int(np.clip(part * WIDTH, 0, WIDTH - 2)) for part in (box[0], box[2]))
    top, bottom = (int(np.clip(part * HEIGHT, 0, HEIGHT - 2)) for part in (box[1], box[3]))
    for line in (
        np.s_[top : top + 2, left : right + 2],
        np.s_[bottom : bottom + 2, left : right + 2],
        np.s_[top : bottom + 2, left : left + 2],
        np.s_[top : bottom + 2, right : right + 2],
    ):
        image[line] = colour


def png(image: Array) -> bytes:
    """A picture as the bytes of a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = image.shape
    lines = b"".join(b"\0" + row.tobytes() for row in image)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def read_ppm(path: Path) -> Array:
    """A binary .ppm of three bytes a pixel, brought to the detector's size by taking the nearest pixels."""
    kind, width, height, depth, data = path.read_bytes().split(maxsplit=4)
    if kind != b"P6" or depth != b"255":
        raise SystemExit(f"{path}: a binary .ppm (P6) with 255 levels is expected")
    size = int(width) * int(height) * 3
    image = np.frombuffer(data[-size:], np.uint8).reshape(int(height), int(width), 3)
    rows, columns = np.arange(HEIGHT) * int(height) // HEIGHT, np.arange(WIDTH) * int(width) // WIDTH
    return image[rows][:, columns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path)
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "tests" / "models" / "rfb320.onnx")
    parser.add_argument("-o", dest="output", type=Path, default=Path("faces.png"))
    arguments = parser.parse_args()
    image = picture(0) if arguments.picture is None else read_ppm(arguments.picture)
    samples = [{"input": prepared(picture(seed))} for seed in range(1, 9)]
    coded = quantize(arguments.model, samples, keep=FLOAT_TAIL).model
    x = prepared(image)
    plain = faces(heddle.compile(arguments.model)(x))
    ours = faces(heddle.compile(coded, backends=["vta", "host"])(x))
    drawn = image.copy()
    for _, box in plain:
        outline(drawn, box, (0, 200, 0))
    for _, box in ours:
        outline(drawn, box, (230, 0, 0))
    arguments.output.write_bytes(png(drawn))
    print(f"float finds {len(plain)} faces, int8 on the accelerator {len(ours)}; boxes are in {arguments.output}")
    for score, box in ours:
        best = max((overlap(box, other) for _, other in plain), default=0.0)
        print(f"  int8 score {score:.3f}, overlap with float's box {best:.3f}")


if __name__ == "__main__":
    main()
