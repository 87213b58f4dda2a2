"""WALS: the fold-in against its normal equations."""

import sys

import numpy as np
import pytest
import torch

from mindlib.data import Histories, leave_last_out, planted_interests
from mindlib.evaluation import evaluate
from mindlib.models import WALS, Popularity, WALSConfig
from mindlib.models.interaction_counts import history_counts, training_counts
from mindlib.retrieval import InterestModel
from tests.models.compared import WORLD
from tests.recovery import recovered_interests

CONFIG = WALSConfig(dim=12, alpha=4.0, regularization=0.5)


@pytest.fixture(scope="module")
def world():
    return planted_interests(WORLD, seed=0)


@pytest.fixture(scope="module")
def split(world):
    return leave_last_out(world.log)


@pytest.fixture(scope="module")
def model(split):
    return WALS.fit(split, CONFIG)


def solved(vectors, counts):
    """x_u = (Y'Y + sum alpha r y y' + lambda 1)^-1 sum (1 + alpha r) y."""
    left = vectors.T @ vectors + CONFIG.regularization * np.eye(CONFIG.dim)
    right = np.zeros(CONFIG.dim)
    for item, count in counts.items():
        left += CONFIG.alpha * count * np.outer(vectors[item], vectors[item])
        right += (1 + CONFIG.alpha * count) * vectors[item]
    return np.linalg.solve(left, right)


def test_a_user_vector_solves_the_normal_equations_of_the_history(model):
    """For repeated items and any order of the behaviors."""
    pasts = [[3, 1, 4, 15], [9, 9, 2, 9], [5]]
    found, active = model.interests(Histories.from_lists(pasts))
    vectors = model.item_vectors().double().numpy()
    for row, past in enumerate(pasts):
        expected = solved(vectors, {item: past.count(item) for item in past})
        assert found[row, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-3)
    assert active.tolist() == [[True]] * 3
    assert np.abs(vectors[1:]).max() > 0.1
    assert (vectors[0] == 0).all()


def test_items_are_the_solution_for_their_users(model, split):
    """The last half-step of the alternation, for an item of the training events."""
    users = model.model.user_factors.astype(np.float64)
    item = int(split.train_counts.argmax())
    learnt = split.train_events
    met = split.log.users[learnt][split.log.items[learnt] == item] - 1
    expected = solved(users, {int(user): 1 for user in met})
    # implicit takes three steps of conjugate gradients a time, not the exact solution.
    found = model.item_vectors()[item].double().numpy()
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_scores_are_inner_products_and_lists_leave_out_the_past(model, split):
    assert isinstance(model, InterestModel)
    few = split.test.histories.select(slice(0, 20))
    lists, scores = model.recommend(few, 10)
    vectors, _ = model.interests(few)
    expected = (vectors[:, 0] @ model.item_vectors().T).gather(1, lists)
    torch.testing.assert_close(scores, expected)
    for user, (rows, items) in enumerate([few.select(slice(u, u + 1)).pairs() for u in range(20)]):
        assert not set(items.tolist()) & set(lists[user].tolist())
        assert len(rows)
        alone = model.recommend(few.select(slice(user, user + 1)), 10)
        torch.testing.assert_close(alone.scores[0], scores[user])


def test_it_finds_what_the_crowd_does_not_show(model, world, split):
    found = evaluate(model, split.test, (10,)).means()["HitRate@10"]
    popular = evaluate(Popularity(split.train_counts), split.test, (10,)).means()["HitRate@10"]
    assert found > 2 * popular
    assert recovered_interests(model, world, split.test.histories).mean() > 0.4


def test_a_seed_gives_the_same_vectors_and_another_seed_others(model, split):
    again = WALS.fit(split, CONFIG)
    torch.testing.assert_close(again.item_vectors(), model.item_vectors())
    other = WALS.fit(split, WALSConfig(dim=12, alpha=4.0, regularization=0.5, seed=1))
    assert not torch.allclose(other.item_vectors(), model.item_vectors())


def test_a_user_without_behaviors_has_the_zero_vector_and_a_list(model):
    cold = Histories.from_lists([[], [3, 4]])
    assert (model.interests(cold)[0][0] == 0).all()
    lists, scores = model.recommend(cold, 5)
    assert scores.isfinite().all()
    assert (lists > 0).all()


def test_it_learns_from_training_events_only(split):
    counts = training_counts(split)
    assert counts.sum() == split.train_events.sum() < len(split.log)
    by_item = np.asarray(counts.sum(axis=0)).ravel()
    assert by_item.tolist() == split.train_counts[1:].tolist()
    assert counts.shape == (split.log.num_users, split.log.num_items)


def test_a_past_is_counted_whole():
    counts = history_counts(Histories.from_lists([[2, 5, 2], [], [1]]), 6)
    assert counts.toarray().tolist() == [
        [0, 2, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
    ]


def test_without_implicit_the_error_says_what_to_install(split, monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(ImportError, match=r"pip install 'mindlib\[baselines\]'"):
        WALS.fit(split, CONFIG)
