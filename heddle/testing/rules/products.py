"""Products of matrices, attention, recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heddle.testing.rules.drawing import Drawing, Rule, Shape


def _factors(d: Drawing, second: int) -> None:
    """Matrices, stacks of them and vectors that fit the first operand."""
    a = d.free(0, (2, 3, 4, 1))
    if not a:
        return
    columns = d.pick(d.sizes)
    options: list[Shape] = [(a[-1], columns), (a[-1], columns)]
    if len(a) > 2:
        options += [(*a[:-2], a[-1], columns), (1,) * (len(a) - 2) + (a[-1], columns)]
    options.append((a[-1],))
    d.want(second, d.pick(options), *options)


def matmul(d: Drawing) -> dict[str, Any]:
    _factors(d, 1)
    return {}


def integer_matmul(d: Drawing) -> dict[str, Any]:
    """MatMulInteger: zero points are single numbers."""
    _factors(d, 1)
    for number in (2, 3):
        d.want(number, ())
    return {}


def quantized_matmul(d: Drawing) -> dict[str, Any]:
    """QLinearMatMul: factors are operands 0 and 3."""
    _factors(d, 3)
    for number in (1, 2, 4, 5, 6, 7):
        d.want(number, ())
    return {}


def gemm(d: Drawing) -> dict[str, Any]:
    attrs = _gemm(d, 1, 2)
    return attrs | {"alpha": d.wish("alpha", [1.0, 0.5, -2.0]), "beta": d.wish("beta", [1.0, 0.25, 0.0])}


def quantized_gemm(d: Drawing) -> dict[str, Any]:
    """QGemm: factors are operands 0 and 3, the summand is 6; weights may have a scale for each column."""
    attrs = _gemm(d, 3, 6)
    for number in (1, 2, 7, 8):
        d.want(number, ())
    b = d.shape(3) or ()
    spread = d.pick([(), (b[0 if attrs.get("transB") else -1],)]) if len(b) == 2 else ()
    for number in (4, 5):
        d.want(number, spread)
    return attrs | {"alpha": d.wish("alpha", [1.0])}


def _gemm(d: Drawing, second: int, summand: int) -> dict[str, Any]:
    a = d.free(0, (2,))
    trans_a, trans_b = d.wish("transA", [0, 1]), d.wish("transB", [0, 1])
    if len(a) != 2:
        return {}
    rows, depth = (a[1], a[0]) if trans_a else a
    columns = d.pick(d.sizes)
    b = d.want(second, (columns, depth) if trans_b else (depth, columns))
    columns = b[0] if trans_b else b[-1]
    options: list[Shape] = [(columns,), (rows, columns), (1, columns), (rows, 1), (1,), ()]
    d.want(summand, d.pick(options), *options)
    return {"transA": trans_a, "transB": trans_b}


def attention(d: Drawing) -> dict[str, Any]:
    """Heads as an axis of their own, or side by side; a mask, a past, lengths."""
    n, heads, shared = d.pick((1, 2)), d.pick((2, 1, 4)), d.pick((1, 2))
    kv_heads = heads // shared if heads % shared == 0 else heads
    rows, keys, depth, width = d.pick((3, 1, 4)), d.pick((4, 1, 5)), d.pick((4, 2, 8)), d.pick((4, 3))
    past = d.pick((2, 1)) if d.present(4) or d.present(5) else 0
    if flat := d.pick((False, True)):
        d.want(0, (n, rows, heads * depth))
        d.want(1, (n, keys, kv_heads * depth))
        d.want(2, (n, keys, kv_heads * width))
    else:
        d.want(0, (n, heads, rows, depth))
        d.want(1, (n, kv_heads, keys, depth))
        d.want(2, (n, kv_heads, keys, width))
    d.want(3, d.pick([(rows, keys + past), (n, 1, rows, keys + past), (1, heads, rows, keys + past)]))
    d.want(4, (n, kv_heads, past, depth))
    d.want(5, (n, kv_heads, past, width))
    d.want(6, (n,))
    d.within(6, 1, keys + 1)
    return {
        "q_num_heads": heads if flat else None,
        "kv_num_heads": kv_heads if flat else None,
        "is_causal": d.wish("is_causal", [0, 1]),
        "softcap": d.wish("softcap", [0.0, 2.0]),
        "scale": d.wish("scale", [None, 0.5]),
    }


def rotary(d: Drawing) -> dict[str, Any]:
    """A turn for each place of a sequence, by a table or by the places' numbers."""
    n, heads, length, size, places = d.pick((1, 2)), d.pick((2, 1)), d.pick((3, 1)), d.pick((4, 2, 8)), d.pick((5, 9))
    d.want(0, (n, heads, length, size))
    table = (places, size // 2) if d.present(3) else (n, length, size // 2)
    for number in (1, 2):
        d.want(number, table)
    d.want(3, (n, length))
    d.within(3, 0, places)
    return {"interleaved": d.wish("interleaved", [0, 1])}


def linear_attention(d: Drawing) -> dict[str, Any]:
    """Gates where there is a decay, rates where there is a beta."""
    n, length, heads, depth, width = d.pick((1, 2)), d.pick((3, 1)), d.pick((2, 1)), d.pick((4, 2)), d.pick((3, 4))
    for number in (0, 1):
        d.want(number, (n, length, heads * depth))
    d.want(2, (n, length, heads * width))
    d.want(3, (n, heads, depth, width))
    d.want(4, (n, length, heads * depth))
    d.want(5, (n, length, heads))
    rule = ("gated" if d.present(4) else "") + ("_delta" if d.present(5) else "")
    return {"q_num_heads": heads, "kv_num_heads": heads, "update_rule": rule.strip("_") or "linear"}


def recurrent(gates: int) -> Rule:
    """RNN, GRU and LSTM, which have so many gates: lengths of sequences, states before."""

    def rule(d: Drawing) -> dict[str, Any]:
        length, n, size, hidden = d.pick((3, 1, 5)), d.pick((1, 2, 3)), d.pick((2, 1, 4)), d.pick((3, 1, 4))
        direction, layout = d.wish("direction", ["forward", "reverse", "bidirectional"]), d.wish("layout", [0, 1])
        ways = 2 if direction == "bidirectional" else 1
        d.want(0, (n, length, size) if layout else (length, n, size))
        d.want(1, (ways, gates * hidden, size))
        d.want(2, (ways, gates * hidden, hidden))
        d.want(3, (ways, 2 * gates * hidden))
        d.want(4, (n,))
        d.within(4, 1, length + 1)
        for number in (5, 6):
            d.want(number, (n, ways, hidden) if layout else (ways, n, hidden))
        d.want(7, (ways, 3 * hidden))
        activations = {"activations": ("Tanh",) * ways} if gates == 1 else {}
        reset = {"linear_before_reset": d.wish("linear_before_reset", [0, 1])} if gates == 3 else {}
        return {"direction": direction, "layout": layout, "hidden_size": hidden} | activations | reset

    return rule


def einsum(d: Drawing) -> dict[str, Any]:
    """Products, sums and diagonals by letters."""
    i, j, k = d.pick((3, 1, 4)), d.pick((2, 1, 5)), d.pick((4, 1, 3))
    shapes: list[Shape]
    if d.operands == 1:
        equation, shapes = d.pick(
            [("ij->ji", [(i, j)]), ("ij->i", [(i, j)]), ("ijk->", [(i, j, k)]), ("ii->i", [(i, i)])]
        )
    elif d.operands == 2:
        equation, shapes = d.pick(
            [("ij,jk->ik", [(i, j), (j, k)]), ("bij,bjk->bik", [(2, i, j), (2, j, k)]), ("i,j->ij", [(i,), (j,)])]
        )
    else:
        equation, shapes = "ij,jk,kl->il", [(i, j), (j, k), (k, 2)]
    for number, shape in enumerate(shapes):
        d.want(number, shape)
    return {"equation": equation}


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("MatMul", "com.microsoft.FusedMatMul"), matmul),
    "MatMulInteger": integer_matmul,
    "QLinearMatMul": quantized_matmul,
    "Gemm": gemm,
    "com.microsoft.QGemm": quantized_gemm,
    "Attention": attention,
    "RotaryEmbedding": rotary,
    "LinearAttention": linear_attention,
    "RNN": recurrent(1),
    "GRU": recurrent(3),
    "LSTM": recurrent(4),
    "Einsum": einsum,
}
