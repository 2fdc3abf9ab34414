"""Products on tiles: their results where vectors play the tiles, their instructions where the processor has them."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.kernels.tiles import Played, TileGemm, pack, tile_gemm
from heddle.core.codegen.values import I32


@pytest.mark.parametrize("shape", [(16, 16, 64), (37, 48, 128), (5, 32, 192), (64, 80, 64)], ids=str)
def test_exact_sums(native, guard, shape):
    m, n, k = shape
    rng = np.random.default_rng(m)
    a = rng.integers(0, 256, (m, k + 64)).astype(np.uint8)
    b = rng.integers(-128, 128, (k, n)).astype(np.int8)
    shift = rng.integers(-9, 9, n).astype(np.int32)
    tail = Tail(lambda f, total, operands: f.add(total, operands[0]), (Place((0,), 1, I32),))
    problem = TileGemm(m, n, k, k + 64, Place((n + 3,), 1, I32))
    out = guard(np.full((m, n + 3), 7, np.int32))
    functions = tile_gemm("k", native.target, problem, tail, tiles=Played(), internal=False)
    native(functions, guard(a), guard(pack(b)), out, guard(shift), None)
    np.testing.assert_array_equal(out[:, :n], a[:, :k].astype(np.int32) @ b.astype(np.int32) + shift)
    assert (out[:, n:] == 7).all()


def test_the_processor_that_has_tiles_gets_its_instructions(assemble):
    problem = TileGemm(40, 48, 128, 128, Place((48,), 1, I32))
    text = assemble(tile_gemm("k", targets.amx(), problem, internal=False), targets.amx())
    for instruction in ("ldtilecfg", "tilezero", "tileloadd", "tdpbusd", "tilestored", "tilerelease"):
        assert instruction in text


def test_no_other_processor_does():
    problem = TileGemm(16, 16, 64, 64, Place((16,), 1, I32))
    with pytest.raises(AssertionError, match="has no tiles of bytes"):
        tile_gemm("k", targets.avx512(), problem)
