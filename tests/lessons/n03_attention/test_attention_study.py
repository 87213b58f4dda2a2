"""What p does: gradients by hand, the watched model, and training against serving."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.data.splits import Cases, leave_last_out
from mindlib.layers.attention import label_aware_attention
from mindlib.layers.routing import RoutingConfig
from mindlib.lessons.n03_attention.attention_study import (
    Step,
    WatchedMIND,
    best_interest,
    by_epoch,
    float_window,
    interest_gradients,
    mismatch,
    share,
)
from mindlib.models import MIND, MINDConfig
from mindlib.training import TrainingConfig, fit

POWERS = [0.0, 0.5, 1.0, 3.0, math.inf]


def draw(seed, batch=4, interests=5, dim=3):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(batch, interests, dim, dtype=torch.float64, generator=generator)
    label, upstream = torch.randn(2, batch, dim, dtype=torch.float64, generator=generator)
    count = torch.randint(1, interests + 1, (batch,), generator=generator)
    return vectors, torch.arange(interests) < count[:, None], label, upstream


@pytest.fixture(scope="module")
def split():
    config = PlantedConfig(num_users=60, num_clusters=6, items_per_cluster=8, num_segments=3)
    return leave_last_out(planted_interests(config, seed=0).log)


def build(kind, split, power=2.0, interests=3):
    config = MINDConfig.paper(
        dim=8, hidden=(8,), history_length=12, power=power,
        routing=RoutingConfig.paper(max_interests=interests),
    )  # fmt: skip
    return kind(split.log, config, generator=torch.Generator().manual_seed(0))


TRAINING = TrainingConfig.paper(
    epochs=2, batch_size=128, negatives=16, monitor="Recall@10", patience=2, learning_rate=1e-2
)


@given(seed=st.integers(0, 2**31), power=st.sampled_from(POWERS))
def test_the_gradient_by_hand_is_the_automatic_one(seed, power):
    vectors, active, label, upstream = draw(seed)
    leaf = vectors.clone().requires_grad_()
    (automatic,) = torch.autograd.grad(
        label_aware_attention(leaf, active, label, power), leaf, upstream
    )
    by_hand = interest_gradients(vectors, active, label, power, upstream)
    torch.testing.assert_close(by_hand, automatic)


def test_under_the_argmax_one_interest_gets_all_of_the_gradient():
    vectors, active, label, upstream = draw(0)
    by_hand = interest_gradients(vectors, active, label, math.inf, upstream)
    chosen = best_interest(vectors, active, label)
    torch.testing.assert_close(by_hand[torch.arange(4), chosen], upstream)
    assert ((by_hand != 0).any(2).sum(1) == 1).all()


@pytest.mark.parametrize("power", [0.0, 2.0, math.inf])
def test_watching_changes_nothing(split, power):
    plain, watched = (build(kind, split, power) for kind in (MIND, WatchedMIND))
    logs = [fit(m, split, TRAINING, device="cpu", progress=False).log for m in (plain, watched)]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("power", [0.0, 2.0, math.inf])
def test_the_watched_shares_are_shares_and_there_is_one_for_each_step(split, power):
    model = build(WatchedMIND, split, power)
    fit(model, split, TRAINING, device="cpu", progress=False)
    assert len(model.steps) == 2 * math.ceil(len(split.train) / 128)
    for name in ("slot_gradient", "rank_weight", "rank_gradient"):
        values = by_epoch(model.steps, name, 2)
        assert values.shape == (2, 3)
        torch.testing.assert_close(values.sum(1), torch.ones(2))
    weight, gradient = (by_epoch(model.steps, f"rank_{w}", 2) for w in ("weight", "gradient"))
    assert (weight.diff(dim=1) <= 1e-6).all()  # a better rank, no less attention
    if power == 0:
        torch.testing.assert_close(weight, torch.full((2, 3), 1 / 3))
        torch.testing.assert_close(gradient, torch.full((2, 3), 1 / 3))
    elif power == math.inf:
        torch.testing.assert_close(weight, torch.tensor([[1.0, 0.0, 0.0]] * 2))
        torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.0, 0.0]] * 2))
    else:
        assert ((weight[:, 0] > 1 / 3) & (weight[:, 0] < 1)).all()


def test_an_untrained_model_has_noted_nothing_and_neither_has_evaluation(split):
    model = build(WatchedMIND, split)
    assert model.steps == []
    model.eval().recommend(split.test.histories, 5)
    assert model.steps == []
    assert "_steps" not in model.state_dict()


def test_an_epoch_is_the_mean_of_its_steps():
    steps = [Step(*[torch.tensor([n, 1.0 - n])] * 3) for n in (0.0, 0.2, 0.6, 1.0)]
    expected = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    torch.testing.assert_close(by_epoch(steps, "rank_weight", 2), expected)


def test_shares_by_hand():
    assert share(torch.tensor([[1.0, 3.0], [0.0, 4.0]])).tolist() == [0.125, 0.875]
    assert share(torch.zeros(2, 2)).tolist() == [0, 0]


class Fixed:
    """A model whose vectors are given: two users, two interests, items on a plane."""

    interest = torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [9.0, 9.0]]])
    active = torch.tensor([[True, True], [True, False]])
    items = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [1.0, 0.5], [0.0, 2.0]])

    def interests(self, histories):
        return self.interest, self.active

    def item_vectors(self):
        return self.items

    def recommend(self, histories, n, *, exclude_history=True):
        raise NotImplementedError


@pytest.fixture
def by_hand(split):
    """Both users' next item is 1; the first has had item 4, the second item 2."""
    from mindlib.data.histories import Histories

    return Cases(Histories.from_lists([[4], [2]]), torch.tensor([1, 1]), torch.arange(3), 4)


def test_the_mismatch_by_hand(by_hand):
    # First user, label (2, 0): interest 1 is attended, by which the label leads (2, 0, 1). At
    # serving item 2 takes interest 2 (score 3) and passes the label (2); item 3 has max(1, 1.5).
    found = mismatch(Fixed(), by_hand, math.inf)
    assert found.attended.tolist() == [1, 1]
    assert found.served.tolist() == [2, 1]
    assert found.overtaken.tolist() == [pytest.approx(1 / 2), 0]


def test_several_targets_in_a_case_are_refused(by_hand):
    cases = Cases(by_hand.histories, torch.tensor([1, 1, 3]), torch.tensor([0, 1, 3]), 4)
    with pytest.raises(ValueError, match="3 targets in 2 cases"):
        mismatch(Fixed(), cases, 1.0)


@pytest.mark.parametrize("power", [0.0, 1.0, math.inf])
def test_one_interest_has_no_mismatch(split, power):
    found = mismatch(build(MIND, split, power, interests=1), split.test, power)
    assert torch.equal(found.attended, found.served)
    assert not found.overtaken.any()


def test_under_the_argmax_serving_never_ranks_the_target_higher(split):
    found = mismatch(build(MIND, split, math.inf), split.test, math.inf)
    assert (found.served >= found.attended).all()
    assert (found.served > found.attended).any()


@pytest.mark.parametrize("power", [3.0, 100.0])
def test_the_window_ends_where_float32_does(power):
    window = float_window(power)
    inside, outside = (torch.tensor([w * window.overflow]).pow(power) for w in (0.999, 1.001))
    assert inside.isfinite()
    assert outside.isinf()
    zero, positive = (torch.tensor([w * window.underflow]).pow(power) for w in (0.999, 1.001))
    assert zero == 0 < positive
    low, high = np.isneginf(window.logarithms), np.isposinf(window.logarithms)
    assert (window.magnitudes[low] <= window.underflow).all()
    assert (window.magnitudes[high] >= window.overflow).all()
    assert low.any()
    assert high.any()
    known = (window.magnitudes > 1.01 * window.underflow) & ~high
    expected = power * np.log10(window.magnitudes[known])
    assert window.logarithms[known] == pytest.approx(expected, abs=0.3)


@pytest.mark.parametrize("power", [0.0, -1.0, math.inf])
def test_a_window_needs_a_positive_power(power):
    with pytest.raises(ValueError, match="expected a positive finite number"):
        float_window(power)
