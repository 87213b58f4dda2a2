"""The gate between a version that was made and one that is served.

Two kinds of question. Is the version what was trained: every number finite, no vector zero, its
catalogue that of the log, its lists those of the model in training? And is it good: does it find as
many of the held-out items as yesterday's version, asked the same cases? What is asked is the
version as it was read back from disk: its exported model and its index.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Int
from torch import Tensor

from mindlib.data.catalogue import Catalogue
from mindlib.data.histories import Histories
from mindlib.evaluation import compare, evaluate
from mindlib.online.refresh.days import HeldOutCases
from mindlib.online.serving.bundle import Bundle
from mindlib.retrieval import IndexRecommender, InterestModel, Recommender

# Of how many users the answers of the version and of the model are held against each other.
USERS_COMPARED = 256


@dataclass(frozen=True)
class GateConfig:
    """What a version has to hold.

    Attributes:
        cutoff: N of Recall@N.
        tolerance: the share of yesterday's recall that tonight's may be lower. The mean decides,
            not its interval: with few cases a good version may be refused, which costs a day of
            freshness; to serve a bad one costs more.
        export_agreement: the least mean share of its N items that a list of the exported form has
            in common with the model's own, both by exact search. (Not 1: where two scores or two
            choices of routing are equal but for rounding, the two may decide otherwise.)
        index_agreement: the same, of the lists from the index with those by exact search.
    """

    cutoff: int = 50
    tolerance: float = 0.1
    export_agreement: float = 0.98
    index_agreement: float = 0.9

    def __post_init__(self) -> None:
        if self.cutoff < 1:
            raise ValueError(f"cutoff={self.cutoff}: expected N >= 1")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance={self.tolerance}: expected a share, 0 or more, below 1")
        for name in ("export_agreement", "index_agreement"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected a share above 0, up to 1")


@dataclass(frozen=True)
class GateResult:
    """What the gate says.

    Attributes:
        reasons: why the version is refused; none if it passes.
        metrics: what was measured, as far as it could be.
    """

    reasons: tuple[str, ...] = ()
    metrics: dict[str, float | int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the version may be served."""
        return not self.reasons


def check_version(
    version: Bundle,
    model: InterestModel,
    cases: HeldOutCases,
    yesterday: Bundle | None,
    config: GateConfig,
) -> GateResult:
    """Ask the gate's questions.

    Args:
        version: read back from disk.
        model: as it is after training.
        cases: held out from its training and from yesterday's, in the numbers of tonight's log.
        yesterday: the version that is served; None: then the lists have to beat chance.

    Raises:
        ValueError: the cutoff exceeds a catalogue.
    """
    reasons, figures = _sound(version)
    own = Catalogue.from_log(cases.log)
    if version.catalogue.fingerprint != own.fingerprint:
        reasons.append(
            f"its catalogue ({len(version.catalogue)} items, "
            f"{version.catalogue.fingerprint[:12]}…) is not the log's ({len(own)} items, "
            f"{own.fingerprint[:12]}…): its numbers would mean other items"
        )
    if reasons:  # there is nothing to be searched with, or for
        return GateResult(tuple(reasons), figures)
    asked = cases.encode_for(version.catalogue)
    some = asked.head(USERS_COMPARED).histories
    for name, limit, what, share in (
        (
            "export agreement",
            config.export_agreement,
            "the model's own",
            _agreement(version.model, model, some, config.cutoff),
        ),
        (
            "index agreement",
            config.index_agreement,
            "those by exact search",
            _agreement(
                IndexRecommender(version.model, version.index), version.model, some, config.cutoff
            ),
        ),
    ):
        figures[name] = share
        if not share >= limit:
            reasons.append(
                f"its lists have {share:.1%} of their {config.cutoff} items in common with "
                f"{what}; expected at least {limit:.1%}"
            )
    reasons += _good_enough(version, cases, yesterday, config, figures)
    return GateResult(tuple(reasons), figures)


def _sound(version: Bundle) -> tuple[list[str], dict[str, float | int]]:
    """Of the numbers in a version: are they numbers, and do they say anything?"""
    reasons: list[str] = []
    items = version.model.item_vectors()[1:]
    asked = min(len(items), USERS_COMPARED)
    unknown = [[0] * len(version.catalogue.fields)] * asked if version.catalogue.fields else None
    alone = Histories.from_lists([[number + 1] for number in range(asked)], unknown)
    vectors, active = version.model.interests(alone)
    figures: dict[str, float | int] = {}
    for name, some in (("item", items), ("interest", vectors[active])):
        infinite, zero = int((~some.isfinite()).any(1).sum()), int((some == 0).all(1).sum())
        figures |= {f"{name} vectors not finite": infinite, f"{name} vectors zero": zero}
        for number, what in ((infinite, "not finite"), (zero, "zero")):
            if number:
                reasons.append(f"{number} of {len(some)} {name} vectors are {what}")
    return reasons, figures


def _agreement(one: Recommender, other: Recommender, histories: Histories, n: int) -> float:
    """The mean share of a list of n that two recommenders have in common."""
    lists: list[Int[Tensor, "users n"]] = [r.recommend(histories, n).items for r in (one, other)]
    common = (lists[0][:, :, None] == lists[1][:, None, :]) & (lists[0] > 0)[:, :, None]
    return float(common.any(2).double().mean())


def _good_enough(
    version: Bundle,
    cases: HeldOutCases,
    yesterday: Bundle | None,
    config: GateConfig,
    figures: dict[str, float | int],
) -> list[str]:
    """Recall beside yesterday's; its figures are added to `figures`."""
    metric = f"Recall@{config.cutoff}"

    def recall(bundle: Bundle) -> Tensor:
        asked = cases.encode_for(bundle.catalogue)
        found = evaluate(IndexRecommender(bundle.model, bundle.index), asked, (config.cutoff,))
        return found.values[metric]

    ours = recall(version)
    new = float(ours.mean())
    figures |= {"cases": len(cases), metric: new}
    if yesterday is None:
        chance = config.cutoff / len(version.catalogue)
        figures["chance"] = chance
        if new > chance:
            return []
        return [
            f"{metric} is {new:.4f} in {len(cases)} cases, and a list of {config.cutoff} random "
            f"items of {len(version.catalogue)} has {chance:.4f}"
        ]
    theirs = recall(yesterday)
    old = float(theirs.mean())
    figures[f"{metric} of yesterday's"] = old
    between = ""
    if len(cases) > 1:
        difference = compare(ours, theirs)
        figures |= {"difference, low": difference.low, "difference, high": difference.high}
        between = f"; the 95 % interval of the difference is {difference.low:.4f} to " + (
            f"{difference.high:.4f}"
        )
    if new >= (1 - config.tolerance) * old:
        return []
    return [
        f"{metric} is {new:.4f}, that of version {yesterday.version} {old:.4f} in the same "
        f"{len(cases)} cases{between}; expected at least {(1 - config.tolerance) * old:.4f}"
    ]
