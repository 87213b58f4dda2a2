"""Verdicts are a rule over recorded intervals."""

import pytest

from mindlib.evaluation import Estimate
from mindlib.experiments.claims import CLAIMS, Claim, claims_table, difference


def results(a="MIND-4", b="MIND-1", study=None, values=(0.02, 0.01, 0.03, 0.001)):
    said = dict(zip(("difference", "low", "high", "p_value"), values, strict=True))
    entry = {"study": study, "a": a, "b": b, "all": [{"metric": "HitRate@50", **said}]}
    return {"comparisons": [entry]}


def test_a_difference_is_found_in_either_order():
    forth = difference(results(), "MIND-4", "MIND-1", "HitRate@50")
    back = difference(results(), "MIND-1", "MIND-4", "HitRate@50")
    assert forth == Estimate(0.02, 0.01, 0.03, 0.001)
    assert back == Estimate(-0.02, -0.03, -0.01, 0.001)


@pytest.mark.parametrize(
    ("a", "metric", "study"),
    [("MaxMF-4", "HitRate@50", None), ("MIND-4", "Recall@50", None), ("MIND-4", "HitRate@50", "x")],
)
def test_what_nobody_compared_is_not_found(a, metric, study):
    assert difference(results(), a, "MIND-1", metric, study) is None


def test_the_table_has_a_row_for_each_claim_and_a_column_for_each_result():
    table = claims_table({"one": results(), "other": results(a="MIND-4", b="MaxMF-4")})
    lines = table.splitlines()
    assert len(lines) == 2 + len(CLAIMS)
    assert lines[0].endswith("| one | other |")
    assert "+2.00 [+1.00, +3.00] **holds here** | – |" in lines[2]
    assert all(line.count("|") == 5 for line in lines)


def test_results_that_speak_to_no_claim_are_refused():
    with pytest.raises(ValueError, match="no recorded comparison in HitRate@50"):
        claims_table({"one": results(a="x", b="y")}, claims=(Claim("", "", "a", "b"),))
