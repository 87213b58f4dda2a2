"""A caller waits as long as the executor, whatever the work does."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from threadpoolctl import ThreadpoolController

from mindlib.online.serving.deadlines import DeadlineExecutor, StageTimeout


def until_in_time(executor: DeadlineExecutor) -> int:
    """Ask again until the work is not late: the machine may be busy."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return executor.run(lambda: 7)
        except StageTimeout:
            assert time.monotonic() < deadline


def test_the_works_result_is_the_callers():
    with closing(DeadlineExecutor("test", 20.0, 1)) as executor:
        assert executor.run(lambda: 7) == 7


@pytest.mark.parametrize("error", [ValueError, TimeoutError, StageTimeout])
def test_the_works_error_is_the_callers(error):
    def fail() -> None:
        raise error("mine")

    with closing(DeadlineExecutor("test", 20.0, 1)) as executor:
        for _ in range(3):  # and its worker is free again
            with pytest.raises(error, match="mine"):
                executor.run(fail)


def test_late_work_is_given_up_in_time():
    go = threading.Event()
    with closing(DeadlineExecutor("test", 0.05, 1)) as executor:
        started = time.perf_counter()
        with pytest.raises(StageTimeout):
            executor.run(lambda: go.wait(30))
        assert 0.05 <= time.perf_counter() - started < 10
        go.set()


def test_no_work_is_begun_while_all_workers_are_kept():
    go, begun = threading.Event(), []
    with closing(DeadlineExecutor("test", 0.05, 2)) as executor:
        for number in range(6):
            with pytest.raises(StageTimeout):
                executor.run(lambda number=number: (begun.append(number), go.wait(30)))
        go.set()
        until_in_time(executor)  # what had piled up would have come before it
        assert set(begun) <= {0, 1}
        assert begun


def test_a_worker_that_has_come_back_works_again():
    go = threading.Event()
    with closing(DeadlineExecutor("test", 0.2, 1)) as executor:
        with pytest.raises(StageTimeout):
            executor.run(lambda: go.wait(30))
        go.set()
        assert until_in_time(executor) == 7


def test_all_workers_work_side_by_side():
    together = threading.Barrier(3)
    with closing(DeadlineExecutor("test", 20.0, 3)) as executor:
        callers = [
            threading.Thread(target=executor.run, args=[lambda: together.wait(20)])
            for _ in range(3)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert not together.broken


def test_a_worker_computes_in_one_thread():
    def threads() -> set[int]:
        pools = ThreadpoolController().select(user_api="openmp").lib_controllers
        return {pool.num_threads for pool in pools}

    with closing(DeadlineExecutor("test", 20.0, 2)) as executor:
        assert executor.run(threads) == {1}
