"""The paper's claims (§4), and the verdict of recorded comparisons on each.

A fixed rule decides the verdict from the 95 % interval of a paired difference over users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mindlib.evaluation import verdict
from mindlib.experiments.results import Results, recorded_difference
from mindlib.experiments.tables import markdown_table

# Two models count as equal if the interval lies within this margin, one point of a share.
EQUAL = 0.01


@dataclass(frozen=True)
class Claim:
    """A claim of the paper that a paired difference can test.

    Attributes:
        text: the claim.
        paper: the paper's own figures.
        a, b: the rows that are compared.
        study: the study that has these rows; None for the main table.
        margin: None for the claim that a is better than b; for the claim that they are equal, the
            largest difference that counts as equal.
    """

    text: str
    paper: str
    a: str
    b: str
    study: str | None = None
    margin: float | None = None


def _study(text: str, paper: str, name: str, a: str, b: str, margin: float | None = None) -> Claim:
    return Claim(text, paper, f"MIND-4 {name}={a}", f"MIND-4 {name}={b}", name, margin)


CLAIMS = (
    Claim(
        "Several interests are better than one: MIND-K > MIND-1",
        "HitRate@50 +12.6 % (Books), +37.6 % (Tmall)",
        "MIND-4",
        "MIND-1",
    ),
    Claim("MIND-K > YouTube DNN", "+47.6 %, +65.6 %", "MIND-4", "YouTube DNN"),
    Claim("MIND-K > MaxMF-K", "+27.7 %, +14.3 %", "MIND-4", "MaxMF-4"),
    Claim("MIND-1 > YouTube DNN", "+31.1 %, +20.4 %", "MIND-1", "YouTube DNN"),
    Claim("MaxMF-K > YouTube DNN", "+15.5 %, +44.9 %", "MaxMF-4", "YouTube DNN"),
    Claim("YouTube DNN > WALS", "+34.9 %, +51.1 %", "YouTube DNN", "WALS"),
    Claim(
        "In the paper's form: MIND-K > MIND-1",
        "as the first row",
        "MIND-4 (paper)",
        "MIND-1 (paper)",
    ),
    Claim(
        "In the paper's form: MIND-K > YouTube DNN",
        "as the second row",
        "MIND-4 (paper)",
        "YouTube DNN (paper)",
    ),
    _study("σ does not matter: 0.1 or 1", "curves coincide", "sigma", "0.1", "1", EQUAL),
    _study("σ does not matter: 5 or 1", "curves coincide", "sigma", "5", "1", EQUAL),
    _study(
        "Hard attention is better than none: p = ∞ > p = 0",
        "p = 0 by far the worst",
        "power",
        "inf",
        "0",
    ),
    _study("p = ∞ > p = 1", "the larger p the better", "power", "inf", "1"),
    _study("Dynamic K costs nothing", "comparable online", "adaptive", "1", "0", EQUAL),
)


def claims_table(recorded: Mapping[str, Results], metric: str = "HitRate@50") -> str:
    """Render a row for each claim and a column for each set of recorded results, by its title.

    Cells have the difference in percentage points, its interval, and the verdict.

    Raises:
        ValueError: none of the results has a comparison for any claim.
    """
    rows = []
    for claim in CLAIMS:
        estimates = [
            recorded_difference(results, claim.a, claim.b, metric, claim.study)
            for results in recorded.values()
        ]
        cells = [f"{e.points()} **{verdict(e, claim.margin)}**" if e else "–" for e in estimates]
        rows.append([claim.text, claim.paper, *cells])
    if all(set(cells) == {"–"} for _, _, *cells in rows):
        raise ValueError(f"no recorded comparison in {metric} tests any of the claims")
    header = ["claim", "the paper, Δ HitRate@50", *recorded]
    return markdown_table(header, rows, text_columns=len(header))
