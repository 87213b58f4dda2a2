"""Properties of every recommender, and of MIND."""

import pytest
import torch

from mindlib.data import Histories, PlantedConfig, leave_last_out, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig, Popularity, Random, YouTubeDNN, YouTubeDNNConfig
from mindlib.retrieval import InterestModel, Recommender
from tests.oracle import Oracle


@pytest.fixture(scope="module")
def world():
    return planted_interests(PlantedConfig(num_users=200, num_clusters=6), seed=0)


@pytest.fixture(scope="module")
def split(world):
    return leave_last_out(world.log)


def vector_models(log):
    for name, make in (
        ("youtube-dnn", lambda g: YouTubeDNN(log, YouTubeDNNConfig.paper(dim=16), generator=g)),
        ("mind-1", lambda g: MIND(log, mind(1), generator=g)),
        ("mind-4", lambda g: MIND(log, mind(4), generator=g)),
        ("mind-4-behaviors", lambda g: MIND(log, mind(4, softmax_over="behaviors"), generator=g)),
    ):
        yield name, make(torch.Generator().manual_seed(1))


def mind(interests, **options):
    routing = RoutingConfig.paper(max_interests=interests, **options)
    return MINDConfig.paper(dim=16, history_length=20, routing=routing)


def recommenders(world, split):
    yield "random", Random(world.log.num_items, seed=0)
    yield "popularity", Popularity(split.train_counts)
    yield "oracle", Oracle(world)
    yield from vector_models(world.log)


def test_every_recommender_returns_n_distinct_items_outside_the_history(world, split):
    histories = split.test.histories
    rows, items = histories.pairs()
    past = set(zip(rows.tolist(), items.tolist(), strict=True))
    for name, model in recommenders(world, split):
        assert isinstance(model, Recommender)
        lists, scores = model.recommend(histories, 30)
        assert lists.shape == scores.shape == (len(histories), 30), name
        assert (scores.diff(dim=1) <= 0).all(), name
        for user, row in enumerate(lists.tolist()):
            assert len(set(row)) == 30, name
            assert not any((user, item) in past for item in row), name


def test_no_users_get_no_lists(world, split):
    nobody = split.test.histories.select(slice(0, 0))
    for name, model in recommenders(world, split):
        lists, scores = model.recommend(nobody, 5)
        assert lists.shape == scores.shape == (0, 5), name
    for name, model in vector_models(world.log):
        vectors, active = model.interests(nobody)
        assert vectors.shape[:2] == active.shape == (0, active.shape[1]), name


def test_batch_equals_single_for_every_recommender(world, split):
    few = split.test.histories.select(slice(0, 8))
    for name, model in recommenders(world, split):
        if name == "random":
            continue
        together = model.recommend(few, 10)
        for user in range(len(few)):
            alone = model.recommend(few.select(slice(user, user + 1)), 10)
            torch.testing.assert_close(alone.scores[0], together.scores[user])


def test_evaluation_is_reproducible_whatever_else_is_in_the_batch(world, split):
    histories = split.test.histories
    backwards = torch.arange(len(histories)).flip(0)
    for _, model in vector_models(world.log):
        assert isinstance(model, InterestModel)
        vectors, active = model.interests(histories)
        torch.randn(7)  # a draw from the global generator must not matter
        again, _ = model.interests(histories.select(backwards))
        torch.testing.assert_close(again.flip(0), vectors)
        assert active.any(1).all()


def test_a_model_keeps_nothing_from_a_call(world, split):
    for _, model in vector_models(world.log):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.recommend(split.test.histories, 5)
        history = split.test.histories.window(20)
        behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
        model.encode(behaviors, history, generator=torch.Generator().manual_seed(0))
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_order_of_behaviors_changes_nothing(world):
    """The paper's input is a set: no position enters."""
    past = [3, 1, 4, 15, 9, 2, 6]
    for _, model in vector_models(world.log):
        forward, _ = model.interests(Histories.from_lists([past], [[1]]))
        shuffled, _ = model.interests(Histories.from_lists([past[::-1]], [[1]]))
        torch.testing.assert_close(forward, shuffled)


def test_training_redraws_the_logits_and_evaluation_does_not(world):
    model = MIND(world.log, mind(4), generator=torch.Generator().manual_seed(0))
    history = Histories.from_lists([list(range(1, 17))], [[1]]).window(20)
    behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
    generator = torch.Generator().manual_seed(0)
    drawn = [model.encode(behaviors, history, generator=generator).vectors for _ in range(2)]
    assert not torch.allclose(drawn[0], drawn[1])
    fixed = [model.encode(behaviors, history, generator=None).vectors for _ in range(2)]
    assert torch.equal(fixed[0], fixed[1])


def test_training_logits_have_the_deviation_sigma(world, monkeypatch):
    model = MIND(world.log, mind(4, sigma=3.0), generator=torch.Generator().manual_seed(0))
    seen = []
    monkeypatch.setattr(
        model.routing, "forward", lambda b, m, logits, **_: seen.append(logits) or 1 / 0
    )
    history = Histories.from_lists([list(range(1, 17))] * 100, [[1]] * 100).window(20)
    with pytest.raises(ZeroDivisionError):
        model.encode(torch.zeros(100, 20, 16), history, generator=torch.Generator().manual_seed(0))
    assert seen[0].std().item() == pytest.approx(3, rel=0.05)
    assert seen[0].mean().item() == pytest.approx(0, abs=0.2)


def test_inactive_interests_are_zero_after_the_head(world):
    model = MIND(world.log, mind(4), generator=torch.Generator().manual_seed(0))
    vectors, active = model.interests(
        Histories.from_lists([[1, 2, 3], list(range(1, 17))], [[1], [2]])
    )
    assert active.sum(1).tolist() == [1, 4]
    assert (vectors[0, 1:] == 0).all()
    assert (vectors[1].norm(dim=1) > 0).all()


def test_a_user_without_behaviors_is_answered_from_the_profile(world):
    for _, model in vector_models(world.log):
        lists, scores = model.recommend(Histories.from_lists([[]], [[1]]), 5)
        assert scores.isfinite().all()
        assert (lists > 0).all()


def test_youtube_dnn_takes_the_mean_over_behaviors_and_not_over_places(world):
    model = YouTubeDNN(world.log, generator=torch.Generator().manual_seed(0))
    short, _ = model.interests(Histories.from_lists([[1, 2]], [[1]]))
    doubled, _ = model.interests(Histories.from_lists([[1, 2, 1, 2]], [[1]]))
    torch.testing.assert_close(short, doubled)


def test_popularity_recommends_the_most_frequent_training_items(split):
    counts = torch.from_numpy(split.train_counts)
    cold = Popularity(split.train_counts).recommend(Histories.from_lists([[]]), 5)
    assert cold.scores[0].tolist() == counts.sort(descending=True).values[:5].tolist()


def test_the_oracle_beats_popularity_beats_chance(world, split):
    from mindlib.evaluation import evaluate

    hit = {
        name: evaluate(model, split.test, (20,)).means()["HitRate@20"]
        for name, model in recommenders(world, split)
        if name in ("random", "popularity", "oracle")
    }
    assert hit["oracle"] > 1.5 * hit["popularity"]
    assert hit["popularity"] > 1.2 * hit["random"]
