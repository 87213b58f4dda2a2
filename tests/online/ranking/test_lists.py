"""Candidates out of a matching model, its own score of them, and the two stages together."""

import pytest
import torch

import mindlib.online.ranking.lists as lists_module
from mindlib.data import Histories
from mindlib.models import MaxMF, MaxMFConfig, Popularity, Random
from mindlib.online.ranking.lists import CandidateScorer, Reranked, TwoTower, build_candidate_lists
from mindlib.retrieval import Recommender
from tests.online.ranking.world import randomized, seeded, tiny

SPLIT = tiny()
ITEMS = SPLIT.log.num_items


@pytest.fixture(scope="module")
def maxmf():
    return MaxMF(SPLIT.log, MaxMFConfig(dim=8, history_length=9), generator=seeded(0))


def test_a_list_is_what_matching_found_and_its_labels_are_what_came_next():
    cases, recall = SPLIT.test, Popularity(SPLIT.train_counts)
    lists = build_candidate_lists(cases, recall, 10)
    assert torch.equal(lists.items, recall.recommend(cases.histories, 10).items)
    missed = 0
    for row in range(len(cases)):
        targets = cases.targets[int(cases.offsets[row]) : int(cases.offsets[row + 1])].tolist()
        shown = lists.items[row].tolist()
        assert lists.labels[row].tolist() == [item in targets for item in shown]
        missed += len(set(targets) - set(shown))
    assert 0 < lists.labels.sum() < len(cases.targets)
    assert missed == len(cases.targets) - lists.labels.sum()


def test_lists_hold_nothing_of_the_past_and_padding_is_no_target():
    lists = build_candidate_lists(SPLIT.test, Random(ITEMS, 0), 1000)
    assert lists.items.shape[1] == ITEMS  # the catalogue has no more
    rows, items = SPLIT.test.histories.pairs()
    had = torch.zeros((len(lists.items), ITEMS + 1), dtype=torch.bool)
    had[rows, items] = True
    had[:, 0] = False
    assert not had.gather(1, lists.items).any()
    assert (lists.items == 0).any()
    assert not lists.labels[lists.items == 0].any()
    assert (lists.items == 0).sum() == had.sum()
    assert lists.labels.sum() == len(SPLIT.test.targets)


def test_two_towers_score_by_the_best_interest(maxmf, monkeypatch):
    histories = SPLIT.test.histories
    found = maxmf.recommend(histories, 6)
    assert isinstance(TwoTower(maxmf), CandidateScorer)
    scores = TwoTower(maxmf).score_lists(histories, found.items)
    there = found.items > 0
    torch.testing.assert_close(scores[there], found.scores[there])
    monkeypatch.setattr(lists_module, "MAX_SCORES", 100)
    torch.testing.assert_close(TwoTower(maxmf).score_lists(histories, found.items), scores)


def test_inactive_interests_do_not_count():
    class Two:
        def recommend(self, histories, n, *, exclude_history=True):
            raise NotImplementedError

        def interests(self, histories):
            vectors = torch.tensor([[[-1.0, 0.0], [9.0, 9.0]]])
            return vectors.expand(len(histories), -1, -1), torch.tensor([[True, False]])

        def item_vectors(self):
            return torch.eye(2)

    scores = TwoTower(Two()).score_lists(Histories.from_lists([[1]]), torch.tensor([[0, 1]]))
    assert scores.tolist() == [[-1.0, 0.0]]


def test_the_ranker_orders_the_candidates_of_matching(maxmf):
    histories, ranker = SPLIT.test.histories, randomized(SPLIT.log)
    both = Reranked(maxmf, ranker, ITEMS, candidates=8)
    assert isinstance(both, Recommender)
    found = both.recommend(histories, 3)
    candidates = maxmf.recommend(histories, 8).items
    scores = ranker.score_lists(histories, candidates)
    for row in range(len(histories)):
        ordered = sorted(
            zip(scores[row].tolist(), candidates[row].tolist(), strict=True), reverse=True
        )
        assert found.items[row].tolist() == [item for _, item in ordered[:3]]
    everything = both.recommend(histories, 20)  # more than there are candidates
    assert set(everything.items[0].tolist()) == set(
        maxmf.recommend(histories, 20).items[0].tolist()
    )


def test_reranked_lists_end_where_the_candidates_do():
    past = Histories.from_lists([list(range(1, ITEMS - 1))])
    both = Reranked(Random(ITEMS, 0), randomized(SPLIT.log), ITEMS, candidates=10)
    found = both.recommend(past, 5)
    assert sorted(found.items[0].tolist()) == [0, 0, 0, ITEMS - 1, ITEMS]
    assert found.scores[0, 2:].tolist() == 3 * [-torch.inf]
    assert 0 < (both.recommend(past, 5, exclude_history=False).items > 0).sum() == 5
