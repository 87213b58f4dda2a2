"""A time budget that is kept: a stage works in a thread of its own, and nobody waits longer."""

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
    """A stage has not answered within its budget."""


class DeadlineExecutor:
    """Some worker threads, and how long one waits for them.

    What this can and cannot do: the caller is free in time, but Python cannot end a thread. Late
    work goes on until it returns by itself, and keeps its worker; its result is thrown away. When
    all workers are kept, callers are late without work being begun, so that nothing piles up, and
    the other stages, which have workers of their own, go on. Work that never returns also keeps
    the process from ending. A stage that holds the interpreter's lock delays everybody: numpy,
    torch, onnxruntime, Faiss and SQLite let go of it while they compute.

    Args:
        name: of the stage.
        seconds: that a caller waits, for a free worker and for the work.
        workers: that work at the same time.
    """

    def __init__(self, name: str, seconds: float, workers: int) -> None:
        self.seconds = seconds
        self._free = threading.Semaphore(workers)
        self._workers = ThreadPoolExecutor(workers, f"mindlib-{name}")
        # All threads are started here, and none at the cost of a request.
        threads, together = ThreadpoolController(), threading.Barrier(workers)
        for _ in range(workers):
            self._workers.submit(_begin, threads, together)

    def run(self, work: Callable[[], T]) -> T:
        """What the work returns or raises.

        Raises:
            StageTimeout: it did neither in time.
        """
        deadline = time.perf_counter() + self.seconds
        if not self._free.acquire(timeout=self.seconds):
            raise StageTimeout
        future: Future[T] = self._workers.submit(work)
        future.add_done_callback(lambda _: self._free.release())
        wait([future], max(0.0, deadline - time.perf_counter()))
        if not future.done():
            raise StageTimeout
        return future.result()

    def close(self) -> None:
        """Begin no more work."""
        self._workers.shutdown(wait=False)


def _begin(threads: ThreadpoolController, together: threading.Barrier) -> None:
    """One thread for a request: many are answered side by side, and more would only disturb."""
    torch.get_num_threads()  # torch sets up each thread once, and would undo the limit later
    threads.limit(limits=1, user_api="openmp")  # of this thread; another library's is everybody's
    together.wait()
