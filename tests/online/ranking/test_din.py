"""DIN's rules: what may and what may not change a score."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mindlib.online.ranking.din as din_module
from mindlib.data import Histories
from mindlib.data.histories import History
from mindlib.layers.pooling import ItemEmbedding
from mindlib.online.ranking.din import DIN, Dice, DINConfig
from tests.conftest import unchecked
from tests.online.ranking.world import din, randomized, tiny

LOG = tiny().log
PASTS = [[3, 1, 7], [2], [5, 6, 7, 8, 9, 4], list(range(1, 15))]
CANDIDATES = torch.tensor([[4, 9, 2, 11, 1], [1, 2, 3, 4, 5], [16, 9, 12, 3, 7], [20, 2, 1, 4, 8]])


def window(pasts, length: int) -> History:
    return Histories.from_lists(pasts).window(length)


def by_hand(model: DIN, past: list[int], candidate: int) -> float:
    """A score out of the published formulas, one behaviour and one unit after another."""
    vectors = model.items.all().tolist()
    weights = {name: value.tolist() for name, value in model.state_dict().items()}

    def dice(name: str, s: list[float]) -> list[float]:
        out = []
        for unit, value in enumerate(s):
            mean = weights[f"{name}.standardize.running_mean"][unit]
            variance = weights[f"{name}.standardize.running_var"][unit]
            p = 1 / (1 + math.exp(-(value - mean) / math.sqrt(variance + 1e-8)))
            out.append(p * value + (1 - p) * weights[f"{name}.alpha"][unit] * value)
        return out

    def times(name: str, x: list[float]) -> list[float]:
        rows = weights[f"{name}.weight"]
        shift = weights.get(f"{name}.bias", [0.0] * len(rows))
        pairs = zip(rows, shift, strict=True)
        return [sum(w * v for w, v in zip(row, x, strict=True)) + c for row, c in pairs]

    seen = vectors[candidate]
    user = [0.0] * len(seen)
    for item in past[-model.config.history_length :]:
        b = vectors[item]
        product = [x * y for x, y in zip(b, seen, strict=True)]
        parts = (
            times("activation.behavior", b),
            times("activation.candidate", seen),
            times("activation.product", product),
        )
        hidden = dice("activation.dice", [sum(units) for units in zip(*parts, strict=True)])
        (weight,) = times("activation.out", hidden)
        user = [u + weight * x for u, x in zip(user, b, strict=True)]
    x = [*user, *seen, *(u * c for u, c in zip(user, seen, strict=True))]
    layers = len(model.config.hidden)
    for layer in range(layers):
        x = dice(f"mlp.{2 * layer + 1}", times(f"mlp.{2 * layer}", x))
    return times(f"mlp.{2 * layers}", x)[0]


@pytest.mark.parametrize("together", [True, False])
def test_scores_are_those_of_the_formulas(together):
    model = randomized(LOG, dim=4, activation_units=5, hidden=(6, 3), history_length=8)
    history = window(PASTS, 8)
    with torch.no_grad():
        if together:
            found = model(history, CANDIDATES)
        else:  # one user at a time takes another way
            parts = [
                model(window([past], 8), row[None])
                for past, row in zip(PASTS, CANDIDATES, strict=True)
            ]
            found = torch.cat(parts)
    expected = [
        [by_hand(model, past, c) for c in row]
        for past, row in zip(PASTS, CANDIDATES.tolist(), strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_padding_never_matters(training):
    """Neither its number nor what stands in its places, not even for Dice's statistics."""
    found = []
    for length, rubbish in ((14, 0), (30, 0), (30, 13)):
        model = randomized(LOG, history_length=30).train(training)
        history = window(PASTS, length)
        items = history.items.masked_fill(~history.mask, rubbish)
        scores = model(History(items, history.mask, history.profile), CANDIDATES)
        variance = model.activation.dice.standardize.running_var
        assert variance is not None
        found.append((scores.detach(), variance.clone()))
    for scores, variance in found[1:]:
        torch.testing.assert_close(scores, found[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(variance, found[0][1], rtol=1e-4, atol=1e-6)


@given(st.permutations(range(20)), st.integers(1, 20))
def test_a_score_does_not_depend_on_the_other_candidates(order, size):
    model = randomized(LOG)
    histories = Histories.from_lists([[3, 1, 7, 2]])
    alone = torch.cat([model.score_lists(histories, torch.tensor([[c + 1]])) for c in order], dim=1)
    part = torch.tensor([order[:size]]) + 1
    together = model.score_lists(histories, part)
    torch.testing.assert_close(together, alone[:, :size], rtol=1e-4, atol=1e-5)
    assert alone.std() > 0.01  # so that the tolerance is small beside what it is to tell


def test_a_score_does_not_depend_on_the_other_users(monkeypatch):
    model = randomized(LOG)
    histories = Histories.from_lists(PASTS)
    alone = model.score_lists(histories, CANDIDATES)  # by blocks of users
    monkeypatch.setattr(din_module, "MAX_PAIRS", 1)
    torch.testing.assert_close(
        model.score_lists(histories, CANDIDATES), alone, rtol=1e-4, atol=1e-5
    )
    monkeypatch.setattr(din_module, "MAX_UNITS", 1)  # by blocks of candidates, too
    torch.testing.assert_close(
        model.score_lists(histories, CANDIDATES), alone, rtol=1e-4, atol=1e-5
    )


def test_scores_need_the_running_statistics():
    with pytest.raises(RuntimeError, match=r"eval\(\)"):
        din(LOG).score_lists(Histories.from_lists(PASTS), CANDIDATES)


def test_a_user_without_behaviours_has_scores_that_depend_on_the_candidate():
    model = randomized(LOG)
    scores = model.score_lists(Histories.from_lists([[], [1]]), CANDIDATES[:2])
    assert scores.isfinite().all()
    assert scores[0].std() > 0.01
    assert model.score_lists(Histories.from_lists([]), CANDIDATES[:0]).shape == (0, 5)
    assert model.score_lists(Histories.from_lists([[1]]), CANDIDATES[:1, :0]).shape == (1, 0)


@torch.no_grad()
def weights_of(model: DIN, past: list[int], candidates: torch.Tensor) -> torch.Tensor:
    """a(b, c) for the behaviors and candidates of one user."""
    rows = torch.zeros(len(past), dtype=torch.int64)
    return model.activation(model.items(torch.tensor(past)), rows, model.items(candidates)[None])


def test_weights_depend_on_the_candidate_and_are_not_normalised():
    past = weights_of(randomized(LOG), PASTS[2], CANDIDATES[2])
    assert past.std(1).min() > 0.01, "every candidate sees the same"
    assert past.sum(0).std() > 0.01, "the weights of a past have a fixed sum"
    assert (past < 0).any()
    assert (past > 0).any()


def test_a_repeated_behaviour_counts_twice():
    model = randomized(LOG)
    twice = weights_of(model, [3, 3, 5], CANDIDATES[0])
    torch.testing.assert_close(twice[0], twice[1])
    scores = model.score_lists(Histories.from_lists([[3, 5], [3, 3, 5]]), CANDIDATES[[0, 0]])
    assert (scores[0] - scores[1]).abs().max() > 1e-3


def test_the_last_behaviours_are_seen():
    model = randomized(LOG, history_length=3)
    long, short, other = Histories.from_lists([[9, 1, 2, 3]]), [[1, 2, 3]], [[9, 1, 2]]
    scores = model.score_lists(long, CANDIDATES[:1])
    torch.testing.assert_close(
        model.score_lists(Histories.from_lists(short), CANDIDATES[:1]), scores
    )
    assert (
        model.score_lists(Histories.from_lists(other), CANDIDATES[:1]) - scores
    ).abs().max() > 1e-3


def test_dice_takes_the_batch_in_training_and_its_running_average_afterwards(generator):
    dice = Dice(3)
    with torch.no_grad():
        dice.alpha.copy_(torch.tensor([0.0, 0.2, -0.5]))
    first = torch.randn(50, 2, 3, generator=generator) * 3 + 5
    rows = first.reshape(-1, 3)

    def expected(mean, variance):
        p = torch.sigmoid((rows - mean) / (variance + 1e-8).sqrt())
        return (p * rows + (1 - p) * dice.alpha * rows).view_as(first)

    own = expected(rows.mean(0), rows.var(0, correction=0))
    torch.testing.assert_close(dice(first), own)
    dice.eval()
    # A tenth of the way from 0 and 1 to the batch's.
    running = expected(0.1 * rows.mean(0), 0.9 + 0.1 * rows.var(0))
    torch.testing.assert_close(dice(first), running)
    assert (own - running).abs().max() > 0.5
    torch.testing.assert_close(dice(first[:1]), running[:1])  # and nothing else of the batch
    before = dice.standardize.running_mean
    assert before is not None
    before = before.clone()
    dice(first + 100)
    torch.testing.assert_close(dice.standardize.running_mean, before)


# What it is built with


@pytest.mark.parametrize(
    "options",
    [{"dim": 0}, {"activation_units": 0}, {"hidden": ()}, {"hidden": (0,)}, {"history_length": 0}],
)
def test_impossible_shapes_are_refused(options: dict[str, Any]):
    with pytest.raises(ValueError, match=r"expected (at least one layer|1 to 10,000)"):
        unchecked(DINConfig, **options)


def test_the_table_has_the_models_dimension(generator):
    with pytest.raises(ValueError, match=r"dim=32: expected that of the item embeddings, 4"):
        DIN(ItemEmbedding(9, 4, generator=generator), DINConfig(dim=32), generator=generator)


def test_weights_come_from_the_generator():
    first, second = (dict(din(LOG, seed=3).named_parameters()) for _ in range(2))
    other = dict(din(LOG, seed=4).named_parameters())
    for name, weight in first.items():
        assert torch.equal(weight, second[name])
        if weight.detach().abs().max() > 0:
            assert not torch.equal(weight, other[name])


def test_items_are_embedded_with_their_features():
    assert LOG.item_features is not None
    model = randomized(LOG)
    assert len(model.items.weight) > LOG.num_items + 1
    scores = model.score_lists(Histories.from_lists([[1]]), CANDIDATES[:1])
    with torch.no_grad():
        model.items.weight[LOG.num_items + 1 :] += 1  # the features alone
    changed = model.score_lists(Histories.from_lists([[1]]), CANDIDATES[:1])
    assert (changed - scores).abs().max() > 0.01
