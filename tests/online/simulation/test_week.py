"""The week: same people, same ranker, and a click that counts tomorrow."""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
import torch

from mindlib.data import Histories, PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig, Popularity
from mindlib.online.ranking.lists import Reranked
from mindlib.online.simulation import (
    ClickConfig,
    Experiment,
    PlantedRanker,
    SlateConfig,
    Traffic,
    run_week,
)
from mindlib.retrieval import Recommendations, Recommender
from tests.conftest import unchecked
from tests.oracle import Oracle

PAGE = SlateConfig(candidates=36, length=10)


@cache
def world():
    config = PlantedConfig(
        num_users=300, num_clusters=6, items_per_cluster=15, max_interests=3, events=(4, 12),
        num_segments=3,
    )  # fmt: skip
    return planted_interests(config, seed=0)


@cache
def split():
    return leave_last_out(world().log)


@cache
def traffic():
    # Everything that is looked at is clicked by somebody soon: many clicks, little waiting.
    config = ClickConfig(focus=0.9, own=0.6, other=0.1, drift=0.05)
    return Traffic.sample(world(), config, generator=np.random.default_rng(0))


def everyone(arms: int) -> np.ndarray:
    return np.ones((arms, world().log.num_users + 1), dtype=bool)


@dataclass
class Watched:
    """A recommender that remembers what it has seen and shown."""

    inner: Recommender
    asked: list[tuple[Histories, torch.Tensor]] = field(default_factory=list)

    def recommend(
        self, histories: Histories, n: int, *, exclude_history: bool = True
    ) -> Recommendations:
        found = self.inner.recommend(histories, n, exclude_history=exclude_history)
        self.asked.append((histories, found.items))
        return found


def pasts(histories: Histories) -> dict[int, list[int]]:
    spans = zip(
        histories.users.tolist(), histories.starts.tolist(), histories.ends.tolist(), strict=True
    )
    return {user: histories.items[start:end].tolist() for user, start, end in spans}


def test_the_next_days_history_ends_with_the_clicks():
    watched = Watched(Oracle(world()))
    ranker = PlantedRanker(world())
    week = run_week(traffic(), {"oracle": watched}, ranker, PAGE, members=everyone(1))
    log = world().log
    known = {u: log.items[log.users == u].tolist() for u in range(1, log.num_users + 1)}
    whole = Reranked(Oracle(world()), ranker, log.num_items, PAGE.candidates)
    assert len(watched.asked) == 7
    for day, (histories, _) in enumerate(watched.asked):
        assert histories.users.tolist() == np.flatnonzero(traffic().visits[day]).tolist()
        assert pasts(histories) == {user: known[user] for user in histories.users.tolist()}
        shown = whole.recommend(histories, PAGE.length).items.numpy()
        clicked = traffic().clicks(day, histories.users.numpy(), shown)
        assert week.clicks[0, day, histories.users.numpy()].tolist() == clicked.sum(1).tolist()
        for user, page, chosen in zip(histories.users.tolist(), shown, clicked, strict=True):
            assert not set(page) & set(known[user]), "no item of the history is shown"
            known[user] = known[user] + page[chosen].tolist()
    assert week.clicks.sum() > 500


def test_every_arm_retrieves_as_many_candidates_for_the_same_ranker():
    class Backwards:
        def score_lists(self, histories, items):
            return items.double()

    histories = split().test.histories
    popularity = Popularity(split().train_counts)
    num_items = world().log.num_items
    candidates = popularity.recommend(histories, PAGE.candidates).items
    watched = Watched(popularity)
    arm = {"popularity": watched}
    run_week(traffic(), arm, Backwards(), PAGE, members=everyone(1))
    assert {items.shape[1] for _, items in watched.asked} == {PAGE.candidates}
    page = Reranked(popularity, Backwards(), num_items, PAGE.candidates).recommend(histories, 5)
    assert page.items.tolist() == candidates.sort(1, descending=True).values[:, :5].tolist()


def test_an_empty_place_is_shown_to_nobody():
    class Short:
        def recommend(self, histories, n, *, exclude_history=True):
            items = torch.zeros((len(histories), n), dtype=torch.int64)
            items[:, :3] = torch.tensor([5, 6, 7])
            return Recommendations(items, torch.zeros(items.shape))

    week = run_week(
        traffic(), {"short": Short()}, PlantedRanker(world()), PAGE, members=everyone(1)
    )
    assert set(np.unique(week.impressions)) == {0, 3}
    assert (week.impressions[0] == 3 * traffic().visits).all()


def test_an_arm_alike_gets_the_same_clicks_and_another_does_not():
    arms = {"a": Oracle(world()), "b": Oracle(world()), "c": Popularity(split().train_counts)}
    week = run_week(traffic(), arms, PlantedRanker(world()), PAGE, members=everyone(3))
    np.testing.assert_array_equal(week.clicks[0], week.clicks[1])
    assert (week.clicks[0] != week.clicks[2]).any()
    assert week.clicks[0].sum() > week.clicks[2].sum()


def test_a_users_counts_do_not_depend_on_the_other_arms():
    arms = {"a": Oracle(world()), "b": Popularity(split().train_counts)}
    members = Experiment("x", tuple(arms)).members(world().log.user_ids)
    ranker = PlantedRanker(world())
    divided = run_week(traffic(), arms, ranker, PAGE, members=members)
    whole = run_week(traffic(), arms, ranker, PAGE, members=everyone(2))
    for name in ("impressions", "clicks", "searches"):
        expected = getattr(whole, name) * members[:, None, :]
        np.testing.assert_array_equal(getattr(divided, name), expected)
    assert (divided.impressions > 0).any((1, 2)).all()


def test_searches_are_the_interests_that_a_user_has():
    config = {"dim": 8, "hidden": (8,), "history_length": 8}
    generator = torch.Generator().manual_seed(0)
    arms = {
        "fixed": MIND(
            world().log,
            MINDConfig(routing=RoutingConfig(max_interests=5, adaptive=False), **config),
            generator=generator,
        ),
        "dynamic": MIND(
            world().log, MINDConfig(routing=RoutingConfig(max_interests=5), **config),
            generator=generator,
        ),
        "popularity": Popularity(split().train_counts),
    }  # fmt: skip
    week = run_week(traffic(), arms, PlantedRanker(world()), PAGE, members=everyone(3))
    assert set(np.unique(week.searches[0])) == {0, 5}
    # Eq. 9 for pasts of 4 to 7 and of 8 or more behaviours
    assert set(np.unique(week.searches[1][week.requests[1]])) <= {1, 2, 3}
    assert not week.searches[2].any()


def test_members_and_arms_must_fit():
    ranker = PlantedRanker(world())
    with pytest.raises(ValueError, match="arms is empty"):
        run_week(traffic(), {}, ranker, PAGE, members=everyone(1)[:0])
    with pytest.raises(ValueError, match=r"members has the shape \(2, 301\): expected \(1, 301\)"):
        run_week(traffic(), {"a": Oracle(world())}, ranker, PAGE, members=everyone(2))


@pytest.mark.parametrize(
    "options",
    [{"length": 0}, {"length": 30, "candidates": 20}],
)
def test_impossible_pages_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        unchecked(SlateConfig, **options)
