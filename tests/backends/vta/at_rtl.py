"""Layers on the RTL of every configuration, against plain numpy."""

from __future__ import annotations

from functools import cache

import numpy as np
from heddle.backends.vta.layers import Layer, reads
from heddle.backends.vta.placement import span
from heddle.backends.vta.program import IMAGES, emit
from heddle.hw.vta.config import Config, load_config
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl

from tests.backends.vta.semantics import evaluate
from tests.backends.vta.test_layers import places, random_tensor

SIZE, WATCHDOG = 1 << 24, 100_000


@cache
def machine(name: str) -> tuple[Rtl, np.ndarray]:
    memory = np.zeros(SIZE, np.uint8)
    config = load_config(name)
    return Rtl(config, build_rtl(config, "fast"), memory, Memory(latency=60, jitter_seed=1)), memory


def check_at_rtl(config: Config, layer: Layer, seed: int) -> None:
    """The layer at RTL gives the bytes of the second implementation."""
    rtl, memory = machine(config.name)
    rng = np.random.default_rng(seed)
    arrays = {tensor.name: random_tensor(rng, tensor) for tensor in reads(layer)}
    tensors = {tensor.name: tensor for tensor in (*reads(layer), layer.output)}
    names = [IMAGES, *tensors]
    emitted = emit(config, [layer], {each: (number, 0) for number, each in enumerate(names)}.__getitem__)
    sizes = [len(emitted.image), *(span(config, layer, tensor) for tensor in tensors.values())]
    starts = [sum(-(-size // 64) * 64 for size in sizes[:at]) for at in range(len(sizes) + 1)]
    assert starts[-1] + 16 * len(emitted.instructions) <= SIZE
    memory[: len(emitted.image)] = np.frombuffer(emitted.image, np.uint8)
    for start, (each, tensor) in zip(starts[1:], tensors.items(), strict=False):
        if each in arrays:
            memory[start + places(config, tensor)] = arrays[each].view(np.uint8)
    rtl.run(emitted.instructions, starts[-1], starts[:-1], WATCHDOG)
    y = layer.output
    found = memory[starts[-2] + places(config, y)]
    expected = evaluate(layer, *(arrays[tensor.name] for tensor in reads(layer)))
    np.testing.assert_array_equal((found if y.unsigned else found.view(np.int8)).astype(np.int64), expected)
