"""Item-based CF: similarities and scores in plain Python."""

import math
import sys

import pytest
import torch

from mindlib.data import Histories, leave_last_out, planted_interests
from mindlib.evaluation import evaluate
from mindlib.models import ItemCF, ItemCFConfig, Popularity
from mindlib.retrieval import Recommender
from tests.models.compared import WORLD


@pytest.fixture(scope="module")
def split():
    return leave_last_out(planted_interests(WORLD, seed=0).log)


def bought(split):
    """Who bought what in the training events, as lists of users by item."""
    learnt = split.train_events
    users = {item: [] for item in range(1, split.log.num_items + 1)}
    for user, item in zip(
        split.log.users[learnt].tolist(), split.log.items[learnt].tolist(), strict=True
    ):
        users[item].append(user)
    return users


def cosines(split):
    users = bought(split)
    return {
        a: {
            b: len(set(users[a]) & set(users[b])) / math.sqrt(len(users[a]) * len(users[b]))
            for b in users
        }
        for a in users
    }


def bm25(split, k1, b):
    """Each purchase weighs (k1 + 1) / (k1 (1 - b + b n_item / mean n) + 1) times the user's idf."""
    users = bought(split)
    mean = sum(map(len, users.values())) / len(users)
    basket = {}
    for owners in users.values():
        for user in owners:
            basket[user] = basket.get(user, 0) + 1
    weights = {
        item: {
            user: (k1 + 1)
            / (k1 * (1 - b + b * len(owners) / mean) + 1)
            * (math.log(len(users)) - math.log1p(basket[user]))
            for user in owners
        }
        for item, owners in users.items()
    }
    return {
        a: {
            c: sum(w * weights[c][user] for user, w in weights[a].items() if user in weights[c])
            for c in weights
        }
        for a in weights
    }


@pytest.mark.parametrize("similarity", ["cosine", "bm25"])
def test_a_score_is_the_sum_of_similarities_to_the_past(split, similarity):
    """With all neighbours kept; an item that comes twice counts twice."""
    config = ItemCFConfig(similarity, neighbors=split.log.num_items)
    model = ItemCF.fit(split, config)
    assert isinstance(model, Recommender)
    truth = cosines(split) if similarity == "cosine" else bm25(split, 1.2, 0.75)
    pasts = [[3, 1, 4], [9, 9, 2], [5]]
    everything = split.log.num_items
    found = model.recommend(Histories.from_lists(pasts), everything, exclude_history=False)
    for row, past in enumerate(pasts):
        expected = {item: sum(truth[i][item] for i in past) for item in truth}
        for item, score in zip(found.items[row].tolist(), found.scores[row].tolist(), strict=True):
            assert score == pytest.approx(expected[item], rel=1e-4, abs=1e-6)


def test_an_item_keeps_its_most_similar_neighbors(split):
    model = ItemCF.fit(split, ItemCFConfig(neighbors=5))
    found = model.recommend(Histories.from_lists([[7]]), 6, exclude_history=False)
    best = sorted(cosines(split)[7].values(), reverse=True)[:5]
    assert found.scores[0].tolist() == pytest.approx([*best, 0], abs=1e-5)
    assert found.items[0, 0] == 7


def test_lists_leave_out_the_past_and_batch_equals_single(split):
    model = ItemCF.fit(split)
    few = split.test.histories.select(slice(0, 20))
    together = model.recommend(few, 10)
    for user in range(len(few)):
        alone = few.select(slice(user, user + 1))
        torch.testing.assert_close(model.recommend(alone, 10).scores[0], together.scores[user])
        assert not set(alone.pairs()[1].tolist()) & set(together.items[user].tolist())


@pytest.mark.parametrize("similarity", ["cosine", "bm25"])
def test_it_finds_what_the_crowd_does_not_show(split, similarity):
    found = evaluate(ItemCF.fit(split, ItemCFConfig(similarity)), split.test, (10,)).means()
    popular = evaluate(Popularity(split.train_counts), split.test, (10,)).means()
    assert found["HitRate@10"] > 2 * popular["HitRate@10"]


def test_a_user_without_behaviors_gets_items_without_a_score(split):
    lists, scores = ItemCF.fit(split).recommend(Histories.from_lists([[]]), 5)
    assert scores.tolist() == [[0.0] * 5]
    assert (lists > 0).all()


def test_without_implicit_the_error_says_what_to_install(split, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(ImportError, match=r"pip install 'mindlib\[baselines\]'"):
        ItemCF.fit(split)
