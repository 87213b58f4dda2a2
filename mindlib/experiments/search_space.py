"""What is compared (§4): every model with the settings it may choose from, and studies of MIND.

Each model of the table has `BUDGET` settings; the validation cases choose one (`trials.tune`). The
budget is spent on what the models have in common: the learning rate and the dropout.
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
# Of the cosine form, which has this to choose instead of the dropout.
TEMPERATURES = (0.05, 0.1)
# The paper's literal form drops nothing: its budget goes to the learning rate alone.
LITERAL_RATES = (1e-3, 2e-3, 4e-3, 8e-3)
TRAINING = TrainingConfig(
    epochs=8,
    batch_size=512,
    length_bucket_batches=64,
    negatives=1024,
    schedule="cosine",
    patience=8,
)

Build = Callable[[Trial | None], list[Trial]]


@dataclass(frozen=True)
class Entry:
    """A row of the table before it is tuned.

    Attributes:
        name: of the row.
        candidates: its settings; takes the chosen setting of `base`, if there is one.
        base: the row on whose chosen setting this one's are built.
        drawn: whether a seed changes anything.
    """

    name: str
    candidates: Build
    base: str | None = None
    drawn: bool = True


def search_space(
    training: TrainingConfig = TRAINING, shape: Mapping[str, Any] | None = None
) -> dict[str, Entry]:
    """The table: chance and popularity, neighbours and factors, then the vector models.

    Args:
        training: what all vector models share, but for the learning rate.
        shape: fields of every `VectorConfig` (dim, history_length, ...) that are to be different;
            `dim` is that of the factors too.
    """
    shape = shape or {}
    dim = {"dim": shape["dim"]} if "dim" in shape else {}

    def kept(config: Any, model: type, name: str) -> Trial:
        return Trial(name, model, config, training)

    def floor(name: str, model: type, *, drawn: bool) -> Entry:
        return Entry(name, lambda _: [kept(None, model, name)], drawn=drawn)

    def fitted(name: str, model: type, configs: Sequence[Any], *, drawn: bool) -> Entry:
        return Entry(name, lambda _: [kept(c, model, name) for c in configs], drawn=drawn)

    def vector(
        name: str,
        model: type,
        config: VectorConfig,
        *,
        field: str = "behavior_dropout",
        values: Sequence[float] = DROPOUTS,
        **losses: Any,
    ) -> Entry:
        grid = [
            Trial(
                name,
                model,
                replace(config, **{field: value}),
                replace(training, learning_rate=rate, **losses),
            )
            for rate, value in itertools.product(LEARNING_RATES, values)
        ]
        return Entry(name, lambda _: grid)

    def literal(name: str, model: type, config: VectorConfig) -> Entry:
        grid = [
            Trial(name, model, config, replace(training, learning_rate=rate))
            for rate in LITERAL_RATES
        ]
        return Entry(name, lambda _: grid)

    def one_interest(config: MINDConfig) -> MINDConfig:
        return replace(config, routing=replace(config.routing, max_interests=1))

    mind, literal_mind = MINDConfig(**shape), MINDConfig.paper(**shape)
    rows = [
        floor("Random", Random, drawn=True),
        floor("Popularity", Popularity, drawn=False),
        fitted(
            "ItemCF",
            ItemCF,
            [
                ItemCFConfig(similarity, neighbors)
                for similarity in ("cosine", "bm25")
                for neighbors in (200, 1000)
            ],
            drawn=False,
        ),
        fitted(
            "WALS",
            WALS,
            [
                WALSConfig(regularization=ridge, alpha=alpha, **dim)
                for ridge, alpha in ((30.0, 1.0), (10.0, 10.0), (1.0, 40.0), (0.01, 80.0))
            ],
            drawn=True,
        ),
        vector("YouTube DNN", YouTubeDNN, YouTubeDNNConfig(**shape)),
        vector(
            "YouTube DNN cosine",
            CosineDNN,
            CosineDNNConfig(**shape),
            field="temperature",
            values=TEMPERATURES,
        ),
        vector("MaxMF-4", MaxMF, MaxMFConfig(**shape)),
        vector("MaxMF-4 best", MaxMF, MaxMFConfig(**shape), loss="best"),
        vector("MIND-1", MIND, one_interest(mind)),
        vector("MIND-4", MIND, mind),
        vector("MIND-4 best", MIND, mind, loss="best"),
        Entry("MIND-4 REMI", _with_remi, base="MIND-4"),
        literal("YouTube DNN (paper)", YouTubeDNN, YouTubeDNNConfig.paper(**shape)),
        literal("MIND-1 (paper)", MIND, one_interest(literal_mind)),
        literal("MIND-4 (paper)", MIND, literal_mind),
        vector("ComiRec-SA", ComiRecSA, ComiRecSAConfig(**shape)),
        vector("ComiRec-DR", ComiRecDR, ComiRecDRConfig(**shape)),
        vector("SASRec", SASRec, SASRecConfig(**shape), field="dropout", values=DROPOUTS),
    ]
    return {row.name: row for row in rows}


def _with_remi(base: Trial | None) -> list[Trial]:
    """REMI's two strengths on top of what was chosen for the model without it."""
    if base is None:
        raise ValueError("MIND-4 REMI starts from the chosen setting of MIND-4; tune that first")
    return [
        replace(
            base,
            name="MIND-4 REMI",
            training=replace(base.training, hardness=hardness, routing_penalty=penalty),
        )
        for hardness, penalty in itertools.product((0.1, 1.0), (1.0, 10.0))
    ]


# Studies: one factor of a chosen setting of MIND at a time


@dataclass(frozen=True)
class Factor:
    """Fields of a MIND's configuration that belong together: one reading of the paper.

    Attributes:
        name: of the factor.
        config, routing: the fields, of `MINDConfig` and of its `RoutingConfig`.
    """

    name: str
    config: tuple[str, ...] = ()
    routing: tuple[str, ...] = ()

    def taken(self, config: MINDConfig, other: MINDConfig) -> MINDConfig:
        """`config` with these fields as `other` has them."""
        routing = {name: getattr(other.routing, name) for name in self.routing}
        fields = {name: getattr(other, name) for name in self.config}
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


def ablation(chosen: Trial) -> list[Trial]:
    """Back to the paper's form, one factor at a time, and in the end in all of them."""
    config: MINDConfig = chosen.config
    literal = _literal(config)
    rows = []
    for factor in FACTORS:
        back = factor.taken(config, literal)
        if back != config:
            rows.append(replace(chosen, name=f"{chosen.name} reverted: {factor.name}", config=back))
    if literal != config:
        rows.append(replace(chosen, name=f"{chosen.name} reverted: all", config=literal))
    return rows


def _literal(config: MINDConfig) -> MINDConfig:
    """The paper's form, of the same sizes."""
    literal = MINDConfig.paper()
    for factor in FACTORS:
        config = factor.taken(config, literal)
    return config


def _varied(name: str, values: Sequence[Any], *, routing: bool = True, **also: Any) -> Build:
    def rows(chosen: Trial | None) -> list[Trial]:
        assert chosen is not None
        config: MINDConfig = chosen.config
        found = []
        for value in values:
            fields = {name: value, **also}
            changed = {"routing": replace(config.routing, **fields)} if routing else fields
            label = f"{chosen.name} {name}={value:g}"
            found.append(replace(chosen, name=label, config=replace(config, **changed)))
        return found

    return rows


def _negatives(chosen: Trial | None) -> list[Trial]:
    assert chosen is not None
    return [
        replace(
            chosen,
            name=f"{chosen.name} negatives={number}",
            training=replace(chosen.training, negatives=number),
        )
        for number in (64, 256, 1024, 4096)
    ]


# By name: from the chosen setting to the rows. ("sigma" is that of the Gaussian initialization.)
STUDIES: dict[str, Build] = {
    "sigma": _varied("sigma", (0.1, 1.0, 5.0), initial_logits="gaussian"),
    "power": _varied("power", (0.0, 0.5, 1.0, 2.0, 5.0, math.inf), routing=False),
    "interests": _varied("max_interests", (1, 2, 4, 6, 8)),
    "iterations": _varied("iterations", (1, 2, 3, 4, 5)),
    "adaptive": _varied("adaptive", (True, False)),
    "negatives": _negatives,
    "ablation": lambda chosen: ablation(chosen) if chosen else [],
}
