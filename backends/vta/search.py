"""The tiling of each convolution: what there is to choose, what is chosen, and what a choice costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeGuard

import numpy as np
from heddle.backends.vta.convolution import Tiling, conv_steps, tilings
from heddle.backends.vta.depthwise import is_depthwise
from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Conv, Layer, Scaling, Tensor
from heddle.backends.vta.pipeline import Pipeline
from heddle.backends.vta.recall import fetch_tiling, store_tiling, tiling_key
from heddle.core.errors import BackendError
from heddle.core.plugin.tuning import Choice
from heddle.hw.vta.config import Config
from heddle.simulators.vta.cycle import moments, prepare
from heddle.simulators.vta.rtl import Memory

SEARCH = 12
"""How many of the most promising tilings of a convolution are scheduled in full before one is chosen."""

MEASURED = 48
"""How many of the most promising tilings are worth measuring."""

Sizes = tuple[int, int, int, int]


@dataclass(frozen=True)
class Shape:
    """What the time of a convolution depends on: equal shapes have one best tiling."""

    weights: tuple[int, ...]
    input: Sizes
    output: Sizes
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.weights[2:]))
        image = "x".join(map(str, self.output[2:]))
        return f"conv {sizes} {self.input[1]}->{self.output[1]} to {image}, stride {self.strides[0]}"

    @property
    def layer(self) -> Conv:
        """A convolution of this shape; no two blocks of its weights are equal, as they would be loaded once."""
        x, y = (Tensor(name, *size, 1.0, 0, False) for name, size in (("x", self.input), ("y", self.output)))
        zeros = np.zeros(self.weights[0], np.int64)
        drain = Scaling(zeros.astype(np.int32), zeros, zeros, 0, 0, 0)
        weights = np.random.default_rng(0).integers(-128, 128, self.weights, np.int8)
        return Conv("", x, y, weights, drain, self.strides, self.pads, self.dilations, self.groups)


def shape_of(layer: Conv) -> Shape:
    """The shape of a convolution."""
    x, y = ((t.batch, t.channels, t.height, t.width) for t in (layer.input, layer.output))
    return Shape(layer.weights.shape, x, y, layer.strides, layer.pads, layer.dilations, layer.groups)


def key_of(config: Config, shape: Shape) -> str:
    """By what records and caches know the tiling of a shape on a configuration."""
    return tiling_key(config, (SEARCH, *dataclasses.astuple(shape)))


def is_tiled(layer: Layer, config: Config) -> TypeGuard[Conv]:
    """Whether a layer is one of those that have a tiling."""
    return isinstance(layer, Conv) and not is_depthwise(config, layer)


def choose(config: Config, layer: Conv, chosen: Mapping[str, Tiling]) -> Tiling:
    """The tiling that records choose for a convolution, or the one that seems to take the fewest cycles by itself."""
    shape = shape_of(layer)
    if chosen and (found := chosen.get(key_of(config, shape))) is not None:
        return found
    best = _best(config, shape)
    if best is None:
        raise BackendError(f"vta: {layer.name}: no tile of the convolution fits the memories of {config.name}")
    return best


@lru_cache(maxsize=1024)
def _best(config: Config, shape: Shape) -> Tiling | None:
    key = key_of(config, shape)
    if (known := fetch_tiling(key)) is not None:
        return known
    layer = shape.layer
    found = [
        (_pipeline(config, layer, tiling)[0].cycles(), rank, tiling)
        for rank, tiling in enumerate(tilings(config, layer)[:SEARCH])
    ]
    if not found:
        return None
    best = min(found)[2]
    store_tiling(key, best)
    return best


def worthwhile(config: Config, shape: Shape) -> list[Tiling]:
    """The tilings worth measuring, the one that is taken without records first."""
    default = choose(config, shape.layer, {})
    return [default, *(tiling for tiling in tilings(config, shape.layer)[:MEASURED] if tiling != default)]


@cache
def cycles(config: Config, shape: Shape, tiling: Tiling) -> int:
    """The cycles that a convolution takes by itself, by the cycle model."""
    pipeline, images = _pipeline(config, shape.layer, tiling)
    instructions, _ = pipeline.finish()
    image = np.frombuffer(images.bytes(), np.uint8)
    return int(moments(prepare(instructions, config, image, [0]), Memory()).starts[-1])


def _pipeline(config: Config, layer: Conv, tiling: Tiling) -> tuple[Pipeline, Images]:
    pipeline, images = Pipeline(config), Images(config)
    pipeline.layer(list(conv_steps(config, images, lambda _: (0, 0), layer, tiling)), wait=False)
    return pipeline, images


def from_choice(choice: Choice) -> Tiling:
    """A tiling as records have it; BackendError when it is none."""
    try:
        return Tiling(**choice)
    except TypeError as error:
        raise BackendError(f"vta: {dict(choice)} in the tuning records is no tiling: {error}") from error
