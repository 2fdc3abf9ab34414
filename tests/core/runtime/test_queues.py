"""Which thread runs what, in which order: one job at a time on a device, two devices at once, a chain in one thread."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable

import pytest
from heddle.core.errors import DeviceError
from heddle.core.runtime.queues import DeviceQueue, Job, Workers

SECONDS = 20.0


def job(queue: DeviceQueue, rank: int, run: Callable[[], object], *following: Job) -> Job:
    def both() -> tuple[Job, ...]:
        run()
        return following

    return Job(queue, (rank, 0), both)


@pytest.fixture
def workers():
    workers = Workers("abc")
    yield workers
    workers.close()


def test_a_chain_over_devices_stays_in_one_thread(workers) -> None:
    queues, threads, done = [DeviceQueue("a"), DeviceQueue("b")], [], threading.Event()
    chain = job(queues[0], 20, done.set)
    for rank in reversed(range(20)):
        chain = job(queues[rank % 2], rank, lambda: threads.append(threading.get_ident()), chain)
    workers.start([chain])
    assert done.wait(SECONDS)
    assert len(threads) == 20
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_two_devices_work_at_once(workers) -> None:
    together, done = threading.Barrier(2, timeout=SECONDS), threading.Semaphore(0)
    queues = [DeviceQueue("a"), DeviceQueue("b")]

    def run() -> None:
        together.wait()
        done.release()

    workers.start([job(queues[0], 0, lambda: None, job(queues[0], 1, run), job(queues[1], 1, run))])
    assert all(done.acquire(timeout=SECONDS) for _ in queues)


def test_of_those_that_wait_the_lowest_rank_is_next(workers) -> None:
    queue, order, hold, done = DeviceQueue("a"), [], threading.Event(), threading.Event()
    workers.start([job(queue, 0, lambda: hold.wait(SECONDS))])
    ranks = list(range(1, 9))
    random.Random(5).shuffle(ranks)
    workers.start([job(queue, rank, lambda rank=rank: order.append(rank)) for rank in ranks])
    workers.start([job(queue, 9, done.set)])
    hold.set()
    assert done.wait(SECONDS)
    assert order == list(range(1, 9))


def test_a_device_has_one_job_at_a_time_whoever_asks(workers) -> None:
    """Several threads start random trees of jobs on three devices; each runs once, never beside another of its own."""
    queues, running, most = [DeviceQueue(name) for name in "abc"], [0, 0, 0], [0, 0, 0]
    ranks, left = iter(range(10**6)), threading.Semaphore(0)

    def tree(source: random.Random, depth: int) -> tuple[Job, int]:
        at, branches = source.randrange(3), source.randrange(4) if depth else 0
        parts = [tree(source, depth - 1) for _ in range(branches)]

        def run() -> None:
            running[at] += 1
            most[at] = max(most[at], running[at])
            time.sleep(0)
            running[at] -= 1
            left.release()

        return job(queues[at], next(ranks), run, *(part for part, _ in parts)), 1 + sum(count for _, count in parts)

    trees = [tree(random.Random(seed), 4) for seed in range(60)]
    callers = [
        threading.Thread(target=lambda i=i: [workers.start([part]) for part, _ in trees[i::3]]) for i in range(3)
    ]
    for caller in callers:
        caller.start()
    assert all(left.acquire(timeout=SECONDS) for _ in range(sum(count for _, count in trees)))
    for caller in callers:
        caller.join()
    assert most == [1, 1, 1]
    assert sum(thread.name == "heddle-worker" for thread in threading.enumerate()) <= 3
    assert not left.acquire(timeout=0.05)


def test_threads_are_kept_and_end_when_told(workers) -> None:
    queue, found = DeviceQueue("a"), []

    def seen() -> None:
        found.append(threading.current_thread())

    for rank in range(5):
        done = threading.Event()
        workers.start([job(queue, rank, seen, job(queue, rank, done.set))])
        assert done.wait(SECONDS)
        until = time.monotonic() + SECONDS
        while workers._spare <= 0 and time.monotonic() < until:
            time.sleep(0.001)
    assert len(set(found)) == 1
    workers.close()
    found[0].join(SECONDS)
    assert not found[0].is_alive()
    done = threading.Event()
    workers.start([job(queue, 9, done.set)])
    assert done.wait(SECONDS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own(workers) -> None:
    done = threading.Event()
    workers.start([job(DeviceQueue("a"), 0, done.set)])
    assert done.wait(SECONDS)
    child = os.fork()
    if not child:
        again = threading.Event()
        workers.start([job(DeviceQueue("b"), 1, again.set)])
        os._exit(0 if again.wait(SECONDS) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_without_a_thread_to_be_had_it_is_said_and_forgotten(workers, monkeypatch) -> None:
    queue, done = DeviceQueue("a"), threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(DeviceError, match=r"device 'a': .* no more threads"):
            workers.start([job(queue, 0, lambda: None)])
    workers.start([job(queue, 1, done.set)])
    assert done.wait(SECONDS)


def test_a_thread_that_can_have_no_help_does_all_itself(workers, monkeypatch) -> None:
    queues, done, threads = [DeviceQueue(name) for name in "abc"], threading.Semaphore(0), set()

    def run() -> None:
        threads.add(threading.get_ident())
        done.release()

    def first() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)

    workers.start([job(queues[0], 0, first, *(job(queue, 1, run) for queue in queues))])
    assert all(done.acquire(timeout=SECONDS) for _ in queues)
    assert len(threads) == 1
