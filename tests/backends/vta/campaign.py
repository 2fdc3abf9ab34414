"""Random layers of every kind on every configuration, against their second implementation in plain numpy.

    python -m tests.backends.vta.campaign --seed 1 --count 5000
    python -m tests.backends.vta.campaign --seed 1 --count 300 --rtl

Prints how many layers of which kind ran on which configuration; a layer that differs is made smaller and shown.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import hypothesis
from heddle.backends.vta.layers import Layer
from heddle.backends.vta.matrices import loads_pixels_as_weights
from heddle.hw.vta.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backends.vta.at_rtl import check_at_rtl
from tests.backends.vta.test_layers import CONFIGS, check, concats, convolutions, maps, pools, products

Check = Callable[[Config, Layer, int], None]


@st.composite
def any_layer(draw: st.DrawFn) -> tuple[Config, Layer]:
    """A configuration, and a layer of a kind that it has."""
    config = draw(st.sampled_from(CONFIGS))
    kinds = [convolutions(), pools(), maps(), concats()]
    return config, draw(st.one_of(*kinds, *([products()] if loads_pixels_as_weights(config) else [])))


def campaign(check: Check, count: int, seed: int) -> Counter[str]:
    """Check so many random layers; how often each kind was there on each configuration."""
    seen: Counter[str] = Counter()

    @hypothesis.seed(seed)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(drawn=any_layer(), data=st.integers(0, 2**32 - 1))
    def run(drawn: tuple[Config, Layer], data: int) -> None:
        config, layer = drawn
        check(config, layer, data)
        seen[f"{config.name} {type(layer).__name__}"] += 1

    run()
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--rtl", action="store_true", help="on the RTL instead of the functional model")
    arguments = parser.parse_args()
    seen = campaign(check_at_rtl if arguments.rtl else check, arguments.count, arguments.seed)
    for what, times in sorted(seen.items()):
        print(f"{times:6} {what}")
    print(f"{seen.total():6} layers, all as in the second implementation")


if __name__ == "__main__":
    main()
