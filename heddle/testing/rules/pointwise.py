"""Operators that work element by element, channel by channel or along axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heddle.testing.rules.drawing import TEXTS, Drawing, Rule, some_axes


def elementwise(d: Drawing) -> dict[str, Any]:
    """Operands that broadcast to the first, or the first to them."""
    x = d.free(0, (4, 2, 3, 1, 0, 5))
    for number in range(1, d.operands):
        thin = tuple(1 if d.pick((False, True)) else size for size in x)
        tail = tuple(x[d.pick(range(len(x))) :]) if x else ()
        d.want(number, d.pick([x, thin, tail, (1,), ()]), x, thin, tail, (1,), ())
    return {"direction": d.wish("direction", ["LEFT", "RIGHT"])}


def one_number_each(d: Drawing) -> dict[str, Any]:
    """A tensor, then single numbers: bounds, ratios."""
    d.free(0, (4, 2, 3, 1, 0))
    for number in range(1, d.operands):
        d.want(number, ())
    return {}


def dropout(d: Drawing) -> dict[str, Any]:
    """What is left out is left to chance, unless it is nothing."""
    d.free(0, (4, 2, 3, 1))
    d.want(1, ())
    d.hold(2, False)
    return {}


def per_channel(d: Drawing) -> dict[str, Any]:
    """A tensor, then one number for each of its channels: batch and instance normalization."""
    x = d.free(0, (4, 3, 2))
    for number in range(1, 5):
        d.want(number, (x[1] if len(x) > 1 else 1,))
    return {"epsilon": d.wish("epsilon", [1e-5, 1e-3])}


def in_groups(d: Drawing) -> dict[str, Any]:
    """Group normalization: channels that are whole groups."""
    given = d.shape(0)
    groups = d.wish("num_groups", [2, 1, 3, 4] if given is None else [g for g in (1, 2, 3, 4) if given[1] % g == 0])
    x = d.want(0, (d.pick((1, 2, 3)), groups * d.pick((1, 2, 3)), *(d.pick((5, 3, 1)) for _ in range(d.pick((2, 1))))))
    for number in (1, 2):
        d.want(number, x[1:2])
    return {"num_groups": groups, "epsilon": d.wish("epsilon", [1e-5, 1e-3])}


def last_axes(d: Drawing) -> dict[str, Any]:
    """Layer normalization: scale and shift over the axes from `axis` on."""
    x = d.free(0, (3, 2, 4))
    axis = d.wish("axis", [-1, *range(1, len(x))])
    for number in (1, 2):
        d.want(number, x[axis:])
    return {"axis": axis, "epsilon": d.wish("epsilon", [1e-5, 1e-3])}


def along_axis(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (2, 3, 4, 1))
    return {"axis": d.wish("axis", [-1, *range(len(x))]), "opset": d.wish("opset", [13])}


def reduction(d: Drawing) -> dict[str, Any]:
    """Along axes that are listed; along all where none are."""
    x = d.free(0, (2, 3, 4))
    d.hold(1, some_axes(d, len(x)))
    return {"keepdims": d.wish("keepdims", [1, 0])}


def running(d: Drawing) -> dict[str, Any]:
    """Running sums and products along one axis, in either direction."""
    x = d.free(0, (2, 3, 4))
    d.hold(1, d.pick(range(-len(x), len(x))) if x else 0)
    return {name: d.wish(name, [0, 1]) for name in ("exclusive", "reverse")}


def losses(d: Drawing) -> dict[str, Any]:
    """A score for each class; the right class of each; a weight for each class."""
    x = d.free(0, (2, 3, 4))
    if len(x) < 2:
        return {}
    d.want(1, (x[0], *x[2:]))
    d.within(1, 0, max(1, x[1]))
    d.want(2, x[1:2])
    return {"reduction": d.wish("reduction", ["mean", "sum", "none"])}


def transforms(d: Drawing) -> dict[str, Any]:
    """DFT: pairs of real and imaginary parts, or real numbers."""
    n, size = d.pick((1, 2)), d.pick((4, 5, 8, 1))
    d.want(0, (n, size, d.pick((2, 1))))
    d.hold(1, d.pick((size, 4, 7)))
    d.hold(2, 1)
    return {"inverse": d.wish("inverse", [0, 1]), "onesided": d.wish("onesided", [0, 1])}


def frames(d: Drawing) -> dict[str, Any]:
    """STFT: frames of a signal, as long as the window where there is one."""
    length = d.pick((4, 3, 8))
    d.want(0, (d.pick((1, 2)), length + d.pick((0, 3, 9)), 1))
    d.hold(1, d.pick((2, 1, 3)))
    d.want(2, (length,))
    d.hold(3, length)
    return {"onesided": d.wish("onesided", [1, 0])}


def mel(d: Drawing) -> dict[str, Any]:
    """MelWeightMatrix: bins, length of the transform, rate of the samples, lowest and highest frequency."""
    for number, value in enumerate((d.pick((8, 4)), d.pick((16, 32)), 8192, 0.0, 4096.0)):
        d.hold(number, value)
    return {}


def how_long(d: Drawing) -> dict[str, Any]:
    """The length of a window."""
    d.hold(0, d.pick((8, 1, 5)))
    return {"periodic": d.wish("periodic", [1, 0])}


def ranges(d: Drawing) -> dict[str, Any]:
    """From, to, by."""
    for number, value in enumerate(d.pick([(0, 5, 1), (5, 0, -2), (2, 2, 1), (1, 9, 3)])):
        d.hold(number, value)
    return {}


def diagonal(d: Drawing) -> dict[str, Any]:
    d.free(0, (2,))
    return {"k": d.wish("k", [0, 1, -1])}


def square(d: Drawing) -> dict[str, Any]:
    size = d.pick((2, 1, 3))
    d.want(0, (*d.pick([(), (2,), (1, 3)]), size, size))
    return {}


def rows(d: Drawing) -> dict[str, Any]:
    d.free(0, (2,))
    return {"sample_size": d.wish("sample_size", [1, 3])}


def converted(d: Drawing) -> dict[str, Any]:
    d.free(0, (4, 2, 3, 1, 0, 5))
    return {"to": d.wish("to", TEXTS["to"])}


RULES: Mapping[str, Rule] = {
    "Clip": one_number_each,
    "Dropout": dropout,
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), per_channel),
    "GroupNormalization": in_groups,
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), last_axes),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "Flatten", "ArgMax", "ArgMin"), along_axis),
    **dict.fromkeys(
        (
            *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
            *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
        ),
        reduction,
    ),
    **dict.fromkeys(("CumSum", "CumProd"), running),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), losses),
    "DFT": transforms,
    "STFT": frames,
    "MelWeightMatrix": mel,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), how_long),
    "Range": ranges,
    "EyeLike": diagonal,
    "Det": square,
    "Multinomial": rows,
    **dict.fromkeys(("Cast", "BitCast"), converted),
}
