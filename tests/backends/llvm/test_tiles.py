"""Networks on matrix tiles: products and convolutions that can be are done on them, and compute the same."""

from __future__ import annotations

import warnings
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
from heddle.backends.llvm.choices import Choices
from heddle.backends.llvm.host import Host
from heddle.backends.llvm.measuring import prepared
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen import target as targets
from heddle.core.codegen import trial
from heddle.core.codegen.kernels import conv, gemm, played, tiled
from heddle.core.codegen.kernels.image import Image, Window
from heddle.core.codegen.kernels.played import bytes_dot, pairs_dot
from heddle.core.codegen.region import compile_region, program
from heddle.core.codegen.values import I8, constant
from heddle.core.errors import ArtifactError
from heddle.core.runtime import cpu
from heddle.core.runtime.host import HostDevice


def quantized(net, x, scale, dtype):
    s, z = net.const(np.float32(scale)), net.const(dtype(3))
    return net("DequantizeLinear", net("QuantizeLinear", x, s, z), s, z)


def filters(net, *shape):
    """Signed bytes with a scale for each filter."""
    stored = net.rng.integers(-100, 100, shape).astype(np.int8)
    scale = (net.rng.uniform(0.5, 1.5, shape[0]) / (60 * np.sqrt(np.prod(shape[1:])))).astype(np.float32)
    return net("DequantizeLinear", net.const(stored), net.const(scale), axis=0)


def network(net, dtype, width):
    """Windows of several kinds, a residual sum, and a product of rows."""

    def convolved(x, count, size, stride=1):
        geometry = {"pads": (size // 2,) * 4, "strides": (stride,) * 2}
        made = net("Conv", x, filters(net, count, x.shape[1], size, size), net.weights(count), **geometry)
        return quantized(net, net("Relu", made), 0.03, dtype)

    x = quantized(net, net.input(2, 3, 13, 17), 0.03, dtype)
    x = convolved(x, width, 3, 2)
    y = convolved(convolved(x, width, 3), width, 1)
    x = convolved(quantized(net, net("Add", x, y), 0.05, dtype), 2 * width, 1, 2)
    rows = net("Reshape", net("Transpose", x, perm=(0, 2, 3, 1)), net.const(np.array([-1, 2 * width])))
    stored = net.rng.integers(-100, 100, (2 * width, 24)).astype(np.int8)
    matrix = net("DequantizeLinear", net.const(stored), net.const(np.float32(0.003)))
    return net("MatMul", quantized(net, rows, 0.03, dtype), matrix)


@pytest.fixture
def on_tiles(monkeypatch):
    """Makes tiles the cheapest way of all, and lists the problems that were solved by them."""
    monkeypatch.setattr(tiled, "cycles", lambda problem, target, schedule: -1.0)
    solved = []
    for name in ("gemm", "conv"):
        kernel = getattr(tiled, name)

        def noted(*args, kernel=kernel, **options):
            solved.append(signature(kernel).bind(*args, **options).arguments["problem"])
            return kernel(*args, **options)

        monkeypatch.setattr(tiled, name, noted)
    return solved


@pytest.mark.parametrize("host", ["tiles"], indirect=True)
@pytest.mark.parametrize("width", [16, 20])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["unsigned", "signed"])
def test_quantized_networks(net, host, on_tiles, dtype, width):
    host.check(net, network(net, dtype, width))
    assert [type(problem) for problem in on_tiles] == [conv.Conv] * 4 + [gemm.Gemm]
    assert on_tiles[-1].signed == (dtype == np.int8)


@pytest.mark.parametrize("host", ["tiles"], indirect=True)
def test_schedules_can_be_measured(net, host):
    """Of bytes and of bfloat16, products and convolutions, on tiles and in vectors."""
    x = net.conv(net.input(1, 16, 6, 6), 16, 3)
    choices, rounded = Choices(host.target), Choices(host.target, halves=True)
    program(net.graph(network(net, np.int8, 16)), host.target, Kernels(choices=choices))
    program(net.graph(x, net("MatMul", x, net.weights(6, 20))), host.target, Kernels(choices=rounded))
    problems = {(type(problem), getattr(problem, "source", problem).scalar): problem for problem in choices.asked}
    problems |= {(type(problem), getattr(problem, "source", problem).scalar): problem for problem in rounded.asked}
    assert len(problems) == 4
    for problem in problems.values():
        chosen = {type(schedule): schedule for schedule in choices.candidates(problem)}
        assert tiled.Schedule in chosen
        assert all(prepared(problem, schedule, host.target)() > 0 for schedule in chosen.values())


@pytest.mark.parametrize(
    ("channels", "filters", "pixels", "size", "kind"),
    [(128, 128, 28, 3, tiled.Schedule), (1024, 256, 14, 1, tiled.Schedule), (16, 96, 112, 1, conv.Schedule)],
)
def test_the_model_of_the_machine_takes_tiles_where_they_are_filled(channels, filters, pixels, size, kind):
    source = Image(channels, pixels, pixels, 16, (size // 2,) * 4, scalar=I8)
    window = Window((size, size), pads=(size // 2,) * 2)
    problem = conv.Conv(source, Image(filters, pixels, pixels, 16, scalar=I8), window)
    assert isinstance(Choices(targets.amx(), strict=True).default(problem), kind)
    assert not isinstance(Choices(targets.avx512()).default(problem), tiled.Schedule)


@pytest.mark.skipif("amx-tile" in targets.host().features, reason="this machine runs the code")
def test_other_machines_refuse_the_code(net):
    artifact = compile_region(net.graph(network(net, np.uint8, 64)), targets.amx(), Kernels())
    with pytest.raises(ArtifactError) as error:
        HostDevice().load(artifact)
    lacking = ", ".join(cpu.missing(targets.amx().features))
    assert "amx-int8" in lacking
    assert str(error.value) == (
        f"host: the code needs {lacking}, which this processor lacks; compile it on this machine or for an older one"
    )


@pytest.fixture
def machine(monkeypatch):
    """This machine, with tiles played by vectors, and nothing known of them yet."""
    made = replace(targets.host(), played=True)
    monkeypatch.setattr(targets, "host", lambda: made)
    trial.trusted.cache_clear()
    yield made
    trial.trusted.cache_clear()


def test_tiles_that_multiply_rightly_are_trusted(machine, recwarn):
    assert Host().target == machine
    assert not recwarn


def _unsigned(f, total, a, b, signed=False):
    return bytes_dot(f, total, a, b)


def _first_half(f, total, a, b, fused=True):
    return pairs_dot(f, total, f.binary("shl", a, constant(16, a.type)), b, fused)


FAULTS = {
    "bytes_dot": (_unsigned, "s8s8"),
    "pairs_dot": (_first_half, "bf16"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_tiles_that_multiply_wrongly_give_way_to_vectors(machine, monkeypatch, fault):
    broken, kind = FAULTS[fault]
    monkeypatch.setattr(played, fault, broken)
    with pytest.warns(trial.TileWarning) as told:
        target = Host().target
    assert [str(each.message) for each in told] == [
        f"host: matrix tiles of this processor ({machine.cpu}) give wrong products of {kind}; "
        "vectors are used instead, which is slower: please report it"
    ]
    assert not target.tiles_of_bytes
    assert not target.tiles_of_bf16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Host().target == target
