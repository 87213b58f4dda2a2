"""MIND trained for several p in one planted world (§3.4), and what the runs say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindlib.data.planted import PlantedConfig, PlantedWorld, planted_interests
from mindlib.data.splits import Cases, Split, leave_last_out
from mindlib.evaluation import evaluate
from mindlib.layers.attention import PowerForm
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.common.page import spread
from mindlib.lessons.n03_attention.attention_museum import Weights, wrong_interest
from mindlib.lessons.n03_attention.attention_study import Mismatch, WatchedMIND, mismatch
from mindlib.models.mind import MINDConfig
from mindlib.models.popularity import Oracle, Popularity
from mindlib.training import Fit, TrainingConfig, fit

POWERS = {"p = 0": 0.0, "p = 1": 1.0, "p = 2": 2.0, "p = 10": 10.0, "p = ∞": math.inf}
ONE_VECTOR = "K = 1"
NAMES = (*POWERS, ONE_VECTOR)
CUTOFF = 10
METRIC = f"Recall@{CUTOFF}"
BATCH_SIZE = 256


@dataclass(frozen=True)
class Trial:
    """One trained model.

    Attributes:
        model: with the weights of its best epoch on validation.
        power: p of its attention.
        fit: how the training went.
    """

    model: WatchedMIND
    power: float
    fit: Fit


Trials = dict[str, list[Trial]]


@dataclass(frozen=True)
class Laboratory:
    """What all trials share: the world, the settings, the seeds.

    Attributes:
        world: 12 clusters of 20 items.
        split: each user's last event is the test, the one before it the validation.
        epochs: passes over the training pairs, the same for every model.
        max_interests: K.
        seeds: how often each model is trained.
    """

    world: PlantedWorld
    split: Split
    epochs: int
    max_interests: int
    seeds: int

    def train(
        self,
        power: float,
        *,
        interests: int | None = None,
        form: PowerForm = "scaled",
        dim: int = 16,
    ) -> list[Trial]:
        """MIND with attention of power p, once for each seed; K interests if not told fewer."""
        k = self.max_interests if interests is None else interests
        return [self._trial(power, k, form, dim, seed) for seed in range(self.seeds)]

    def train_all(self, names: Sequence[str] = NAMES, *, dim: int = 16) -> Trials:
        """MIND for each p, and with a single vector, which leaves attention nothing to choose."""
        return {
            name: self.train(1.0, interests=1, dim=dim)
            if name == ONE_VECTOR
            else self.train(POWERS[name], dim=dim)
            for name in names
        }

    def _trial(self, power: float, interests: int, form: PowerForm, dim: int, seed: int) -> Trial:
        model = WatchedMIND(
            self.split.log,
            MINDConfig.paper(
                dim=dim,
                hidden=(32,),
                history_length=30,
                routing=RoutingConfig.paper(max_interests=interests),
                power=power,
                power_form=form,
            ),
            generator=torch.Generator().manual_seed(seed),
        )
        training = TrainingConfig.paper(
            epochs=self.epochs,
            batch_size=BATCH_SIZE,
            negatives=128,
            learning_rate=2e-2,
            monitor=METRIC,
            patience=self.epochs,  # every run has the same length
            seed=seed,
        )
        return Trial(model, power, fit(model, self.split, training, device="cpu", progress=False))

    def bounds(self, cases: Cases) -> dict[str, float]:
        """Popularity's metric, the floor, and that of the planted truth, the ceiling."""
        rivals = {"popularity": Popularity(self.split.train_counts), "oracle": Oracle(self.world)}
        return {name: evaluate(r, cases, (CUTOFF,)).means()[METRIC] for name, r in rivals.items()}


def laboratory(*, users: int, epochs: int, max_interests: int, seeds: int) -> Laboratory:
    """A planted world of `users` users, and how models are trained in it."""
    config = PlantedConfig(num_users=users, num_clusters=12, items_per_cluster=20)
    world = planted_interests(config, seed=0)
    return Laboratory(world, leave_last_out(world.log), epochs, max_interests, seeds)


def curves(trials: Trials, key: str) -> dict[str, Float[np.ndarray, "seeds epochs"]]:
    """One column of the logs, for each name."""
    return {
        name: np.array([[row[key] for row in trial.fit.log] for trial in runs])
        for name, runs in trials.items()
    }


def epochs_until(
    curve: Float[np.ndarray, "seeds epochs"], level: float
) -> Float[np.ndarray, " seeds"]:
    """When each curve first reaches a level, in epochs, on straight lines between the epochs.

    Before training a curve counts as 0. NaN where the level is never reached.
    """
    needed = []
    for run in curve:
        before = np.r_[0.0, run]
        above = np.flatnonzero(run >= level)
        if len(above):
            low, high = before[above[0]], run[above[0]]
            needed.append(above[0] + (level - low) / (high - low))
        else:
            needed.append(np.nan)
    return np.array(needed)


def by_rank(trials: Trials, kind: str) -> dict[str, Float[np.ndarray, "seeds interests"]]:
    """What the best, the second, … interest of a pair received; the mean over a run's steps.

    Args:
        kind: "weight" or "gradient".
    """
    return {
        name: torch.stack(
            [
                torch.stack([getattr(step, f"rank_{kind}") for step in trial.model.steps]).mean(0)
                for trial in trials[name]
            ]
        ).numpy()
        for name in POWERS
        if name in trials
    }


class TwoWays(NamedTuple):
    """The same models judged in training's way and in serving's; one number a seed.

    Attributes:
        attended: the metric by the vector that attention makes of the target itself.
        served: the metric by the best interest of each item.
        overtaking: the share of the other items that pass the target on the way to serving.
        overtaken: the share of the targets that are passed by at least one.
    """

    attended: Float[np.ndarray, " seeds"]
    served: Float[np.ndarray, " seeds"]
    overtaking: Float[np.ndarray, " seeds"]
    overtaken: Float[np.ndarray, " seeds"]

    @property
    def gap(self) -> Float[np.ndarray, " seeds"]:
        """Attended less served."""
        return self.attended - self.served


def both_ways(trials: Trials, cases: Cases) -> dict[str, TwoWays]:
    """How every model scores cases of one target each, in both ways."""

    def over_seeds(
        ranked: Sequence[Mismatch], value: Callable[[Mismatch], Tensor]
    ) -> Float[np.ndarray, " seeds"]:
        return np.array([float(value(m).double().mean()) for m in ranked])

    ways = {}
    for name, runs in trials.items():
        ranked = [mismatch(trial.model, cases, trial.power) for trial in runs]
        ways[name] = TwoWays(
            over_seeds(ranked, lambda m: m.attended <= CUTOFF),
            over_seeds(ranked, lambda m: m.served <= CUTOFF),
            over_seeds(ranked, lambda m: m.overtaken),
            over_seeds(ranked, lambda m: m.overtaken > 0),
        )
    return ways


def telling_case(
    scores: Float[Tensor, "cases interests"],
    active: Bool[Tensor, "cases interests"],
    world: PlantedWorld,
    cases: Cases,
) -> int:
    """The first case that shows what the printed power does to a negative score.

    The user has all K interests, the target comes from one of her true ones, and the score that is
    largest in magnitude is negative.

    Raises:
        ValueError: there is none.
    """
    users, targets = cases.histories.users.numpy(), cases.targets.numpy()
    meant = torch.from_numpy(world.interests[users, world.item_clusters[targets]])
    largest = scores.gather(1, scores.abs().argmax(1)[:, None])[:, 0]
    found = (active.all(1) & meant & (largest < 0)).nonzero()
    if not len(found):
        raise ValueError(f"none of {len(active)} cases: use more users or more epochs")
    return int(found[0])


def wrong_choices(trial: Trial, weights: Weights, cases: Cases) -> float:
    """How often other weights put the most on an interest that is not the target's best.

    Args:
        weights: see the museum; used with the p that the model was trained with.
        cases: one target each.
    """
    interests, active = trial.model.interests(cases.histories)
    labels = trial.model.item_vectors()[cases.targets]
    scores = (interests @ labels[:, :, None]).squeeze(2)
    return float(wrong_interest(weights, scores, active, trial.power))


def means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean of each, under a name that is fit for a file of metrics."""
    return {
        name.replace(" ", "").replace("∞", "inf"): float(np.mean(v)) for name, v in values.items()
    }


def against(values: Mapping[str, np.ndarray], name: str, rival: str) -> str:
    """Two models, seed by seed, in words: the difference in points, and in how many it is > 0."""
    difference = values[name] - values[rival]
    wins = int((difference > 0).sum())
    sign = "+" if difference.mean() >= 0 else ""
    return f"{sign}{spread(difference)} points, better in {wins} of {len(difference)} seeds"
