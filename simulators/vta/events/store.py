"""STORE: vectors of accumulators through the drain, in cycles in which COMPUTE leaves it the port."""

from __future__ import annotations

from heddle.simulators.vta.events.queues import head_row, head_seen, pop_head, pop_tokens, push_tokens, tokens_time
from heddle.simulators.vta.events.residual import residual_there
from heddle.simulators.vta.events.state import (
    A_LAST,
    ACTIVE,
    BEFORE_SHARE,
    BUSY_END,
    BUSY_FROM,
    BUSY_SHARE,
    DRAINED,
    ITEMS,
    KIND,
    LAST_B,
    LAST_READ,
    NEVER,
    OFFSET,
    OUT_DEPTH,
    PLANES,
    PORT_DEBT,
    PRESSURE,
    R_TAKEN,
    RADDRESS,
    RBOX,
    READ_COUNT,
    READ_FREE,
    RESIDUAL,
    RESIDUAL_OFFSET,
    RESIDUAL_Y,
    RFREE,
    RFROM,
    RING,
    RJOINED,
    RLEFT,
    ROW,
    ROWS,
    RPLANE,
    RPLANES,
    RROW,
    RROWS,
    RRUN,
    RTAKEN,
    SETS,
    STORE,
    STRIDE_Y,
    SYNC,
    V_OUT,
    VECTOR,
    VECTORS,
    WADDRESS,
    WAIT_COMPUTE,
    WAIT_MEMORY,
    WAIT_PORT,
    WAIT_RESIDUAL,
    WBURST,
    WLEFT,
    WORK,
    WPLANE,
    WPLANES,
    WROW,
    WROWS,
    WRUN,
    WSTART,
)
from heddle.simulators.vta.events.writer import write_beat
from heddle.simulators.vta.native import Longs


def store_idle(s: Longs) -> int:
    """When the drain is empty."""
    return s[LAST_READ] + 7 if s[READ_COUNT] > 0 else 0


def store_time(s: Longs, c: Longs, p: Longs) -> int:
    at = head_row(s, c, STORE)
    if at < 0 or s[ACTIVE] >= 0:
        return NEVER
    time = head_seen(s, c, STORE)
    if p[at + KIND] == SETS:
        return max(time, store_idle(s))
    time = max(time, tokens_time(s, p, at, STORE))
    if p[at + KIND] == SYNC:
        return max(max(time, store_idle(s)), s[LAST_B] + 1)
    if s[RBOX] >= 0:
        return NEVER
    return max(max(time, s[LAST_READ] + 1), max(s[A_LAST] + 1, s[RFREE]))


def store(s: Longs, c: Longs, p: Longs, time: int) -> int:
    at = head_row(s, c, STORE)
    if p[at + KIND] != SETS:
        since = max(head_seen(s, c, STORE), s[LAST_READ] + 1)
        token = tokens_time(s, p, at, STORE)
        s[WAIT_COMPUTE] += max(0, min(token, time) - since)
        if p[at + KIND] == SYNC:
            s[WAIT_MEMORY] += max(0, time - max(since, token))
        pop_tokens(s, p, at, STORE)
    pop_head(s, c, STORE, time)
    if p[at + KIND] == SYNC:
        push_tokens(s, p, at, STORE, time + 1)
    if p[at + KIND] != WORK:
        return 0
    s[ACTIVE] = at
    s[READ_FREE] = time + 1
    s[WSTART] = time + 1
    s[VECTORS] = p[at + ITEMS] * p[at + ROWS] * p[at + PLANES]
    s[WADDRESS] = p[at + OFFSET]
    s[WROW] = s[WADDRESS]
    s[WPLANE] = s[WADDRESS]
    joined = p[at + ROWS] == 1 or p[at + STRIDE_Y] == p[at + ROW]
    s[WRUN] = p[at + ROW] * (p[at + ROWS] if joined else 1)
    s[WROWS] = 1 if joined else p[at + ROWS]
    s[WPLANES] = p[at + PLANES]
    s[WLEFT] = s[WRUN]
    s[WBURST] = 0
    if p[at + RESIDUAL]:
        s[RBOX] = at
        s[RFROM] = time + 1
        s[RADDRESS] = p[at + RESIDUAL_OFFSET]
        s[RROW] = s[RADDRESS]
        s[RPLANE] = s[RADDRESS]
        s[RJOINED] = p[at + ROWS] == 1 or p[at + RESIDUAL_Y] == p[at + ROW]
        s[RRUN] = p[at + ROW] * (p[at + ROWS] if s[RJOINED] else 1)
        s[RLEFT] = s[RRUN]
        s[RROWS] = 1 if s[RJOINED] else p[at + ROWS]
        s[RPLANES] = p[at + PLANES]
    return 0


def port_share(s: Longs, time: int) -> int:
    """Of 1024 cycles, those in which COMPUTE reads accumulators; it does so two cycles behind its slots."""
    if time > s[BUSY_END] + 2:
        return 0
    return s[BEFORE_SHARE] if time <= s[BUSY_FROM] + 2 else s[BUSY_SHARE]


def port_time(s: Longs, time: int) -> int:
    """When STORE may read the accumulators, at `time` or after: COMPUTE goes first."""
    share = port_share(s, time)
    if share == 0:
        return time
    end = (s[BUSY_FROM] if time <= s[BUSY_FROM] + 2 else s[BUSY_END]) + 3
    if share >= 1024:
        return end
    s[PORT_DEBT] += share
    lost = s[PORT_DEBT] // (1024 - share)
    s[PORT_DEBT] -= lost * (1024 - share)
    return min(time + lost, end)


def vector_time(s: Longs, c: Longs, p: Longs) -> int:
    if s[ACTIVE] < 0:
        return NEVER
    time = s[READ_FREE]
    if s[READ_COUNT] >= c[OUT_DEPTH]:
        time = max(time, s[V_OUT + (s[READ_COUNT] - c[OUT_DEPTH]) % RING] + 1)
    if p[s[ACTIVE] + RESIDUAL]:
        there = residual_there(s, c)
        if there == NEVER:
            return NEVER
        time = max(time, there)
    return time


def vector(s: Longs, c: Longs, p: Longs, time: int) -> int:
    """Reads a vector of accumulators if the port is free at `time`, else looks again later."""
    at = s[ACTIVE]
    free = port_time(s, time)
    s[WAIT_PORT] += free - time
    if free > time and port_share(s, time) >= 1024:  # COMPUTE may have begun something else by then
        s[READ_FREE] = free
        return 0
    idle = time - s[READ_FREE]
    if idle > 0:
        if p[at + RESIDUAL] and residual_there(s, c) == time:
            s[WAIT_RESIDUAL] += idle
        else:
            s[PRESSURE] += idle
    if p[at + RESIDUAL]:
        s[R_TAKEN + s[RTAKEN] % RING] = free
        s[RTAKEN] += 1
    beats = p[at + VECTOR]
    out = 0
    while beats > 0:
        out = write_beat(s, c, p, free + 7)
        beats -= 1
    s[V_OUT + s[READ_COUNT] % RING] = out
    s[READ_COUNT] += 1
    s[LAST_READ] = free
    s[READ_FREE] = free + 1
    s[DRAINED] += 1
    s[VECTORS] -= 1
    if s[VECTORS] == 0:
        s[ACTIVE] = -1
        push_tokens(s, p, at, STORE, free + 1)
    return 0
