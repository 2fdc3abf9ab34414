"""FETCH: bursts of instructions, and their dispatch to the queues."""

from __future__ import annotations

from heddle.simulators.vta.events.port import read_burst
from heddle.simulators.vta.events.state import (
    AR_FREE,
    CODE_BEATS,
    COLUMNS,
    COUNT,
    DISPATCHED,
    FETCHED,
    FINISH,
    FINISHED,
    FULL,
    HEAD,
    LAST_DISPATCH,
    LAST_FETCH,
    NEVER,
    PUSHED,
    QUEUE,
    UNIT,
    list_at,
)
from heddle.simulators.vta.native import Longs


def fetch_size(s: Longs, c: Longs) -> int:
    """Instructions of the next burst: 8, or what is left."""
    return min(8, c[COUNT] - 8 * s[FETCHED])


def fetch_time(s: Longs, c: Longs) -> int:
    if 8 * s[FETCHED] >= c[COUNT]:
        return NEVER
    time = max(1, s[LAST_FETCH] + 1)
    room = 8 * s[FETCHED] + fetch_size(s, c) - 16  # so many must have been dispatched before
    if room > s[DISPATCHED]:
        return NEVER
    if room > 0:
        time = max(time, s[list_at(c[COUNT], 0) + room - 1] + 1)
    return max(time, s[AR_FREE])


def fetch(s: Longs, c: Longs, time: int) -> int:
    s[list_at(c[COUNT], 10) + s[FETCHED]] = read_burst(s, c, time, fetch_size(s, c) * c[CODE_BEATS], 0, 0)
    s[FETCHED] += 1
    s[LAST_FETCH] = time
    return 0


def arrival(s: Longs, c: Longs) -> int:
    """When the next instruction to dispatch lies in the buffer."""
    if s[DISPATCHED] >= min(8 * s[FETCHED], c[COUNT]):
        return NEVER
    first = s[list_at(c[COUNT], 10) + s[DISPATCHED] // 8]
    return first + (s[DISPATCHED] % 8 + 1) * c[CODE_BEATS]


def dispatch_time(s: Longs, c: Longs, p: Longs) -> int:
    time = arrival(s, c)
    if time == NEVER:
        return NEVER
    time = max(time, s[LAST_DISPATCH] + 1)
    unit = p[s[DISPATCHED] * COLUMNS + UNIT]
    if unit < FINISH and s[PUSHED + unit] >= c[QUEUE]:
        oldest = s[PUSHED + unit] - c[QUEUE]
        if oldest >= s[HEAD + unit]:
            return NEVER
        time = max(time, s[list_at(c[COUNT], 7 + unit) + oldest] + 1)
    return time


def dispatch(s: Longs, c: Longs, p: Longs, time: int) -> int:
    s[FULL] += time - max(arrival(s, c), s[LAST_DISPATCH] + 1)
    number = s[DISPATCHED]
    unit = p[number * COLUMNS + UNIT]
    s[list_at(c[COUNT], 0) + number] = time
    s[LAST_DISPATCH] = time
    s[DISPATCHED] += 1
    if unit == FINISH:
        s[FINISHED] = time + 1
        return 0
    s[list_at(c[COUNT], 1 + unit) + s[PUSHED + unit]] = number
    s[list_at(c[COUNT], 4 + unit) + s[PUSHED + unit]] = time + 1
    s[PUSHED + unit] += 1
    return 0
