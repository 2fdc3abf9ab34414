"""Attention: products of queries and keys, masked, normalized, times values; and its linear relatives."""

from __future__ import annotations

import math

import numpy as np
from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers, spread
from heddle.core.codegen.lower.slicing import place_in
from heddle.core.codegen.tensor import I64, compute, fold, group, indirect, load, part, position, total
from heddle.core.ir import Value, dtype_named
from heddle.core.ops.scalar import BOOL, Expr, cast, const, exp, lowest, maximum, tanh, where, widened

F32 = np.dtype(np.float32)


def _heads(value: Value, heads: int, indices: tuple[Affine, Affine, Affine, Affine]) -> Expr:
    """The element [batch, head, place, feature] of [batch, place, heads * features], or of four dimensions."""
    b, h, t, d = indices
    return load(value, b, h, t, d) if len(value.shape) == 4 else load(value, b, t, h * (value.shape[2] // heads) + d)


def _cache(op: Lowering, output: Value | None, past: Value | None, fresh: Value, heads: int) -> Value:
    """Keys or values behind those of earlier calls, [batch, heads, length, features]."""
    if output is None and past is None and len(fresh.shape) == 4:
        return fresh
    batch = fresh.shape[0]
    length, size = (fresh.shape[1], fresh.shape[2] // heads) if len(fresh.shape) == 3 else fresh.shape[2:]
    before = 0 if past is None else past.shape[2]
    value = output or op.fresh("cache", fresh.dtype, (batch, heads, before + length, size))
    if past is not None:
        place_in(op, value, past, 2, 0)
    op.part(
        value,
        (batch, heads, length, size),
        lambda b, h, t, d: [b, h, t + before, d],
        lambda b, h, t, d: _heads(fresh, heads, (b, h, t, d)),
    )
    return value


@lowers("Attention")
def attention(op: Lowering) -> None:
    q, k, v, mask = op[0], op[1], op[2], op.operand(3)
    attrs, dtype, wide = op.attrs, op[0].dtype, widened(op[0].dtype)
    outputs = (*op.node.outputs, None, None, None)[:4]
    flat = len(q.shape) == 3
    heads = attrs["q_num_heads"] if flat else q.shape[1]
    kv_heads = attrs["kv_num_heads"] if flat else k.shape[1]
    keys = _cache(op, outputs[1], op.operand(4), k, kv_heads)
    values = _cache(op, outputs[2], op.operand(5), v, kv_heads)
    batch, rows, size = q.shape[0], q.shape[1 if flat else 2], keys.shape[3]
    repeat, length, width = heads // kv_heads, keys.shape[2], values.shape[3]
    root = math.sqrt(1 / math.sqrt(size) if attrs["scale"] is None else attrs["scale"])
    shape = (batch, heads, rows, length)
    mode = attrs["qk_matmul_output_mode"]

    def stage(number: int, stem: str) -> Value:
        shown = outputs[3] if number == mode else None
        return shown or op.fresh(stem, dtype, shape)

    def product(b: Affine, h: Affine, i: Affine, j: Affine) -> Expr:
        d = axis(size, "d")
        left = cast(_heads(q, heads, (b, h, i, d)) * const(root, dtype), wide)
        return cast(total([d], left * cast(load(keys, b, h // repeat, j, d) * const(root, dtype), wide)), dtype)

    scores = op.compute(stage(0, "scores"), product)
    if attrs["softcap"] > 0 or mode == 1:
        cap = attrs["softcap"]

        def capped(*indices: Affine) -> Expr:
            x = load(before, *indices)
            return cast(tanh(cast(x, wide) / cap) * cap, dtype) if cap > 0 else x

        before = scores
        scores = op.compute(stage(1, "capped"), capped)
    plain = scores
    hidden = const(lowest(dtype), dtype)

    def masked(*indices: Affine) -> Expr:
        x = load(plain, *indices)
        allowed = _visible(op, indices, rows)
        if mask is not None:
            x = _masked(x, mask, indices, hidden)
        return x if allowed is None else where(allowed, x, hidden)

    scores = op.compute(stage(2, "masked"), masked)
    precise = dtype_named(attrs["softmax_precision"]) if attrs["softmax_precision"] else dtype
    weights = _weights(op, scores, precise, stage(3, "weights"))

    def y(b: Affine, h: Affine, i: Affine, d: Affine) -> Expr:
        j = axis(length, "j")
        product = cast(load(weights, b, h, i, j), wide) * cast(load(values, b, h // repeat, j, d), wide)
        return cast(total([j], product), op.output.dtype)

    if flat:
        op.part(op.output, (batch, heads, rows, width), lambda b, h, i, d: [b, i, h * width + d], y)
    else:
        op.compute(op.output, y)


def _visible(op: Lowering, indices: tuple[Affine, ...], rows: int) -> Expr | None:
    """Whether a query may see a key, by their places; None when it always may."""
    b, _, i, j = indices
    attrs, lengths, past = op.attrs, op.operand(6), op.operand(4)
    if lengths is None:
        distance = position(j - i - (0 if past is None else past.shape[2]))
        tests = []
    else:
        valid = cast(load(lengths, b), I64)
        distance = position(j - i + rows) - valid
        tests = [position(j) < valid]
    if attrs["is_causal"]:
        tests.append(distance <= 0)
    if attrs["left_window_size"] >= 0:
        tests.append(-distance <= attrs["left_window_size"])
    if attrs["right_window_size"] >= 0:
        tests.append(distance <= attrs["right_window_size"])
    result: Expr | None = None
    for test in tests:
        result = test if result is None else result & test
    return result


def _masked(x: Expr, mask: Value, indices: tuple[Affine, ...], hidden: Expr) -> Expr:
    """A score with the mask applied; a shorter mask hides the keys behind its end."""
    *rest, j = indices
    short = j.high >= mask.shape[-1] > 1 or (mask.shape[-1] == 1 and j.high > 0)
    place = indirect(position(j), mask.shape[-1]) if short else j
    lead = len(mask.shape) - 1
    where_ = [0 if n == 1 else i for n, i in zip(mask.shape[:-1], rest[len(rest) - lead :], strict=True)]
    element = load(mask, *where_, place)
    inside = position(j) < mask.shape[-1]
    if mask.dtype == BOOL:
        return where(element & inside if short else element, x, hidden)
    shifted = cast(x + cast(element, x.dtype), x.dtype)
    return where(inside, shifted, hidden) if short else shifted


def _weights(op: Lowering, scores: Value, precise: np.dtype[np.generic], output: Value) -> Value:
    """Softmax along the last axis; zeros where everything is hidden."""
    top = op.fresh("top", precise, scores.shape[:-1])
    raised = op.fresh("raised", precise, scores.shape)
    whole = op.fresh("whole", precise, scores.shape[:-1])

    def greatest(*row: Affine) -> Expr:
        j = axis(scores.shape[-1], "j")
        best = fold([j], const(lowest(precise), precise), cast(load(scores, *row, j), precise), maximum)
        return where(best.equals(lowest(precise)), const(0, precise), best)

    def summed(*row: Affine) -> Expr:
        j = axis(scores.shape[-1], "j")
        result = cast(total([j], cast(load(raised, *row, j), widened(precise))), precise)
        return where(result.equals(0), const(1, precise), result)

    op.compute(top, greatest)
    op.compute(raised, lambda *i: exp(cast(load(scores, *i), precise) - load(top, *i[:-1])))
    op.compute(whole, summed)
    return op.compute(output, lambda *i: cast(load(raised, *i) / load(whole, *i[:-1]), output.dtype))


@lowers("LinearAttention")
def linear_attention(op: Lowering) -> None:
    """A matrix of state per head, decayed, corrected and read at each turn."""
    query, key, value, past, decay, beta = op[0], op[1], op[2], *(op.operand(i) for i in range(3, 6))
    attrs = op.attrs
    heads, kv_heads = attrs["q_num_heads"], attrs["kv_num_heads"]
    batch, length = query.shape[:2]
    depth, width = query.shape[2] // heads, value.shape[2] // kv_heads
    factor = attrs["scale"] or 1 / math.sqrt(depth)
    shape = (batch, kv_heads, depth, width)
    state = op.fresh("state", F32, shape)
    op.compute(state, lambda *i: const(0, F32) if past is None else cast(load(past, *i), F32))
    if length:
        t = axis(length, "t")
        members = []

        def at(source: Value, count: int, b: Affine, h: Affine, d: Affine) -> Expr:
            return cast(_heads(source, count, (b, h, t, d)), F32)

        if decay is not None:
            one = decay.shape[2] == kv_heads

            def decayed(b: Affine, h: Affine, k: Affine, v: Affine) -> Expr:
                return load(state, b, h, k, v) * exp(at(decay, kv_heads, b, h, Affine() if one else k))

            members.append(compute(state, decayed, op.label))
        fresh = op.fresh("fresh", F32, (batch, kv_heads, width))

        def corrected(b: Affine, h: Affine, v: Affine) -> Expr:
            seen = at(value, kv_heads, b, h, v)
            if beta is None:
                return seen
            k = axis(depth, "k")
            known = total([k], load(state, b, h, k, v) * at(key, kv_heads, b, h, k))
            rate = cast(load(beta, b, t, h if beta.shape[2] > 1 else 0), F32)
            return rate * (seen - known)

        def grown(b: Affine, h: Affine, k: Affine, v: Affine) -> Expr:
            return load(state, b, h, k, v) + at(key, kv_heads, b, h, k) * load(fresh, b, h, v)

        def answer(b: Affine, h: Affine, v: Affine) -> Expr:
            k = axis(depth, "k")
            read = total([k], at(query, heads, b, h, k) * load(state, b, h // (heads // kv_heads), k, v))
            return cast(read * factor, op.output.dtype)

        members += [compute(fresh, corrected, op.label), compute(state, grown, op.label)]
        places = part(op.output, (batch, heads, width), lambda b, h, v: [b, t, h * width + v], answer, op.label)
        op.add(group([t], [*members, places], op.label))
    if len(op.node.outputs) > 1 and op.node.outputs[1] is not None:
        last = op.node.outputs[1]
        op.compute(last, lambda *i: cast(load(state, *i), last.dtype))


@lowers("CausalConvWithState")
def causal_conv_with_state(op: Lowering) -> None:
    """Each channel convolved with what came before it; the last positions are carried to the next call."""
    x, w, bias, past = op[0], op[1], op.operand(2), op.operand(3)
    wide, carried = widened(x.dtype), w.shape[2] - 1
    padded = op.fresh("padded", x.dtype, (*x.shape[:2], x.shape[2] + carried))
    if past is not None:
        place_in(op, padded, past, 2, 0)
    else:
        op.part(padded, (*x.shape[:2], carried), lambda *i: list(i), lambda *i: const(0, x.dtype))
    place_in(op, padded, x, 2, carried)

    def body(b: Affine, c: Affine, i: Affine) -> Expr:
        k = axis(w.shape[2], "k")
        y = total([k], cast(load(padded, b, c, i + k), wide) * cast(load(w, c, 0, k), wide))
        y = cast(y if bias is None else y + cast(load(bias, c), wide), x.dtype)
        if op.attrs["activation"] != "none":
            y = cast(cast(y, wide) / (1 + exp(-cast(y, wide))), x.dtype)
        return y

    op.compute(op.output, body)
    if len(op.node.outputs) > 1 and op.node.outputs[1] is not None:
        length = padded.shape[2]
        op.compute(op.node.outputs[1], lambda b, c, i: load(padded, b, c, i + (length - carried)))


@lowers("RotaryEmbedding")
def rotary_embedding(op: Lowering) -> None:
    """Pairs of features turned by the angle of their position."""
    x, cos, sin, places = op[0], op[1], op[2], op.operand(3)
    heads = op.attrs["num_heads"] if len(x.shape) == 3 else x.shape[1]
    size = x.shape[3] if len(x.shape) == 4 else x.shape[2] // heads
    length = x.shape[2 if len(x.shape) == 4 else 1]
    turned = op.attrs["rotary_embedding_dim"] or size
    half, interleaved = turned // 2, bool(op.attrs["interleaved"])
    if places is not None:
        over = [axis(n, f"i{k}") for k, n in enumerate(places.shape)]
        place = cast(load(places, *over), I64)
        op.check(over, (place < 0) | (place >= cos.shape[0]), f"a position is outside of {cos.shape[0]} angles")

    def angle(table: Value, b: Affine, t: Affine, pair: Affine) -> Expr:
        if places is None:
            return spread(table, (b, t, pair))
        return load(table, indirect(load(places, b, t), table.shape[0]), pair)

    def rotated(b: Affine, h: Affine, t: Affine, pair: Affine, second: bool) -> Expr:
        where_ = (pair * 2, pair * 2 + 1) if interleaved else (pair, pair + half)
        a, c = (_heads(x, heads, (b, h, t, d)) for d in where_)
        first, other = (a, c) if not second else (c, a)
        left, right = angle(cos, b, t, pair) * first, angle(sin, b, t, pair) * other
        return cast(left + right if second else left - right, op.output.dtype)

    def target(b: Affine, h: Affine, t: Affine, d: Affine) -> list[Affine]:
        return [b, h, t, d] if len(x.shape) == 4 else [b, t, h * size + d]

    for second in (False, True):
        step, start = (2, int(second)) if interleaved else (1, half * int(second))
        op.part(
            op.output,
            (x.shape[0], heads, length, half),
            lambda b, h, t, p, step=step, start=start: target(b, h, t, p * step + start),
            lambda b, h, t, p, second=second: rotated(b, h, t, p, second),
        )
    if turned < size:
        op.part(
            op.output,
            (x.shape[0], heads, length, size - turned),
            lambda b, h, t, d: target(b, h, t, d + turned),
            lambda b, h, t, d: _heads(x, heads, (b, h, t, d + turned)),
        )
