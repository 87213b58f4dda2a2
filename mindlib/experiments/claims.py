"""The paper's claims (§4), and the verdict of recorded comparisons on each.

A fixed rule decides the verdict from a paired difference over users and seeds. As many claims are
tested at once, the p-values of those of the form "A > B" are adjusted together (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, product
from operator import itemgetter

import numpy as np

from mindlib.evaluation import Estimate, Verdict, holm, verdict
from mindlib.experiments.results import Results, recorded_difference
from mindlib.experiments.tables import markdown_table

METRIC = "HitRate@50"
# "A equals B" holds if the interval lies within this share of the difference between the rows of
# the first claim, MIND-K - MIND-1, on the same data.
EQUAL = 0.1


@dataclass(frozen=True)
class Claim:
    """A claim of the paper that a paired difference can test.

    Attributes:
        text: the claim.
        paper: the paper's own figures.
        a, b: the rows that are compared.
        study: the study that has these rows; None for the main table.
        equal: whether the claim is that a equals b; otherwise it is that a is better.
    """

    text: str
    paper: str
    a: str
    b: str
    study: str | None = None
    equal: bool = False


def _study(text: str, paper: str, name: str, a: str, b: str, equal: bool = False) -> Claim:
    return Claim(text, paper, f"MIND-4 {name}={a}", f"MIND-4 {name}={b}", name, equal)


CLAIMS = (
    Claim(
        "Several interests are better than one: MIND-K > MIND-1",
        "HitRate@50 +12.6 % (Books), +37.6 % (Tmall)",
        "MIND-4",
        "MIND-1",
    ),
    Claim("With Eq. 10: MIND-K > MIND-1", "as for the first claim", "MIND-4, Eq. 10", "MIND-1"),
    Claim("MIND-K > YouTube DNN", "+47.6 %, +65.6 %", "MIND-4", "YouTube DNN"),
    Claim(
        "With shrinkage: MIND-K > MIND-1", "as for the first claim", "MIND-4, shrinkage", "MIND-1"
    ),
    Claim(
        "With shrinkage: MIND-K > YouTube DNN",
        "as for the third claim",
        "MIND-4, shrinkage",
        "YouTube DNN",
    ),
    Claim("MIND-K > MaxMF-K", "+27.7 %, +14.3 %", "MIND-4", "MaxMF-4"),
    Claim("MIND-1 > YouTube DNN", "+31.1 %, +20.4 %", "MIND-1", "YouTube DNN"),
    Claim("MaxMF-K > YouTube DNN", "+15.5 %, +44.9 %", "MaxMF-4", "YouTube DNN"),
    Claim("YouTube DNN > WALS", "+34.9 %, +51.1 %", "YouTube DNN", "WALS"),
    Claim(
        "In the paper's form: MIND-K > MIND-1",
        "as for the first claim",
        "MIND-4 (paper)",
        "MIND-1 (paper)",
    ),
    Claim(
        "In the paper's form: MIND-K > YouTube DNN",
        "as for the third claim",
        "MIND-4 (paper)",
        "YouTube DNN (paper)",
    ),
    _study("σ does not matter: 0.1 or 1", "curves coincide", "sigma", "0.1", "1", equal=True),
    _study("σ does not matter: 5 or 1", "curves coincide", "sigma", "5", "1", equal=True),
    _study(
        "Hard attention is better than none: p = ∞ > p = 0",
        "p = 0 by far the worst",
        "power",
        "inf",
        "0",
    ),
    _study("p = ∞ > p = 1", "the larger p, the better", "power", "inf", "1"),
    _study("Dynamic K costs nothing", "comparable online", "adaptive", "1", "0", equal=True),
)


def claims_table(recorded: Mapping[str, Results]) -> str:
    """Render a row for each tested claim, and below it the verdict on each data set.

    Raises:
        ValueError: none of the results has a comparison for any claim.
    """
    verdicts = claim_verdicts(recorded)
    if not verdicts:
        raise ValueError(f"no recorded comparison in {METRIC} tests any of the claims")
    rows: list[list[str]] = []
    for claim, group in groupby(verdicts, key=itemgetter(0)):
        rows.append([f"**{claim.text}** (paper: {claim.paper})", "", ""])
        for _, title in group:
            found, word = verdicts[claim, title]
            rows.append([title, found.points(), word])
    header = ["claim and data", f"{METRIC} here, points", "verdict"]
    return markdown_table(header, rows, text_columns=len(header))


def claim_verdicts(
    recorded: Mapping[str, Results],
) -> dict[tuple[Claim, str], tuple[Estimate, Verdict]]:
    """Return the difference and the verdict for each claim and each set of results with both rows.

    "A > B" is decided only if its p-value, adjusted for all such claims in all results (Holm), is
    at most 0.05; "A equals B" within the margin `EQUAL`.
    """
    found: dict[tuple[Claim, str], Estimate] = {}
    for claim, (title, results) in product(CLAIMS, recorded.items()):
        estimate = recorded_difference(results, claim.a, claim.b, METRIC, claim.study)
        if estimate:
            found[claim, title] = estimate
    better = [key for key in found if not key[0].equal]
    p_values = holm(np.array([found[key].p_value for key in better]))
    adjusted = dict(zip(better, p_values, strict=True))

    def decide(claim: Claim, title: str, estimate: Estimate) -> Verdict:
        if not claim.equal:
            return "inconclusive" if adjusted[claim, title] > 0.05 else verdict(estimate)
        effect = found.get((CLAIMS[0], title))
        return verdict(estimate, EQUAL * abs(effect.value) if effect else 0.0)

    return {key: (estimate, decide(*key, estimate)) for key, estimate in found.items()}
