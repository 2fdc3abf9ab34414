"""COMPUTE: one slot per cycle from the start of an instruction to its end."""

from __future__ import annotations

from heddle.simulators.vta.events.queues import (
    head_row,
    head_seen,
    next_token,
    pop_head,
    pop_tokens,
    prev_token,
    push_tokens,
    token_time,
    tokens_time,
)
from heddle.simulators.vta.events.state import (
    ALU_SLOTS,
    BEFORE_SHARE,
    BUSY_END,
    BUSY_FROM,
    BUSY_SHARE,
    COMPUTE,
    COUNT,
    GEMM_SLOTS,
    HEAD,
    ITEMS,
    KIND,
    NEVER,
    POP_NEXT,
    POP_PREV,
    SETS,
    SHARE,
    SLOTS,
    SYNC,
    WAIT_LOAD,
    WAIT_STORE,
    WORK,
    list_at,
)
from heddle.simulators.vta.native import Longs


def compute_time(s: Longs, c: Longs, p: Longs) -> int:
    at = head_row(s, c, COMPUTE)
    if at < 0:
        return NEVER
    time = head_seen(s, c, COMPUTE)
    if p[at + KIND] == SETS:
        return time
    time = max(time, tokens_time(s, p, at, COMPUTE))
    return max(time, s[BUSY_END] + (4 if p[at + KIND] == SYNC else 0))


def compute(s: Longs, c: Longs, p: Longs, time: int) -> int:
    at = head_row(s, c, COMPUTE)
    if p[at + KIND] != SETS:
        since = max(head_seen(s, c, COMPUTE), s[BUSY_END] + 1)
        if p[at + POP_PREV]:
            token = token_time(s, prev_token(COMPUTE))
            s[list_at(c[COUNT], 11) + s[HEAD + COMPUTE]] = max(0, token - since)
            s[WAIT_LOAD] += max(0, token - since)
            since = max(since, token)
        if p[at + POP_NEXT]:
            wait = max(0, token_time(s, next_token(COMPUTE)) - since)
            s[list_at(c[COUNT], 12) + s[HEAD + COMPUTE]] = wait
            s[WAIT_STORE] += wait
        pop_tokens(s, p, at, COMPUTE)
    pop_head(s, c, COMPUTE, time)
    if p[at + KIND] == SYNC:
        push_tokens(s, p, at, COMPUTE, time + 1)
    if p[at + KIND] != WORK:
        return 0
    slots = p[at + SLOTS]
    s[BEFORE_SHARE] = s[BUSY_SHARE] if time <= s[BUSY_END] + 1 else 0
    s[BUSY_FROM] = time
    s[BUSY_END] = time + slots
    s[BUSY_SHARE] = p[at + SHARE]
    s[GEMM_SLOTS if p[at + ITEMS] == 0 else ALU_SLOTS] += slots
    push_tokens(s, p, at, COMPUTE, s[BUSY_END] + 4)
    return 0
