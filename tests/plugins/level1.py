"""A plugin of API level 1, as one was written when that was the only level. It is never changed.

While `OLDEST_API_LEVEL` is 1, this file must load, plan, compile, run and pass the conformance kit as it stands. When a
level is given up, its file goes with it, and the next one takes its place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from heddle.core.pattern import attr, const, dtype, maybe_const, ops, optional, pattern, rank
from heddle.core.plugin import Cost, Figures, Tolerance, hookimpl
from heddle.core.runtime.calling import CallingDevice

import heddle

PLANNED = []


@dataclass(frozen=True)
class Options:
    """`scale` multiplies every product; 1 leaves it."""

    scale: float = 1.0


@pattern(
    "gemm",
    conditions=[
        dtype("a").equals("float32"),
        rank("c").between(0, 1),
        attr("gemm", "transA").equals(0),
        attr("gemm", "transB").among(0, 1),
    ],
)
def gemm(a):
    return optional(ops.Relu, label="rectified")(ops.Gemm(a, const("b"), maybe_const("c"), label="gemm"))


@pattern("pool", conditions=[dtype("x").equals("float32"), attr("pool", "axis").among(1)])
def flat(x):
    return ops.Flatten(x, label="pool")


class Level1(heddle.Backend):
    name = "level1"
    api = 1
    Options = Options
    merges = False
    tolerance = Tolerance(relative=1e-5)

    @property
    def patterns(self):
        return (gemm, flat)

    @property
    def figures(self):
        return Figures({"*": 1e9}, bandwidth=1e9, launch=1e-6)

    def estimate(self, region):
        return Cost(super().estimate(region).compute, 2e-6)

    def compile(self, region):
        (match,) = region.matches
        settings = {"op": match.pattern.name, "relu": match.times("rectified") == 1, "scale": self.options.scale}
        constants = {}
        if match.pattern is gemm:
            settings |= {name: match.attr("gemm", name) for name in ("alpha", "beta", "transB")}
            constants = {name: match.array(name) for name in ("b", "c") if match.array(name) is not None}
        code = json.dumps(settings).encode()
        return heddle.Artifact(self.name, self.name, region.signature, code, constants, meta={"level": 1})


class Level1Device(CallingDevice):
    name = "level1"

    def prepare(self, artifact):
        return json.loads(artifact.code), artifact.constants

    def call(self, made, inputs, outputs):
        settings, constants = made
        if settings["op"] == "pool":
            outputs[0][...] = inputs[0].reshape(outputs[0].shape)
            return
        b = constants["b"].T if settings["transB"] else constants["b"]
        y = np.float32(settings["alpha"] * settings["scale"]) * (inputs[0] @ b)
        if "c" in constants:
            y = y + np.float32(settings["beta"]) * constants["c"]
        outputs[0][...] = np.maximum(y, 0) if settings["relu"] else y


@hookimpl
def heddle_plan_done(plan):
    PLANNED.append(plan.backends)
