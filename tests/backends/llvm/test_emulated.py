"""Code for AArch64 under emulation with several threads: the same bits as with one."""

from __future__ import annotations

import pytest
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen import pieces
from heddle.core.codegen.region import compile_region
from heddle.core.codegen.target import aarch64

from tests import foreign


@foreign.needed
def test_threads_do_not_change_a_bit(net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "WORTH", 1e-9)
    monkeypatch.setattr(pieces, "CLAIM", 50)
    x = net("Relu", net.conv(net.input(2, 3, 23, 29), 16, 3))
    pooled = net("GlobalAveragePool", net.conv(x, 24, 3))
    y = net("Gemm", net("Flatten", pooled), net.weights(20, 24), transB=1)
    artifact = compile_region(net.graph(x, y), aarch64(), Kernels())
    assert "team" in artifact.meta
    alone = foreign.run(artifact, net.arrays)
    for threads in (2, 3):
        for one, other in zip(alone, foreign.run(artifact, net.arrays, threads), strict=True):
            assert one.tobytes() == other.tobytes()
