"""Products in cuBLASLt's own words: its descriptors take every attribute, as far as that goes without a GPU."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from ctypes import c_void_p
from typing import Any

import numpy as np
import pytest
from heddle.backends.cudnn.multiply import CublasLt, ReadyProduct, _Choice, _path
from heddle.backends.cudnn.program import Product

from tests.backends.cudnn.numpy_library import run_product


class Described(CublasLt):
    """The library without a handle, for which there would have to be a GPU; remembers what it would multiply."""

    def __init__(self) -> None:
        try:
            self._library: Any = ctypes.CDLL(_path())
        except OSError as error:
            pytest.skip(f'cuBLASLt is not installed ({error}); pip install "heddle[cudnn]"')
        self.asked: list[tuple[Any, ...]] = []
        self.said: dict[tuple[str, int], Any] = {}

    def choice(self, description: c_void_p, layouts: Sequence[c_void_p]) -> _Choice:
        assert description.value
        assert all(layout.value for layout in layouts)
        return _Choice(workspace=128)

    def set(self, kind: str, handle: c_void_p, attribute: int, value: Any) -> None:
        super().set(kind, handle, attribute, value)
        self.said[kind, attribute] = value.value

    def matmul(self, *arguments: Any) -> None:
        self.asked.append(arguments)


CASES = list(itertools.product((False, True), (False, True), (1, 3), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_descriptors_are_accepted(dtype: str) -> None:
    """A wrong attribute, or one of a wrong size, is refused by the library; operands come in its order."""
    library = Described()
    for turned_a, turned_b, batch, bias, addend, relu in CASES:
        product = Product(
            dtype, 8, 24, 16, batch, (turned_a, turned_b), (128, 0), 0.5, bias, addend, relu, tf32=dtype == "float32"
        )
        ready = ReadyProduct(library, product)
        assert ready.workspace == 128
        # Numbers of cublasLt.h: which factor is turned, the library's first being our second; what follows.
        assert (library.said["MatmulDesc", 3], library.said["MatmulDesc", 4]) == (turned_b, turned_a)
        assert library.said["MatmulDesc", 7] == ((2 if relu else 0) | (4 if bias else 0) or 1)
        addresses = [1 << 20, 2 << 20, *([3 << 20] if bias else []), *([4 << 20] if addend else []), 5 << 20]
        ready.run(addresses, 6 << 20)
        _, alpha, b, _, a, _, beta, c, _, d, *_ = library.asked[-1]
        assert (a.value, b.value, d.value) == (1 << 20, 2 << 20, 5 << 20)
        assert c.value == (4 << 20 if addend else 5 << 20)
        assert (alpha._obj.value, beta._obj.value) == (0.5, 1.0 if addend else 0.0)


@pytest.mark.parametrize("case", CASES)
def test_products_are_what_they_say(case: tuple[Any, ...]) -> None:
    """The definition in row-major memory against the oracle's, which is column-major as the library is."""
    turned_a, turned_b, batch, bias, addend, relu = case
    m, n, k = 3, 5, 4
    rng = np.random.default_rng(1)
    a, b = (np.asarray(rng.standard_normal((batch, *s)), np.float32) for s in ((m, k), (k, n)))
    vector, more = (np.asarray(rng.standard_normal(s), np.float32) for s in ((n,), (batch, m, n)))
    wanted = 2 * (a @ b) + (vector if bias else 0) + (more if addend else 0)
    held = [np.ascontiguousarray(x.swapaxes(1, 2)) if t else x for x, t in ((a, turned_a), (b, turned_b))]
    held += [x for x, there in ((vector, bias), (more, addend)) if there]
    result = np.zeros((batch, m, n), np.float32)
    product = Product("float32", m, n, k, batch, (turned_a, turned_b), (m * k, k * n), 2.0, bias, addend, relu)
    run_product(product, [x.ctypes.data for x in (*held, result)])
    np.testing.assert_allclose(result, np.maximum(wanted, 0) if relu else wanted, atol=1e-5)
