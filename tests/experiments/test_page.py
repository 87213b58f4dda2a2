"""The page of results is what the recorded files give."""

import sys
from pathlib import Path

from mindlib.experiments import __main__ as page
from mindlib.experiments.claims import CLAIMS
from mindlib.experiments.results import load_recorded, recorded_difference, recorded_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def test_the_committed_page_is_what_the_command_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments", str(tmp_path / "results.md")])
    page.main()
    assert (tmp_path / "results.md").read_bytes() == PAGE.read_bytes()


def test_the_page_has_every_claim_every_row_and_where_they_come_from():
    text = PAGE.read_text(encoding="utf-8")
    for claim in CLAIMS:
        assert f"| **{claim.text}** (paper: {claim.paper})" in text
    for name in page.RECORDED.values():
        results = load_recorded(name)
        assert results["command"] in text
        assert results["date"][:10] in text
        assert results["machine"]["cpu"] in text
        assert results["commit"][:10] in text
        assert f"{results['data']['test_cases']:,} test cases" in text
        for row, facts in recorded_rows(results).items():
            assert f"| {row} | {len(facts['seeds'])} |" in text
            for commit in facts.get("commits", ()):
                assert commit[:10] in text


def test_the_gain_at_64_dimensions_is_that_of_the_table():
    gains = page.gains_by_dimension()
    for title in page.RECORDED.keys() & gains.keys():
        table = load_recorded(page.RECORDED[title])
        assert gains[title][64] == recorded_difference(table, "MIND-4", "MIND-1", "HitRate@50")
