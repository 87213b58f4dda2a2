"""Properties of every model that MIND is compared with."""

import pytest
import torch

from mindlib.data import Histories, leave_last_out, planted_interests
from mindlib.models import VectorModel
from mindlib.retrieval import InterestModel
from mindlib.training import TrainingConfig, batches, make_sampler, training_step
from tests.models.compared import BUILDS, LENGTH, WORLD, build

NAMES = list(BUILDS)


@pytest.fixture(scope="module")
def world():
    return planted_interests(WORLD, seed=0)


@pytest.fixture(scope="module")
def split(world):
    return leave_last_out(world.log)


def encoded(model: VectorModel, histories: Histories, length: int = LENGTH, generator=None):
    history = histories.window(length)
    behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
    return model.encode(behaviors, history, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_lists_have_n_distinct_items_outside_the_history(world, split, name):
    model = build(name, world.log)
    assert isinstance(model, InterestModel)
    histories = split.test.histories.select(slice(0, 50))
    lists, scores = model.recommend(histories, 20)
    rows, items = histories.pairs()
    past = set(zip(rows.tolist(), items.tolist(), strict=True))
    assert (scores.diff(dim=1) <= 0).all()
    for user, row in enumerate(lists.tolist()):
        assert len(set(row)) == 20
        assert not any((user, item) in past for item in row)


@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_single_in_whatever_mode_the_model_is(world, split, name):
    model = build(name, world.log).train()
    few = split.test.histories.select(slice(0, 8))
    together, active = model.interests(few)
    assert together.std() > 0.01
    assert active.any(1).all()
    for user in range(len(few)):
        alone, _ = model.interests(few.select(slice(user, user + 1)))
        torch.testing.assert_close(alone[0], together[user])


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(world, name):
    """A history with more or fewer padding positions."""
    model = build(name, world.log)
    past = Histories.from_lists([[3, 1, 4, 15, 9]], [[1]])
    tight, padded = (encoded(model, past, length) for length in (5, LENGTH))
    torch.testing.assert_close(tight.vectors, padded.vectors)
    if padded.coupling is not None:
        assert tight.coupling is not None
        torch.testing.assert_close(padded.coupling[:, :, :5], tight.coupling)
        assert (padded.coupling[:, :, 5:] == 0).all()
        assert (padded.coupling[:, :, :5] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_training_reaches_every_parameter(world, split, name):
    model = build(name, world.log)
    config = TrainingConfig(batch_size=128, negatives=64)
    sampler = make_sampler(split, config, torch.device("cpu"))
    batch = next(batches(split.train, 128, torch.Generator().manual_seed(0)))
    training_step(model, batch, sampler, config, torch.Generator().manual_seed(1))
    for parameter, weight in model.named_parameters():
        if weight.numel():
            assert weight.grad is not None, parameter
            gradient = weight.grad.to_dense()
            assert gradient.isfinite().all(), parameter
            assert gradient.norm() > 1e-6, parameter


@pytest.mark.parametrize("name", NAMES)
def test_training_draws_from_the_generator_alone_and_leaves_the_global_one(world, split, name):
    model = build(name, world.log)
    few = split.test.histories.select(slice(0, 8))
    state = torch.get_rng_state()
    seeded = [
        encoded(model, few, generator=torch.Generator().manual_seed(seed)).vectors
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(seeded[0], seeded[1])
    assert torch.allclose(seeded[0], seeded[2]) == (name != "sasrec")


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_weights_and_another_seed_others(world, name):
    first = build(name, world.log, 0)
    torch.manual_seed(7)  # must not matter
    again, other = build(name, world.log, 0), build(name, world.log, 1)
    for weight, same, different in zip(
        first.parameters(), again.parameters(), other.parameters(), strict=True
    ):
        torch.testing.assert_close(weight, same)
        if weight.dim() > 1 and weight.numel():
            assert not torch.allclose(weight, different)


@pytest.mark.parametrize("name", NAMES)
def test_a_user_without_behaviors_gets_a_list(world, name):
    model, cold = build(name, world.log), Histories.from_lists([[]], [[1]])
    found = model.encode_histories(cold)
    assert found.vectors.isfinite().all()
    assert found.coupling is None or (found.coupling == 0).all()
    lists, scores = model.recommend(cold, 5)
    assert scores.isfinite().all()
    assert len(set(lists[0].tolist())) == 5
    assert (lists > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_profile_is_seen_by_the_models_with_a_head_and_only_by_them(world, name):
    model = build(name, world.log)
    one, two = (model.interests(Histories.from_lists([[1, 2]], [[code]]))[0] for code in (1, 2))
    has_head = name in ("maxmf", "comirec-sa-head", "comirec-dr-head")
    assert torch.allclose(one, two) != has_head
    assert (model.profile.width > 0) == has_head


@pytest.mark.parametrize("name", ["maxmf", "maxmf-linear", "comirec-sa-head"])
def test_a_past_is_a_set_for_models_without_places(world, name):
    model = build(name, world.log)
    past = [3, 1, 4, 15, 9, 2, 6]
    forward, backward = (
        model.interests(Histories.from_lists([order], [[1]]))[0] for order in (past, past[::-1])
    )
    torch.testing.assert_close(forward, backward)


@pytest.mark.parametrize("name", ["comirec-sa", "comirec-dr", "sasrec"])
def test_a_past_is_a_sequence_for_models_with_places(world, name):
    model = build(name, world.log)
    past = [3, 1, 4, 15, 9, 2, 6]
    moved = [past[1], past[0], *past[2:]]  # the last one stays
    one, two = (model.interests(Histories.from_lists([p], [[1]]))[0] for p in (past, moved))
    assert (one - two).abs().max() > 1e-3
    window = Histories.from_lists([past], [[1]])
    with pytest.raises(ValueError, match=f"window of {LENGTH + 1} .* history_length={LENGTH}"):
        encoded(model, window, LENGTH + 1)


@pytest.mark.parametrize("name", ["maxmf", "comirec-sa", "comirec-dr"])
def test_the_label_meets_the_interest_that_scores_it_best(world, name):
    """The hard readout, for scores of both signs."""
    model = build(name, world.log)
    interests = model.encode_histories(Histories.from_lists([[1, 2, 3], [4, 5]], [[1], [2]]))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        labels = torch.randn(2, 16, generator=generator)
        read = model.readout(interests, labels)
        for user in range(2):
            scores = [float(v @ labels[user]) for v in interests.vectors[user]]
            torch.testing.assert_close(
                read[user], interests.vectors[user, scores.index(max(scores))]
            )


@pytest.mark.parametrize("name", NAMES)
def test_the_window_has_the_latest_behaviors_in_the_order_of_time(world, name):
    """Behaviors before the window do not affect the vectors."""
    model = build(name, world.log)
    past = list(range(1, LENGTH + 1))
    alone, with_more = (
        model.interests(Histories.from_lists([p], [[1]]))[0] for p in (past, [70, 71, *past])
    )
    torch.testing.assert_close(alone, with_more)
    history = Histories.from_lists([[70, 71, *past]], [[1]]).window(LENGTH)
    assert history.items[0].tolist() == past
