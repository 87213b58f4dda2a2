"""The ways to merge the lists of several interests."""

import torch

from mindlib.evaluation import evaluate
from mindlib.experiments.merges import count_hits
from tests.fixed_interests import BOTH, FIRST, ITEMS, Fixed, cases


def test_an_interest_of_its_own_ranks_each_target_best():
    model = Fixed(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), BOTH, ITEMS)
    found = count_hits(model, cases([[2], [3], [3, 1]], [[1], [4], [2]], 4), 1)
    assert found.served.tolist() == [1, 0, 1]
    assert found.oracle.tolist() == [1, 1, 1]


def test_an_interest_that_the_user_lacks_ranks_nothing():
    model = Fixed(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), FIRST, ITEMS)
    found = count_hits(model, cases([[3]], [[4]], 4), 1)
    assert (found.served.tolist(), found.oracle.tolist()) == ([0], [0])


def test_the_served_hits_are_those_of_the_evaluation():
    generator = torch.Generator().manual_seed(0)
    vectors, items = (torch.randn(n, 5, generator=generator) for n in (3, 401))
    targets = [[n + 1, n + 2] if n % 3 else [n + 1] for n in range(300)]
    model = Fixed(vectors, torch.ones(3, dtype=torch.bool), items)
    some = cases(targets, [[400 - n % 50] for n in range(300)], 400)
    found, expected = count_hits(model, some, 20), evaluate(model, some, (20,))
    assert torch.equal(found.served.double(), expected.values["HitRate@20"].double())
    assert bool((found.oracle >= found.served).all())
    assert found.oracle.sum() > found.served.sum()


def test_in_turn_the_interests_contribute_their_items_and_repeats_are_skipped():
    generator = torch.Generator().manual_seed(1)
    vectors, items = (torch.randn(n, 5, generator=generator) for n in (3, 41))
    vectors *= torch.tensor([[1.0], [1.0], [3.0]])  # the served list is that of the third alone
    active = torch.tensor([True, False, True])
    model, n = Fixed(vectors, active, items), 7
    found = count_hits(model, cases([[item] for item in range(1, 40)], [[40]] * 39, 40), n)
    orders = [list((items[1:40] @ v).argsort(descending=True) + 1) for v in vectors[active]]
    listed = []
    while len(listed) < n:
        for order in orders:
            item = int(order.pop(0))
            listed += [item] if item not in listed else []
    assert [item for item, hit in enumerate(found.in_turn.tolist(), 1) if hit] == sorted(listed[:n])
    assert found.in_turn.tolist() != found.served.tolist()


def test_standardized_lists_do_not_depend_on_the_norms_of_the_interests():
    generator = torch.Generator().manual_seed(2)
    vectors, items = (torch.randn(n, 5, generator=generator) for n in (3, 41))
    some = cases([[item] for item in range(1, 40)], [[40]] * 39, 40)
    scaled = vectors * torch.tensor([[1.0], [9.0], [0.2]])
    everyone = torch.ones(3, dtype=torch.bool)
    plain, other = (count_hits(Fixed(v, everyone, items), some, 9) for v in (vectors, scaled))
    assert torch.equal(plain.standardized, other.standardized)
    assert not torch.equal(plain.served, other.served)
    scores = items[1:40] @ vectors.T
    expected = ((scores - scores.mean(0)) / scores.std(0)).amax(1).topk(9).indices
    assert set(plain.standardized.nonzero().squeeze(1).tolist()) == set(expected.tolist())


def test_with_one_interest_all_lists_are_the_same():
    items = torch.randn(31, 2, generator=torch.Generator().manual_seed(3))
    model = Fixed(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), FIRST, items)
    found = count_hits(model, cases([[n] for n in range(1, 30)], [[30]] * 29, 30), 6)
    assert found.served.sum() == 6
    assert all(torch.equal(found.served, part) for part in found)


def test_a_list_longer_than_the_catalog_has_all_items_outside_the_history():
    model = Fixed(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), BOTH, ITEMS)
    found = count_hits(model, cases([[1], [2], [3]], [[4]] * 3, 4), 9)
    assert all(part.tolist() == [1, 1, 1] for part in found)
