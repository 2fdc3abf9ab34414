"""What makes room for what in an on-chip memory."""

from __future__ import annotations

from heddle.backends.vta.onchip import Memory, Slots
from heddle.backends.vta.search import Shape, choose, cycles
from heddle.backends.vta.steps import Chunk, Load, Step
from heddle.hw.vta.config import load_config
from hypothesis import given
from hypothesis import strategies as st

SIZE = 10


def placed(order: list[int], pieces: int) -> list[tuple[int, Load]]:
    """The loads of steps that read one chunk each, in a memory that holds so many, and the step that each is for."""
    chunks = {key: Chunk(key, "inp", SIZE, lambda sram: []) for key in order}
    steps = [Step((chunks[key],), key, 1, lambda at, acc: []) for key in order]
    slots = Slots(Memory(pieces * SIZE), steps, "inp")
    places = [slots.place(chunks[key], index, 0) for index, key in enumerate(order)]
    return [(index, load) for index, (_, load) in enumerate(places) if load is not None]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(2, 5))
def test_a_load_need_not_wait_for_the_step_before(order: list[int], pieces: int) -> None:
    """While the array works on one chunk the next can come, since it takes the place of neither."""
    for index, load in placed(order, pieces):
        assert load.after < max(index - 1, 0)


def test_what_is_read_again_soon_stays() -> None:
    order = [0, 1, 2, 3] * 5
    assert len(placed(order, 4)) == 4
    assert len(placed(order, 3)) < len(order) * 3 // 4


def test_weights_and_activations_come_while_the_array_works() -> None:
    """SqueezeNet's last convolution, whose activations do not fit: less than 3% above its multiply-accumulates."""
    config = load_config("reference")
    shape = Shape((1000, 512, 1, 1), (1, 512, 13, 13), (1, 1000, 13, 13), (1, 1), (0, 0, 0, 0), (1, 1), 1)
    assert cycles(config, shape, choose(config, shape.layer, {})) < 1.03 * shape.layer.macs / (config.bi * config.bo)
