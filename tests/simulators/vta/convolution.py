"""A small convolution in assembly, with its data and what it gives by numpy, for the tests of the device."""

from __future__ import annotations

import numpy as np
from heddle.core.runtime.artifact import Artifact, Port, Signature
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import load_config
from heddle.hw.vta.isa import encode_uop
from heddle.simulators.vta.program import Binding, Program, Section, to_bytes
from numpy.typing import NDArray

CODE = """
LOAD mem=uop base=2 x=3                              # nine taps
LOAD mem=prm base=2 offset=3
PAD x_before=1 x_after=1 y_before=1 y_after=1 value=5
STRIDE mem=inp y=8
LOAD mem=inp base=0 x=8 y=8
LOAD mem=wgt base=1 x=9 push_next
LOOP dst1=8 dst2=1 src1=10 src2=1
GEMM count=9 n1=8 n2=8 overwrite pop_prev push_next
QUANT z1=3 lo1=-128 hi1=127
WALK acc_x=1 acc_y=8 y=8
STORE base=3 x=8 y=8 pop_prev
FINISH
"""
ZERO_POINT = 5


def arrays(seed: int = 0) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int32]]:
    """Activations (8, 8, 16), weights (3, 3, 16, 16) and biases (16)."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (8, 8, 16)).astype(np.int8)
    w = rng.integers(-128, 128, (3, 3, 16, 16)).astype(np.int8)
    return x, w, rng.integers(-1000, 1000, 16).astype(np.int32)


def program(sections: int = 1) -> Program:
    """The convolution, as often as there are sections."""
    config = load_config("reference")
    taps = [encode_uop(config, 0, kh * 10 + kw, kh * 3 + kw) for kh in range(3) for kw in range(3)]
    uops = np.array([*taps, 0, 0, 0], np.uint32).tobytes()
    prm = arrays()[2].tobytes() + np.full(16, 1 << 20, np.int32).tobytes() + np.full(16, 30, np.uint8).tobytes()
    bindings = (Binding("input"), Binding("constant", name="w"), Binding("image"), Binding("output"))
    code = tuple(assemble(CODE))
    return Program(config, tuple(Section(f"conv{n}", code) for n in range(sections)), bindings, uops + prm)


def artifact(made: Program | None = None) -> Artifact:
    """The convolution as an artifact of the device."""
    ports = Port("x", "int8", (8, 8, 16)), Port("y", "int8", (8, 8, 16))
    signature = Signature((ports[0],), (ports[1],))
    code = to_bytes(made or program())
    return Artifact("vta", "vta", signature, code, constants={"w": arrays()[1]}, nodes=("conv",))


def expected() -> NDArray[np.int8]:
    """What the convolution gives, by numpy."""
    x, w, bias = arrays()
    padded = np.full((10, 10, 16), ZERO_POINT, np.int64)
    padded[1:9, 1:9] = x
    acc = sum(padded[i : i + 8, j : j + 8] @ w[i, j].astype(np.int64).T for i in range(3) for j in range(3)) + bias
    return np.clip(np.rint(acc / 1024).astype(np.int64) + 3, -128, 127).astype(np.int8)
