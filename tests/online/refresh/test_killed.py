"""kill -9 at any event of a refresh: a complete version is served, and the next refresh works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability import behaves

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


def test_killed_at_any_event_the_old_or_the_new_version_is_served(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "tests.online.refresh.refresh_child", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr
    outcomes = json.loads(process.stdout)
    events = [outcome["event"] for outcome in outcomes]
    assert {"replace", "mkdir", "rename", "unlink", "copy", "save_file", "check_version"} <= set(
        events
    )
    for step, outcome in enumerate(outcomes):
        after, again = outcome["after"], outcome["again"]
        # Killed after the rename: version 3 is complete, but not served, and its number is taken.
        new = 4 if "0003" in after["versions"] else 3
        assert again["current"] == new, step
        # All versions stay on the disk, and no leftover of the killed refresh remains.
        assert again["numbers"] == list(range(1, new + 1)), step
        assert [int(name) for name in again["versions"]] == again["numbers"], step
        assert again["leftovers"] == [], step
    # The old version is served up to one event, the new one after it: the pointer's replacement.
    served = [outcome["after"]["current"] for outcome in outcomes]
    assert served == sorted(served)
    assert set(served) == {2, 3}
    assert events[served.index(3) - 1] == "replace"
    # Between the rename and that event the new version is complete on the disk, but not served.
    assert any(o["after"]["current"] == 2 and "0003" in o["after"]["versions"] for o in outcomes)
    behaves(
        "Versions and refresh",
        "kill -9 at any moment of a refresh",
        "the old or the new version is served, complete, and the next refresh works",
    )
