"""What orders the units: the heads of their queues, and tokens."""

from __future__ import annotations

from heddle.simulators.vta.events.state import (
    COLUMNS,
    COMPUTE,
    COUNT,
    HEAD,
    LAST_POP,
    LOAD,
    NEVER,
    POP_NEXT,
    POP_PREV,
    POPPED_TOKENS,
    PUSH_NEXT,
    PUSH_PREV,
    PUSHED,
    PUSHED_TOKENS,
    TOKEN,
    TOKENS,
    list_at,
)
from heddle.simulators.vta.native import Longs


def head_row(s: Longs, c: Longs, unit: int) -> int:
    """The row of a unit's head, or -1 when its queue is empty."""
    if s[HEAD + unit] >= s[PUSHED + unit]:
        return -1
    return s[list_at(c[COUNT], 1 + unit) + s[HEAD + unit]] * COLUMNS


def head_seen(s: Longs, c: Longs, unit: int) -> int:
    return max(s[list_at(c[COUNT], 4 + unit) + s[HEAD + unit]], s[LAST_POP + unit] + 1)


def pop_head(s: Longs, c: Longs, unit: int, time: int) -> int:
    s[list_at(c[COUNT], 7 + unit) + s[HEAD + unit]] = time
    s[LAST_POP + unit] = time
    s[HEAD + unit] += 1
    return 0


def token_time(s: Longs, which: int) -> int:
    """When the next token of a counter is seen; NEVER if nobody has pushed it yet."""
    if s[POPPED_TOKENS + which] >= s[PUSHED_TOKENS + which]:
        return NEVER
    return s[TOKEN + which * TOKENS + s[POPPED_TOKENS + which] % TOKENS]


def push_token(s: Longs, which: int, seen: int) -> int:
    s[TOKEN + which * TOKENS + s[PUSHED_TOKENS + which] % TOKENS] = seen
    s[PUSHED_TOKENS + which] += 1
    return 0


def prev_token(unit: int) -> int:
    return 0 if unit == COMPUTE else 2


def next_token(unit: int) -> int:
    return 1 if unit == LOAD else 3


def tokens_time(s: Longs, p: Longs, at: int, unit: int) -> int:
    time = 0
    if p[at + POP_PREV]:
        time = token_time(s, prev_token(unit))
    if p[at + POP_NEXT]:
        time = max(time, token_time(s, next_token(unit)))
    return time


def pop_tokens(s: Longs, p: Longs, at: int, unit: int) -> int:
    if p[at + POP_PREV]:
        s[POPPED_TOKENS + prev_token(unit)] += 1
    if p[at + POP_NEXT]:
        s[POPPED_TOKENS + next_token(unit)] += 1
    return 0


def push_tokens(s: Longs, p: Longs, at: int, unit: int, seen: int) -> int:
    if p[at + PUSH_PREV]:
        push_token(s, 1 if unit == COMPUTE else 3, seen)
    if p[at + PUSH_NEXT]:
        push_token(s, 0 if unit == LOAD else 2, seen)
    return 0
