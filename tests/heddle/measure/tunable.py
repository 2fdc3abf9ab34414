"""A plugin with one thing to choose, whose costs are known: tile 1 costs 1, 2 half, 4 a quarter, 6 twice as much.

Tile 3 ends the process that measures it, tile 5 is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heddle.core.errors import BackendError
from heddle.core.plugin import Backend, Region
from heddle.core.plugin.tuning import Choice, Problem

COSTS = {1: 1.0, 2: 0.5, 3: 0.0, 4: 0.25, 5: 0.0, 6: 2.0}


@dataclass(frozen=True)
class Options:
    """`tuning`: the file of records."""

    tuning: str = ""


class Tunable(Backend):
    """Takes everything; compiles nothing."""

    name = "tunable"
    takes_all = True
    Options = Options

    def problems(self, region: Region) -> list[Problem]:
        return [Problem("only", "the only problem", len(region.body.nodes))]

    def candidates(self, problem: Problem) -> list[Choice]:
        return [{"tile": tile} for tile in COSTS]

    def measurement(self, problem: Problem, choice: Choice) -> Callable[[], float]:
        tile: Any = choice["tile"]
        with open(os.environ["TUNABLE_LOG"], "a") as log:
            log.write(f"{tile}\n")
        if tile == 3:
            os._exit(1)
        if tile == 5:
            raise BackendError("tile 5 is refused")
        return lambda: COSTS[tile]
