"""Products on tiles: their results where vectors play the tiles, their instructions where the processor has them."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import gemm, tiled
from heddle.core.codegen.kernels.conv import Conv
from heddle.core.codegen.kernels.gemm import Gemm
from heddle.core.codegen.kernels.image import Image, Window, arrange, restore
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.kernels.tiles import check
from heddle.core.codegen.values import BF16, F32, I8, I32

WIDEST = "avx2" if set(targets.avx2().features) <= set(targets.host().features) else "sse2"
wide = pytest.mark.parametrize("native", [WIDEST], indirect=True)
DTYPES = {"tdpbusd": np.uint8, "tdpbssd": np.int8, "tdpbf16ps": ml_dtypes.bfloat16}


def drawn(rng, dtype, *shape):
    """Numbers over the whole range of bytes, or floats."""
    if dtype == ml_dtypes.bfloat16:
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def weights(rng, dtype, *shape):
    return drawn(rng, dtype if dtype == ml_dtypes.bfloat16 else np.int8, *shape)


def exact(array):
    return array.astype(np.float64)


def same(got, want):
    """Integers are equal; sums of products of bfloat16 are rounded to float after each addition at most."""
    if got.dtype == np.int32:
        np.testing.assert_array_equal(got, want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)


@pytest.fixture
def played(native):
    """The machine, with tiles played by vectors."""
    return replace(native.target, played=True)


PRODUCTS = [(16, 16, 64), (37, 48, 128), (5, 30, 192), (64, 81, 72), (1, 3, 4), (33, 17, 100)]


@wide
@pytest.mark.parametrize("form", DTYPES)
@pytest.mark.parametrize("shape", PRODUCTS, ids=str)
@pytest.mark.parametrize("batch", [1, 2])
def test_products(native, guard, played, shape, form, batch):
    m, n, k = shape
    rng = np.random.default_rng(m)
    scalar, total = (BF16, F32) if form == "tdpbf16ps" else (I8, I32)
    problem = Gemm(
        m, n, k, (k + 6, 1), Place((m * (n + 3), n + 3), 1, total), batch=(batch,), a_batch=(m * (k + 6),),
        b_batch=(-(-n // 16) * 16 * k,), scalar=scalar, signed=form == "tdpbssd",
    )  # fmt: skip
    assert tiled.applies(problem, played)
    a, b = drawn(rng, DTYPES[form], batch, m, k + 6), weights(rng, DTYPES[form], batch, k, n)
    shift = rng.integers(-9, 9, n).astype(np.int32 if total == I32 else np.float32)
    tail = Tail(lambda f, sums, operands: f.add(sums, operands[0]), (Place((0, 0), 1, total),))
    packed = np.concatenate([tiled.pack(matrix, problem) for matrix in b])
    for schedule in tiled.candidates(problem, played)[:: 3 if batch == 1 else 100]:
        out = guard(np.full((batch, m, n + 3), 7, shift.dtype))
        functions = tiled.gemm("k", played, problem, schedule, tail, internal=False)
        native(functions, guard(a.view(np.uint8)), guard(packed.view(np.uint8)), out, guard(shift), None)
        same(out[:, :, :n], (exact(a[..., :k]) @ exact(b) + shift).astype(shift.dtype))
        assert (out[:, :, n:] == 7).all()


CONVOLUTIONS = [
    (40, 24, 9, 7, Window((3, 3), (1, 1), pads=(1, 1)), 1),
    (64, 70, 5, 4, Window((1, 1)), 2),
    (3, 20, 12, 10, Window((7, 7), (2, 2), pads=(3, 3)), 1),
    (20, 33, 6, 37, Window((3, 2), (1, 2), (1, 1), (1, 1)), 2),
    (8, 16, 11, 11, Window((3, 3), (1, 1), (2, 2), (2, 2)), 1),
]


@wide
@pytest.mark.parametrize("form", ["tdpbusd", "tdpbf16ps"])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions(native, guard, played, case, form):
    inputs, outputs, height, width, window, batch = case
    lanes = played.lanes(4)
    scalar, total, dtype = (BF16, F32, np.float32) if form == "tdpbf16ps" else (I8, I32, np.int32)
    ends = [
        (n + 2 * p - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(
            (height, width), window.pads, window.kernel, window.dilation, window.stride, strict=True
        )
    ]
    out = Image(outputs, *ends, lanes, (1, 0, 0, 1), batch, total)
    source = Image(inputs, height, width, 4 if inputs < 4 else lanes, batch=batch, scalar=scalar)
    source = replace(source, halo=window.reach(source, out))
    plain = Conv(source, out, window)
    assert tiled.applies(plain, played)
    problem = tiled.interleaved(plain)
    rng = np.random.default_rng(inputs)
    x = drawn(rng, DTYPES[form], batch, inputs, height, width)
    w = weights(rng, DTYPES[form], outputs, inputs, *window.kernel)
    padded = np.pad(exact(x), ((0, 0), (0, 0), *[(p, p + 8) for p in window.pads]))
    wanted = np.zeros((batch, outputs, *ends))
    for ky in range(window.kernel[0]):
        for kx in range(window.kernel[1]):
            ys = slice(ky * window.dilation[0], None, window.stride[0])
            xs = slice(kx * window.dilation[1], None, window.stride[1])
            seen = padded[:, :, ys, xs][:, :, : ends[0], : ends[1]]
            wanted += np.einsum("oi,niyx->noyx", exact(w[:, :, ky, kx]), seen)
    a = arrange(x.view(np.uint16) if form == "tdpbf16ps" else x, problem.source)
    for schedule in tiled.candidates(problem, played)[::3]:
        y = guard(np.zeros(out.size, dtype))
        functions = tiled.conv("k", played, problem, schedule, NOTHING, internal=False)
        native(functions, guard(a.view(np.uint8)), guard(tiled.pack(w, problem).view(np.uint8)), y, None)
        same(restore(y, out), wanted.astype(dtype))


@pytest.mark.parametrize("form", DTYPES)
def test_the_processor_that_has_tiles_gets_its_instructions(assemble, form):
    problem = Gemm(40, 48, 128, (128, 1), Place((48,), 1, F32), scalar=BF16 if form == "tdpbf16ps" else I8,
                   signed=form == "tdpbssd")  # fmt: skip
    total = F32 if form == "tdpbf16ps" else I32
    problem = replace(problem, out=Place((48,), 1, total))
    text = assemble(tiled.gemm("k", targets.amx(), problem, tiled.Schedule(), internal=False), targets.amx())
    for instruction in ("ldtilecfg", "tilezero", "tileloadd", form, "tilestored", "tilerelease"):
        assert instruction in text


def test_vectors_of_bfloat16_are_multiplied_by_one_instruction_where_there_is_one(assemble):
    problem = Gemm(8, 32, 64, (64, 1), Place((32,), 1, F32), scalar=BF16)
    older = targets.avx512()
    newer = replace(older, features=(*older.features, "avx512bf16"))
    for target in (older, newer):
        text = assemble(gemm.gemm("k", target, problem, gemm.default(problem, target), internal=False), target)
        assert ("vdpbf16ps" in text) == (target is newer)


def test_other_processors_have_none():
    problem = Gemm(16, 16, 64, (64, 1), Place((16,), 1, I32), scalar=I8)
    assert tiled.applies(problem, targets.amx())
    for target in (targets.avx512(), targets.avx2(), targets.aarch64()):
        assert not tiled.applies(problem, target)


def test_tiles_that_do_not_fit_each_other_are_found():
    check([(16, 64), (16, 32), (8, 64)], 0, 1, 2)
    for shapes in ([(16, 64), (15, 32), (8, 64)], [(16, 64), (16, 32), (9, 64)], [(16, 60), (16, 32), (8, 64)]):
        with pytest.raises(AssertionError):
            check(shapes, 0, 1, 2)
    with pytest.raises(AssertionError):
        check([(17, 64), (17, 32), (8, 64)], 0, 1, 2)
