"""What is compared (§4): the candidates of every model, and studies of MIND.

Each tuned model has `BUDGET` candidates, among which the validation cases choose (see
`mindlib.experiments.tuning`). The budget is spent on what the models have in common: the learning
rate and the dropout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mindlib.experiments.trial import Trial
from mindlib.models import (
    MIND,
    WALS,
    ComiRecDR,
    ComiRecDRConfig,
    ComiRecSA,
    ComiRecSAConfig,
    CosineDNN,
    CosineDNNConfig,
    ItemCF,
    ItemCFConfig,
    MaxMF,
    MaxMFConfig,
    MINDConfig,
    Popularity,
    Random,
    SASRec,
    SASRecConfig,
    WALSConfig,
    YouTubeDNN,
    YouTubeDNNConfig,
)
from mindlib.models.vector import VectorConfig
from mindlib.training import TrainingConfig

BUDGET = 4
LEARNING_RATES = (4e-3, 8e-3)
DROPOUTS = (0.2, 0.5)
# For CosineDNN, in place of the dropout.
TEMPERATURES = (0.05, 0.1)
# The paper's form has no dropout, so its whole budget goes to the learning rate.
PAPER_RATES = (1e-3, 2e-3, 4e-3, 8e-3)
TRAINING = TrainingConfig(
    epochs=8,
    batch_size=512,
    length_bucket_batches=64,
    negatives=1024,
    schedule="cosine",
    patience=8,
)

Study = Callable[[Trial], list[Trial]]


def search_space(
    training: TrainingConfig = TRAINING, shape: Mapping[str, Any] | None = None
) -> dict[str, list[Trial]]:
    """Return the candidates of each row of the table: baselines first, then the vector models.

    Args:
        training: shared by all vector models, apart from the learning rate and the loss.
        shape: fields of every `VectorConfig` (dim, history_length, ...) to replace; `dim` applies
            to the factors too.
    """
    shape = shape or {}
    dim = {"dim": shape["dim"]} if "dim" in shape else {}

    def fixed(name: str, model: type, configs: Sequence[Any] = (None,)) -> list[Trial]:
        return [Trial(name, model, config, training) for config in configs]

    def tuned(
        name: str,
        model: type,
        config: VectorConfig,
        field: str = "behavior_dropout",
        values: Sequence[float] = DROPOUTS,
        **losses: Any,
    ) -> list[Trial]:
        return [
            Trial(
                name,
                model,
                replace(config, **{field: value}),
                replace(training, learning_rate=rate, **losses),
            )
            for rate, value in itertools.product(LEARNING_RATES, values)
        ]

    def paper(name: str, model: type, config: VectorConfig) -> list[Trial]:
        return [
            Trial(name, model, config, replace(training, learning_rate=rate))
            for rate in PAPER_RATES
        ]

    def one_interest(config: MINDConfig) -> MINDConfig:
        return replace(config, routing=replace(config.routing, max_interests=1))

    mind, paper_mind = MINDConfig(**shape), MINDConfig.paper(**shape)
    neighbors = itertools.product(("cosine", "bm25"), (200, 1000))
    ridges = ((30.0, 1.0), (10.0, 10.0), (1.0, 40.0), (0.01, 80.0))
    cosine = CosineDNNConfig(**shape)
    rows = [
        fixed("Random", Random),
        fixed("Popularity", Popularity),
        fixed("ItemCF", ItemCF, [ItemCFConfig(similarity, n) for similarity, n in neighbors]),
        fixed("WALS", WALS, [WALSConfig(regularization=r, alpha=a, **dim) for r, a in ridges]),
        tuned("YouTube DNN", YouTubeDNN, YouTubeDNNConfig(**shape)),
        tuned("YouTube DNN cosine", CosineDNN, cosine, "temperature", TEMPERATURES),
        tuned("MaxMF-4", MaxMF, MaxMFConfig(**shape)),
        tuned("MaxMF-4 best", MaxMF, MaxMFConfig(**shape), loss="best"),
        tuned("MIND-1", MIND, one_interest(mind)),
        tuned("MIND-4", MIND, mind),
        tuned("MIND-4 best", MIND, mind, loss="best"),
        paper("YouTube DNN (paper)", YouTubeDNN, YouTubeDNNConfig.paper(**shape)),
        paper("MIND-1 (paper)", MIND, one_interest(paper_mind)),
        paper("MIND-4 (paper)", MIND, paper_mind),
        tuned("ComiRec-SA", ComiRecSA, ComiRecSAConfig(**shape)),
        tuned("ComiRec-DR", ComiRecDR, ComiRecDRConfig(**shape)),
        tuned("SASRec", SASRec, SASRecConfig(**shape), "dropout"),
    ]
    return {row[0].name: row for row in rows}


@dataclass(frozen=True)
class Factor:
    """Fields of MIND's configuration that together are one difference to the paper's form.

    Attributes:
        name: of the factor.
        config, routing: the fields of `MINDConfig` and of its `RoutingConfig`.
    """

    name: str
    config: tuple[str, ...] = ()
    routing: tuple[str, ...] = ()

    def revert(self, config: MINDConfig) -> MINDConfig:
        """Give these fields the values that they have in the paper's form."""
        paper = MINDConfig.paper()
        routing = {name: getattr(paper.routing, name) for name in self.routing}
        fields = {name: getattr(paper, name) for name in self.config}
        return replace(config, **fields, routing=replace(config.routing, **routing))


FACTORS = (
    Factor("mean pooling of item fields", ("pooling", "title_words", "id_scale")),
    Factor("no title words", ("title_words",)),
    Factor("full id scale", ("id_scale",)),
    Factor("ReLU head", ("head",)),
    Factor("no dropout", ("behavior_dropout",)),
    Factor("soft attention", ("power",)),
    Factor("Gaussian initialization", routing=("initial_logits",)),
    Factor("dot-product agreement", routing=("agreement", "inverse_temperature")),
    Factor("squashed capsules", routing=("capsule",)),
    Factor("random bilinear map", routing=("identity_map",)),
    Factor("gradient of the last iteration", routing=("gradient",)),
)


def ablation(base: Trial) -> list[Trial]:
    """Revert one factor at a time to the paper's form, and in the end all of them."""
    reverted = {factor.name: factor.revert(base.config) for factor in FACTORS}
    reverted["all"] = base.config
    for factor in FACTORS:
        reverted["all"] = factor.revert(reverted["all"])
    return [
        replace(base, name=f"{base.name} reverted: {name}", config=config)
        for name, config in reverted.items()
        if config != base.config
    ]


def _routing(name: str, values: Sequence[Any], **also: Any) -> Study:
    """Study a field of the routing's configuration."""

    def trials(base: Trial) -> list[Trial]:
        routings = {v: replace(base.config.routing, **{name: v}, **also) for v in values}
        return [
            replace(base, name=f"{base.name} {name}={v:g}", config=replace(base.config, routing=r))
            for v, r in routings.items()
        ]

    return trials


def _power(base: Trial) -> list[Trial]:
    return [
        replace(base, name=f"{base.name} power={p:g}", config=replace(base.config, power=p))
        for p in (0.0, 0.5, 1.0, 2.0, 5.0, math.inf)
    ]


def _training(*names: str, values: Sequence[tuple[Any, ...]]) -> Study:
    """Study fields of the training's configuration."""

    def trials(base: Trial) -> list[Trial]:
        fields = [dict(zip(names, combination, strict=True)) for combination in values]
        return [
            replace(
                base,
                name=" ".join([base.name, *(f"{name}={v:g}" for name, v in changed.items())]),
                training=replace(base.training, **changed),
            )
            for changed in fields
        ]

    return trials


# Studies by name: each takes the chosen trial of a MIND and changes one factor. (The study of sigma
# needs the Gaussian initialization, which the default does not use. REMI's hard negatives and
# routing regularization are studied together.)
STUDIES: dict[str, Study] = {
    "sigma": _routing("sigma", (0.1, 1.0, 5.0), initial_logits="gaussian"),
    "power": _power,
    "interests": _routing("max_interests", (1, 2, 4, 6, 8)),
    "iterations": _routing("iterations", (1, 2, 3, 4, 5)),
    "adaptive": _routing("adaptive", (True, False)),
    "negatives": _training("negatives", values=((64,), (256,), (1024,), (4096,))),
    "remi": _training(
        "hardness", "routing_penalty", values=((0.1, 1.0), (0.1, 10.0), (1.0, 1.0), (1.0, 10.0))
    ),
    "ablation": ablation,
}
