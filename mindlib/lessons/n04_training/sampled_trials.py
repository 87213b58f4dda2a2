"""What negatives do to the lists: MIND trained in a planted world, setting by setting (§3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.splits import Split, leave_last_out
from mindlib.evaluation import evaluate, mean_estimate
from mindlib.layers.routing import RoutingConfig
from mindlib.models.mind import MIND, MINDConfig
from mindlib.models.popularity import Oracle, Popularity
from mindlib.training import TrainingConfig, batches, make_optimizers, training_step
from mindlib.training.sampled_softmax import (
    NegativeSampler,
    proposal_probabilities,
    target_probabilities,
)

CUTOFF = 10
METRIC = f"HitRate@{CUTOFF}"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """One way to train.

    Attributes:
        name: for tables.
        training: the configuration; `epochs` and `seed` are the laboratory's.
        mistaken: correct the batch's items as though they had been drawn from the proposal.
        passes: how many times as often as the others it goes through the pairs.
    """

    name: str
    training: TrainingConfig
    mistaken: bool = False
    passes: int = 1


BASE = TrainingConfig.paper(batch_size=256, negatives=128, learning_rate=2e-2, monitor=METRIC)


def settings() -> dict[str, list[Setting]]:
    """What is compared: one thing at a time, and the usual setting in each group."""

    def made(name: str, *, mistaken: bool = False, passes: int = 1, **changes: Any) -> Setting:
        return Setting(name, replace(BASE, **changes), mistaken, passes)

    return {
        "number of negatives": [made(f"n = {n}", negatives=n) for n in (4, 16, 128, 512)],
        "where they come from": [
            made("uniform"),
            made("popularity", proposal="popularity"),
            made("popularity, no logQ", proposal="popularity", logq=False),
            made("uniform + batch", in_batch=True),
            made("uniform + batch, wrong logQ", in_batch=True, mistaken=True),
        ],
        "batch size": [
            *(made(f"B = {size}", batch_size=size) for size in (64, 256, 1024)),
            made("B = 1024, 4 × the passes", batch_size=1024, passes=4),
        ],
    }


class MistakenSampler(NegativeSampler):
    """Takes the batch's items for drawn ones: log((n + batch - 1) q) for all."""

    def add_in_batch(
        self, sampled: Int[Tensor, " n"], in_batch: Int[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " n_plus_batch"], Float[Tensor, " n_plus_batch"]]:
        """See `NegativeSampler.add_in_batch`."""
        ids = torch.cat([sampled, in_batch])
        return ids, self._log_q[ids - 1] + float(np.log(len(ids) - 1))


@dataclass(frozen=True)
class Laboratory:
    """What all trials share.

    Attributes:
        world: 16 clusters of 40 items, popular ones among them.
        split: each user's last event is the test, the one before it the validation.
        epochs: passes over the training pairs.
        seeds: how often each setting is trained.
    """

    world: PlantedWorld
    split: Split
    epochs: int
    seeds: int

    def model(self, seed: int, *, max_interests: int = 4) -> MIND:
        """An untrained MIND."""
        config = MINDConfig.paper(
            dim=16,
            hidden=(32,),
            history_length=30,
            routing=RoutingConfig.paper(max_interests=max_interests),
        )
        return MIND(self.split.log, config, generator=torch.Generator().manual_seed(seed))

    def trial(self, setting: Setting, seed: int) -> float:
        """The validation metric after the last epoch."""
        config = replace(setting.training, seed=seed)
        model, split = self.model(seed), self.split
        kind = MistakenSampler if setting.mistaken else NegativeSampler
        q = proposal_probabilities(config.proposal, split.train_counts, config.alpha)
        sampler = kind(q, CPU, target_probabilities(split.train) if config.in_batch else None)
        optimizers = make_optimizers(model, model.items.weight, config.learning_rate)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(setting.passes * self.epochs):
            for batch in batches(split.train, config.batch_size, generator):
                training_step(model, batch, sampler, config, generator)
                for optimizer in optimizers:
                    optimizer.step()
        model.eval()
        return evaluate(model, split.validation, (CUTOFF,)).means()[METRIC]

    def run(
        self, groups: Mapping[str, Sequence[Setting]]
    ) -> dict[str, dict[str, Float[np.ndarray, " seeds"]]]:
        """Every setting with every seed; what stands in two groups is trained once."""
        known: dict[object, Float[np.ndarray, " seeds"]] = {}
        for setting in (setting for group in groups.values() for setting in group):
            what = replace(setting, name="")
            if what not in known:
                known[what] = np.array([self.trial(setting, seed) for seed in range(self.seeds)])
        return {
            title: {setting.name: known[replace(setting, name="")] for setting in group}
            for title, group in groups.items()
        }

    def bounds(self) -> dict[str, float]:
        """The floor, popularity, and the ceiling, the planted truth."""
        rivals = {"popularity": Popularity(self.split.train_counts), "oracle": Oracle(self.world)}
        cases = self.split.validation
        return {name: evaluate(r, cases, (CUTOFF,)).means()[METRIC] for name, r in rivals.items()}


def lead(a: Float[np.ndarray, " seeds"], b: Float[np.ndarray, " seeds"]) -> tuple[str, str]:
    """How far a is ahead of b in points: seed by seed, and the mean with its interval."""
    points = 100 * (a - b)
    each = ", ".join(f"{x:+.1f}" for x in points)
    if len(points) < 2:
        return each, f"{points[0]:+.1f} (one seed)"
    mean = mean_estimate(torch.from_numpy(points))
    return each, f"{mean.value:+.1f} ({mean.low:+.1f} to {mean.high:+.1f})"


def laboratory(*, users: int, epochs: int, seeds: int) -> Laboratory:
    """A planted world whose items differ in popularity, and how models are trained in it."""
    config = PlantedConfig(
        num_users=users, num_clusters=16, items_per_cluster=40, num_segments=4, popularity=1.0
    )
    world = planted_interests(config, seed=0)
    return Laboratory(world, leave_last_out(world.log), epochs, seeds)
