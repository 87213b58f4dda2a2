"""Training with all threads or with one, on a simulated machine whose load changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mindlib.training import threads
from mindlib.training.threads import AdaptiveThreads

FREE = {4: 0.04, 1: 0.1}  # seconds of a step with this number of threads
BUSY = {4: 3.0, 1: 0.1}


class Machine:
    """A machine with a clock and a number of threads, instead of PyTorch's and Python's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.threads, self.crowded = 0.0, 4, False
        monkeypatch.setattr(threads, "is_crowded", lambda _: self.crowded)
        monkeypatch.setattr(threads.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(torch, "set_num_threads", lambda n: setattr(self, "threads", n))

    def steps(self, seconds: dict[int, float], until: float) -> Iterator[int]:
        """Run steps until a time, and yield the number of threads of each."""
        while self.now < until:
            self.now += seconds[self.threads]
            yield self.threads


def share_of_time(used: list[int], seconds: dict[int, float], number: int) -> float:
    return sum(seconds[n] for n in used if n == number) / sum(seconds[n] for n in used)


def test_the_number_of_threads_never_changes_on_a_free_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    assert set(AdaptiveThreads().run(machine.steps(FREE, until=600))) == {4}


def test_a_load_that_does_not_slow_the_steps_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.crowded = True
    used = list(AdaptiveThreads().run(machine.steps(FREE, until=600)))
    assert used[0] == 1
    assert share_of_time(used, FREE, 4) > 0.97


def test_one_thread_on_a_machine_that_is_busy_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    machine.crowded = True
    used = list(AdaptiveThreads().run(machine.steps(BUSY, until=600)))
    assert share_of_time(used, BUSY, 1) > 0.9


def test_follows_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    adaptive = AdaptiveThreads()
    list(adaptive.run(machine.steps(FREE, until=100)))
    busy = list(adaptive.run(machine.steps(BUSY, until=400)))
    assert share_of_time(busy, BUSY, 1) > 0.8
    free = list(adaptive.run(machine.steps(FREE, until=1000)))
    assert share_of_time(free, FREE, 4) > 0.7


def test_a_single_slow_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    adaptive = AdaptiveThreads()
    list(adaptive.run(machine.steps(FREE, until=5)))
    list(adaptive.run(machine.steps(BUSY, until=6)))
    assert set(adaptive.run(machine.steps(FREE, until=9))) == {4}


def test_other_code_and_errors_find_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.crowded = True
    adaptive = AdaptiveThreads()
    between = [machine.threads for _ in adaptive.run(machine.steps(BUSY, until=60))]
    assert set(between) == {4}
    assert adaptive.threads == 1

    def failing() -> Iterator[int]:
        yield 0
        raise FloatingPointError

    with pytest.raises(FloatingPointError):
        list(adaptive.run(failing()))
    assert machine.threads == 4


def test_a_machine_is_crowded_when_other_threads_leave_too_few_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "loadavg"
    monkeypatch.setattr(threads, "Path", lambda _: path)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 2)
    path.write_text("9.10 9.20 9.30 1/114 19521\n")  # this thread alone
    assert not threads.is_crowded(2)
    path.write_text("0.10 0.20 0.30 2/114 19521\n")
    assert threads.is_crowded(2)
    assert not threads.is_crowded(1)
    path.unlink()
    for load, crowded in ((0.0, False), (0.7, True)):
        monkeypatch.setattr(threads.os, "getloadavg", lambda load=load: (load, 0, 0))
        assert threads.is_crowded(2) == crowded
