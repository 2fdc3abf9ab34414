"""Several layers as one program: what one leaves on chip must not deceive the next."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from heddle.backends.vta.layers import Conv, Copy, Layer, Pool, reads
from heddle.backends.vta.placement import place_tensors
from heddle.backends.vta.program import IMAGES, emit
from heddle.hw.vta.config import Config
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.ports import pack, unpack
from heddle.simulators.vta.program import Binding, Program, Section
from heddle.simulators.vta.verifier import Sizes, verify
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.vta.semantics import evaluate
from tests.backends.vta.test_layers import (
    CONFIGS,
    campaign,
    like,
    port,
    random_tensor,
    residuals,
    scalings,
    tensors,
)


@st.composite
def chains(draw: st.DrawFn) -> list[Layer]:
    """Layers of which each reads what the one before wrote, and some also what an earlier one wrote."""
    x = draw(tensors("t0"))
    layers: list[Layer] = []
    for number in range(1, draw(st.integers(2, 6)) + 1):
        kind = draw(st.sampled_from(["dense", "depthwise", "pool", "copy"]))
        y = like(x, f"t{number}", unsigned=draw(st.booleans()), zero_point=draw(st.integers(0, 127)))
        earlier = [t for layer in layers for t in (layer.input,) if (t.channels, t.name) != (y.channels, x.name)]
        earlier = [t for t in earlier if t.channels == x.channels]
        if kind == "pool":
            scaling = draw(scalings(y, 128.0))
            layers.append(Pool(y.name, x, y, "max", (3, 3), scaling, pads=(1, 1, 1, 1)))
        elif kind == "copy":
            residual = None
            if earlier:
                residual = draw(residuals(y))
                residual = type(residual)(**{**residual.__dict__, "tensor": draw(st.sampled_from(earlier))})
            layers.append(Copy(y.name, x, y, draw(scalings(y, 128.0)), residual))
        else:
            groups = x.channels if kind == "depthwise" else 1
            y = like(y, y.name, channels=x.channels if groups > 1 else draw(st.integers(1, 70)))
            size = draw(st.sampled_from([1, 3]))
            rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
            weights = rng.integers(-128, 128, (y.channels, x.channels // groups, size, size)).astype(np.int8)
            scaling = draw(scalings(y, 70 * 128 * float(np.sqrt(weights[0].size))))
            layers.append(Conv(y.name, x, y, weights, scaling, pads=(size // 2,) * 4, groups=groups))
        x = y
    return layers


def check(config: Config, layers: list[Layer], seed: int) -> None:
    x, y = layers[0].input, layers[-1].output
    values = {x.name: random_tensor(np.random.default_rng(seed), x)}
    for layer in layers:
        values[layer.output.name] = evaluate(layer, *(values[tensor.name] for tensor in reads(layer)))
    offsets, workspace = place_tensors(config, layers, {x.name}, {y.name}, {})
    places = {name: (1, offset // config.beat_bytes) for name, offset in offsets.items()}
    emitted = emit(config, layers, {IMAGES: (0, 0), **places}.__getitem__)
    section = Section("chain", emitted.instructions)
    program = Program(config, [section], [Binding("image"), Binding("workspace")], emitted.image)
    verify(program, Sizes(workspace=workspace))
    start = -(-len(emitted.image) // 64) * 64
    memory = np.zeros(start + workspace, np.uint8)
    memory[: len(emitted.image)] = np.frombuffer(emitted.image, np.uint8)
    pack(port(config, x, start + offsets[x.name]), values[x.name].reshape(-1).view(np.uint8), memory)
    Functional(config, memory).run(emitted.instructions, [0, start])
    found = np.zeros(values[y.name].shape, np.uint8 if y.unsigned else np.int8)
    unpack(port(config, y, start + offsets[y.name]), memory, found.reshape(-1).view(np.uint8))
    np.testing.assert_array_equal(found.astype(np.int64), values[y.name])


@campaign(80)
@given(layers=chains(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 2**32 - 1))
def test_chains(layers: list[Layer], config: Config, seed: int) -> None:
    assert all(before.output.name == after.input.name for before, after in pairwise(layers))
    check(config, layers, seed)
