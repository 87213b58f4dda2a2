"""Small models trained in a planted world: hits, and two ways in which an interest can be found.

*Found* asks where an interest's weights come from, as in the trials without training. *Served*
asks what an interest's vector retrieves. A model that does not route has even weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mindlib.data.histories import Histories
from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.splits import Split, leave_last_out
from mindlib.evaluation import compare, evaluate, recovered_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n02_b2i.pooled import Pooled, PooledConfig
from mindlib.models.mind import MIND, MINDConfig
from mindlib.models.vector_model import VectorModel
from mindlib.training import TrainingConfig, fit

Build = Callable[[torch.Generator], VectorModel]


SMALL: dict[str, Any] = {"dim": 32, "hidden": (64,), "history_length": 30}


def small_world() -> tuple[PlantedWorld, Split]:
    """Users with one to four interests of twelve; one event in ten is noise."""
    config = PlantedConfig(
        num_users=600, num_clusters=12, items_per_cluster=30, num_segments=4, events=(12, 30)
    )
    world = planted_interests(config, seed=0)
    return world, leave_last_out(world.log)


def small_training(epochs: int) -> TrainingConfig:
    """How every model of the study is trained."""
    return TrainingConfig.paper(
        epochs=epochs, batch_size=512, negatives=256, proposal="popularity",
        learning_rate=1e-2, monitor="Recall@10", patience=6,
    )  # fmt: skip


def mind_builders(split: Split, readings: Mapping[str, Mapping[str, Any]]) -> dict[str, Build]:
    """A small MIND for each reading, given by the fields of `RoutingConfig` that it changes."""
    configs = {
        n: MINDConfig.paper(**SMALL, routing=RoutingConfig.paper(**o)) for n, o in readings.items()
    }
    return {n: lambda g, c=c: MIND(split.log, c, generator=g) for n, c in configs.items()}


def pooled_builders(split: Split, steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Build]:
    """A small model with one vector for each step, given by the fields of `PooledConfig`."""
    configs = {n: PooledConfig.paper(**SMALL, **o) for n, o in steps.items()}
    return {n: lambda g, c=c: Pooled(split.log, c, generator=g) for n, c in configs.items()}


class Trained(NamedTuple):
    """A model, trained with several seeds.

    Attributes:
        hits, served, found: for each seed and each test user HitRate@10, and the share of her
            planted interests that the model serves and has found.
        epochs: the epoch that validation chose, for each seed.
        models: the trained models.
    """

    hits: Float[Tensor, "seeds users"]
    served: Float[Tensor, "seeds users"]
    found: Float[Tensor, "seeds users"]
    epochs: list[int]
    models: list[VectorModel]

    def by_seed(self, what: str) -> list[float]:
        """The mean of `hits`, `served` or `found` for each seed."""
        return getattr(self, what).mean(1).tolist()

    def mean(self, what: str) -> float:
        """The mean of `hits`, `served` or `found` over users and seeds."""
        return float(getattr(self, what).mean())


def train_with_seeds(
    world: PlantedWorld, split: Split, build: Build, training: TrainingConfig, *, seeds: int
) -> Trained:
    """Train a model in a planted world with seeds 0..seeds - 1, and judge it on the test users."""
    hits, served, found, epochs, models = [], [], [], [], []
    for seed in range(seeds):
        model = build(torch.Generator().manual_seed(seed))
        how = fit(model, split, replace(training, seed=seed), progress=False)
        hits.append(evaluate(model, split.test, (10,)).values["HitRate@10"])
        served.append(recovered_interests(model, world, split.test.histories).double())
        found.append(found_by_weights(model, world, split.test.histories).double())
        epochs.append(how.best_epoch)
        models.append(model)
    return Trained(
        torch.stack(hits), torch.stack(served), torch.stack(found),
        epochs, models,
    )  # fmt: skip


def found_by_weights(
    model: VectorModel, world: PlantedWorld, histories: Histories
) -> Float[Tensor, " users"]:
    """The share of each user's planted interests that give some vector over half its weight.

    A model without coupling draws on all behaviours alike.
    """
    history = histories.window(model.history_length)
    clusters = torch.from_numpy(world.item_clusters)[history.items].clamp(min=0)
    member = torch.nn.functional.one_hot(clusters, world.interests.shape[1]).float()
    weights = model.encode_histories(histories).coupling
    if weights is None:
        weights = history.mask[:, None, :].float()
    total = weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    found = ((weights @ member) / total > 0.5).any(1)
    truth = torch.from_numpy(world.interests)[histories.users]
    return (found & truth).sum(1) / truth.sum(1)


class Difference(NamedTuple):
    """One model against another on the same users.

    Attributes:
        value, low, high: the mean difference, each user averaged over the seeds, with its paired
            95 % interval over users.
        by_seed: the mean difference for each seed.
    """

    value: float
    low: float
    high: float
    by_seed: list[float]

    @property
    def verdict(self) -> str:
        """In words: what the interval says, and whether every seed says so."""
        if self.low <= 0 <= self.high:
            return "not clearly different"
        same = sum((d > 0) == (self.value > 0) for d in self.by_seed)
        word = "better" if self.value > 0 else "worse"
        return f"{word}, in {same} of {len(self.by_seed)} seeds"

    def points(self, digits: int) -> str:
        """In percentage points: the mean with its interval."""
        value, low, high = (f"{100 * v:+.{digits}f}" for v in self[:3])
        return f"{value} ({low} to {high})"


def difference(a: Trained, b: Trained, what: str) -> Difference:
    """How far a is above b in `hits`, `served` or `found`."""
    first, second = getattr(a, what), getattr(b, what)
    paired = compare(first.mean(0), second.mean(0))
    by_seed = (first.mean(1) - second.mean(1)).tolist()
    return Difference(paired.value, paired.low, paired.high, by_seed)


class Geometry(NamedTuple):
    """Where a model's mapped behaviours S e_i lie.

    Attributes:
        length: their mean length, over the behaviours of the histories.
        inside, across: the mean cosine of two items of one cluster, and of two clusters.
    """

    length: float
    inside: float
    across: float


@torch.no_grad()
def geometry(model: MIND, world: PlantedWorld, histories: Histories) -> Geometry:
    """The three numbers that decide what routing can do with a model's embeddings."""
    mapped = model.item_vectors() @ model.routing.bilinear_map.T
    length = mapped[histories.pairs()[1]].norm(dim=1).mean()
    unit = torch.nn.functional.normalize(mapped[1:], dim=1)
    clusters = torch.from_numpy(world.item_clusters[1:])
    same = clusters[:, None] == clusters
    others = ~torch.eye(len(unit), dtype=torch.bool)
    cosine = unit @ unit.T
    return Geometry(float(length), float(cosine[same & others].mean()), float(cosine[~same].mean()))


def row(trained: Trained, default: Trained, length: float | None) -> list[str]:
    """A line of the table of readings, see `HEAD`; without differences for Algorithm 1 itself."""
    cells = [" · ".join(f"{h:.1%}" for h in trained.by_seed("hits"))]
    for what, digits in (("hits", 1), ("found", 0), ("served", 0)):
        if what != "hits":
            cells.append(f"{trained.mean(what):.0%}")
        same = trained is default
        cells.append("–" if same else difference(trained, default, what).points(digits))
    cells.append("–" if length is None else f"{length:.1f}")
    return [*cells, " · ".join(map(str, trained.epochs))]


HEAD = (
    "reading", "HitRate@10, each seed", "against Algorithm 1, points", "found",
    "against Algorithm 1", "served", "against Algorithm 1", "length of S e", "epoch kept",
)  # fmt: skip
