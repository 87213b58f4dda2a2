"""Planted votes: what agrees is what was planted, and each measure counts what it says."""

from itertools import combinations

import pytest
import torch

from mindlib.layers.routing import squash
from mindlib.lessons.n01_routing.agreement import Rounds, route_and_record
from mindlib.lessons.n01_routing.agreement_trials import (
    chance_of_all,
    convergence,
    groups_found,
    groups_taken,
    holds_from,
    padding_trial,
    planted_votes,
    settling_rounds,
    slow_cases,
    watched,
    watched_example,
)
from tests.lessons.n01_routing.test_agreement import draw


def test_holds_from_counts_the_last_unbroken_run():
    holds = torch.tensor(
        [[True, True, False], [True, False, False], [True, True, False], [True, True, False]]
    )
    assert holds_from(holds).tolist() == [1, 3, 5]


def test_planted_groups_agree_where_they_should(generator):
    planted = planted_votes(50, noise=0.0, length=2.0, generator=generator)
    assert planted.votes.shape == (50, 12, 3, 8)
    torch.testing.assert_close(
        planted.votes.norm(dim=-1), torch.full((50, 12, 3), 2.0, dtype=torch.float64)
    )
    for i in range(12):
        group = int(planted.groups[0, i])
        torch.testing.assert_close(planted.votes[:, i, group], planted.centers[:, group])
        other = (group + 1) % 3
        assert not torch.allclose(planted.votes[:, i, other], planted.centers[:, other], atol=0.5)


def test_shared_votes_are_the_same_for_every_high_capsule(generator):
    planted = planted_votes(5, noise=0.3, shared=True, generator=generator)
    assert torch.equal(planted.votes[:, :, 0], planted.votes[:, :, 2])


def test_noise_is_as_long_as_it_says(generator):
    planted = planted_votes(500, noise=0.5, length=3.0, shared=True, generator=generator)
    own = planted.centers.gather(1, planted.groups[:, :, None].expand(-1, -1, 8))
    squared = (planted.votes[:, :, 0] - own).square().sum(-1).mean()
    assert float(squared) ** 0.5 == pytest.approx(1.5, rel=0.02)


def test_a_draw_is_a_success_when_every_group_is_taken():
    centers = torch.eye(3, dtype=torch.float64)[None]
    capsules = torch.tensor([[[0.9, 0.1, 0.0], [0.2, 0.1, 0.0], [0.0, 0.1, 0.7]]]).double()
    assert groups_taken(capsules, centers).tolist() == [[0, 0, 2]]
    assert groups_found(capsules, centers).tolist() == [False]
    both = torch.stack([capsules, 0.01 * centers.flip(1)])
    assert groups_found(both, centers).tolist() == [[False], [True]]


def test_chance_of_all_is_the_share_of_triples_that_take_each_group(generator):
    taken = torch.randint(3, (4, 9), generator=generator)
    for draw_taken, chance in zip(taken.tolist(), chance_of_all(taken, 3), strict=True):
        triples = [len(set(triple)) == 3 for triple in combinations(draw_taken, 3)]
        assert float(chance) == pytest.approx(sum(triples) / len(triples))


def test_watched_shows_the_first_draw(generator):
    planted = planted_votes(3, generator=generator)
    rounds = route_and_record(planted.votes, 4)
    seen = watched(planted, rounds)
    assert seen.logits.shape == seen.coupling.shape == (4, 12, 3)
    assert seen.groups.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert seen.entropy[0] == pytest.approx([1] * 12)
    u, center = rounds.capsules[2, 0, 1], planted.centers[0, 2]
    assert seen.closeness[2, 1, 2] == pytest.approx(
        float(torch.cosine_similarity(u, center, dim=0))
    )


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("over", ["high", "low"])
def test_watched_example_is_the_one_that_is_asked_for(shared, over):
    seen = watched_example(2, shared=shared, over=over, noise=0.3, seed=5)
    again = watched_example(2, shared=shared, over=over, noise=0.3, seed=5)
    other = watched_example(2, shared=shared, over=over, noise=0.3, seed=6)
    assert (seen.coupling == again.coupling).all()
    assert not (seen.closeness == other.closeness).all()
    assert (seen.logits[0] == 0).all() == (not shared)
    assert seen.coupling.sum(2 if over == "high" else 1) == pytest.approx(1)


def test_convergence_measures_each_round_against_the_last(generator):
    planted = planted_votes(20, generator=generator)
    seen = convergence(planted, 6, tolerance=0.1, same_direction=0.9)
    run = route_and_record(planted.votes, 6)
    expected = settling_rounds(run, tolerance=0.1, same_direction=0.9)
    assert all(torch.equal(seen.first[name], expected[name]) for name in expected)
    w = run.coupling
    torch.testing.assert_close(seen.step[1], (w[2] - w[1]).abs().flatten(1).amax(1))
    torch.testing.assert_close(seen.rest[1], (w[5] - w[1]).abs().flatten(1).amax(1))
    hard = (w[3] < 0.1) | (w[3] > 0.9)
    assert float(seen.hard[3]) == pytest.approx(float(hard.double().mean()))
    cosine = torch.cosine_similarity(run.capsules[4], planted.centers, dim=2).mean()
    assert float(seen.cosine[4]) == pytest.approx(float(cosine))


def test_slow_cases_are_what_they_are_called():
    tied, nearly, short, long = slow_cases(40, noise=0.3, seed=0).values()
    assert tied.shape == (40, 8)
    torch.testing.assert_close(tied, torch.full_like(tied, 0.5))
    early, late = (nearly - 0.5).abs().amax(1)[[2, 39]]
    assert 0 < float(early) < 0.01
    assert float(late) > 0.49
    assert float((short[2] - 0.5).abs().max()) < 0.1 < float((short[39] - 0.5).abs().max())
    assert float((long[4] - 0.5).abs().min()) > 0.45


def test_settling_rounds_measures_against_the_last_round():
    w = torch.tensor([[0.5, 0.5], [0.8, 0.2], [0.96, 0.04], [1.0, 0.0]]).double()[:, None, None]
    u = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.1], [1.0, 0.0]]).double()[:, None, None]
    u = u.expand(-1, 1, 2, 2)
    first = settling_rounds(Rounds(w, w, u), tolerance=0.05, same_direction=0.95)
    assert [int(x) for x in first.values()] == [3, 1, 3]


def test_padding_takes_weight_over_low_capsules_only():
    votes, logits = draw(0, 6, 5, 3, 4), torch.zeros(6, 10, 3, dtype=torch.float64)
    high = padding_trial(votes, logits, 1, "high")
    low = padding_trial(votes, logits, 1, "low")
    assert high.kept == pytest.approx(1)
    assert low.kept == pytest.approx(0.5)
    torch.testing.assert_close(
        high.capsules, padding_trial(votes, logits[:, :5], 1, "high").capsules
    )
    torch.testing.assert_close(low.capsules, squash(votes.sum(1) / 10))
    assert low.length == pytest.approx(float(low.capsules.norm(dim=-1).mean()))


def test_masking_before_the_softmax_makes_padding_harmless():
    votes, logits = draw(0, 6, 5, 3, 4), draw(1, 6, 10, 3)
    bare = padding_trial(votes, logits[:, :5], 3, "low")
    late = padding_trial(votes, logits, 3, "low")
    early = padding_trial(votes, logits, 3, "low", mask_first=True)
    torch.testing.assert_close(early.capsules, bare.capsules)
    assert early.kept == pytest.approx(1)
    assert late.length < 0.9 * bare.length
