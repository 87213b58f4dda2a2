"""The shop of notebook 06, in small: a request by hand is what the platform answers."""

from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock, patch

import numpy as np
import pytest
import torch

from mindlib.data import PlantedConfig
from mindlib.lessons.n06_online import deployment
from mindlib.models import Popularity
from mindlib.online.ranking import RankingConfig, evaluate_ranker
from mindlib.online.ranking.lists import build_candidate_lists
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.slate import Fallback, Slate
from mindlib.training import TrainingConfig
from tests.online.serving.world import LOG, SPLIT, WORLD

pytestmark = pytest.mark.slow


def numbers(platform, user):
    bundle = platform.bundle
    behaviors = np.array(bundle.catalogue.encode_items(platform.store.recent(user, 2000)))
    return behaviors, np.array(bundle.catalogue.encode_profile(platform.store.profile(user)))


def test_the_walk_by_hand_is_what_the_platform_answers(platform):
    for user in platform.store.users(5):
        step = deployment.walk(platform.bundle, *numbers(platform, user), 20)
        answer = platform.recommend(user, 20)
        ids = platform.bundle.catalogue.item_ids
        assert answer.items == tuple(ids[item - 1] for item in step.shown.items)
        assert len(step.interests) == len(set(step.candidates.interests.tolist()) | {0})


def test_a_walk_needs_a_ranker(platform):
    bundle = replace(platform.bundle, ranker=None)
    with pytest.raises(ValueError, match="has no ranker"):
        deployment.walk(bundle, *numbers(platform, platform.store.users(1)[0]), 5)


def test_times_are_of_every_stage_and_median_comes_before_the_99th(platform):
    times = deployment.stage_times(platform, platform.store.users(6), 5)
    stages = ["store", "extract", "recall", "rank", "rerank", "total"]
    assert list(times) == [*stages, deployment.BOTH]
    assert all(0 <= p50 <= p99 for p50, p99 in times.values())


def test_two_stages_are_added_up_request_by_request():
    """One is slow where the other is fast: their sum is the same in each request."""
    taken = iter([{"extract": 1.0, "recall": 9.0}, {"extract": 9.0, "recall": 1.0}])
    platform = Mock(spec=PersonalityPlatform)
    platform.recommend.side_effect = lambda user, n: SimpleNamespace(milliseconds=next(taken))
    times = deployment.stage_times(platform, ["a", "b"], 5)
    assert times[deployment.BOTH] == (10, 10)
    assert times["extract"] == (5, pytest.approx(8.92))


def test_what_an_answer_says():
    def answer(*fallbacks):
        return Slate("u", (), (), (), (), "recall", "v", {}, fallbacks)

    assert deployment.told(answer()) == "nothing was replaced"
    notes = (
        Fallback("extract", "no behaviors", "profile"),
        Fallback("rank", "timeout", "recall order"),
    )
    assert deployment.told(answer(*notes)) == (
        "extract no behaviors → profile; rank timeout → recall order"
    )


class Random:
    def score_lists(self, histories, items):
        return torch.rand(items.shape, generator=torch.Generator().manual_seed(0))


class Truth:
    def score_lists(self, histories, items):
        known = torch.from_numpy(WORLD.next_item_probabilities(histories.users.numpy()))
        return known.gather(1, items)


def test_scorers_are_judged_on_the_same_lists_and_the_truth_leads():
    recall = Popularity(SPLIT.train_counts)
    found = deployment.judge_rankers(
        {"random": Random(), "truth": Truth()}, SPLIT.test, recall, 150
    )
    assert found["random"].lead.value == 0
    assert found["truth"].lead.low > 0
    lists = build_candidate_lists(SPLIT.test, recall, 150)
    assert found["truth"].quality == evaluate_ranker(Truth(), lists)


def test_a_click_is_a_behaviour(bundle):
    user = 3
    visitor = deployment.visitor(SPLIT, WORLD, user)
    assert visitor.past.tolist() == LOG.items[LOG.users == user].tolist()
    assert visitor.own == tuple(np.flatnonzero(WORLD.interests[user]))
    assert LOG.profiles is not None
    assert visitor.profile.tolist() == LOG.profiles.codes[user].tolist()
    for cluster, items in visitor.popular.items():
        assert (WORLD.item_clusters[items] == cluster).all()
        assert not set(items) & set(visitor.past)
        assert (np.diff(SPLIT.train_counts[items]) <= 0).all()
    cluster = next(c for c in visitor.popular if c not in visitor.own)
    clicked = visitor.popular[cluster][:3]
    ours = deployment.after_clicks(bundle, visitor, cluster, 3, 10)
    same = deployment.walk(bundle, np.r_[visitor.past, clicked], visitor.profile, 10)
    assert ours.shown.items.tolist() == same.shown.items.tolist()
    assert not np.isin(ours.shown.items, clicked).any()
    torch.testing.assert_close(ours.interests, same.interests)


def test_the_shop_opens(tmp_path):
    """Both models are trained and the version is theirs."""
    world = PlantedConfig(num_clusters=6, items_per_cluster=12, max_interests=2, events=(6, 12))
    training = TrainingConfig(epochs=1, batch_size=128, negatives=16, monitor="Recall@10")
    ranking = RankingConfig(epochs=1, batch_size=128, candidates=40)
    with (
        patch.object(deployment, "WORLD", world),
        patch.object(deployment, "TRAINING", training),
        patch.object(deployment, "RANKING", ranking),
    ):
        shop = deployment.open_shop(tmp_path, 60)
    with closing(shop.store):
        assert shop.bundle.version == "monday"
        assert len(shop.store.users(100)) == shop.split.log.num_users
        vectors = shop.bundle.model.item_vectors()
        torch.testing.assert_close(vectors, shop.model.item_vectors(), atol=1e-5, rtol=1e-5)
        past = shop.split.log.items[shop.split.log.users == 1]
        ours = shop.bundle.ranker.score(past, np.arange(1, 10))  # pyright: ignore[reportOptionalMemberAccess]
        history = shop.split.test.histories.select(slice(0, 1))
        assert np.isfinite(ours).all()
        assert torch.isfinite(shop.din.score_lists(history, torch.arange(1, 10)[None])).all()
