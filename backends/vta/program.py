"""Layers to one program: the best tiling of each, all of them through one pipeline, waiting only where data flows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from heddle.backends.vta.convolution import Tiling, conv_steps, tilings
from heddle.backends.vta.depthwise import depthwise_steps, is_depthwise
from heddle.backends.vta.gathering import concat_steps
from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Concat, Conv, Copy, Layer, Leaky, MatMul, Pool, Scaling, Tensor, Turn, reads
from heddle.backends.vta.maps import copy_steps, leaky_steps, product_steps
from heddle.backends.vta.matrices import matmul_steps, matmul_tiling, turn_steps
from heddle.backends.vta.pipeline import Pipeline
from heddle.backends.vta.pooling import pool_steps
from heddle.backends.vta.recall import fetch_tiling, store_tiling, tiling_key
from heddle.backends.vta.steps import Step
from heddle.backends.vta.windows import IMAGES, Place
from heddle.core.errors import BackendError
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction

__all__ = ["IMAGES", "Emitted", "best_tiling", "emit", "sources", "steps_of"]


@dataclass(frozen=True, eq=False)
class Emitted:
    """The instructions of some layers, for each the number of its layer, and the block of images that they read."""

    instructions: list[Instruction]
    owners: list[int]
    image: bytes


SEARCH = 6
"""How many of the most promising tilings of a convolution are scheduled in full before one is chosen."""


def steps_of(config: Config, images: Images, place: Place, layer: Layer, tiling: Tiling | None = None) -> list[Step]:
    """The steps of a layer; `tiling` is that of a convolution, by default the best one."""
    if isinstance(layer, Conv):
        if is_depthwise(config, layer):
            return list(depthwise_steps(config, images, place, layer))
        return list(conv_steps(config, images, place, layer, tiling or best_tiling(config, layer)))
    if isinstance(layer, Pool):
        return list(pool_steps(config, images, place, layer))
    if isinstance(layer, Copy):
        return list(copy_steps(config, images, place, layer))
    if isinstance(layer, Concat):
        return list(concat_steps(config, images, place, layer))
    if isinstance(layer, Leaky):
        return list(leaky_steps(config, images, place, layer))
    if isinstance(layer, MatMul):
        return list(matmul_steps(config, images, place, layer, matmul_tiling(config, layer)))
    if isinstance(layer, Turn):
        return list(turn_steps(config, images, place, layer))
    return list(product_steps(config, images, place, layer))


def best_tiling(config: Config, layer: Conv) -> Tiling:
    """The tiling of a convolution that takes the fewest cycles by itself; equal shapes are searched once."""
    sizes = tuple((t.batch, t.channels, t.height, t.width) for t in (layer.input, layer.output))
    found = _search(config, layer.weights.shape, sizes, layer.strides, layer.pads, layer.dilations, layer.groups)
    if found is None:
        raise BackendError(f"vta: {layer.name}: no tile of the convolution fits the memories of {config.name}")
    return found


@lru_cache(maxsize=1024)
def _search(
    config: Config, weights: tuple[int, ...], sizes: tuple[tuple[int, int, int, int], ...], strides: tuple[int, int],
    pads: tuple[int, int, int, int], dilations: tuple[int, int], groups: int,
) -> Tiling | None:  # fmt: skip
    key = tiling_key(config, (SEARCH, weights, sizes, strides, pads, dilations, groups))
    if (known := fetch_tiling(key)) is not None:
        return known
    x, y = (Tensor(name, *size, 1.0, 0, False) for name, size in zip("xy", sizes, strict=True))
    zeros = np.zeros(weights[0], np.int64)
    scaling = Scaling(zeros.astype(np.int32), zeros, zeros, 0, 0, 0)
    layer = Conv("", x, y, np.zeros(weights, np.int8), scaling, strides, pads, dilations, groups)
    found: list[tuple[int, int, Tiling]] = []
    for rank, tiling in enumerate(tilings(config, layer)[:SEARCH]):
        pipeline = Pipeline(config)
        pipeline.layer(list(conv_steps(config, Images(config), lambda _: (0, 0), layer, tiling)), wait=False)
        found.append((pipeline.cycles(), rank, tiling))
    if not found:
        return None
    best = min(found)[2]
    store_tiling(key, best)
    return best


def sources(layer: Layer) -> tuple[str, ...]:
    """The names of the tensors that a layer reads."""
    return tuple(tensor.name for tensor in reads(layer))


def emit(config: Config, layers: Sequence[Layer], place: Place) -> Emitted:
    """Layers that run one after the other, as one program.

    `place` gives the base register and the offset in beats of each tensor, and of the block (`IMAGES`).
    """
    images, pipeline = Images(config), Pipeline(config)
    pending: set[str] = set()
    for number, layer in enumerate(layers):
        wait = any(name in pending for name in sources(layer))
        for steps in _by_parameters(steps_of(config, images, place, layer)):
            pipeline.layer(steps, wait, number)
            if wait:
                pending.clear()
            wait = False
        pending.add(layer.output.name)
    return Emitted(*pipeline.finish(), images.bytes())


def _by_parameters(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps of a layer cut where the drain parameters change."""
    piece: list[Step] = []
    current = None
    for step in steps:
        here = next((chunk.key for chunk in step.reads if chunk.memory == "prm"), current)
        if current is not None and here != current:
            start = next(i for i in range(len(piece), -1, -1) if i == 0 or piece[i - 1].store is not None)
            yield piece[:start]
            piece = piece[start:]
        current = here
        piece.append(step)
    yield piece
