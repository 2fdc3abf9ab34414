"""Attention and what goes with it in transformers: rotary positions, linear attention, causal convolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, dtype_named
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.convolution import convolve
from heddle.core.ops.dims import product, quotient, total
from heddle.core.ops.registry import DTypeName, Operand, op, same_type
from heddle.core.ops.scalar import widened
from numpy.typing import NDArray

Array = NDArray[Any]


def _part(dim: Dim, parts: int | None) -> Dim:
    return quotient([dim], [parts]) if parts else UNKNOWN


def _times(dim: Dim, by: int | None) -> Dim:
    return product([dim, by]) if by else UNKNOWN


def attention_type(
    q: Operand,
    k: Operand,
    v: Operand,
    attn_mask: Operand | None,
    past_key: Operand | None,
    past_value: Operand | None,
    nonpad_kv_seqlen: Operand | None,
    *,
    kv_num_heads: int | None,
    q_num_heads: int | None,
    outputs: int,
    **_: Any,
) -> tuple[Type, ...]:
    if q.dims is None or k.dims is None or v.dims is None:
        return (TensorType(q.dtype, None),) * outputs
    if {len(q.dims), len(k.dims), len(v.dims)} not in ({3}, {4}):
        raise GraphError(f"Attention: ranks must all be 3 or all 4: {q.type}, {k.type} and {v.type}")
    batch = q.dims[0]
    if len(q.dims) == 3:
        if not q_num_heads or not kv_num_heads:
            raise GraphError("Attention: operands of rank 3 need q_num_heads and kv_num_heads")
        rows, heads, kv_heads = q.dims[1], q_num_heads, kv_num_heads
        fresh, depth, width = k.dims[1], _part(k.dims[2], kv_num_heads), _part(v.dims[2], kv_num_heads)
        y: tuple[Dim, ...] = (batch, rows, _times(width, heads))
    else:
        heads, rows, kv_heads = q.dims[1], q.dims[2], k.dims[1]  # type: ignore[assignment]
        fresh, depth, width = k.dims[2], k.dims[3], v.dims[3]
        y = (batch, heads, rows, width)
    past = 0 if past_key is None else UNKNOWN if past_key.dims is None else past_key.dims[2]
    length = total([past, fresh])
    types = (
        TensorType(q.dtype, y),
        TensorType(k.dtype, (batch, kv_heads, length, depth)),
        TensorType(v.dtype, (batch, kv_heads, length, width)),
        TensorType(q.dtype, (batch, heads, rows, length)),
    )
    return types[:outputs]


@op("Attention", infer=attention_type)
def attention(
    q: Array,
    k: Array,
    v: Array,
    attn_mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: DTypeName | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Scaled dot-product attention; a query that may attend to nothing gives zeros."""
    flat, dtype, wide = q.ndim == 3, q.dtype, widened(q.dtype)
    queries = _heads(q, q_num_heads) if flat else q
    keys, values = (_heads(x, kv_num_heads) if flat else x for x in (k, v))
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        keys, values = np.concatenate([past_key, keys], axis=2), np.concatenate([past_value, values], axis=2)
    repeat = queries.shape[1] // keys.shape[1]
    root = dtype.type(math.sqrt(1 / math.sqrt(queries.shape[3]) if scale is None else scale))
    left = (queries * root).astype(wide)
    right = np.repeat(keys * root, repeat, axis=1).astype(wide)
    scores = np.matmul(left, right.swapaxes(2, 3)).astype(dtype)
    stages = [scores]
    if softcap > 0:
        scores = (np.tanh(scores.astype(wide) / softcap) * softcap).astype(dtype)
    stages.append(scores)
    offset = np.full(1, past) if nonpad_kv_seqlen is None else nonpad_kv_seqlen.reshape(-1) - queries.shape[2]
    allowed = _visible(scores.shape, offset, bool(is_causal), left_window_size, right_window_size)
    if nonpad_kv_seqlen is not None:
        allowed = allowed & (np.arange(scores.shape[3]) < nonpad_kv_seqlen.reshape(-1, 1, 1, 1))
    scores = np.where(allowed, _masked(scores, attn_mask), np.asarray(-np.inf).astype(dtype))
    stages.append(scores)
    precise = scores.astype(dtype_named(softmax_precision) if softmax_precision else dtype)
    weights = _weights(precise).astype(dtype)
    stages.append(weights)
    y = np.matmul(weights.astype(wide), np.repeat(values, repeat, axis=1).astype(wide)).astype(dtype)
    if flat:
        y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)
    return y, keys, values, stages[qk_matmul_output_mode]


def _heads(x: Array, heads: int | None) -> Array:
    """[batch, length, heads * size] as [batch, heads, length, size]."""
    assert heads is not None
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(0, 2, 1, 3)


def _visible(shape: tuple[int, ...], offset: Array, causal: bool, before: int, behind: int) -> Array:
    """Which keys each query may see by its place: `offset` keys precede the queries, per batch."""
    distance = np.arange(shape[3]) - (np.arange(shape[2])[:, None] + offset.reshape(-1, 1, 1, 1))
    allowed = np.ones_like(distance, np.bool_)
    if causal:
        allowed &= distance <= 0
    if before >= 0:
        allowed &= -distance <= before
    if behind >= 0:
        allowed &= distance <= behind
    return allowed


def _masked(scores: Array, mask: Array | None) -> Array:
    """Scores with a mask applied; a shorter mask hides the keys behind its end."""
    if mask is None:
        return scores
    lacking = scores.shape[3] - mask.shape[-1]
    hidden = False if mask.dtype == np.bool_ else -np.inf
    mask = np.concatenate([mask, np.full((*mask.shape[:-1], max(0, lacking)), hidden).astype(mask.dtype)], axis=-1)
    if mask.dtype == np.bool_:
        return np.where(mask, scores, np.asarray(-np.inf).astype(scores.dtype))
    return (scores + mask).astype(scores.dtype)


def _weights(scores: Array) -> Array:
    """Softmax along the last axis; zeros where everything is hidden."""
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    raised = np.exp(scores - np.where(np.isneginf(top), np.zeros_like(top), top))
    whole = raised.sum(axis=-1, keepdims=True, dtype=widened(scores.dtype)).astype(scores.dtype)
    return np.asarray(raised / np.where(whole == 0, np.ones_like(whole), whole))


@op("RotaryEmbedding", infer=same_type)
def rotary_embedding(
    x: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Array:
    """Pairs of features turned by the angle of their position."""
    heads = x if x.ndim == 4 else _heads(x, num_heads)
    turned = rotary_embedding_dim or heads.shape[3]
    cos, sin = (cache if position_ids is None else cache[position_ids] for cache in (cos_cache, sin_cache))
    cos, sin = cos[:, None], sin[:, None]
    part = heads[..., :turned]
    first, second = (part[..., 0::2], part[..., 1::2]) if interleaved else np.split(part, 2, axis=-1)
    real, imaginary = cos * first - sin * second, sin * first + cos * second
    if interleaved:
        part = np.stack([real, imaginary], axis=-1).reshape(part.shape)
    else:
        part = np.concatenate([real, imaginary], axis=-1)
    y = np.concatenate([part, heads[..., turned:]], axis=-1).astype(x.dtype)
    return y if x.ndim == 4 else y.transpose(0, 2, 1, 3).reshape(x.shape)


# -- linear attention -------------------------------------------------------------------------------------------

UPDATE_RULES = ("linear", "gated", "delta", "gated_delta")


def linear_attention_type(
    query: Operand,
    key: Operand,
    value: Operand,
    past_state: Operand | None,
    decay: Operand | None,
    beta: Operand | None,
    *,
    kv_num_heads: int,
    q_num_heads: int,
    update_rule: str,
    **_: Any,
) -> tuple[Type, ...]:
    if update_rule not in UPDATE_RULES:
        raise GraphError(f"LinearAttention: update_rule is {update_rule!r}, not one of {', '.join(UPDATE_RULES)}")
    if update_rule.startswith("gated") != (decay is not None) or update_rule.endswith("delta") != (beta is not None):
        raise GraphError(f"LinearAttention: decay and beta do not fit update_rule {update_rule!r}")
    state = query.dtype if past_state is None else past_state.dtype
    if query.dims is None or value.dims is None:
        return TensorType(query.dtype, (UNKNOWN,) * 3), TensorType(state, (UNKNOWN,) * 4)
    batch, length, size = query.dims
    depth, width = _part(size, q_num_heads), _part(value.dims[2], kv_num_heads)
    return (
        TensorType(query.dtype, (batch, length, _times(width, q_num_heads))),
        TensorType(state, (batch, kv_num_heads, depth, width)),
    )


@op("LinearAttention", infer=linear_attention_type)
def linear_attention(
    query: Array,
    key: Array,
    value: Array,
    past_state: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> tuple[Array, Array]:
    """A matrix of state per head, decayed, corrected and read at each step."""
    queries = _heads(query, q_num_heads).astype(np.float32)
    keys, values = (_heads(x, kv_num_heads).astype(np.float32) for x in (key, value))
    batch, _, length, depth = queries.shape
    width = values.shape[3]
    shape = (batch, kv_num_heads, depth, width)
    state = np.zeros(shape, np.float32) if past_state is None else past_state.astype(np.float32)
    gates = None if decay is None else np.exp(_heads(decay, kv_num_heads).astype(np.float32))
    rates = None if beta is None else _heads(beta, beta.shape[2]).astype(np.float32)
    factor = scale or 1 / math.sqrt(depth)
    read = []
    for step in range(length):
        k, v = keys[:, :, step], values[:, :, step]
        if gates is not None:
            state = state * gates[:, :, step, :, None]
        if rates is not None:
            v = rates[:, :, step] * (v - np.einsum("bhkv,bhk->bhv", state, k))
        state = state + k[..., :, None] * v[..., None, :]
        seen = np.repeat(state, q_num_heads // kv_num_heads, axis=1)
        read.append(factor * np.einsum("bhk,bhkv->bhv", queries[:, :, step], seen))
    output = np.stack(read, axis=1) if read else np.zeros((batch, 0, q_num_heads, width), np.float32)
    result = output.reshape(batch, length, -1).astype(query.dtype)
    return result, state.astype(query.dtype if past_state is None else past_state.dtype)


# -- causal convolution -----------------------------------------------------------------------------------------


def causal_conv_type(
    input: Operand, weight: Operand, bias: Operand | None, past_state: Operand | None, *, activation: str
) -> tuple[Type, ...]:
    if activation not in ("none", "silu", "swish"):
        raise GraphError(f"CausalConvWithState: activation is {activation!r}, it must be none, silu or swish")
    size = weight.dims[2] if weight.dims is not None else UNKNOWN
    batch, channels = input.dims[:2] if input.dims is not None else (UNKNOWN, UNKNOWN)
    carried = size - 1 if isinstance(size, int) else UNKNOWN
    return input.type, TensorType(input.dtype, (batch, channels, carried))


@op("CausalConvWithState", infer=causal_conv_type)
def causal_conv_with_state(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    past_state: Array | None = None,
    *,
    activation: str = "none",
) -> tuple[Array, Array]:
    """Each channel convolved with what came before it; the last positions are carried to the next call."""
    carried, wide = weight.shape[2] - 1, widened(input.dtype)
    before = np.zeros((*input.shape[:2], carried), input.dtype) if past_state is None else past_state
    padded = np.concatenate([before, input], axis=2)
    y = convolve(padded.astype(wide), weight.astype(wide), input.shape[1])
    y = (y if bias is None else y + bias.reshape(1, -1, 1)).astype(input.dtype)
    if activation != "none":
        y = (y.astype(wide) / (1 + np.exp(-y.astype(wide)))).astype(input.dtype)
    return y, padded[:, :, padded.shape[2] - carried :].copy()
