"""The table docs/reliability.md: bad inputs and faults, and what mindlib does about each of them.

The tests that assert a behavior write its row: `refuses` for an error, `behaves` for anything else.
In an ordinary run they compare it with the page. `make reliability` (`python -m tests.reliability`)
runs these tests and writes the page anew.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mindlib.data.storage import atomic_file

HEADER = "| input or fault | behavior | asserted in |"
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
RECORDING = "MINDLIB_RELIABILITY"  # the file to which a run of `make reliability` adds its rows
AREAS = (
    "Data files",
    "Configuration",
    "Training and checkpoints",
    "Index, model and version files",
    "Versions and refresh",
    "Serving",
)
INTRODUCTION = """\
# Bad inputs and faults

Bad input is refused before any long work starts, with an error that names the value, what was
expected and the remedy. A fault (a full disk, a lock, a killed process) loses nothing that was
acknowledged and leaves no file half-written. Each row is written by the test that asserts it, in
the file named at its end; `make reliability` writes this page anew. FOLDER stands for a path.
"""


@contextmanager
def refuses(
    area: str, fault: str, error: type[Exception] | tuple[type[Exception], ...], *, match: str
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error, as pytest.raises does, and make its message the row of `fault`."""
    with pytest.raises(error, match=match) as caught:
        yield caught
    behaves(area, fault, f"{caught.type.__name__}: {caught.value}")


def behaves(area: str, fault: str, behavior: str) -> None:
    """Record the behavior that the calling test has just asserted, or compare it with the page."""
    assert area in AREAS, f"{area!r}: expected one of {AREAS}"
    test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
    row = format_row(fault, behavior, test)
    if recording := os.environ.get(RECORDING):
        with Path(recording).open("a", encoding="utf-8") as file:
            file.write(json.dumps([area, fault, row]) + "\n")
    elif PAGE.exists():
        known = page_rows().get(fault)
        assert known == row, "the behavior is not that of docs/reliability.md: make reliability"


def format_row(fault: str, behavior: str, test: str) -> str:
    """Format a row of the table, without paths of this machine."""
    own = r"/pytest-of-[^/]+/pytest-\d+(/popen-gw\d+)?/[^/\s'\",;:()]+"
    folder = re.escape(tempfile.gettempdir()) + own + "|" + re.escape(str(ROOT))
    text = " ".join(re.sub(folder, "FOLDER", behavior).split())
    cells = [cell.replace("|", r"\|") for cell in (fault, text, test)]
    return f"| {cells[0]} | {cells[1]} | {cells[2]} |"


@functools.cache
def page_rows() -> dict[str, str]:
    """Return the rows of the page by their first column."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    rows = [line for line in lines if line.startswith("| ") and line != HEADER]
    return {re.split(r"(?<!\\) \| ", row)[0][2:].replace(r"\|", "|"): row for row in rows}


def main() -> None:
    """Run all tests that write rows, and write the page from their rows."""
    name = re.compile(r"^from tests\.reliability import", re.M)
    files = [p for p in (ROOT / "tests").rglob("test_*.py") if name.search(p.read_text("utf-8"))]
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "rows"
        recording.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "", *map(str, files)]
        run = subprocess.run(command, cwd=ROOT, env=os.environ | {RECORDING: str(recording)})
        if run.returncode:
            sys.exit("the page is unchanged, because a test failed")
        rows = sorted(set(map(tuple, map(json.loads, recording.read_text("utf-8").splitlines()))))
    faults = [fault for _, fault, _ in rows]
    if doubled := {fault for fault in faults if faults.count(fault) > 1}:
        sys.exit(f"the page is unchanged: several behaviors of {sorted(doubled)}")
    page = INTRODUCTION
    for area in AREAS:
        page += f"\n## {area}\n\n{HEADER}\n|---|---|---|\n"
        page += "".join(f"{row}\n" for own, _, row in rows if own == area)
    with atomic_file(PAGE) as partial:
        partial.write_text(page, encoding="utf-8")
    print(f"{len(rows)} rows: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
