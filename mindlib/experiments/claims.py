"""The paper's claims (§4), one by one, and what recorded comparisons say of each.

A verdict is a rule, not an opinion: it looks at the 95 % interval of a paired difference of users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mindlib.evaluation import Estimate, verdict

Kind = Literal["more", "alike"]
# Above this (in the metric's unit) two models that are to be alike are not.
ALIKE = 0.01
MARGINS: dict[Kind, float | None] = {"more": None, "alike": ALIKE}


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper that a paired difference can speak to.

    Attributes:
        text: the claim.
        paper: the paper's own figures.
        a, b: the rows that are compared; "tuned" is the setting that a study starts from.
        study: whose rows they are; None of the table's own.
        kind: "more" claims that a is better than b, "alike" that it makes no difference.
    """

    text: str
    paper: str
    a: str
    b: str
    study: str | None = None
    kind: Kind = "more"


CLAIMS = (
    Claim(
        "Several interests beat one: MIND-K > MIND-1",
        "HitRate@50 +12.6 % (Books), +37.6 % (Tmall)",
        "MIND-4",
        "MIND-1",
    ),
    Claim("MIND-K > YouTube DNN", "+47.6 %, +65.6 %", "MIND-4", "YouTube DNN"),
    Claim("MIND-K > MaxMF-K", "+27.7 %, +14.3 %", "MIND-4", "MaxMF-4"),
    Claim("MIND-1 > YouTube DNN", "+31.1 %, +20.4 %", "MIND-1", "YouTube DNN"),
    Claim("MaxMF-K > YouTube DNN", "+15.6 %, +44.9 %", "MaxMF-4", "YouTube DNN"),
    Claim("YouTube DNN > WALS", "+34.9 %, +51.1 %", "YouTube DNN", "WALS"),
    Claim(
        "The literal form too: MIND-K > MIND-1",
        "as the first row",
        "MIND-4 (paper)",
        "MIND-1 (paper)",
    ),
    Claim(
        "The literal form too: MIND-K > YouTube DNN",
        "as the second row",
        "MIND-4 (paper)",
        "YouTube DNN (paper)",
    ),
    Claim(
        "σ does not matter: 0.1 or 1",
        "curves coincide",
        "MIND-4 sigma=0.1",
        "MIND-4 sigma=1",
        "sigma",
        "alike",
    ),
    Claim(
        "σ does not matter: 5 or 1",
        "curves coincide",
        "MIND-4 sigma=5",
        "MIND-4 sigma=1",
        "sigma",
        "alike",
    ),
    Claim(
        "A sharp attention is better: p = ∞ > p = 0",
        "p = 0 far worst",
        "MIND-4 power=inf",
        "MIND-4 power=0",
        "power",
    ),
    Claim(
        "p = ∞ > p = 1",
        "the larger p the better",
        "MIND-4 power=inf",
        "MIND-4 power=1",
        "power",
    ),
    Claim(
        "Dynamic K costs nothing",
        "comparable online",
        "MIND-4 adaptive=1",
        "MIND-4 adaptive=0",
        "adaptive",
        "alike",
    ),
)
# Pairs of the table that no other rule compares.
PAIRS = tuple((claim.a, claim.b) for claim in CLAIMS if claim.study is None)


def difference(
    results: Mapping[str, Any], a: str, b: str, metric: str, study: str | None = None
) -> Estimate | None:
    """a - b as recorded, in either order; None if nobody has compared them."""
    for entry in results["comparisons"]:
        if entry["study"] != study or {entry["a"], entry["b"]} != {a, b}:
            continue
        for said in entry["all"]:
            if said["metric"] == metric:
                values = (said["difference"], said["low"], said["high"], said["p_value"])
                return Estimate(*values) if entry["a"] == a else -Estimate(*values)
    return None


def claims_table(
    recorded: Mapping[str, Mapping[str, Any]],
    metric: str = "HitRate@50",
    claims: Sequence[Claim] = CLAIMS,
) -> str:
    """A Markdown table: a row for each claim, a column for each set of recorded results.

    Cells have the difference in percentage points, its interval, and the verdict.

    Args:
        recorded: by name, what `benchmarks/experiments.py` has written.

    Raises:
        ValueError: none of the results speaks to any claim.
    """
    lines = [
        f"| claim | the paper, Δ HitRate@50 | {' | '.join(recorded)} |",
        "|---|---|" + "---|" * len(recorded),
    ]
    spoken = 0
    for claim in claims:
        cells = []
        for results in recorded.values():
            found = difference(results, claim.a, claim.b, metric, claim.study)
            spoken += found is not None
            cells.append(_cell(found, claim.kind) if found else "–")
        lines.append(f"| {claim.text} | {claim.paper} | {' | '.join(cells)} |")
    if not spoken:
        raise ValueError(f"no recorded comparison in {metric} speaks to any of the claims")
    return "\n".join(lines)


def _cell(found: Estimate, kind: Kind) -> str:
    return f"{found.points()} **{verdict(found, MARGINS[kind])}**"
