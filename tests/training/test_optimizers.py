"""RowAdam beside torch's SparseAdam and Adam: the same where it says so, and else different."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.training import TrainingConfig
from mindlib.training.optimizers import RowAdam, distinct_rows, make_schedulers

ROWS, DIM, RATE = 12, 3, 0.1
# For each step the ids that it looks up; an id may stand there twice.
LOOKUPS = st.lists(
    st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=6), min_size=1, max_size=8
)


def start():
    return torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(0))


def run(optimizer, table, lookups, *, sparse, scale=1.0):
    """Steps whose gradients are random, the same whatever the optimiser; the table after each."""
    generator = torch.Generator().manual_seed(1)
    after = []
    for ids in lookups:
        weights = scale * torch.randn(len(ids), DIM, generator=generator)
        optimizer.zero_grad()
        vectors = torch.nn.functional.embedding(torch.tensor(ids), table, sparse=sparse)
        (vectors * weights).sum().backward()
        optimizer.step()
        after.append(table.detach().clone())
    return after


def by_rows(lookups, **options):
    table = torch.nn.Parameter(start())
    return run(RowAdam(table, RATE), table, lookups, sparse=True, **options)


def by_sparse_adam(lookups, **options):
    table = torch.nn.Parameter(start())
    return run(torch.optim.SparseAdam([table], RATE), table, lookups, sparse=True, **options)


def by_adam(lookups, **options):
    table = torch.nn.Parameter(start())
    return run(torch.optim.Adam([table], RATE), table, lookups, sparse=False, **options)


@given(lookups=LOOKUPS)
def test_every_row_gets_what_sparse_adam_gives_it(lookups):
    """Epsilon, which the two add at different places, is nothing beside these gradients."""
    for ours, theirs in zip(by_rows(lookups), by_sparse_adam(lookups), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_beside_tiny_gradients_epsilon_is_dense_adams():
    """sqrt(v / c) + epsilon, as in the paper of Adam; SparseAdam has sqrt(v) + epsilon instead."""
    (ours,), (dense,), (sparse,) = (
        optimize([[3]], scale=1e-8) for optimize in (by_rows, by_adam, by_sparse_adam)
    )
    torch.testing.assert_close(ours, dense)
    assert (ours - start())[3].abs().max() > 2 * (sparse - start())[3].abs().max()


@given(lookups=LOOKUPS)
def test_rows_without_a_gradient_rest(lookups):
    before = start()
    for ids, after in zip(lookups, by_rows(lookups), strict=True):
        rest = [row for row in range(ROWS) if row not in ids]
        assert torch.equal(after[rest], before[rest])
        assert not torch.equal(after[ids], before[ids])
        before = after


@given(lookups=LOOKUPS)
def test_rows_touched_at_every_step_since_the_first_get_what_adam_gives_them(lookups):
    ours, dense = by_rows(lookups), by_adam(lookups)
    for row in range(ROWS):
        touched = [row in ids for ids in lookups]
        first = touched.index(True) if any(touched) else len(lookups)
        for step in range(len(lookups)):
            if not all(touched[first : step + 1]):
                break
            torch.testing.assert_close(ours[step][row], dense[step][row], atol=1e-5, rtol=1e-5)


def test_a_row_left_out_for_a_step_is_moved_by_adam_along_its_old_moments_and_here_not():
    lookups = [[3], [5], [3]]
    ours, dense = by_rows(lookups), by_adam(lookups)
    (gradient,) = by_hand_gradients(1)
    mean, square = 0.1 * gradient, 0.001 * gradient**2
    # At the second step, where the row has no gradient: dense Adam's moments shrink by the betas.
    mean, square = 0.9 * mean, 0.999 * square
    moved = -RATE * (mean / (1 - 0.9**2)) / ((square / (1 - 0.999**2)).sqrt() + 1e-8)
    torch.testing.assert_close(dense[1][3] - dense[0][3], moved, atol=1e-5, rtol=1e-4)
    assert moved.abs().min() > RATE / 2, "no small thing"
    assert torch.equal(ours[1][3], ours[0][3])

    # At the third the moments here are those of the first step, with the correction for three.
    first, _, third = by_hand_gradients(3)
    mean = 0.9 * 0.1 * first + 0.1 * third
    square = 0.999 * 0.001 * first**2 + 0.001 * third**2
    moved = -RATE * (mean / (1 - 0.9**3)) / ((square / (1 - 0.999**3)).sqrt() + 1e-8)
    torch.testing.assert_close(ours[2][3] - ours[1][3], moved, atol=1e-5, rtol=1e-4)
    assert (ours[2][3] - dense[2][3]).abs().max() > RATE / 10


def by_hand_gradients(n):
    """The gradients that `run` gives to the one row of each of n steps."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, DIM, generator=generator)[0] for _ in range(n)]


def test_a_step_without_a_gradient_does_nothing():
    table = torch.nn.Parameter(start())
    optimizer = RowAdam(table, RATE)
    optimizer.step()
    assert torch.equal(table, start())
    assert optimizer.state[table]["step"] == 0


@given(ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=8))
def test_distinct_rows_add_up_to_the_gradient(ids):
    values = torch.randn(len(ids), DIM, generator=torch.Generator().manual_seed(2))
    gradient = torch.sparse_coo_tensor(
        torch.tensor([ids]), values, (ROWS, DIM), check_invariants=True
    )
    rows, summed = distinct_rows(gradient)
    assert rows.tolist() == sorted(set(ids))
    dense = torch.zeros(ROWS, DIM).index_add(0, torch.tensor(ids), values)
    torch.testing.assert_close(torch.zeros(ROWS, DIM).index_add(0, rows, summed), dense)


@given(steps=st.integers(1, 50))
def test_the_cosine_schedule_falls_from_one_to_zero_after_the_last_step(steps):
    optimizer, config = (
        RowAdam(torch.nn.Parameter(start()), RATE),
        TrainingConfig(schedule="cosine"),
    )
    (factor,) = make_schedulers([optimizer], config, steps=steps, done=0)[0].lr_lambdas
    rates = [factor(step) for step in range(steps + 1)]
    assert rates[0] == 1
    assert all(b < a for a, b in itertools.pairwise(rates))
    assert rates[-2] == pytest.approx((1 + math.cos(math.pi * (steps - 1) / steps)) / 2)
    assert rates[-1] == pytest.approx(0)


def test_a_constant_rate_has_no_schedule():
    optimizer = RowAdam(torch.nn.Parameter(start()), RATE)
    assert make_schedulers([optimizer], TrainingConfig(schedule="constant"), steps=9, done=0) == []
