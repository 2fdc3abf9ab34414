"""Whether a mutant is the backend that it was made from: both run over every case of a small domain.

Where the original takes a case, the mutant must give the same bits. Where it does not, the mutant may, if it then gives
the bits of the reference.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from heddle.core.frontend.export import export_model
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, Node, Value, dtype_named, tensor
from heddle.core.plugin import Tolerance, get_backend

import heddle
from heddle.testing import difference
from tests.heddle.testing.mutants import load

EDGES = {
    "f": (0.0, -0.0, 1.0, -1.5, 3e-39, 65504.0, -3.4e38, np.inf, -np.inf, np.nan),
    "i": (0, 1, -1, 2, 100, -100, "lowest", "highest"),
    "u": (0, 1, 2, 100, "highest"),
}
"""Values of each kind of number; what an operator does with two of them is tried for every pair."""

DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def pairs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of edges of a dtype; of 8-bit numbers every pair there is."""
    dtype = dtype_named(name)
    if dtype.itemsize == 1:
        values = np.arange(256).astype(np.uint8).view(dtype)
    elif dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = np.array(EDGES["f"]).astype(dtype)
    else:
        limits = {"lowest": np.iinfo(dtype).min, "highest": np.iinfo(dtype).max}
        values = np.array([limits.get(value, value) for value in EDGES[dtype.kind]], dtype)
    left, right = np.meshgrid(values, values, indexing="ij")
    return left.ravel(), right.ravel()


def programs() -> Iterator[tuple[Graph, list[np.ndarray]]]:
    """What the stack machine can be given: operators over inputs, one input twice, constants; then two in a row."""
    for name in DTYPES:
        left, right = pairs(name)
        kind = tensor(name, left.size)
        x, y, c, s, z = (Value(letter, kind) for letter in "xycsz")
        for op in ("Add", "Sub", "Mul"):
            for operands in ((x, y), (x, x), (c, y), (x, c)):
                inputs = tuple(value for value in dict.fromkeys(operands) if value is not c)
                constants = {c: right} if c in operands else {}
                yield Graph(inputs, (Node(op, operands, (z,)),), (z,), constants), [left, right][: len(inputs)]
        yield Graph((x,), (Node("Relu", (x,), (z,)),), (z,)), [left]
    left, right = pairs("float32")
    kind = tensor("float32", left.size)
    x, y, s, z = (Value(letter, kind) for letter in "xysz")
    for first, second in itertools.product(("Add", "Sub", "Mul"), repeat=2):
        for operands, outputs in (((s, x), (z,)), ((y, s), (z,)), ((s, s), (z,)), ((x, s), (s, z))):
            yield Graph((x, y), (Node(first, (x, y), (s,)), Node(second, operands, (z,))), outputs), [left, right]


def convolutions() -> Iterator[tuple[Graph, list[np.ndarray]]]:
    """Batches, groups, channels, kernels, strides, dilations, paddings, each with each of the two next to it."""
    random = np.random.default_rng(0)
    batches, groups, channels, filters = (1, 2), (1, 2, 3), (1, 2), (1, 3)
    kernels, strides, dilations = ((1, 1), (2, 1), (2, 3)), ((1, 1), (2, 1), (1, 3)), ((1, 1), (2, 1), (1, 2))
    pads = ((0, 0, 0, 0), (1, 0, 0, 2), (0, 1, 2, 0))
    everything = [batches, groups, channels, filters, kernels, strides, dilations, pads, (True, False), DTYPES[:3]]
    plain = (*(options[0] for options in everything[:-1]), "float32")
    chosen = {plain}
    for one, other in itertools.combinations(range(len(everything)), 2):
        for a, b in itertools.product(everything[one], everything[other]):
            chosen.add(tuple(a if at == one else b if at == other else value for at, value in enumerate(plain)))
    for batch, group, channel, filter_, kernel, stride, dilation, pad, biased, name in sorted(chosen, key=str):
        dtype = dtype_named(name)
        shapes = {
            "x": (batch, group * channel, 5, 6),
            "w": (group * filter_, channel, *kernel),
            "b": (group * filter_,),
        }
        arrays = {key: random.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}
        x, w, b = (Value(key, tensor(name, *shape)) for key, shape in shapes.items())
        reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
        sizes = [
            (length + pad[axis] + pad[axis + 2] - reach[axis]) // stride[axis] + 1 for axis, length in enumerate((5, 6))
        ]
        y = Value("y", tensor(name, batch, group * filter_, *sizes))
        attributes = {"strides": stride, "dilations": dilation, "pads": pad, "group": group, "kernel_shape": kernel}
        constants = {w: arrays["w"], **({b: arrays["b"]} if biased else {})}
        node = Node("Conv", (x, w, b) if biased else (x, w), (y,), attributes)
        yield Graph((x,), (node,), (y,), constants), [arrays["x"]]


DOMAINS = {"codegen": programs, "library": convolutions}


def same_bits(found: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return [array.tobytes() for array in found] == [array.tobytes() for array in right]


def same_within_tolerance(found: list[np.ndarray], right: list[np.ndarray]) -> bool:
    """As the kit compares: zeros of either sign are one, sums may be rounded in another order."""
    return not any(difference(a, b, Tolerance()) for a, b in zip(found, right, strict=True))


def distinction(original: str, mutant: str, domain: str, same=same_bits) -> str:
    """The first case of the domain in which a mutant is told from its original; nothing when there is none."""
    taken = 0
    for (graph, inputs), right, found in zip(
        DOMAINS[domain](), _rights(original, domain), _answers(mutant, domain), strict=True
    ):
        if right is None and found is not None:
            with np.errstate(all="ignore"):
                right = [np.asarray(array) for array in evaluate(graph, inputs)]
        elif right is not None:
            taken += 1
        if (found is not None and not same(found, right)) or (right is not None and found is None):
            return str(graph)
    assert taken >= 40, "the original takes too little of the domain to tell anything"
    return ""


@cache
def _rights(original: str, domain: str) -> Sequence[list[np.ndarray] | None]:
    """What an original answers, which is asked for once for each of its mutants."""
    return tuple(_answers(original, domain))


def _answers(text: str, domain: str) -> Iterator[list[np.ndarray] | None]:
    """What a backend computes for each case, None where it leaves it to others."""
    backend, device = load(text)
    backends = [backend, get_backend("host")]
    for graph, inputs in DOMAINS[domain]():
        model = export_model(graph)
        found = None
        if backend.name in heddle.plan(model, backends).backends:
            with heddle.compile(model, backends, devices={backend.name: device}) as executable:
                found = [np.asarray(y) for y in executable(*inputs)]
        yield found
