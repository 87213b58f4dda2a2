"""Verdicts are a rule over recorded intervals."""

import pytest

from mindlib.evaluation import Estimate
from mindlib.experiments.claims import claims_table
from mindlib.experiments.results import recorded_difference


def results(a="MIND-4", b="MIND-1", study=None, values=(0.02, 0.01, 0.03, 0.001)):
    said = dict(zip(("difference", "low", "high", "p_value"), values, strict=True))
    entry = {"study": study, "a": a, "b": b, "all": [{"metric": "HitRate@50", **said}]}
    return {"comparisons": [entry]}


def test_a_difference_is_found_in_either_order():
    forth = recorded_difference(results(), "MIND-4", "MIND-1", "HitRate@50")
    back = recorded_difference(results(), "MIND-1", "MIND-4", "HitRate@50")
    assert forth == Estimate(0.02, 0.01, 0.03, 0.001)
    assert back == Estimate(-0.02, -0.03, -0.01, 0.001)


@pytest.mark.parametrize(
    ("a", "metric", "study"),
    [("MaxMF-4", "HitRate@50", None), ("MIND-4", "Recall@50", None), ("MIND-4", "HitRate@50", "x")],
)
def test_a_comparison_that_was_not_made_is_not_found(a, metric, study):
    assert recorded_difference(results(), a, "MIND-1", metric, study) is None


def column(table, name):
    """The cells of a column, without the empty ones beside a claim."""
    header, _, *rows = ([cell.strip() for cell in line.split("|")] for line in table.splitlines())
    return [cell for row in rows if (cell := row[header.index(name)])]


def test_the_table_has_a_row_for_each_tested_claim_and_each_data_set_below_it():
    worse = results(values=(-0.02, -0.03, -0.01, 0.001))
    found = {"one": results(), "other": results(a="MIND-4", b="MaxMF-4"), "last": worse}
    table = claims_table(found)
    first, *data, second, third = column(table, "claim and data")
    assert "MIND-K > MIND-1** (paper: HitRate@50 +12.6 %" in first
    assert second.startswith("**MIND-K > MaxMF-K**")
    assert [*data, third] == ["one", "last", "other"]
    assert column(table, "HitRate@50 here, points") == [
        "+2.00 [+1.00, +3.00]", "-2.00 [-3.00, -1.00]", "+2.00 [+1.00, +3.00]"
    ]  # fmt: skip
    assert column(table, "verdict") == ["holds here", "reversed here", "holds here"]


def test_a_claim_is_decided_after_holms_correction_for_all_claims():
    weak = results(values=(0.02, 0.001, 0.039, 0.03))
    assert column(claims_table({"alone": weak}), "verdict") == ["holds here"]
    assert column(claims_table({"one": weak, "other": weak}), "verdict") == ["inconclusive"] * 2


def test_results_without_any_claims_comparison_are_refused():
    with pytest.raises(ValueError, match="no recorded comparison in HitRate@50"):
        claims_table({"one": results(a="x", b="y")})


@pytest.mark.parametrize(("low", "word"), [(-0.0019, "holds here"), (-0.0021, "inconclusive")])
def test_equality_is_decided_within_a_tenth_of_what_further_interests_gain(low, word):
    rows = ("MIND-4 adaptive=1", "MIND-4 adaptive=0", "adaptive")
    equal = results(*rows, values=(0.0, low, 0.0019, 1.0))
    for recorded, expected in ((results(), word), ({"comparisons": []}, "inconclusive")):
        both = {"comparisons": recorded["comparisons"] + equal["comparisons"]}
        table = claims_table({"one": both})
        assert table.splitlines()[-2].startswith("| **Dynamic K")
        assert column(table, "verdict")[-1] == expected
