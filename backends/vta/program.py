"""Layers to one program: the best tiling of each, all of them through one pipeline, waiting only where data flows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from heddle.backends.vta.convolution import Tiling, conv_steps
from heddle.backends.vta.depthwise import depthwise_steps, is_depthwise
from heddle.backends.vta.gathering import concat_steps
from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Concat, Conv, Copy, Layer, Leaky, MatMul, Pool, Turn, reads
from heddle.backends.vta.maps import copy_steps, leaky_steps, product_steps
from heddle.backends.vta.matrices import matmul_steps, matmul_tiling, turn_steps
from heddle.backends.vta.pipeline import Pipeline
from heddle.backends.vta.pooling import pool_steps
from heddle.backends.vta.search import choose
from heddle.backends.vta.steps import Step
from heddle.backends.vta.windows import IMAGES, Place
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction

__all__ = ["IMAGES", "Emitted", "emit", "sources", "steps_of"]


@dataclass(frozen=True, eq=False)
class Emitted:
    """The instructions of some layers, for each the number of its layer, and the block of images that they read."""

    instructions: list[Instruction]
    owners: list[int]
    image: bytes


def steps_of(config: Config, images: Images, place: Place, layer: Layer, chosen: Mapping[str, Tiling]) -> list[Step]:
    """The steps of a layer; `chosen` are the tilings that records choose for convolutions."""
    if isinstance(layer, Conv):
        if is_depthwise(config, layer):
            return list(depthwise_steps(config, images, place, layer))
        return list(conv_steps(config, images, place, layer, choose(config, layer, chosen)))
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


def sources(layer: Layer) -> tuple[str, ...]:
    """The names of the tensors that a layer reads."""
    return tuple(tensor.name for tensor in reads(layer))


def emit(config: Config, layers: Sequence[Layer], place: Place, chosen: Mapping[str, Tiling] | None = None) -> Emitted:
    """Layers that run one after the other, as one program.

    `place` gives the base register and the offset in beats of each tensor, and of the block (`IMAGES`); `chosen` are
    the tilings that records choose.
    """
    images, pipeline = Images(config), Pipeline(config)
    pending: set[str] = set()
    for number, layer in enumerate(layers):
        wait = any(name in pending for name in sources(layer))
        for steps in _by_parameters(steps_of(config, images, place, layer, chosen or {})):
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
