"""Label-aware attention (§3.4)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.layers.attention import attention_weights, label_aware_attention

SEEDS = st.integers(0, 2**31)


def draw(seed, batch=4, interests=5, dim=3):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(batch, interests, dim, dtype=torch.float64, generator=generator)
    label = torch.randn(batch, dim, dtype=torch.float64, generator=generator)
    count = torch.randint(1, interests + 1, (batch,), generator=generator)
    return vectors, torch.arange(interests) < count[:, None], label


@given(seed=SEEDS)
def test_power_zero_is_the_mean_of_active_interests(seed):
    vectors, active, label = draw(seed)
    mean = (vectors * active[:, :, None]).sum(1) / active.sum(1, keepdim=True)
    torch.testing.assert_close(label_aware_attention(vectors, active, label, 0.0), mean)


@given(seed=SEEDS)
def test_power_infinity_is_the_best_active_interest_for_scores_of_any_sign(seed):
    vectors, active, label = draw(seed)
    user = label_aware_attention(vectors, active, label, math.inf)
    for row in range(len(user)):
        scores = [
            (vectors[row, k] @ label[row]).item() if active[row, k] else -math.inf
            for k in range(vectors.shape[1])
        ]
        assert torch.equal(user[row], vectors[row, scores.index(max(scores))])


@given(seed=SEEDS)
def test_a_large_power_approaches_the_argmax(seed):
    vectors, active, label = draw(seed)
    scores = (vectors @ label[:, :, None]).squeeze(2).masked_fill(~active, -torch.inf)
    two = scores.topk(2).values
    clear = (two[:, 0] - two[:, 1]) > 1e-2
    hard = label_aware_attention(vectors, active, label, math.inf)
    soft = label_aware_attention(vectors, active, label, 1e5)
    torch.testing.assert_close(soft[clear], hard[clear])


@given(seed=SEEDS, power=st.floats(0.1, 20))
def test_weights_follow_the_formula_and_grow_with_the_score(seed, power):
    vectors, active, label = draw(seed)
    scores = (vectors @ label[:, :, None]).squeeze(2)
    weights = attention_weights(scores, active, power)
    for row in range(len(scores)):
        pairs = zip(scores[row].tolist(), active[row].tolist(), strict=True)
        exps = [math.exp(power * score) * present for score, present in pairs]
        assert weights[row].tolist() == pytest.approx([e / sum(exps) for e in exps])
    assert weights.argmax(1).tolist() == (
        scores.masked_fill(~active, -torch.inf).argmax(1).tolist()
    )


@given(seed=SEEDS, power=st.floats(0.5, 5))
def test_attention_is_the_mixture_by_the_scores_themselves(seed, power):
    """Without the division by the root of d that "scaled dot-product" attention has elsewhere."""
    vectors, active, label = draw(seed)
    weights = attention_weights(torch.einsum("bkd,bd->bk", vectors, label), active, power)
    expected = torch.einsum("bk,bkd->bd", weights, vectors)
    torch.testing.assert_close(label_aware_attention(vectors, active, label, power), expected)


@given(seed=SEEDS, power=st.sampled_from([0.0, 1.0, 3.0, math.inf]))
def test_inactive_interests_take_no_part_in_attention(seed, power):
    vectors, active, label = draw(seed)
    changed = torch.where(active[:, :, None], vectors, 100 * label[:, None, :])
    before = label_aware_attention(vectors, active, label, power)
    torch.testing.assert_close(label_aware_attention(changed, active, label, power), before)
    weights = attention_weights((changed @ label[:, :, None]).squeeze(2), active, power)
    assert (weights[~active] == 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights), dtype=torch.float64))


@pytest.mark.parametrize("power", [1.5, 2.0])
def test_p_multiplies_the_score_so_that_a_negative_one_loses(power):
    """The power as printed would be NaN for p = 1.5, and prefer the worse interest for p = 2."""
    weights = attention_weights(torch.tensor([[-2.0, 0.6]]), torch.ones(1, 2).bool(), power)
    assert weights[0, 1] == pytest.approx(1 / (1 + math.exp(-2.6 * power)))
