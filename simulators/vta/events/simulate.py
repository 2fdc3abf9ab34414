"""The loop: the earliest actor goes next, until nobody can."""

from __future__ import annotations

from heddle.simulators.vta.events.compute import compute, compute_time
from heddle.simulators.vta.events.fetch import arrival, dispatch, dispatch_time, fetch, fetch_size, fetch_time
from heddle.simulators.vta.events.load import ask, ask_time, load, load_quiet, load_time, padding_before, window_time
from heddle.simulators.vta.events.port import burst_beats, random_below, read_burst, refusals
from heddle.simulators.vta.events.queues import (
    head_row,
    head_seen,
    next_token,
    pop_head,
    pop_tokens,
    prev_token,
    push_token,
    push_tokens,
    token_time,
    tokens_time,
)
from heddle.simulators.vta.events.residual import residual, residual_there, residual_time
from heddle.simulators.vta.events.state import (
    A_LAST,
    ACTIVE,
    ALU_SLOTS,
    BOX,
    BUSY_END,
    DATA_END,
    FINISHED,
    GEMM_SLOTS,
    HEAD,
    LAST_B,
    LAST_DISPATCH,
    LAST_POP,
    NEVER,
    PUSHED,
    RANDOM,
    RBOX,
    SEED,
    WAIT_MEMORY,
    WBURSTS,
    list_at,
)
from heddle.simulators.vta.events.store import port_share, port_time, store, store_idle, store_time, vector, vector_time
from heddle.simulators.vta.events.writer import write_beat
from heddle.simulators.vta.native import Longs


def simulate(p: Longs, c: Longs, s: Longs) -> int:
    """Runs a program; the cycles from start to done, or -1 if it comes to a stop before its end."""
    s[BOX] = -1
    s[RBOX] = -1
    s[ACTIVE] = -1
    s[FINISHED] = -1
    s[DATA_END] = -1
    s[LAST_DISPATCH] = -1
    s[RANDOM] = c[SEED]
    s[LAST_POP] = -1
    s[LAST_POP + 1] = -1
    s[LAST_POP + 2] = -1
    s[LAST_B] = -1
    s[A_LAST] = -1
    while True:
        first = fetch_time(s, c)
        who = 0
        time = residual_time(s, c)
        if time < first:
            first = time
            who = 1
        time = ask_time(s, c)
        if time < first:
            first = time
            who = 2
        time = dispatch_time(s, c, p)
        if time < first:
            first = time
            who = 3
        time = load_time(s, c, p)
        if time < first:
            first = time
            who = 4
        time = compute_time(s, c, p)
        if time < first:
            first = time
            who = 5
        time = store_time(s, c, p)
        if time < first:
            first = time
            who = 6
        drain = vector_time(s, c, p)
        if drain < first:
            while drain <= first and drain < NEVER:
                vector(s, c, p, drain)
                drain = vector_time(s, c, p)
            continue
        if first == NEVER:
            break
        if who == 0:
            fetch(s, c, first)
        elif who == 1:
            residual(s, c, p, first)
        elif who == 2:
            ask(s, c, p, first)
        elif who == 3:
            dispatch(s, c, p, first)
        elif who == 4:
            load(s, c, p, first)
        elif who == 5:
            compute(s, c, p, first)
        else:
            store(s, c, p, first)
    if s[FINISHED] < 0 or s[HEAD] < s[PUSHED] or s[HEAD + 1] < s[PUSHED + 1] or s[HEAD + 2] < s[PUSHED + 2]:
        return -1
    end = max(max(s[FINISHED], load_quiet(s)), s[BUSY_END] + 4 if s[GEMM_SLOTS] + s[ALU_SLOTS] > 0 else 0)
    end = max(max(end, store_idle(s)), s[LAST_B] + 1)
    unit = 0
    while unit < 3:
        end = max(end, s[LAST_POP + unit] + 1)
        unit += 1
    if s[WBURSTS] > 0:
        s[WAIT_MEMORY] += max(0, end - max(store_idle(s), s[FINISHED]))
    return end + 1


FUNCTIONS = (
    random_below,
    refusals,
    burst_beats,
    read_burst,
    token_time,
    push_token,
    prev_token,
    next_token,
    tokens_time,
    pop_tokens,
    push_tokens,
    list_at,
    fetch_size,
    fetch_time,
    fetch,
    arrival,
    dispatch_time,
    dispatch,
    head_row,
    head_seen,
    pop_head,
    load_quiet,
    load_time,
    load,
    padding_before,
    window_time,
    ask_time,
    ask,
    compute_time,
    compute,
    store_idle,
    store_time,
    store,
    residual_time,
    residual,
    residual_there,
    port_share,
    port_time,
    vector_time,
    write_beat,
    vector,
    simulate,
)
