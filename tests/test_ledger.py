"""The check of the conformance ledger finds what does not exist."""

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import ledger

SECTIONS, TABLE_2 = ledger.read_ledger()
ROW = SECTIONS["§3.1 Problem formalization"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": ["layers.routing.rout"]}, "mindlib.layers.routing.rout cannot be imported"),
        ({"symbols": ["layers.route"]}, "mindlib.layers.route cannot be imported"),
        (
            {"tests": ["layers/test_routing.py::test_rout"]},
            "no test tests/layers/test_routing.py::",
        ),
        ({"tests": ["layers/test_rout.py::test_squash"]}, "no test tests/layers/test_rout.py::"),
        ({"tests": []}, "no test and no mutant"),
        ({"mutants": ["no such rule"]}, "no mutant 'no such rule'"),
        ({"read": "00 No such heading"}, "has no heading or equation tag 'No such heading'"),
        ({"read": "00 (9)"}, r"has no heading or equation tag '\(9\)'"),
        ({"read": "07 Online"}, "'07 Online': expected the number of one notebook"),
        ({"claims": ["no such claim"]}, "no recorded comparison for a claim 'no such claim'"),
        (
            {"differences": [["a", "sigma", "MIND-4", "MIND-1"]]},
            "no recorded comparison of 'MIND-4'",
        ),
        ({"output": ["a", "no such output"]}, "has no output 'no such output'"),
    ],
)
def test_what_does_not_exist_is_named(change: dict[str, Any], message: str):
    with pytest.raises(ledger.LedgerError, match=message):
        replace(ROW, **change).cells()


def test_a_row_links_its_code_its_tests_and_its_notebook():
    row = replace(ROW, symbols=["models.mind.MIND.encode"], tests=[], mutants=["squash missing"])
    _, code, test, notebook, _, measured = row.cells()
    assert code == "[MIND.encode](../mindlib/models/mind.py)"
    name = "squash keeps direction and bounds length"
    assert test == f"[{name}](../tests/layers/test_routing.py): squash missing"
    assert notebook.startswith("[00](../notebooks/00_problem_formalization.ipynb) ")
    assert measured == "not measured"


def test_the_claims_have_the_figures_of_table_2():
    assert ledger.figures("MIND-4", "MIND-1", TABLE_2) == ["+12.6 %", "+37.6 %"]
    changed = copy.deepcopy(TABLE_2)
    changed["Books HitRate@50"]["WALS"] = 0.0600
    _, errors = ledger.render(SECTIONS, changed)
    (error,) = errors
    assert error.startswith("claim 'YouTube DNN > WALS': the paper's figures are ['+24.3 %', ")


def test_each_equation_and_each_claim_has_a_row():
    sections = {
        title: [row for row in rows if "Eq. 9:" not in row.paper and "σ" not in "".join(row.claims)]
        for title, rows in SECTIONS.items()
    }
    _, errors = ledger.render(sections, TABLE_2)
    assert errors[0] == "no row for Eq. 9"
    assert [e.partition(" '")[0] for e in errors[1:]] == ["no row for the claim"] * 2


def test_an_outdated_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "PAGE", tmp_path / "ledger.md")
    monkeypatch.setattr(sys, "argv", ["ledger"])
    ledger.main()
    monkeypatch.setattr(sys, "argv", ["ledger", "--check"])
    ledger.main()
    with ledger.PAGE.open("a", encoding="utf-8") as page:
        page.write("changed by hand\n")
    with pytest.raises(SystemExit, match=r"docs/ledger.md is not what its rows give: make ledger"):
        ledger.main()
