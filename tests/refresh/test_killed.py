"""kill -9 at any step of a refresh: what is served is whole, and the next refresh is as ever."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_killed_at_each_step_the_old_version_or_the_new_one_is_served(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.refresh.refresh_child", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    events, outcomes = found["events"], found["outcomes"]
    # The moments that matter are among them: before and after the export, the gate, the rename
    # that makes a version, and the replacement of the pointer.
    assert {"train", "save_file", "copy", "examine", "rename", "replace"} <= set(events)
    assert len(outcomes) == len(events)
    served = []
    for outcome in outcomes:
        assert outcome["killed"] == -signal.SIGKILL, outcome
        after, again = outcome["after"], outcome["again"]
        served.append(after["current"])
        assert after["current"] in (2, 3), outcome
        assert outcome["went_on"] == 0, outcome
        assert again["current"] == after["current"] + 1, outcome
        # What is on the disk is what was served, and nothing of the killed one is left.
        numbers = [number for number, _ in again["states"]]
        assert numbers == list(range(1, again["current"] + 1)), outcome
        assert [int(name) for name in again["versions"]] == numbers, outcome
        assert again["rest"] == [], outcome
    # The old one up to one step, the new one from there on.
    assert served == sorted(served)
    assert set(served) == {2, 3}
    swap = served.index(3)
    assert events[swap - 1] == "replace"
    # Between export and swap the new version is whole on the disk, and not yet served.
    between = [
        o for o in outcomes if o["after"]["current"] == 2 and "0003" in o["after"]["versions"]
    ]
    assert between
