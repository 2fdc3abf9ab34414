"""The event model's inner loop: when each instruction, burst and vector happens, from queues, tokens and memory.

It follows the RTL's registers: a time is the cycle in which a signal is high, what it sets is seen in the next one.
FETCH, the residual reader and LOAD ask for bursts through one register; data comes in the order in which memory took
the addresses. Every step does what the earliest actor can do next. Written for `native`, which compiles it.
"""

from __future__ import annotations

from heddle.simulators.vta.native import Longs

NEVER = 1 << 60

# a row of the program
UNIT, KIND, POP_PREV, POP_NEXT, PUSH_PREV, PUSH_NEXT = 0, 1, 2, 3, 4, 5
OFFSET, ROW, ROWS, PLANES, STRIDE_Y, STRIDE_Z = 6, 7, 8, 9, 10, 11
X_BEFORE, X_TOTAL, Y_BEFORE, Y_TOTAL, Z_BEFORE, Z_TOTAL = 12, 13, 14, 15, 16, 17
SLOTS, SHARE = 6, 7
VECTOR, RESIDUAL, RESIDUAL_OFFSET, RESIDUAL_Y, RESIDUAL_Z = 12, 13, 14, 15, 16
ITEMS = 18  # elements of a row of LOAD, vectors of a row of STORE
COLUMNS = 19
LOAD, COMPUTE, STORE, FINISH = 0, 1, 2, 3
SETS, WORK, SYNC = 0, 1, 2

# what the machine and its memory are
COUNT, QUEUE, WINDOW, RESIDUAL_DEPTH, OUT_DEPTH, CODE_BEATS, PAGE, OUT_BEATS = 0, 1, 2, 3, 4, 5, 6, 7
LATENCY, OUTSTANDING, JITTER, REFUSED, SEED = 8, 9, 10, 11, 12
SETTINGS = 13

# the state: scalars
DISPATCHED, LAST_DISPATCH, FETCHED, LAST_FETCH, AR_FREE, DATA_END, READS, DATA_READY = 0, 1, 2, 3, 4, 5, 6, 7
BOX, BOX_FROM, LEFT, RUN, ADDRESS, ROW_ADDRESS, PLANE_ADDRESS, ROWS_LEFT, PLANES_LEFT, BEAT = (
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
)
JOINED, ASKED, TAKEN, WRITER, BOXES, LOAD_FREE, LOAD_BUSY = 18, 19, 20, 21, 22, 23, 24
RBOX, RFROM, RLEFT, RRUN, RADDRESS, RROW, RPLANE, RROWS, RPLANES, RJOINED, RASKED, RCAME, RTAKEN, RFREE = (
    25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
)  # fmt: skip
BUSY_FROM, BUSY_END, BUSY_SHARE, BEFORE_SHARE, PORT_DEBT = 39, 40, 41, 42, 43
ACTIVE, VECTORS, ITEM_LEFT, LAST_READ, READ_COUNT, READ_FREE, W_LAST, W_AT, W_LEFT = 44, 45, 46, 47, 48, 49, 50, 51, 52
WBURSTS, WADDRESS, WROW, WPLANE, WROWS, WPLANES, WRUN, WBURST, WLEFT, LAST_B, A_LAST, WSTART = (
    53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64,
)  # fmt: skip
RANDOM = 65
HEAD, LAST_POP, PUSHED, PUSHED_TOKENS, POPPED_TOKENS = (
    66,
    69,
    72,
    76,
    80,
)  # three units; three units and the end; four tokens
GEMM_SLOTS, ALU_SLOTS, WAIT_LOAD, WAIT_STORE, DRAINED, WAIT_COMPUTE, WAIT_PORT, WAIT_RESIDUAL, PRESSURE, WAIT_MEMORY = (
    84, 85, 86, 87, 88, 89, 90, 91, 92, 93,
)  # fmt: skip
LOAD_DATA, LOAD_ACTIVE, LOAD_WAIT, READ_BEATS, WRITE_BEATS, FULL = 94, 95, 96, 97, 98, 99
FINISHED, RDATA_PUSHED = 100, 101
SCALARS = 104

TOKENS = 256  # a counter never holds more
RING = 1024  # bursts, boxes and vectors that may matter to what comes; all limits are far below

# rings and lists behind the scalars
R_END = SCALARS  # read bursts: the cycle of the last beat
L_FROM = R_END + RING  # load bursts: first and last beat, and how many beats came before
L_END = L_FROM + RING
L_BEFORE = L_END + RING
BOX_DONE = L_BEFORE + RING
R_CAME = BOX_DONE + RING  # residual bursts: first beat, beats before
R_BEFORE = R_CAME + RING
R_TAKEN = R_BEFORE + RING  # residual vectors: when they were taken
V_OUT = R_TAKEN + RING  # vectors: when the last beat was written
W_END = V_OUT + RING  # write bursts: last beat, answer
W_ANSWER = W_END + RING
TOKEN = W_ANSWER + RING  # four rings of the times at which tokens are seen
LISTS = (
    TOKEN + 4 * TOKENS
)  # then, for each instruction: dispatched; of each unit: number, seen, popped; first beat of fetches; waits of COMPUTE


def state_size(count: int) -> int:
    """How many ints the state of a program of `count` instructions takes."""
    return LISTS + 13 * (count + 8)


def list_at(count: int, number: int) -> int:
    """Where list `number` begins: 0 dispatched, 1 to 3 numbers, 4 to 6 seen, 7 to 9 popped, 10 fetched, 11 and
    12 what COMPUTE waited for LOAD and for STORE."""
    return LISTS + number * (count + 8)


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
    ready = taken + c[LATENCY]
    if c[JITTER] > 0:
        ready += random_below(s, c[JITTER] + 1)
    ready = max(ready, s[DATA_READY])
    s[DATA_READY] = ready
    begin = max(max(ready, s[DATA_END] + 1), first)
    s[DATA_END] = begin + beats - 1 + inside + refusals(s, c, beats)
    s[R_END + s[READS] % RING] = s[DATA_END]
    s[READS] += 1
    s[READ_BEATS] += beats
    return begin


# ---------------------------------------------------------------- tokens
# 0 load to compute, 1 back, 2 compute to store, 3 back


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


# ---------------------------------------------------------------- FETCH


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


# ---------------------------------------------------------------- LOAD


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


# ---------------------------------------------------------------- COMPUTE


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


# ---------------------------------------------------------------- STORE


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


# ---------------------------------------------------------------- all of it


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
    random_below, refusals, burst_beats, read_burst, token_time, push_token, prev_token, next_token, tokens_time,
    pop_tokens, push_tokens, list_at, fetch_size, fetch_time, fetch, arrival, dispatch_time, dispatch, head_row,
    head_seen, pop_head, load_quiet, load_time, load, padding_before, window_time, ask_time, ask, compute_time,
    compute, store_idle, store_time, store, residual_time, residual, residual_there, port_share, port_time,
    vector_time, write_beat, vector, simulate,
)  # fmt: skip
