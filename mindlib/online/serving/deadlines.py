"""Run the stages of a request in worker threads, and stop waiting at a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")


class StageTimeout(Exception):
    """A stage did not finish before its deadline."""


class DeadlineExecutor:
    """A pool of worker threads whose callers wait for a limited time.

    Python cannot end a thread. Work that is over its deadline runs on until it returns, occupies
    its worker, and its result is discarded. While all workers are occupied, callers time out
    without work being started, so that no queue builds up; other stages have workers of their own.
    Work that never returns keeps the process from ending.

    Args:
        name: the stage, in the names of the threads.
        timeout: seconds that a caller waits, for a free worker and for the work together.
        workers: number of threads.
    """

    def __init__(self, name: str, timeout: float, workers: int) -> None:
        self.timeout = timeout
        self._free = threading.Semaphore(workers)
        self._workers = ThreadPoolExecutor(workers, f"mindlib-{name}")
        # Start all threads now, so that no request has to wait for one.
        threads, barrier = ThreadpoolController(), threading.Barrier(workers)
        for _ in range(workers):
            self._workers.submit(_start_worker, threads, barrier)

    def run(self, work: Callable[[], T]) -> T:
        """Return the result of the work, or raise its exception.

        Raises:
            StageTimeout: the work has not finished before the deadline.
        """
        deadline = time.perf_counter() + self.timeout
        if not self._free.acquire(timeout=self.timeout):
            raise StageTimeout
        future: Future[T] = self._workers.submit(work)
        future.add_done_callback(lambda _: self._free.release())
        wait([future], max(0.0, deadline - time.perf_counter()))
        if not future.done():
            raise StageTimeout
        return future.result()

    def close(self) -> None:
        """Start no more work."""
        self._workers.shutdown(wait=False)


def _start_worker(threads: ThreadpoolController, barrier: threading.Barrier) -> None:
    """Limit the worker to one compute thread, because requests already run in parallel."""
    torch.get_num_threads()  # PyTorch initializes each thread once, and would undo the limit later
    threads.limit(limits=1, user_api="openmp")  # per thread; limits of other libraries are global
    barrier.wait()
