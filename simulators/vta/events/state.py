"""Where things lie in the arrays of the event model: rows of the program, settings, and the state."""

from __future__ import annotations

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
