"""Depth 1, a library: matrix products of a model by BLAS, as scipy brings it.

    python examples/depth_library.py tests/models/mnist.onnx
    HEDDLE_PLUGINS=examples/depth_library.py heddle plugins test blas

A pattern says what is taken, `compile` keeps what a call needs, the device makes it; see docs/vendor/library.md.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from heddle.core.pattern import attr, const, dtype, maybe_const, ops, pattern, rank
from heddle.core.plugin import Figures
from heddle.core.runtime.calling import CallingDevice
from scipy.linalg.blas import sgemm

import heddle

FLOATS = dtype("x").equals("float32")


@pattern("matmul", conditions=[FLOATS, rank("x").equals(2), rank("w").equals(2)])
def matmul(x):
    return ops.MatMul(x, const("w"))


@pattern("gemm", conditions=[FLOATS, attr("gemm", "transA").equals(0)])
def gemm(x):
    return ops.Gemm(x, const("w"), maybe_const("b"), label="gemm")


class Blas(heddle.Backend):
    name = "blas"
    api = 1
    patterns = (matmul, gemm)
    merges = False  # a region is one product
    figures = Figures({"*": 3e10}, bandwidth=1e10, launch=3e-5)

    def compile(self, region: heddle.Region) -> heddle.Artifact:
        (match,) = region.matches
        settings = {
            "alpha": 1.0 if match.pattern is matmul else match.attr("gemm", "alpha"),
            "beta": match.attr("gemm", "beta") if match.array("b") is not None else 0.0,
            "turned": bool(match.attr("gemm", "transB")),
        }
        constants = {name: array for name in "wb" if (array := match.array(name)) is not None}
        return heddle.Artifact(self.name, self.name, region.signature, json.dumps(settings).encode(), constants)


class BlasDevice(CallingDevice):
    name = "blas"

    def prepare(self, artifact):
        return json.loads(artifact.code), artifact.constants

    def call(self, made, inputs, outputs):
        settings, constants = made
        (x,), (y,), w = inputs, outputs, constants["w"]
        if not x.size or not y.size:  # BLAS takes no empty matrices
            y[...] = settings["beta"] * constants.get("b", np.float32(0))
            return
        y[...] = sgemm(settings["alpha"], x, w, trans_b=settings["turned"])
        if settings["beta"]:
            y += np.float32(settings["beta"]) * constants["b"]


def main(model: str) -> None:
    with (
        heddle.compile(model, [Blas(), "host"], devices={"blas": BlasDevice()}) as there,
        heddle.compile(model) as here,
    ):
        x = np.random.default_rng(0).standard_normal(here.inputs[0].shape).astype(np.float32)
        print(there.plan)
        for found, expected in zip(there(x).values(), here(x).values(), strict=True):
            away = np.abs(found - expected).max() / np.abs(expected).max()
            print(f"away from the host by {away:.1e} of the largest magnitude")
            assert away <= 1e-5


if __name__ == "__main__":
    main(sys.argv[1])
