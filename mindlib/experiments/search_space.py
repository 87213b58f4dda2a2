"""What is compared (§4): the candidates of every model, and studies of MIND.

Each tuned model has `BUDGET` candidates, among which the validation cases choose (see
`mindlib.experiments.tuning`). The budget is spent on what the models have in common: the learning
rate and the dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from operator import attrgetter
from typing import Any

from mindlib.experiments.trial import Trial
from mindlib.layers.routing import RoutingConfig
from mindlib.models import (
    MIND,
    WALS,
    ComiRecDR,
    ComiRecSA,
    ItemCF,
    ItemCFConfig,
    MaxMF,
    MINDConfig,
    Popularity,
    Random,
    SASRec,
    WALSConfig,
    YouTubeDNN,
)
from mindlib.models.vector_model import VectorConfig, VectorModel
from mindlib.training import TrainingConfig

BUDGET = 8
LOWEST_RATE = 2e-3
DROPOUTS = (0.2, 0.5)
TRAINING = TrainingConfig(
    epochs=8,
    batch_size=512,
    length_bucket_batches=64,
    negatives=1024,
    schedule="cosine",
    patience=8,
)


def search_space(
    training: TrainingConfig = TRAINING,
    shape: Mapping[str, Any] | None = None,
    lowest_rate: float = LOWEST_RATE,
) -> dict[str, list[Trial]]:
    """Return the candidates of each row of the table: baselines first, then the vector models.

    Args:
        training: shared by all vector models, apart from the learning rate and the loss.
        shape: fields of every `VectorConfig` (dim, history_length, ...) to replace; `dim` applies
            to the factors too.
        lowest_rate: the lowest of four learning rates, each twice the one before. The paper's form
            has no dropout, so its whole budget goes to eight rates, from a quarter of this one.
    """
    shape = shape or {}
    learning_rates = [lowest_rate * 2**k for k in range(4)]
    paper_rates = [lowest_rate * 2**k for k in range(-2, 6)]
    dim = {"dim": shape["dim"]} if "dim" in shape else {}

    def row(
        name: str,
        model: type,
        configs: Sequence[Any] = (None,),
        rates: Sequence[float] = learning_rates,
        **changes: Any,
    ) -> list[Trial]:
        return [
            Trial(name, model, config, replace(training, learning_rate=rate, **changes))
            for rate, config in product(rates, configs)
        ]

    def vary(
        model: type[VectorModel],
        field: str = "behavior_dropout",
        **changes: Any,
    ) -> list[VectorConfig]:
        config = model.config_class(**shape, **changes)
        return [replace(config, **{field: value}) for value in DROPOUTS]

    default, one_interest = (training.learning_rate,), RoutingConfig(max_interests=1)
    paper_dnn, paper_mind = YouTubeDNN.config_class.paper(**shape), MINDConfig.paper(**shape)
    paper_mind_1 = replace(paper_mind, routing=RoutingConfig.paper(max_interests=1))
    item_cf = [ItemCFConfig(s, n) for s, n in product(("cosine", "bm25"), (200, 500, 1000, 3000))]
    ridges = (
        (100.0, 1.0), (30.0, 1.0), (10.0, 1.0), (30.0, 10.0),
        (10.0, 10.0), (1.0, 40.0), (0.01, 80.0), (0.01, 160.0),
    )  # fmt: skip
    wals = [WALSConfig(regularization=r, alpha=a, **dim) for r, a in ridges]
    rows = [
        row("Random", Random, rates=default),
        row("Popularity", Popularity, rates=default),
        row("ItemCF", ItemCF, item_cf, default),
        row("WALS", WALS, wals, default),
        row("YouTube DNN", YouTubeDNN, vary(YouTubeDNN)),
        row("MaxMF-4", MaxMF, vary(MaxMF)),
        row("MIND-1", MIND, vary(MIND, routing=one_interest)),
        row("MIND-4", MIND, vary(MIND)),
        row("MIND-4, Eq. 10", MIND, vary(MIND), loss="label"),
        row("MIND-4, shrinkage", MIND, vary(MIND, routing=RoutingConfig(shrinkage=True))),
        row("MIND-1, recency", MIND, vary(MIND, routing=one_interest, recency=True)),
        row("MIND-4, recency", MIND, vary(MIND, recency=True)),
        row("YouTube DNN (paper)", YouTubeDNN, [paper_dnn], paper_rates),
        row("MIND-1 (paper)", MIND, [paper_mind_1], paper_rates, loss="label"),
        row("MIND-4 (paper)", MIND, [paper_mind], paper_rates, loss="label"),
        row("ComiRec-SA", ComiRecSA, vary(ComiRecSA)),
        row("ComiRec-SA, no positions", ComiRecSA, vary(ComiRecSA, positions=False)),
        row("ComiRec-DR", ComiRecDR, vary(ComiRecDR)),
        row("SASRec", SASRec, vary(SASRec, "dropout")),
    ]
    return {candidates[0].name: candidates for candidates in rows}


# The differences between the tuned and the paper's configuration: for each the fields of
# `MINDConfig` that make it up, in the order in which they are replaced ("mean" pooling does not
# allow title words).
FACTORS: dict[str, tuple[str, ...]] = {
    "mean pooling of item fields": ("title_words", "pooling", "id_scale"),
    "no title words": ("title_words",),
    "full id scale": ("id_scale",),
    "ReLU head": ("head",),
    "no dropout": ("behavior_dropout",),
    "soft attention": ("power",),
    "Gaussian initialization": ("routing.initial_logits",),
    "dot-product agreement": ("routing.agreement", "routing.inverse_temperature"),
    "squashed capsules": ("routing.capsule",),
    "random bilinear map": ("routing.identity_map",),
    "gradient of the last iteration": ("routing.gradient",),
}


def ablation(base: Trial) -> list[Trial]:
    """Give one factor at a time the values of the paper's configuration, and in the end all."""
    paper, found = MINDConfig.paper(), []
    every = tuple(field for fields in FACTORS.values() for field in fields)
    for name, fields in {**FACTORS, "all": every}.items():
        config = base.config
        for field in fields:
            config = _replaced(config, field, attrgetter(field)(paper))
        if config != base.config:
            found.append(replace(base, name=f"{base.name} reverted: {name}", config=config))
    return found


def _study(path: str, *values: Any, **routing: Any) -> Callable[[Trial], list[Trial]]:
    """Vary a field of a trial; `routing` are fields of the routing that every variant replaces."""

    def trials(base: Trial) -> list[Trial]:
        for field, value in routing.items():
            base = _replaced(base, f"config.routing.{field}", value)
        name = path.rpartition(".")[2]
        return [
            replace(_replaced(base, path, value), name=f"{base.name} {name}={value:g}")
            for value in values
        ]

    return trials


def _replaced(value: Any, path: str, new: Any) -> Any:
    """Replace a field of nested dataclasses, such as "config.routing.sigma" of a trial."""
    name, _, rest = path.partition(".")
    return replace(value, **{name: _replaced(getattr(value, name), rest, new) if rest else new})


# Studies by name: each takes the chosen trial of a MIND and changes one factor. (The study of sigma
# needs the Gaussian initialization, which the default does not use.)
STUDIES: dict[str, Callable[[Trial], list[Trial]]] = {
    "sigma": _study("config.routing.sigma", 0.1, 1.0, 5.0, initial_logits="gaussian"),
    "power": _study("config.power", 0.0, 1.0, math.inf),
    "interests": _study("config.routing.max_interests", 1, 2, 4, 8),
    "iterations": _study("config.routing.iterations", 1, 3, 5),
    "adaptive": _study("config.routing.adaptive", True, False),
    "ablation": ablation,
}
