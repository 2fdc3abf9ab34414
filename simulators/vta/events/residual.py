"""The reader of residuals, ahead of the drain."""

from __future__ import annotations

from heddle.simulators.vta.events.port import burst_beats, read_burst
from heddle.simulators.vta.events.state import (
    AR_FREE,
    NEVER,
    OUT_BEATS,
    PAGE,
    R_BEFORE,
    R_CAME,
    R_TAKEN,
    RADDRESS,
    RASKED,
    RBOX,
    RCAME,
    RESIDUAL_DEPTH,
    RESIDUAL_Y,
    RESIDUAL_Z,
    RFREE,
    RFROM,
    RING,
    RJOINED,
    RLEFT,
    ROWS,
    RPLANE,
    RPLANES,
    RROW,
    RROWS,
    RRUN,
    RTAKEN,
)
from heddle.simulators.vta.native import Longs


def residual_time(s: Longs, c: Longs) -> int:
    if s[RBOX] < 0:
        return NEVER
    beats = burst_beats(s[RADDRESS], s[RLEFT], min(64, c[RESIDUAL_DEPTH] // 2), c[PAGE])
    time = max(s[RFROM], s[AR_FREE])
    needed = s[R_BEFORE + s[RASKED] % RING] + beats - c[RESIDUAL_DEPTH]
    if needed > 0:
        vectors = (needed + c[OUT_BEATS] - 1) // c[OUT_BEATS]
        if vectors > s[RTAKEN]:
            return NEVER
        time = max(time, s[R_TAKEN + (vectors - 1) % RING] + 1)
    return time


def residual(s: Longs, c: Longs, p: Longs, time: int) -> int:
    at = s[RBOX]
    beats = burst_beats(s[RADDRESS], s[RLEFT], min(64, c[RESIDUAL_DEPTH] // 2), c[PAGE])
    s[R_CAME + s[RASKED] % RING] = read_burst(s, c, time, beats, 0, 0)
    s[R_BEFORE + (s[RASKED] + 1) % RING] = s[R_BEFORE + s[RASKED] % RING] + beats
    s[RASKED] += 1
    s[RFROM] = time + 1
    s[RLEFT] -= beats
    s[RADDRESS] += beats
    if s[RLEFT] > 0:
        return 0
    s[RLEFT] = s[RRUN]
    if s[RROWS] > 1:
        s[RROWS] -= 1
        s[RROW] += p[at + RESIDUAL_Y]
        s[RADDRESS] = s[RROW]
        return 0
    s[RROWS] = 1 if s[RJOINED] else p[at + ROWS]
    s[RPLANES] -= 1
    s[RPLANE] += p[at + RESIDUAL_Z]
    s[RROW] = s[RPLANE]
    s[RADDRESS] = s[RPLANE]
    if s[RPLANES] == 0:
        s[RBOX] = -1
        s[RFREE] = time + 1
    return 0


def residual_there(s: Longs, c: Longs) -> int:
    """When the residual of the next vector lies in its queue."""
    last = (s[RTAKEN] + 1) * c[OUT_BEATS]
    if last > s[R_BEFORE + s[RASKED] % RING]:
        return NEVER
    burst = s[RCAME]
    while s[R_BEFORE + (burst + 1) % RING] < last:
        burst += 1
    s[RCAME] = burst
    return s[R_CAME + burst % RING] + last - s[R_BEFORE + burst % RING]
