"""LOAD: boxes that become bursts, and when their beats and the padding between them are written."""

from __future__ import annotations

from heddle.simulators.vta.events.port import burst_beats, read_burst
from heddle.simulators.vta.events.queues import head_row, head_seen, pop_head, pop_tokens, push_tokens, tokens_time
from heddle.simulators.vta.events.state import (
    ADDRESS,
    AR_FREE,
    ASKED,
    BEAT,
    BOX,
    BOX_DONE,
    BOX_FROM,
    BOXES,
    DATA_END,
    ITEMS,
    JOINED,
    KIND,
    L_BEFORE,
    L_END,
    L_FROM,
    LEFT,
    LOAD,
    LOAD_ACTIVE,
    LOAD_BUSY,
    LOAD_DATA,
    LOAD_FREE,
    LOAD_WAIT,
    NEVER,
    OFFSET,
    PAGE,
    PLANE_ADDRESS,
    PLANES,
    PLANES_LEFT,
    RING,
    ROW,
    ROW_ADDRESS,
    ROWS,
    ROWS_LEFT,
    RUN,
    SETS,
    STRIDE_Y,
    STRIDE_Z,
    SYNC,
    TAKEN,
    WINDOW,
    WORK,
    WRITER,
    X_BEFORE,
    X_TOTAL,
    Y_BEFORE,
    Y_TOTAL,
    Z_BEFORE,
    Z_TOTAL,
)
from heddle.simulators.vta.native import Longs


def load_quiet(s: Longs) -> int:
    """When everything that LOAD has begun is written; known once all of it was asked for."""
    return s[BOX_DONE + (s[BOXES] - 1) % RING] + 1 if s[BOXES] > 0 else 0


def load_time(s: Longs, c: Longs, p: Longs) -> int:
    at = head_row(s, c, LOAD)
    if at < 0:
        return NEVER
    time = head_seen(s, c, LOAD)
    if p[at + KIND] == SETS:
        return time
    if s[BOX] >= 0:
        return NEVER
    time = max(max(time, tokens_time(s, p, at, LOAD)), s[LOAD_FREE])
    if p[at + KIND] == SYNC:
        return max(time, load_quiet(s))
    if s[BOXES] >= 8:
        time = max(time, s[BOX_DONE + (s[BOXES] - 8) % RING] + 1)
    return time


def load(s: Longs, c: Longs, p: Longs, time: int) -> int:
    at = head_row(s, c, LOAD)
    if p[at + KIND] != SETS:
        since = max(head_seen(s, c, LOAD), load_quiet(s))
        token = tokens_time(s, p, at, LOAD)
        s[LOAD_WAIT] += max(0, min(token, time) - since)
        pop_tokens(s, p, at, LOAD)
    pop_head(s, c, LOAD, time)
    if p[at + KIND] == SYNC:
        push_tokens(s, p, at, LOAD, time + 1)
    if p[at + KIND] != WORK:
        return 0
    s[LOAD_ACTIVE] -= max(time, s[LOAD_BUSY])
    s[BOX] = at
    s[BOX_FROM] = time + 1
    s[WRITER] = max(s[WRITER], time + 1)
    s[JOINED] = p[at + ROWS] == 1 or p[at + STRIDE_Y] == p[at + ROW]
    s[RUN] = p[at + ROW] * (p[at + ROWS] if s[JOINED] else 1)
    s[LEFT] = s[RUN]
    s[ADDRESS] = p[at + OFFSET]
    s[ROW_ADDRESS] = s[ADDRESS]
    s[PLANE_ADDRESS] = s[ADDRESS]
    s[ROWS_LEFT] = 1 if s[JOINED] else p[at + ROWS]
    s[PLANES_LEFT] = p[at + PLANES]
    s[BEAT] = 0
    return 0


def padding_before(p: Longs, at: int, beat: int) -> int:
    """Cycles in which padding is written before a beat of a box; an element of padding takes as many as one of data."""
    row = beat // p[at + ROW]
    plane = row // p[at + ROWS]
    line = row % p[at + ROWS]
    place = ((p[at + Z_BEFORE] + plane) * p[at + Y_TOTAL] + p[at + Y_BEFORE] + line) * p[at + X_TOTAL] + p[
        at + X_BEFORE
    ]
    return (place - row * p[at + ITEMS]) * (p[at + ROW] // p[at + ITEMS])


def window_time(s: Longs, number: int) -> int:
    """When LOAD's beat `number` (from 1) was taken; it has been asked for."""
    burst = s[TAKEN]
    while s[L_BEFORE + (burst + 1) % RING] < number and burst + 1 < s[ASKED]:
        burst += 1
    s[TAKEN] = burst
    begin = s[L_FROM + burst % RING]
    before = s[L_BEFORE + burst % RING]
    beats = (s[L_BEFORE + (burst + 1) % RING]) - before
    if beats <= 1:
        return begin
    return begin + (number - before - 1) * (s[L_END + burst % RING] - begin) // (beats - 1)


def ask_time(s: Longs, c: Longs) -> int:
    if s[BOX] < 0:
        return NEVER
    time = max(s[BOX_FROM], s[AR_FREE])
    beats = burst_beats(s[ADDRESS], s[LEFT], min(64, c[WINDOW] // 2), c[PAGE])
    needed = s[L_BEFORE + s[ASKED] % RING] + beats - c[WINDOW]
    if needed > 0:
        time = max(time, window_time(s, needed) + 1)
    return time


def ask(s: Longs, c: Longs, p: Longs, time: int) -> int:
    at = s[BOX]
    beats = burst_beats(s[ADDRESS], s[LEFT], min(64, c[WINDOW] // 2), c[PAGE])
    gap = padding_before(p, at, s[BEAT])
    if s[BEAT] > 0:
        gap -= padding_before(p, at, s[BEAT] - 1)
    inside = padding_before(p, at, s[BEAT] + beats - 1) - padding_before(p, at, s[BEAT])
    begin = read_burst(s, c, time, beats, s[WRITER] + gap, inside)
    s[L_FROM + s[ASKED] % RING] = begin
    s[L_END + s[ASKED] % RING] = s[DATA_END]
    s[L_BEFORE + (s[ASKED] + 1) % RING] = s[L_BEFORE + s[ASKED] % RING] + beats
    s[ASKED] += 1
    s[WRITER] = s[DATA_END] + 1
    s[BEAT] += beats
    s[BOX_FROM] = time + 1
    s[LEFT] -= beats
    s[ADDRESS] += beats
    if s[LEFT] > 0:
        return 0
    s[LEFT] = s[RUN]
    if s[ROWS_LEFT] > 1:
        s[ROWS_LEFT] -= 1
        s[ROW_ADDRESS] += p[at + STRIDE_Y]
        s[ADDRESS] = s[ROW_ADDRESS]
        return 0
    s[ROWS_LEFT] = 1 if s[JOINED] else p[at + ROWS]
    s[PLANES_LEFT] -= 1
    s[PLANE_ADDRESS] += p[at + STRIDE_Z]
    s[ROW_ADDRESS] = s[PLANE_ADDRESS]
    s[ADDRESS] = s[PLANE_ADDRESS]
    if s[PLANES_LEFT] > 0:
        return 0
    elements = p[at + Z_TOTAL] * p[at + Y_TOTAL] * p[at + X_TOTAL]
    all_padding = (elements - p[at + PLANES] * p[at + ROWS] * p[at + ITEMS]) * (p[at + ROW] // p[at + ITEMS])
    done = s[WRITER] - 1 + all_padding - padding_before(p, at, s[BEAT] - 1)
    s[BOX_DONE + s[BOXES] % RING] = done
    s[BOXES] += 1
    s[WRITER] = done + 1
    s[LOAD_DATA] += s[BEAT] + all_padding
    s[LOAD_FREE] = time + 1
    s[LOAD_ACTIVE] += done
    s[LOAD_BUSY] = done
    s[BOX] = -1
    push_tokens(s, p, at, LOAD, done + 1)
    return 0
