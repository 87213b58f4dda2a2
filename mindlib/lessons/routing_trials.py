"""What routing does over many draws (§3.3.2): planted users, recovery, agreement of two runs.

No training here: every function routes behaviours whose clusters are known, so that a reading of
the paper can be judged by what it recovers, with an interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from mindlib.data.planted import PlantedWorld
from mindlib.data.splits import Split
from mindlib.evaluation import evaluate, interest_cosine, recovered_interests, routing_entropy
from mindlib.layers.routing import (
    B2IRouting,
    Capsules,
    RoutingConfig,
    SoftmaxOver,
    coupling,
    gaussian_logits,
    num_interests,
    squash,
)
from mindlib.models.mind import MIND, MINDConfig
from mindlib.training import TrainingConfig, fit


class PlantedUsers(NamedTuple):
    """Users with the same number of behaviours, cluster by cluster.

    Attributes:
        behaviors: e_i; each has the same length, the scale.
        clusters: the planted interest that each behaviour belongs to.
        items: an id for each behaviour, no two alike (for `gaussian_logits`).
    """

    behaviors: Float[Tensor, "users length dim"]
    clusters: Int[Tensor, "users length"]
    items: Int[Tensor, "users length"]

    @property
    def mask(self) -> Bool[Tensor, "users length"]:
        """All places hold a behaviour."""
        return torch.ones_like(self.items, dtype=torch.bool)

    def reordered(self, order: Int[Tensor, "users length"]) -> PlantedUsers:
        """Each user's behaviours in another order."""
        by_vector = order[:, :, None].expand_as(self.behaviors)
        return PlantedUsers(
            self.behaviors.gather(1, by_vector),
            self.clusters.gather(1, order),
            self.items.gather(1, order),
        )

    def shuffled(self, generator: torch.Generator) -> PlantedUsers:
        """Each user's behaviours in a random order of her own."""
        return self.reordered(torch.rand(self.items.shape, generator=generator).argsort(1))


def planted_users(
    users: int,
    *,
    clusters: int = 3,
    per_cluster: int = 7,
    dim: int = 16,
    scale: float = 4.0,
    noise: float = 0.5,
    generator: torch.Generator,
) -> PlantedUsers:
    """Users with one interest in each of some clusters, drawn anew for each user.

    Args:
        scale: the length of every embedding, |e_i|.
        noise: how far an item strays from its cluster's direction (0: not at all).
    """
    centers = torch.randn(users, clusters, 1, dim, generator=generator)
    strays = torch.randn(users, clusters, per_cluster, dim, generator=generator) * dim**-0.5
    directions = torch.nn.functional.normalize(centers, dim=3) + noise * strays
    behaviors = scale * torch.nn.functional.normalize(directions, dim=3)
    number = clusters * per_cluster
    return PlantedUsers(
        behaviors.flatten(1, 2),
        torch.arange(clusters).repeat_interleave(per_cluster).expand(users, -1),
        1 + torch.arange(users * number).reshape(users, number),
    )


def random_logits(
    users: PlantedUsers, max_interests: int, sigma: float, generator: torch.Generator
) -> Float[Tensor, "users interests length"]:
    """Initial logits as the paper draws them: N(0, sigma²), anew at every call."""
    number, length = users.items.shape
    return sigma * torch.randn(number, max_interests, length, generator=generator)


def routing_with(
    bilinear_map: Float[Tensor, "dim dim"], config: RoutingConfig, **changes: object
) -> B2IRouting:
    """mindlib's routing with a given S, and with some fields of the configuration changed."""
    module = B2IRouting(
        len(bilinear_map),
        replace(config, **changes),  # pyright: ignore[reportArgumentType]
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        module.bilinear_map.copy_(bilinear_map)
    return module


@torch.no_grad()
def route_users(
    users: PlantedUsers,
    config: RoutingConfig,
    logits: Float[Tensor, "users interests length"],
) -> Capsules:
    """Routing with S = I. (Any rotation as S would give the same coupling.)"""
    module = routing_with(torch.eye(users.behaviors.shape[2]), config)
    return module(users.behaviors, users.mask, logits)


def recovered_clusters(
    weights: Float[Tensor, "users interests length"], clusters: Int[Tensor, "users length"]
) -> Bool[Tensor, "users clusters"]:
    """Which planted interests were found: some interest draws more than half its weight from it.

    It does not matter which axis the softmax ran over, nor how long the interest vectors are.
    """
    member = torch.nn.functional.one_hot(clusters).to(weights.dtype)
    total = weights.sum(2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return ((weights @ member) / total > 0.5).any(1)


class Estimate(NamedTuple):
    """A number measured over draws, with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def percent(self) -> str:
        """The same in percent, without decimals."""
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%})"


def share(happened: Bool[Tensor, " draws"]) -> Estimate:
    """How often something happened, with Wilson's interval."""
    count = int(happened.sum())
    interval = stats.binomtest(count, len(happened)).proportion_ci(method="wilson")
    return Estimate(count / len(happened), float(interval.low), float(interval.high))


def average(values: Float[Tensor, " draws"]) -> Estimate:
    """The mean over draws, with Student's interval.

    Raises:
        ValueError: fewer than two draws.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} draw: an interval needs at least two")
    mean = float(values.mean())
    error = float(values.std(correction=1)) / len(values) ** 0.5
    reach = float(stats.t(df=len(values) - 1).ppf(0.975)) * error
    return Estimate(mean, mean - reach, mean + reach)


def recovery(
    users: PlantedUsers, config: RoutingConfig, logits: Float[Tensor, "users interests length"]
) -> Estimate:
    """How often routing finds *all* planted interests of a user."""
    weights = route_users(users, config, logits).coupling
    return share(recovered_clusters(weights, users.clusters).all(1))


def best_match(
    a: Float[Tensor, "users interests dim"],
    b: Float[Tensor, "users interests dim"],
    active: Bool[Tensor, "users interests"],
) -> Float[Tensor, " users"]:
    """How alike two sets of interests are: each one's cosine with its best match, averaged.

    1 if one set is the other in whatever order. Both directions count, so that no interest of
    either set goes unasked.
    """
    unit_a = torch.nn.functional.normalize(a, dim=2)
    unit_b = torch.nn.functional.normalize(b, dim=2)
    cosine = unit_a @ unit_b.transpose(1, 2)
    both = active[:, :, None] & active[:, None, :]
    cosine = cosine.masked_fill(~both, -torch.inf)
    best = torch.stack([cosine.amax(2), cosine.amax(1)])
    return best.masked_fill(~active, 0).sum((0, 2)) / (2 * active.sum(1))


class Grid(NamedTuple):
    """Recovery over a grid: for each row (sigma, or axis) an estimate at each scale."""

    scales: list[float]
    rows: dict[str, list[Estimate]]


def recovery_by_scale(
    scales: Iterable[float],
    configs: dict[str, RoutingConfig],
    *,
    draws: int,
    seed: int,
) -> Grid:
    """Recovery of planted interests as the embeddings grow, the same users for every row."""
    scales = list(scales)
    rows: dict[str, list[Estimate]] = {name: [] for name in configs}
    for scale in scales:
        generator = torch.Generator().manual_seed(seed)
        users = planted_users(draws, scale=scale, generator=generator)
        state = generator.get_state()
        for name, config in configs.items():
            generator.set_state(state)
            logits = random_logits(users, config.max_interests, config.sigma, generator)
            rows[name].append(recovery(users, config, logits))
    return Grid(scales, rows)


def initial_logits(
    kind: str,
    items: Int[Tensor, "users length"],
    config: RoutingConfig,
    generator: torch.Generator,
) -> Float[Tensor, "users interests length"]:
    """The field's ways to start routing: "redrawn", "by position" or "by item".

    Args:
        kind: redrawn at every call; one draw for each position of the window, kept for ever and
            shared by all users; or derived from the item, as mindlib does in evaluation.
    """
    shape = (len(items), config.max_interests, items.shape[1])
    if kind == "redrawn":
        return config.sigma * torch.randn(shape, generator=generator)
    if kind == "by position":
        fixed = torch.randn(shape[1:], generator=torch.Generator().manual_seed(1))
        return (config.sigma * fixed).expand(shape)
    if kind == "by item":
        return gaussian_logits(items, config.max_interests, sigma=config.sigma, seed=1)
    raise ValueError(f"kind={kind!r}: expected 'redrawn', 'by position' or 'by item'")


def reproducibility(
    kind: str, users: PlantedUsers, config: RoutingConfig, *, seed: int
) -> dict[str, Estimate]:
    """How alike a user's interests are at a second request, in three situations.

    Returns:
        the best-match cosine for "same history", "other order" (the same behaviours permuted) and
        "one step later" (the oldest behaviour has left the window, the first one's repeat came in).
    """
    generator = torch.Generator().manual_seed(seed)
    length = users.items.shape[1]
    order = torch.randperm(length, generator=generator)
    later = torch.arange(1, length + 1) % length
    first = route_users(users, config, initial_logits(kind, users.items, config, generator))
    values = {}
    for name, places in {
        "same history": torch.arange(length),
        "other order": order,
        "one step later": later,
    }.items():
        again = users.reordered(places.expand_as(users.items))
        logits = initial_logits(kind, again.items, config, generator)
        second = route_users(again, config, logits)
        values[name] = average(best_match(first.vectors, second.vectors, first.active))
    return values


class Saving(NamedTuple):
    """What Eq. 9 saves against K interests for everybody.

    Attributes:
        max_interests: K.
        mean: the average K'_u.
        searches: the share of the retrieval searches (and of the stored vectors) saved.
        routing: the share of routing's multiplications saved, which grow with K'_u times the
            number of behaviours.
    """

    max_interests: int
    mean: float
    searches: float
    routing: float


def saving(lengths: Int[Tensor, " users"], max_interests: int) -> Saving:
    """The saving over a distribution of history lengths, as far as routing sees them."""
    number = num_interests(lengths, max_interests).double()
    size = lengths.double()
    return Saving(
        max_interests,
        float(number.mean()),
        float(1 - number.mean() / max_interests),
        float(1 - (number * size).sum() / (max_interests * size.sum())),
    )


def gradient_cosines(
    users: PlantedUsers,
    config: RoutingConfig,
    logits: Float[Tensor, "users interests length"],
    *,
    generator: torch.Generator,
) -> Float[Tensor, " users"]:
    """For each user: how alike are the gradients of S, through the last sum and through all?

    The loss is the inner product of the interest that likes a random label most with that label.
    """
    dim = users.behaviors.shape[2]
    labels = torch.nn.functional.normalize(
        torch.randn(len(users.items), dim, generator=generator), dim=1
    )
    last = routing_with(torch.eye(dim), config, gradient="last")
    every = routing_with(torch.eye(dim), config, gradient="all")
    cosines = []
    for user in range(len(users.items)):
        one = slice(user, user + 1)
        gradients = []
        for module in (last, every):
            interests = module(users.behaviors[one], users.mask[one], logits[one]).vectors
            score = (interests @ labels[one, :, None]).amax()
            (gradient,) = torch.autograd.grad(score, [module.bilinear_map])
            gradients.append(gradient.flatten())
        cosines.append(torch.nn.functional.cosine_similarity(*gradients, dim=0))
    return torch.stack(cosines)


def recovery_from(
    kind: str, users: PlantedUsers, config: RoutingConfig, generator: torch.Generator
) -> Estimate:
    """Recovery with one of the ways to start (see `initial_logits`).

    Each user's behaviours come in an order of her own: in the order of the clusters, logits by
    position would give all users the luck of the one draw.
    """
    users = users.shuffled(generator)
    logits = initial_logits(kind, users.items, config, generator)
    return recovery(users, config, logits)


def route_padded(
    users: PlantedUsers,
    logits: Float[Tensor, "users interests length"],
    padding: int,
    *,
    softmax_over: SoftmaxOver,
    mask_first: bool,
    iterations: int = 3,
) -> tuple[Float[Tensor, "users interests dim"], Float[Tensor, "users interests length"]]:
    """Interests and coupling in a window with unused places, S = I.

    Args:
        padding: the number of unused places.
        mask_first: mask before the softmax, or only after it.

    Returns:
        the interests, and the coupling of the behaviours that there are.
    """
    behaviors = torch.nn.functional.pad(users.behaviors, (0, 0, 0, padding))
    mask = torch.nn.functional.pad(users.mask, (0, padding))[:, None, :]
    logits = torch.nn.functional.pad(logits, (0, padding))
    weights, interests = logits, logits @ behaviors
    for _ in range(iterations):
        if mask_first:
            weights = coupling(logits, ~mask.expand_as(logits), softmax_over)
        else:
            weights = logits.softmax(1 if softmax_over == "interests" else 2) * mask
        interests = squash(weights @ behaviors)
        logits = logits + interests @ behaviors.transpose(1, 2)
    return interests, weights[:, :, : users.items.shape[1]]


class Diagnosis(NamedTuple):
    """A population's two thermometers.

    Attributes:
        capsules: what routing made of each user.
        cosine: between interests; near 1 is interest collapse.
        entropy: of the weights; near 0 is routing collapse.
    """

    capsules: Capsules
    cosine: Estimate
    entropy: Estimate


def diagnose(config: RoutingConfig, *, scale: float, draws: int, seed: int) -> Diagnosis:
    """Route planted users with embeddings of a given length, and take both temperatures."""
    generator = torch.Generator().manual_seed(seed)
    users = planted_users(draws, scale=scale, generator=generator)
    logits = random_logits(users, config.max_interests, config.sigma, generator)
    capsules = route_users(users, config, logits)
    return Diagnosis(
        capsules,
        average(interest_cosine(capsules.vectors, capsules.active)),
        average(routing_entropy(capsules.coupling, capsules.active)),
    )


class Trained(NamedTuple):
    """A reading of the paper, trained with several seeds.

    Attributes:
        hits: for each test user HitRate@10, averaged over the seeds.
        found: for each test user the share of planted interests found, averaged over the seeds.
        by_seed: for each seed the means of both.
        epochs: the epoch that validation chose, for each seed.
        seconds: training time of an epoch, averaged.
        models: the trained models.
    """

    hits: Float[Tensor, " users"]
    found: Float[Tensor, " users"]
    by_seed: list[tuple[float, float]]
    epochs: list[int]
    seconds: float
    models: list[MIND]


def train_reading(
    world: PlantedWorld, split: Split, config: MINDConfig, training: TrainingConfig, *, seeds: int
) -> Trained:
    """Train MIND in a planted world, and ask what it retrieves and which interests it finds."""
    hits, found, epochs, seconds, models = [], [], [], [], []
    for seed in range(seeds):
        model = MIND(split.log, config, generator=torch.Generator().manual_seed(seed))
        how = fit(model, split, replace(training, seed=seed), progress=False)
        hits.append(evaluate(model, split.test, (10,)).values["HitRate@10"])
        found.append(recovered_interests(model, world, split.test.histories).to(torch.float64))
        epochs.append(how.best_epoch)
        seconds += [row["seconds"] for row in how.log]
        models.append(model)
    return Trained(
        torch.stack(hits).mean(0),
        torch.stack(found).mean(0),
        [(float(h.mean()), float(f.mean())) for h, f in zip(hits, found, strict=True)],
        epochs,
        sum(seconds) / len(seconds),
        models,
    )
