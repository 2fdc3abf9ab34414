"""The way of vectors to memory: addresses, beats and answers."""

from __future__ import annotations

from heddle.simulators.vta.events.port import burst_beats, random_below, refusals
from heddle.simulators.vta.events.state import (
    A_LAST,
    ACTIVE,
    JITTER,
    LAST_B,
    LATENCY,
    OUTSTANDING,
    PAGE,
    RING,
    ROW,
    ROWS,
    STRIDE_Y,
    STRIDE_Z,
    W_ANSWER,
    W_END,
    W_LAST,
    WADDRESS,
    WBURST,
    WBURSTS,
    WLEFT,
    WPLANE,
    WRITE_BEATS,
    WROW,
    WROWS,
    WRUN,
    WSTART,
)
from heddle.simulators.vta.native import Longs


def write_beat(s: Longs, c: Longs, p: Longs, earliest: int) -> int:
    """The cycle in which the next beat of data goes to memory."""
    at = s[ACTIVE]
    if s[WBURST] == 0:  # the address of the next burst
        beats = burst_beats(s[WADDRESS], s[WLEFT], 64, c[PAGE])
        number = s[WBURSTS]
        address = max(s[WSTART], s[A_LAST] + 1)
        if number >= 16:
            address = max(address, s[W_END + (number - 16) % RING] + 1)
        if number >= c[OUTSTANDING]:
            address = max(address, s[W_ANSWER + (number - c[OUTSTANDING]) % RING] + 1)
        s[A_LAST] = address + refusals(s, c, 1)
        s[WBURSTS] += 1
        s[WBURST] = beats
        s[WADDRESS] += beats
        s[WLEFT] -= beats
        if s[WLEFT] == 0:
            s[WLEFT] = s[WRUN]
            if s[WROWS] > 1:
                s[WROWS] -= 1
                s[WROW] += p[at + STRIDE_Y]
            else:
                s[WROWS] = 1 if s[WRUN] > p[at + ROW] else p[at + ROWS]
                s[WPLANE] += p[at + STRIDE_Z]
                s[WROW] = s[WPLANE]
            s[WADDRESS] = s[WROW]
    time = max(max(earliest, s[W_LAST] + 1), s[A_LAST] + 1) + refusals(s, c, 1)
    s[W_LAST] = time
    s[WBURST] -= 1
    s[WRITE_BEATS] += 1
    if s[WBURST] == 0:
        number = s[WBURSTS] - 1
        answer = time + c[LATENCY]
        if c[JITTER] > 0:
            answer += random_below(s, c[JITTER] + 1)
        s[LAST_B] = max(answer, s[LAST_B] + 1)
        s[W_END + number % RING] = time
        s[W_ANSWER + number % RING] = s[LAST_B]
    return time
