"""The host declares its speeds by what its target can do."""

from __future__ import annotations

import pytest
from heddle.backends.llvm.host import Host, HostOptions
from heddle.core.ir import parse
from heddle.core.plugin import Region


@pytest.mark.parametrize(
    ("target", "floats", "bytes_"),
    [
        ("x86-64", 1.68e10, 1.68e10),
        ("avx2", 6.72e10, 6.72e10),
        ("avx512", 1.344e11, 5.376e11),
        ("amx", 1.344e11, 4.3e12),
    ],
)
def test_wider_vectors_are_quicker(target, floats, bytes_):
    figures = Host(HostOptions(target)).figures
    assert figures.speed("float32") == pytest.approx(floats, rel=0.01)
    assert figures.speed("int8") == pytest.approx(bytes_, rel=0.01)
    assert figures.speed("float64") == figures.speed("float32") / 2


def test_a_product_is_priced_by_them():
    body = parse(
        "graph (%a: float32[512,512], %b: float32[512,512]) -> (%y) {\n %y: float32[512,512] = MatMul(%a, %b)\n}"
    )
    avx2, wide = (Host(HostOptions(target)).estimate(Region("r", "host", body)) for target in ("avx2", "avx512"))
    assert avx2.compute == pytest.approx(2 * 512**3 / 6.72e10, rel=0.01)
    assert wide.compute == pytest.approx(avx2.compute / 2, rel=0.01)
