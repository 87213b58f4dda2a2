"""The number of threads of a training run: all of PyTorch's, or one while the machine is busy."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
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
        self.threads = 1 if is_crowded(self.most) else self.most
        self._usual = 0.0  # the mean seconds of a step with the chosen number of threads
        self._trial: list[float] | None = None
        self._slow_steps = 0
        self._pause = PAUSES[0]
        self._next_trial = time.perf_counter() + self._pause if self.threads == 1 else math.inf

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
                self._choose(seconds)
            yield result

    def _choose(self, seconds: float) -> None:
        """Choose the number of threads of the next step, after one that took these seconds."""
        if self._trial is not None:
            self._trial.append(seconds)
            # A trial of all threads ends early on a busy machine, where one step takes seconds.
            if len(self._trial) == TRIAL_STEPS or sum(self._trial) >= TRIAL_STEPS * self._usual:
                self._end_trial(sum(self._trial) / len(self._trial))
            return
        self._usual = self._usual or seconds
        is_slow = seconds > SLOW * self._usual
        self._slow_steps = self._slow_steps + 1 if is_slow else 0
        if self._slow_steps == 2:
            self._usual = seconds
        elif not is_slow:
            self._usual += 0.1 * (seconds - self._usual)
        if time.perf_counter() >= self._next_trial or self._slow_steps == 2:
            self.threads, self._trial = self._other(), []

    def _end_trial(self, mean: float) -> None:
        """Keep the number of threads on trial if its mean time is shorter than the usual one."""
        if mean < self._usual:
            self._usual, self._pause = mean, PAUSES[0]
        else:
            self.threads = self._other()
            self._pause = min(2 * self._pause, PAUSES[1])
        self._trial, self._slow_steps = None, 0
        self._next_trial = time.perf_counter() + self._pause if self.threads == 1 else math.inf

    def _other(self) -> int:
        return 1 if self.threads == self.most else self.most


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
