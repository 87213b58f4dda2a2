"""The threads of a training run, all of PyTorch's or one on a busy machine, and its memory."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import torch

Step = TypeVar("Step")

TRIAL_STEPS = 3
LOOKS = 3
PAUSES = (10.0, 160.0)  # seconds between two trials of all threads: at first, and at most
SLOW = 4.0  # two steps in succession that take this many times the usual time cause a trial


class AdaptiveThreads:
    """Run training steps with all threads, or with one while that is faster.

    The threads of an operation wait for each other. If another program occupies one of the cores,
    every operation waits until the operating system returns that core, so that two training runs
    on two cores can each become a hundred times slower. One thread does not wait. Therefore a run
    starts with one thread if other programs occupy the cores, one thread is tried when steps become
    slow, and all threads are tried again from time to time. On a free machine the number of threads
    never changes. Where it does, the weights can differ by rounding errors; a fixed number,
    OMP_NUM_THREADS=1 in the environment, avoids both.
    """

    def __init__(self) -> None:
        self.most = torch.get_num_threads()
        self._choices = _choices(self.most)
        self.threads = next(self._choices)

    def run(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Yield the results of `steps`, each computed with the number of threads chosen for it."""
        while True:
            torch.set_num_threads(self.threads)
            started = time.perf_counter()
            try:
                result = next(steps)
            except StopIteration:
                return
            finally:
                seconds = time.perf_counter() - started
                torch.set_num_threads(self.most)
            if self.most > 1:
                self.threads = self._choices.send(seconds)
            yield result


def _choices(most: int) -> Generator[int, float, None]:
    """Yield the number of threads of each step, and receive the seconds that it took."""
    threads, pause = 1 if is_crowded(most) else most, PAUSES[0]
    seconds = usual = yield threads
    while True:
        slow_steps = 0
        next_trial = time.perf_counter() + pause if threads == 1 else math.inf
        while slow_steps < 2 and time.perf_counter() < next_trial:
            seconds = yield threads
            slow_steps = slow_steps + 1 if seconds > SLOW * usual else 0
            if not slow_steps:
                usual += 0.1 * (seconds - usual)
        if slow_steps == 2:
            usual = seconds
        other = 1 if threads == most else most
        trial = [(yield other)]
        # A trial of all threads ends early on a busy machine, where one step takes seconds.
        while len(trial) < TRIAL_STEPS and sum(trial) < TRIAL_STEPS * usual:
            trial.append((yield other))
        mean = sum(trial) / len(trial)
        if mean < usual:
            threads, usual, pause = other, mean, PAUSES[0]
        else:
            pause = min(2 * pause, PAUSES[1])


def is_crowded(threads: int) -> bool:
    """Return whether the threads that run now, of other programs, leave fewer cores than `threads`.

    One short-lived thread of the system does not count: three looks in succession must agree.
    """
    for _ in range(LOOKS):
        try:
            running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
        except OSError:  # not Linux: the mean of the last minute
            running = 1 + os.getloadavg()[0] if hasattr(os, "getloadavg") else 1
        if running - 1 + threads <= (os.cpu_count() or 1):
            return False
        time.sleep(0.005)
    return True


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks for the next step instead of returning them to the system.

    By default glibc unmaps every block above 128 kB when it is freed, so that the next step has to
    map each page again. The setting applies to the whole process. It has no effect without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold, limit = -1, -3, 1 << 30
    libc = ctypes.CDLL(None)
    libc.mallopt(trim_threshold, limit)
    libc.mallopt(mmap_threshold, limit)
