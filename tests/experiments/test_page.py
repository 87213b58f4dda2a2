"""The page of results is what the recorded files give."""

import sys
from pathlib import Path

import pytest

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
    gains = page.recorded_gains(page.BY_DIMENSION)
    for title in page.RECORDED.keys() & gains.keys():
        table = load_recorded(page.RECORDED[title])
        assert gains[title][64] == recorded_difference(table, "MIND-4", "MIND-1", "HitRate@50")


def test_the_gain_for_unseen_users_is_that_of_the_table_and_all_cells_have_the_same_users():
    gains = page.recorded_gains(page.HELD_OUT_USERS)
    for data in ("Amazon Beauty", "MovieLens-1M"):
        table = load_recorded(page.RECORDED[f"{data}, unseen users"])
        expected = recorded_difference(table, "MIND-4", "MIND-1", "HitRate@50")
        assert gains[f"{data}, last fifth"]["unseen users"] == expected
        for target in ("last fifth", "next timestamp"):
            for users, name in page.HELD_OUT_USERS[f"{data}, {target}"].items():
                results = load_recorded(name)
                facts = results["data"]
                assert facts["test_cases"] == table["data"]["test_cases"]
                assert ("known users" in facts["protocol"]) == (users == "known users")
                assert ("next item" in facts["protocol"]) == (target == "next timestamp")
                for model in ("MIND-1", "MIND-4"):
                    row, same = (recorded_rows(r)[model] for r in (results, table))
                    assert row["seeds"] == same["seeds"]
                    for part, field in (
                        ("training", "learning_rate"), ("training", "epochs"),
                        ("config", "behavior_dropout"),
                    ):  # fmt: skip
                        assert row[part][field] == same[part][field]


def test_the_merges_are_of_the_models_of_the_tables():
    text = PAGE.read_text(encoding="utf-8")
    for title, name in page.MERGES.items():
        recorded, merged = load_recorded(page.RECORDED[title]), load_recorded(name)
        assert merged["data"]["test_cases"] == recorded["data"]["test_cases"]
        for model, row in recorded_rows(merged).items():
            same = recorded_rows(recorded)[model]
            assert row["seeds"] == same["seeds"]
            for part, field in (
                ("training", "learning_rate"), ("training", "epochs"),
                ("training", "pairs_per_user"), ("config", "behavior_dropout"),
            ):  # fmt: skip
                assert row[part][field] == same[part][field]
            served = row["merges"]["served"]["HitRate@50"]
            assert served == pytest.approx(row["test"]["HitRate@50"]["mean"], abs=1e-5)
            assert f"| {title} | {model} | {100 * served:.2f} |" in text
            assert row["merges"]["oracle"]["value"] > 0
