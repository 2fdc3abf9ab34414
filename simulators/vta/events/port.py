"""The port through which all reads go: bursts that memory answers in order, with the delays that a memory may have."""

from __future__ import annotations

from heddle.simulators.vta.events.state import (
    AR_FREE,
    DATA_END,
    DATA_READY,
    JITTER,
    LATENCY,
    OUTSTANDING,
    R_END,
    RANDOM,
    READ_BEATS,
    READS,
    REFUSED,
    RING,
)
from heddle.simulators.vta.native import Longs


def random_below(s: Longs, bound: int) -> int:
    s[RANDOM] = (s[RANDOM] * 1103515245 + 12345) % 2147483648
    return (s[RANDOM] >> 8) % bound


def refusals(s: Longs, c: Longs, beats: int) -> int:
    """Cycles that refused handshakes add to `beats` transfers; REFUSED is a probability in 1/1024."""
    if c[REFUSED] == 0:
        return 0
    lost = 0
    while beats > 0:
        if random_below(s, 1024) < c[REFUSED]:
            lost += 1
        else:
            beats -= 1
    return lost


def burst_beats(address: int, left: int, most: int, page: int) -> int:
    return min(left, min(most, page - address % page))


def read_burst(s: Longs, c: Longs, cycle: int, beats: int, first: int, inside: int) -> int:
    """Sends a read of `beats` that is asked for in `cycle`; its first beat comes no earlier than `first`, `inside` are
    the cycles in which its taker pauses. Returns the cycle of the first beat; DATA_END is that of the last."""
    taken = cycle + 1 + refusals(s, c, 1)
    if s[READS] >= c[OUTSTANDING]:
        taken = max(taken, s[R_END + (s[READS] - c[OUTSTANDING]) % RING] + 1)
    s[AR_FREE] = taken
    ready = taken + c[LATENCY] + 1  # one cycle in the register behind the port
    if c[JITTER] > 0:
        ready += random_below(s, c[JITTER] + 1)
    ready = max(ready, s[DATA_READY])
    s[DATA_READY] = ready
    begin = max(max(ready, s[DATA_END] + 1), first)
    s[DATA_END] = begin + beats - 1 + inside + refusals(s, c, beats)
    s[R_END + s[READS] % RING] = s[DATA_END] - 1
    s[READS] += 1
    s[READ_BEATS] += beats
    return begin
