"""kill -9 at any moment: the folder is whole, one epoch is lost at most, the end is the same."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import behaves
from tests.training.checkpoint_child import EPOCHS

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


def child(folder: Path, mode: str) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.training.checkpoint_child", str(folder), mode]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_killed_at_each_event_training_goes_on_and_ends_with_the_same_weights(tmp_path):
    found = child(tmp_path, "every-event")
    events, outcomes = found["events"], found["outcomes"]
    # The moments that matter are among them: while a file is written, renamed, deleted.
    watched = {"training_step", "mkdir", "touch", "0 bytes", "fsync", "replace", "unlink"}
    assert watched <= set(events)
    assert len(outcomes) == len(events) > 30
    for outcome in outcomes:
        assert outcome["killed"] == -signal.SIGKILL, outcome
        assert outcome["newest"] >= outcome["epochs_begun"] - 1, outcome
        assert outcome["went_on"] == 0, outcome
        assert outcome["equal"], outcome
        assert outcome["rest"] == [], outcome
    assert {outcome["newest"] for outcome in outcomes} == set(range(EPOCHS + 1))
    behaves(
        "Training and checkpoints",
        "a training run is killed (kill -9)",
        "one epoch is lost at most; the repeated call ends with the weights of an undisturbed run",
    )


def test_killed_at_random_moments_training_ends_with_the_same_weights(tmp_path):
    outcomes = child(tmp_path, "random-moments")["outcomes"]
    assert sum(outcome["kills"] for outcome in outcomes) >= 6
    for outcome in outcomes:
        assert outcome["equal"], outcome
        assert outcome["newest"] == sorted(outcome["newest"]), outcome
        assert outcome["newest"][-1] == EPOCHS
