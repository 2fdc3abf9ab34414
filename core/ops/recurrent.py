"""Recurrent layers: RNN, GRU and LSTM, in either direction or in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.registry import OPERATORS, Operand, op
from heddle.core.ops.scalar import widened
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[[Array], Array]
Floats = tuple[float, ...] | None
DIRECTIONS = ("forward", "reverse", "bidirectional")

_OWN: dict[str, tuple[tuple[str, ...], Callable[..., Array]]] = {
    "Affine": (("alpha", "beta"), lambda x, alpha=1.0, beta=0.0: alpha * x + beta),
    "ScaledTanh": (("alpha", "beta"), lambda x, alpha=1.0, beta=1.0: alpha * np.tanh(beta * x)),
}
_SHARED = ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Softsign", "Softplus")


def activation_functions(names: Sequence[str], alpha: Floats, beta: Floats) -> list[Function]:
    """The functions of these names, which take their numbers in order from the lists."""
    alphas, betas = iter(alpha or ()), iter(beta or ())
    return [_function(name, alphas, betas) for name in names]


def _function(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Function:
    title = {known.lower(): known for known in (*_SHARED, *_OWN)}.get(name.lower())
    if title is None:
        raise GraphError(f"the activation {name!r} is not known; there are {', '.join((*_SHARED, *_OWN))}")
    if title in _OWN:
        takes, function = _OWN[title]
        defaults: dict[str, Any] = {}
    else:
        takes, function = tuple(OPERATORS[title].attributes), OPERATORS[title].evaluate
        defaults = dict(OPERATORS[title].attributes)
    for key, numbers in (("alpha", alphas), ("beta", betas)):
        number = next(numbers, None) if key in takes else None
        if number is not None:
            defaults[key] = number
    return lambda x: np.asarray(function(x, **defaults))


def recurrent_type(name: str) -> Callable[..., tuple[Type, ...]]:
    """The rule of a layer: the types of all hidden states, of the last one, and of the last cell."""

    def infer(
        x: Operand,
        w: Operand,
        r: Operand,
        *_: Operand | None,
        direction: str,
        hidden_size: int | None,
        layout: int,
        outputs: int,
        **__: Any,
    ) -> tuple[Type, ...]:
        if direction not in DIRECTIONS:
            raise GraphError(f"{name}: direction is {direction!r}, it must be one of {', '.join(DIRECTIONS)}")
        if x.rank not in (None, 3):
            raise GraphError(f"{name}: [length,batch,size] is needed, found {x.type}")
        first, second = (UNKNOWN, UNKNOWN) if x.dims is None else x.dims[:2]
        length, batch = (second, first) if layout else (first, second)
        hidden: Dim = hidden_size or (UNKNOWN if r.dims is None else r.dims[2])
        ways = 2 if direction == "bidirectional" else 1
        every = (batch, length, ways, hidden) if layout else (length, ways, batch, hidden)
        last = TensorType(x.dtype, (batch, ways, hidden) if layout else (ways, batch, hidden))
        return (TensorType(x.dtype, every), last, last)[:outputs]

    return infer


Step = Callable[[Array, Array, Array], tuple[Array, Array]]
"""One turn: the input's part of the gates, the hidden state and the cell give the next hidden state and cell."""


def run(
    x: Array,
    w: Array,
    bias: Array | None,
    lengths: Array | None,
    initial: tuple[Array | None, Array | None],
    hidden: int,
    direction: str,
    layout: int,
    step_of: Callable[[int], Step],
) -> tuple[Array, Array, Array]:
    """All hidden states, the last ones and the last cells; states stand still behind the end of a sequence."""
    wide = widened(x.dtype)
    data = (x.swapaxes(0, 1) if layout else x).astype(wide)
    length, batch = data.shape[:2]
    ends = np.full(batch, length) if lengths is None else lengths
    ways = 2 if direction == "bidirectional" else 1
    every = np.zeros((length, ways, batch, hidden), wide)
    last_h, last_c = np.zeros((ways, batch, hidden), wide), np.zeros((ways, batch, hidden), wide)
    for way in range(ways):
        backward = direction == "reverse" or way == 1
        h, c = (
            np.zeros((batch, hidden), wide) if state is None else (state[:, way] if layout else state[way]).astype(wide)
            for state in initial
        )
        step = step_of(way)
        driven = np.matmul(data, w[way].astype(wide).T)
        driven = driven if bias is None else driven + bias[way].astype(wide)
        for turn in range(length):
            place = np.where(turn < ends, ends - 1 - turn if backward else turn, turn)
            live = (turn < ends)[:, None]
            next_h, next_c = step(driven[place, np.arange(batch)], h, c)
            h, c = np.where(live, next_h, h), np.where(live, next_c, c)
            every[place, way, np.arange(batch)] = np.where(live, h, 0)
        last_h[way], last_c[way] = h, c
    if layout:
        every, last_h, last_c = every.transpose(2, 0, 1, 3), last_h.swapaxes(0, 1), last_c.swapaxes(0, 1)
    every, last_h, last_c = (np.ascontiguousarray(state).astype(x.dtype) for state in (every, last_h, last_c))
    return every, last_h, last_c


def _clipped(x: Array, clip: float | None) -> Array:
    return x if clip is None else np.clip(x, -clip, clip)


@op("RNN", infer=recurrent_type("RNN"))
def rnn(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats = None,
    activation_beta: Floats = None,
    activations: tuple[str, ...] = ("Tanh", "Tanh"),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Array, Array]:
    hidden, wide = r.shape[2], widened(x.dtype)
    functions = activation_functions(activations, activation_alpha, activation_beta)
    bias = None if b is None else b[:, :hidden] + b[:, hidden:]

    def step_of(way: int) -> Step:
        matrix = r[way].astype(wide).T

        def step(driven: Array, h: Array, c: Array) -> tuple[Array, Array]:
            return functions[way](_clipped(driven + h @ matrix, clip)), c

        return step

    return run(x, w, bias, sequence_lens, (initial_h, None), hidden, direction, layout, step_of)[:2]


@op("GRU", infer=recurrent_type("GRU"))
def gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats = None,
    activation_beta: Floats = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Array, Array]:
    """Gates: update, reset, hidden."""
    hidden, wide = r.shape[2], widened(x.dtype)
    functions = activation_functions(activations or ("Sigmoid", "Tanh") * 2, activation_alpha, activation_beta)
    bias = None if b is None else b[:, : 3 * hidden]
    own = np.zeros((r.shape[0], 3 * hidden), wide) if b is None else b[:, 3 * hidden :].astype(wide)

    def step_of(way: int) -> Step:
        f, g = functions[2 * way : 2 * way + 2]
        to_update, to_reset, to_hidden = np.split(r[way].astype(wide), 3)
        bias_update, bias_reset, bias_hidden = np.split(own[way], 3)

        def step(driven: Array, h: Array, c: Array) -> tuple[Array, Array]:
            for_update, for_reset, for_hidden = np.split(driven, 3, axis=1)
            update = f(_clipped(for_update + h @ to_update.T + bias_update, clip))
            reset = f(_clipped(for_reset + h @ to_reset.T + bias_reset, clip))
            if linear_before_reset:
                inner = reset * (h @ to_hidden.T + bias_hidden)
            else:
                inner = (reset * h) @ to_hidden.T + bias_hidden
            return (1 - update) * g(_clipped(for_hidden + inner, clip)) + update * h, c

        return step

    return run(x, w, bias, sequence_lens, (initial_h, None), hidden, direction, layout, step_of)[:2]


@op("LSTM", infer=recurrent_type("LSTM"))
def lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    activation_alpha: Floats = None,
    activation_beta: Floats = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Array, Array, Array]:
    """Gates: input, output, forget, cell; peepholes: input, output, forget."""
    hidden, wide = r.shape[2], widened(x.dtype)
    functions = activation_functions(activations or ("Sigmoid", "Tanh", "Tanh") * 2, activation_alpha, activation_beta)
    bias = None if b is None else b[:, : 4 * hidden] + b[:, 4 * hidden :]
    peepholes = np.zeros((r.shape[0], 3 * hidden), wide) if p is None else p.astype(wide)

    def step_of(way: int) -> Step:
        f, g, last = functions[3 * way : 3 * way + 3]
        matrix = r[way].astype(wide).T
        see_input, see_output, see_forget = np.split(peepholes[way], 3)

        def step(driven: Array, h: Array, c: Array) -> tuple[Array, Array]:
            for_input, for_output, for_forget, for_cell = np.split(driven + h @ matrix, 4, axis=1)
            gate_in = f(_clipped(for_input + see_input * c, clip))
            forget = 1 - gate_in if input_forget else f(_clipped(for_forget + see_forget * c, clip))
            cell = forget * c + gate_in * g(_clipped(for_cell, clip))
            return f(_clipped(for_output + see_output * cell, clip)) * last(cell), cell

        return step

    return run(x, w, bias, sequence_lens, (initial_h, initial_c), hidden, direction, layout, step_of)
