"""What the ranker learns from and what not, and what local activation is good for."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import mindlib.online.ranking.training as training
from mindlib.data import Interactions, leave_last_out
from mindlib.models import Popularity, Random
from mindlib.online.ranking.lists import (
    CandidateLists,
    RankingQuality,
    build_candidate_lists,
    evaluate_ranker,
)
from mindlib.online.ranking.training import (
    ImpressionBatch,
    Impressions,
    RankingConfig,
    fit_ranker,
    ranking_step,
)
from mindlib.training import TrainingConfig
from tests.conftest import unchecked
from tests.online.ranking.world import din, seeded, tiny, world

SPLIT = tiny()
QUICK = RankingConfig(epochs=2, batch_size=64, candidates=12, learning_rate=1e-2)


def found_lists(n: int = 12) -> torch.Tensor:
    recall = Popularity(SPLIT.train_counts)
    return recall.recommend(SPLIT.train[:].histories, n).items.int()


def one_pass(config: RankingConfig = QUICK, seed: int = 0) -> ImpressionBatch:
    parts = list(Impressions(SPLIT, found_lists(), config).batches(seeded(seed)))
    histories = parts[0].histories
    joined = replace(
        histories,
        **{
            name: torch.cat([getattr(part.histories, name) for part in parts])
            for name in ("starts", "ends", "users")
        },
    )
    return ImpressionBatch(
        joined, torch.cat([p.items for p in parts]), torch.cat([p.mask for p in parts])
    )


def test_a_pass_has_every_case_once_with_one_of_its_targets():
    batch, cases = one_pass(), SPLIT.train[:]
    assert sorted(batch.histories.ends.tolist()) == sorted(cases.histories.ends.tolist())
    row_of = {int(end): row for row, end in enumerate(cases.histories.ends)}
    for end, target in zip(batch.histories.ends.tolist(), batch.items[:, 0].tolist(), strict=True):
        row = row_of[end]
        assert target in cases.targets[int(cases.offsets[row]) : int(cases.offsets[row + 1])]
    assert batch.mask[:, 0].all()


def test_negatives_are_out_of_the_list_and_out_of_the_catalogue():
    found = found_lists()
    row_of = {int(end): row for row, end in enumerate(SPLIT.train[:].histories.ends)}
    batch = one_pass(replace(QUICK, recalled=2, proposal="uniform"))
    lists = found[[row_of[int(end)] for end in batch.histories.ends]].long()
    drawn, recalled = batch.items[:, 1:3], batch.items[:, 3:]
    assert (recalled[:, :, None] == lists[:, None]).any(2).all()
    outside = ~(drawn[:, :, None] == lists[:, None]).any(2)
    assert 0.3 < outside.double().mean() < 0.7  # 12 of 24 items
    assert one_pass(replace(QUICK, recalled=0)).items.shape == batch.items.shape
    everything = one_pass(replace(QUICK, recalled=4)).items[:, 1:]
    assert (everything[:, :, None] == lists[:, None]).any(2).all()
    assert everything.shape[1] == 4


def test_sampled_negatives_follow_the_proposal():
    config = replace(QUICK, recalled=0, negatives=50, proposal="popularity")
    drawn = torch.bincount(one_pass(config).items[:, 1:].flatten(), minlength=25).double()
    counts = torch.from_numpy(SPLIT.train_counts).double() ** 0.75
    assert torch.corrcoef(torch.stack([drawn, counts]))[0, 1] > 0.95


def test_an_item_of_any_training_event_of_a_user_is_no_negative_of_theirs():
    batch = one_pass()
    log = SPLIT.log
    taken = {
        (int(u), int(i))
        for u, i, t in zip(log.users, log.items, SPLIT.train_events, strict=True)
        if t
    }
    pairs = zip(batch.histories.users.tolist(), batch.items[:, 1:].tolist(), strict=True)
    hit = torch.tensor([[(user, item) in taken for item in row] for user, row in pairs])
    assert torch.equal(batch.mask[:, 1:], ~hit & (batch.items[:, 1:] > 0))
    assert hit.any()
    assert (batch.items == 0).any(), "no list ended early: nothing is tested"


def test_held_out_events_are_not_known_to_training():
    impressions = Impressions(SPLIT, found_lists(), QUICK)
    users, items = SPLIT.test.histories.users[SPLIT.test.rows], SPLIT.test.targets
    assert (impressions.first_events(users, items) == impressions.never).all()
    events = np.flatnonzero(SPLIT.train_events)
    users, items = torch.from_numpy(SPLIT.log.users), torch.from_numpy(SPLIT.log.items)
    first = impressions.first_events(users[events], items[events])
    assert torch.equal(first, torch.from_numpy(events))  # first interactions only


@pytest.mark.parametrize("repeats", [False, True])
def test_histories_end_before_the_targets_step_and_a_repeat_is_no_target(repeats):
    """No list would show an item of the history, so a repeat of it is not learnt."""
    log = basket_log(repeats=repeats)
    split = leave_last_out(log)
    config = replace(QUICK, recalled=0)
    impressions = Impressions(split, torch.zeros((len(split.train), 0)).int(), config)
    counted = 0
    for histories, items, mask in impressions.batches(seeded(0)):
        for start, end, user, target, counts in zip(
            histories.starts, histories.ends, histories.users, items[:, 0], mask[:, 0], strict=True
        ):
            own = np.flatnonzero((log.users == int(user)) & (log.items == int(target)))
            assert (log.timestamps[int(end) - 1] < log.timestamps[own]).any()
            assert (log.users[int(start) : int(end)] == int(user)).all()
            assert bool(counts) == (int(target) not in log.items[int(start) : int(end)])
            counted += bool(counts)
    assert 0 < counted <= len(split.train)
    assert (counted < len(split.train)) == repeats


def basket_log(*, repeats: bool) -> Interactions:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(20), 18)
    if repeats:
        items = rng.integers(30, size=len(users))
    else:
        items = np.concatenate([rng.permutation(30)[:18] for _ in range(20)])
    steps = np.tile(np.arange(18) // 3, 20)
    return Interactions.from_frames(
        pl.DataFrame({"user": users, "item": items, "timestamp": steps})
    )


def test_the_loss_is_the_logistic_loss_of_what_counts():
    batch = next(Impressions(SPLIT, found_lists(), QUICK).batches(seeded(0)))
    assert not batch.mask.all()
    loss = ranking_step(din(SPLIT.log), batch).item()
    model = din(SPLIT.log).train()
    logits = model(batch.histories.window(20), batch.items).detach().double()
    p = logits.sigmoid()
    terms = -torch.cat([p[:, :1].log(), (1 - p[:, 1:]).log()], dim=1)
    assert loss == pytest.approx(float(terms[batch.mask].mean()), rel=1e-5)


def test_a_batch_in_which_nothing_counts_teaches_nothing():
    batch = next(Impressions(SPLIT, found_lists(), QUICK).batches(seeded(0)))
    model = din(SPLIT.log)
    assert ranking_step(model, batch._replace(mask=torch.zeros_like(batch.mask))) == 0
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            assert not weight.grad.to_dense().any(), name


def test_every_weight_gets_a_gradient():
    model = din(SPLIT.log).train()
    ranking_step(model, next(Impressions(SPLIT, found_lists(), QUICK).batches(seeded(0))))
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        # A shift before batch statistics is part of the mean that they take away, but for alpha.
        gradient = weight.grad.coalesce().values() if weight.grad.is_sparse else weight.grad
        assert gradient.abs().max() > 0, name
    assert model.items.weight.grad is not None
    assert model.items.weight.grad.is_sparse


def test_the_epoch_with_the_best_gauc_on_validation_is_kept(monkeypatch):
    values = iter([0.6, 0.8, 0.7, 0.75])
    judged, weights = [], []

    def fake(scorer: Any, lists: CandidateLists) -> RankingQuality:
        judged.append(lists)
        weights.append(scorer.items.weight.detach().clone())
        assert not scorer.training
        return RankingQuality(next(values), np.zeros(1), 1)

    monkeypatch.setattr(training, "evaluate_ranker", fake)
    model, recall = din(SPLIT.log), Popularity(SPLIT.train_counts)
    done = fit_ranker(model, SPLIT, recall, replace(QUICK, epochs=9), progress=False)
    assert (done.best_epoch, len(done.log)) == (2, 4)  # patience 2
    assert torch.equal(model.items.weight, weights[1])
    assert not model.training
    assert [record["GAUC"] for record in done.log] == [0.6, 0.8, 0.7, 0.75]
    expected = build_candidate_lists(SPLIT.validation, recall, 12)
    assert torch.equal(judged[0].items, expected.items)
    assert torch.equal(judged[0].labels, expected.labels)


def test_the_same_seed_gives_the_same_ranker():
    def trained(seed: int) -> torch.Tensor:
        model = din(SPLIT.log)
        config = replace(QUICK, epochs=1, seed=seed)
        fit_ranker(model, SPLIT, Random(SPLIT.log.num_items, 0), config, progress=False)
        return model.items.all()

    torch.testing.assert_close(trained(0), trained(0))
    assert (trained(0) - trained(1)).abs().max() > 1e-3


def test_a_loss_that_is_no_number_ends_training():
    model = din(SPLIT.log)
    with torch.no_grad():
        model.items.weight[1:] = torch.inf
    with pytest.raises(FloatingPointError, match=r"epoch 1 is nan at step 1 of .*learning_rate"):
        fit_ranker(model, SPLIT, Random(SPLIT.log.num_items, 0), QUICK, progress=False)


def test_what_cannot_be_trained_is_refused():
    recall = Random(SPLIT.log.num_items, 0)
    with pytest.raises(ValueError, match="the model has 80 items and the log has 24"):
        fit_ranker(din(world(0).log), SPLIT, recall, QUICK)
    empty = replace(SPLIT, validation=SPLIT.validation[:0])
    with pytest.raises(ValueError, match="no validation case"):
        fit_ranker(din(SPLIT.log), empty, recall, QUICK)
    nothing = replace(SPLIT, train_events=np.zeros(len(SPLIT.log), dtype=bool))
    with pytest.raises(ValueError, match="no training case"):
        fit_ranker(din(SPLIT.log), nothing, recall, QUICK)

    class Bad:
        def recommend(self, histories, n, *, exclude_history=True):
            found = recall.recommend(histories, n)
            return found._replace(items=torch.zeros_like(found.items))

    with pytest.raises(ValueError, match="none of the 60 validation lists of 12 candidates"):
        fit_ranker(din(SPLIT.log), SPLIT, Bad(), QUICK)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"negatives": 0},
        {"candidates": 0},
        {"patience": 0},
        {"recalled": -1},
        {"recalled": 5},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"proposal": "zipf"},
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], monkeypatch):
    monkeypatch.setattr(training, "TrainingConfig", partial(unchecked, TrainingConfig))
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}="):
        unchecked(RankingConfig, **options)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_local_activation_beats_mean_pooling(seed, monkeypatch):
    """With several interests a user, the mean of the history describes none of them well."""
    split = leave_last_out(world(seed).log)
    recall = Random(split.log.num_items, seed)
    config = RankingConfig(
        epochs=6, batch_size=128, candidates=40, recalled=0, proposal="uniform", learning_rate=1e-2
    )
    lists = build_candidate_lists(split.test, recall, 40)

    def trained(mean: bool) -> float:
        model = din(split.log, seed)
        if mean:
            monkeypatch.setattr(model.activation, "forward", mean_pooling)
        fit_ranker(model, split, recall, config, progress=False)
        return evaluate_ranker(model, lists).gauc

    local, mean = trained(False), trained(True)
    assert local > mean + 0.02
    assert local > 0.75


def mean_pooling(
    behaviors: torch.Tensor, rows: torch.Tensor, candidates: torch.Tensor
) -> torch.Tensor:
    share = 1 / torch.bincount(rows)[rows].to(behaviors.dtype)
    return share[:, None].expand(-1, candidates.shape[1])
