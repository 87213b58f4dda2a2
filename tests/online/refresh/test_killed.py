"""kill -9 at any step of a refresh: what is served is whole, and the next refresh is as ever."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


def test_killed_at_each_step_the_old_version_or_the_new_one_is_served(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.online.refresh.refresh_child", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    events = found["events"]
    assert [kill["code"] for kill in found["killed"]] == [-signal.SIGKILL] * 5, found["killed"]
    # A killed process leaves what the copy of that moment has.
    assert len(found["kills"]) == 5
    served, between = [], 0
    for step, outcome in sorted((found["steps"] | found["kills"]).items()):
        after, again = outcome["after"], outcome["again"]
        served.append(after["current"])
        assert after["current"] in (2, 3), step
        assert again["current"] == after["current"] + 1, step
        # What is on the disk is what was served, and nothing of the killed one is left.
        assert again["numbers"] == list(range(1, again["current"] + 1)), step
        assert [int(name) for name in again["versions"]] == again["numbers"], step
        assert again["rest"] == [], step
        # Between export and swap the new version is whole on the disk, and not yet served.
        between += after["current"] == 2 and "0003" in after["versions"]
    assert between
    # The old one up to one step, the new one from there on: that in which the pointer is replaced.
    assert served == sorted(served)
    assert set(served) == {2, 3}
    first = min(int(step) for step, o in found["steps"].items() if o["after"]["current"] == 3)
    assert events[first - 1] == "replace"
    for step, outcome in found["kills"].items():
        assert (outcome["after"]["current"] == 3) == (int(step) >= first), step
