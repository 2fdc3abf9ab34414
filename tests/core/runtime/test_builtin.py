"""Code that Python calls itself: what it takes, what it leaves to others, and that it lets other threads run."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from heddle.core.runtime import abi
from heddle.core.runtime.builtin import builtin, possible
from heddle.core.runtime.host import HostProgram

ADD = "float *a = in[0], *b = in[1], *c = out[0]; for (int i = 0; i < 6; i++) c[i] = a[i] - 2 * b[i];"
X = np.arange(6, dtype=np.float32).reshape(2, 3)


class Sub(np.ndarray):
    """An array whose methods may say anything."""


@pytest.fixture(scope="module")
def subtract(make):
    """A function of `b`, `a` and `c`, in another order than the code's."""
    program = HostProgram(make.c("a:float32[2,3] b:float32[2,3]", "c:float32[2,3]", ADD))
    call = builtin(program, [make.spec(f"{name}:float32[2,3]") for name in "bac"], [1, 0], [2])
    if call is None:
        pytest.skip("objects of this Python lie otherwise")
    return lambda *arrays: call(program.lease().table, *arrays)


def test_it_is_possible_here():
    assert possible()


def test_pointers_go_where_they_are_said_to(subtract):
    c = np.empty_like(X)
    assert subtract(X, 10 * X, c) == 0
    assert np.array_equal(c, 8 * X)


OTHERS = {
    "no array": X.tolist(),
    "nothing": None,
    "a subclass": X.view(Sub),
    "another dtype": X.astype(np.int32),
    "another byte order": X.astype(">f4"),
    "another object for the same dtype": X.view(np.dtype("f4", metadata={"a": 1})),
    "another shape": np.arange(6, dtype=np.float32).reshape(3, 2),
    "a last dimension too large": np.zeros((2, 4), np.float32),
    "a lower rank": X.reshape(6),
    "a higher rank": X.reshape(2, 3, 1),
    "no rank": np.array(np.float32(3)),
    "strides": np.zeros((2, 6), np.float32)[:, ::2],
    "order of columns": np.asfortranarray(X),
    "a bad alignment": np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_is_not_exactly_right_is_left_to_others(subtract, other):
    c = np.full_like(X, 5)
    assert subtract(other, X, c) == subtract(X, other, c) == subtract(X, X, other) == abi.OTHERWISE
    assert (c == 5).all()


def test_too_few_and_too_many(subtract):
    assert subtract(X, X) == subtract(X, X, X.copy(), X) == subtract() == abi.OTHERWISE


def test_other_threads_run_meanwhile(make):
    code = "volatile float *a = in[0]; while (!a[0]); ((float *)out[0])[0] = 7;"
    program = HostProgram(make.c("a", "b", code))
    call = builtin(program, [make.spec("a"), make.spec("b")], [0], [1])
    a, b = np.zeros(4, np.float32), np.zeros(4, np.float32)
    waiting = threading.Thread(target=call, args=(program.lease().table, a, b), daemon=True)
    waiting.start()
    a[0] = 1  # with the interpreter's lock held by the code, this would not be reached
    waiting.join(30)
    assert not waiting.is_alive()
    assert b[0] == 7


def test_it_holds_its_code_as_long_as_it_lives(make):
    def made():
        program = HostProgram(make.c("a", "b", "((float *)out[0])[1] = 3;"))
        return builtin(program, [make.spec("a"), make.spec("b")], [0], [1]), program.lease().table

    call, table = made()
    gc.collect()
    b = np.zeros(4, np.float32)
    assert call(table, np.zeros(4, np.float32), b) == 0
    assert b[1] == 3


def test_faults_are_given_by_number(make):
    program = HostProgram(make.c("a", "b", "return 300;"))
    call = builtin(program, [make.spec("a"), make.spec("b")], [0], [1])
    assert call(program.lease().table, np.zeros(4, np.float32), np.zeros(4, np.float32)) == 300


def test_code_without_the_function(make):
    code = make.compile_c("int heddle_run() { return 0; } // no RUN")
    program = HostProgram(make.artifact("host", "a", "b", code))
    assert builtin(program, [make.spec("a"), make.spec("b")], [0], [1]) is None
