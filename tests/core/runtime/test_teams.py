"""Several threads on one call: the same bits whatever their number, from any thread, in a fork, in any float mode."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from heddle.core.codegen import compile_region
from heddle.core.codegen.target import host
from heddle.core.errors import DeviceError
from heddle.core.ir import parse
from heddle.core.runtime import teams
from heddle.core.runtime.device import host_buffer
from heddle.core.runtime.host import HostDevice, HostProgram

SIZE = 1 << 18
TINY = np.float32(1e-40)


def artifact(text: str, flush: bool = True, **constants: list[int]):
    return compile_region(parse(text, {key: np.array(value) for key, value in constants.items()}), host(), flush=flush)


@pytest.fixture(scope="module")
def heavy():
    """Elementwise work and a reduction, each of many pieces."""
    return artifact(
        f"graph (%x: float32[512,{SIZE // 512}]) -> (%y, %z) {{"
        f" %a: float32[512,{SIZE // 512}] = Erf(%x)"
        f" %y: float32[512,{SIZE // 512}] = Mul(%a, %x)"
        f" %z: float32[512,{SIZE // 512}] = Softmax(%x) {{axis = 1}} }}"
    )


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((512, SIZE // 512), np.float32)


def run(program: HostProgram, *inputs: np.ndarray) -> list[bytes]:
    ports = program.artifact.signature.outputs
    outputs = [np.full(port.shape, np.nan, port.dtype) for port in ports]
    HostDevice().submit(program, [host_buffer(array) for array in (*inputs, *outputs)]).wait()
    return [array.tobytes() for array in outputs]


@pytest.fixture
def fresh(monkeypatch):
    """A pool of its own, so that other tests' helpers do not count."""
    monkeypatch.setattr(teams, "_pool", teams._Pool())


def test_results_are_the_same_bits_for_any_number_of_threads(heavy, x):
    alone = run(HostProgram(heavy), x)
    for threads in (2, 3, 5):
        program = HostProgram(heavy, threads)
        assert program.shared
        for _ in range(70):  # more than it takes to run alone for the record again
            assert run(program, x) == alone


def test_the_caller_waits_for_a_piece_that_takes_long(fresh):
    made = artifact(
        "graph (%x: float32[2,500000]) -> (%y) { const %axes: int64[1] %y: float32[2,1] = ReduceLogSumExp(%x, %axes) }",
        axes=[1],
    )
    long = np.random.default_rng(0).standard_normal((2, 500_000), np.float32)
    alone = run(HostProgram(made), long)
    for _ in range(20):
        assert run(HostProgram(made, 2), long) == alone


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("heddle-helper")]


def spent(threads: list[threading.Thread]) -> float:
    """Seconds that threads have used processors."""
    libc, total = ctypes.CDLL(None), 0.0
    libc.pthread_getcpuclockid.argtypes = (ctypes.c_ulong, ctypes.POINTER(ctypes.c_int))
    for thread in threads:
        clock = ctypes.c_int()
        assert libc.pthread_getcpuclockid(thread.ident, ctypes.byref(clock)) == 0
        total += time.clock_gettime(clock.value)
    return total


def test_helpers_work_on_the_first_call(heavy, x, fresh):
    before = set(helpers())
    for _ in range(20):  # each program has records of its own, and does its first run with helpers
        run(HostProgram(heavy, 2), x)
    (helper,) = set(helpers()) - before
    assert spent([helper]) > 0.001


def test_small_code_stays_on_one_thread():
    made = artifact("graph (%x: float32[64]) -> (%y) { %y: float32[64] = Exp(%x) }")
    assert "team" not in made.meta
    assert not HostProgram(made, 4).shared


def test_a_call_that_gets_no_helpers_is_done_alone(heavy, x, fresh, monkeypatch):
    monkeypatch.setattr(teams, "processors", lambda: 2)
    alone = run(HostProgram(heavy), x)
    program = HostProgram(heavy, 2)
    first, second = program.enlist(), program.enlist()
    assert (first.threads, second.threads) == (2, 1)
    program.dismiss(first)
    program.dismiss(second)
    assert program.enlist() is first
    assert run(program, x) == alone


def test_one_call_may_have_more_threads_than_there_are_processors(heavy, fresh, monkeypatch):
    monkeypatch.setattr(teams, "processors", lambda: 1)
    assert HostProgram(heavy, 3).enlist().threads == 3


def test_a_system_without_threads_to_give_leaves_the_caller_alone(heavy, x, fresh, monkeypatch):
    alone = run(HostProgram(heavy), x)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run(HostProgram(heavy, 2), x) == alone


def test_many_threads_call_the_same_and_other_programs(heavy, x):
    other = artifact(f"graph (%x: float32[{SIZE}]) -> (%y) {{ %y: float32[{SIZE}] = Tanh(%x) }}")
    programs = [HostProgram(heavy, 2), HostProgram(heavy, 3), HostProgram(other, 2)]
    inputs = [x, x, x.reshape(-1)]
    wanted = [run(HostProgram(heavy), x)] * 2 + [run(HostProgram(other), x.reshape(-1))]

    def call(number: int) -> bool:
        at = number % 3
        return run(programs[at], inputs[at]) == wanted[at]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(call, range(60)))


def test_helpers_flush_what_is_too_small_as_the_caller_does(x):
    made = artifact(f"graph (%x: float32[{SIZE}]) -> (%y) {{ %y: float32[{SIZE}] = Mul(%x, %x) }}")
    kept = artifact(f"graph (%x: float32[{SIZE}]) -> (%y) {{ %y: float32[{SIZE}] = Mul(%x, %x) }}", flush=False)
    small = np.full(SIZE, np.float32(1e-20))
    exact = small * small
    assert 0 < exact[0] < np.finfo(np.float32).tiny
    for _ in range(40):
        assert not np.frombuffer(run(HostProgram(made, 4), small)[0], np.float32).any()
        assert run(HostProgram(kept, 4), small)[0] == exact.tobytes()
    assert TINY * np.float32(0.5) > 0  # and the caller's own state is as it was


def test_threads_are_asked_for_by_call_as_well(heavy):
    program = HostProgram(heavy, 1)
    assert program.enlist().threads == 1
    with teams.using(2):
        frame = program.enlist()
        assert frame.threads == 2
        program.dismiss(frame)
        with teams.using(None):
            assert program.enlist().threads == 1
    assert teams.wanted() is None


@pytest.mark.parametrize("threads", [0, -1, 129, 1.5, True, "2"])
def test_a_number_that_is_none_of_threads(threads):
    with pytest.raises(DeviceError, match=r"host: threads is .*, a number from 1 to 128 is expected"):
        HostDevice(threads=threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_makes_helpers_of_its_own(heavy, x):
    wanted = run(HostProgram(heavy), x)
    program = HostProgram(heavy, 2)
    assert run(program, x) == wanted
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = all(run(program, x) == wanted for _ in range(3)) and bool(helpers())
        finally:
            os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert run(program, x) == wanted


def test_helpers_end_with_the_process(tmp_path):
    script = f"""
        import sys
        import numpy as np
        from heddle.core.codegen import compile_region
        from heddle.core.codegen.target import host
        from heddle.core.ir import parse
        from heddle.core.runtime.device import host_buffer
        from heddle.core.runtime.host import HostDevice, HostProgram
        made = compile_region(
            parse("graph (%x: float32[{SIZE}]) -> (%y) {{ %y: float32[{SIZE}] = Exp(%x) }}", {{}}), host())
        x, y = np.zeros({SIZE}, np.float32), np.zeros({SIZE}, np.float32)
        HostDevice().submit(HostProgram(made, 3), [host_buffer(x), host_buffer(y)]).wait()
        sys.exit(7 if y.all() else 1)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=60, capture_output=True)
    assert (done.returncode, done.stderr) == (7, b"")
