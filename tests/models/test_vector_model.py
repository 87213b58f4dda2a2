"""All vector models: configuration, dropout of the behaviors, residual head."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from mindlib.data import Histories, planted_interests
from mindlib.layers.routing import RoutingConfig
from mindlib.models import (
    MIND,
    ComiRecDR,
    ComiRecDRConfig,
    ComiRecSA,
    ComiRecSAConfig,
    MaxMF,
    MaxMFConfig,
    MINDConfig,
    SASRec,
    SASRecConfig,
    YouTubeDNN,
    YouTubeDNNConfig,
)
from mindlib.models.head import Head
from tests.models.compared import LENGTH, WORLD

SMALL: dict[str, Any] = {"dim": 16, "hidden": (16,), "history_length": LENGTH}
MODELS = {
    "youtube-dnn": (YouTubeDNN, YouTubeDNNConfig),
    "maxmf": (MaxMF, MaxMFConfig),
    "mind": (MIND, MINDConfig),
    "comirec-sa": (ComiRecSA, ComiRecSAConfig),
    "comirec-dr": (ComiRecDR, ComiRecDRConfig),
    "sasrec": (SASRec, SASRecConfig),
}
ROUTES = ("mind", "comirec-sa", "comirec-dr")
HISTORIES = Histories.from_lists([list(range(1, 17)), [3, 1, 4, 15, 9], []], [[1], [2], [3]])


@pytest.fixture(scope="module")
def log():
    return planted_interests(WORLD, seed=0).log


def new(name, log, **options):
    """A tuned model, in which dropout of the behaviors is all that is random in training."""
    model, config = MODELS[name]
    more = {"dropout": 0.0} if name == "sasrec" else {}
    return model(log, config(**SMALL | more | options), generator=seeded(0))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def encode(model, histories=HISTORIES, generator=None):
    history = histories.window(LENGTH)
    behaviors = model.items(history.items.flatten()).unflatten(0, history.items.shape)
    return model.encode(behaviors, history, generator=generator)


# Configuration


LITERAL = {
    "head": "relu",
    "pooling": "mean",
    "id_scale": 1.0,
    "title_words": False,
    "behavior_dropout": 0.0,
}
TUNED = {
    "head": "residual",
    "pooling": "sum",
    "id_scale": 0.1,
    "title_words": True,
    "behavior_dropout": 0.5,
}
SIZES = {"dim": 64, "hidden": (128,), "history_length": 50}
OWN = {
    YouTubeDNNConfig: {},
    MaxMFConfig: {"max_interests": 4},
    ComiRecSAConfig: {"hidden": None, "max_interests": 4, "positions": True},
    ComiRecDRConfig: {"hidden": None, "max_interests": 4, "iterations": 3},
    SASRecConfig: {
        "hidden": None, "behavior_dropout": 0.0, "layers": 2, "dropout": 0.2
    },
}  # fmt: skip


@pytest.mark.parametrize("config", OWN)
def test_the_two_presets_differ_in_what_all_models_share_and_in_nothing_else(config):
    assert dataclasses.asdict(config()) == SIZES | TUNED | OWN[config]
    assert dataclasses.asdict(config.paper()) == SIZES | LITERAL | OWN[config]
    assert type(config.paper()) is config
    changed = config.paper(dim=8, head="residual")
    assert changed == dataclasses.replace(config.paper(), dim=8, head="residual")


def test_minds_presets_field_by_field():
    rest = {"evaluation_seed": 0, "recency": False}
    literal, tuned = (dataclasses.asdict(r) for r in (RoutingConfig.paper(), RoutingConfig()))
    assert dataclasses.asdict(MINDConfig.paper()) == SIZES | LITERAL | rest | {
        "routing": literal,
        "power": 2.0,
    }
    assert dataclasses.asdict(MINDConfig()) == SIZES | TUNED | rest | {
        "routing": tuned,
        "power": math.inf,
    }
    changed = MINDConfig.paper(power=5.0, routing=RoutingConfig(max_interests=2))
    assert (changed.power, changed.routing) == (5.0, RoutingConfig(max_interests=2))
    assert changed.head == "relu"


def test_a_model_is_built_as_its_configuration_says(log):
    tuned = new("youtube-dnn", log)
    assert tuned.items.pooling == "sum"
    assert tuned.head.kind == "residual"
    # Rows: padding, items, departments, brands, and the two words "cluster" and "item".
    features = len(tuned.items.weight) - log.num_items - 1
    assert features == 2 + 12 + 2
    ids = tuned.items.weight[1 : log.num_items + 1].std() / tuned.items.weight[-features:].std()
    assert ids.item() == pytest.approx(0.1, rel=0.15)
    literal = YouTubeDNN(log, YouTubeDNNConfig.paper(**SMALL), generator=seeded(0))
    assert literal.items.pooling == "mean"
    assert literal.head.kind == "relu"
    assert len(literal.items.weight) == log.num_items + 1 + 2 + 12
    wordless = new("youtube-dnn", log, title_words=False)
    assert len(wordless.items.weight) == len(literal.items.weight)
    untitled = new("youtube-dnn", dataclasses.replace(log, titles=None))
    assert len(untitled.items.weight) == len(literal.items.weight)


# Dropout


@pytest.mark.parametrize("name", MODELS)
def test_training_drops_behaviors_and_evaluation_does_not_whatever_the_mode(name, log):
    model = new(name, log, behavior_dropout=0.5)
    whole = encode(new(name, log, behavior_dropout=0.0)).vectors
    for mode in (True, False):
        model.train(mode)
        fixed = [encode(model).vectors for _ in range(2)]
        assert torch.equal(*fixed)
        assert torch.equal(fixed[0], whole), "the same mask at each call is dropout too"
        drawn = encode(model, generator=seeded(0)).vectors
        assert (drawn - fixed[0])[:2].abs().max() > 0.01


@pytest.mark.parametrize("name", MODELS)
def test_what_is_dropped_comes_from_the_generator_alone(name, log):
    model, state = new(name, log, behavior_dropout=0.5), torch.get_rng_state()
    first, again, other = (encode(model, generator=seeded(s)).vectors for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(first, again)
    assert (first - other).abs().max() > 0.01


@pytest.mark.parametrize("name", MODELS)
def test_without_dropout_training_and_evaluation_give_the_same_vectors(name, log):
    """Of MIND too, because farthest-point initialization is deterministic."""
    model = new(name, log, behavior_dropout=0.0)
    fixed, drawn = encode(model), encode(model, generator=seeded(0))
    torch.testing.assert_close(drawn.vectors, fixed.vectors)
    torch.testing.assert_close(drawn.coupling, fixed.coupling)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "sasrec"])
def test_at_rate_0_nothing_is_drawn(name, log):
    """Without dropout, the generator is not used."""
    generator = seeded(0)
    before = generator.get_state()
    encode(new(name, log, behavior_dropout=0.0), generator=generator)
    assert torch.equal(generator.get_state(), before)
    encode(new(name, log, behavior_dropout=0.5), generator=generator)
    assert not torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("name", ROUTES)
def test_what_goes_into_which_interest_is_decided_before_anything_is_dropped(name, log):
    model = new(name, log, behavior_dropout=0.9)
    fixed, drawn = encode(model), encode(model, generator=seeded(0))
    assert fixed.coupling is not None
    assert fixed.coupling.max() > fixed.coupling[fixed.coupling > 0].min() + 1e-3
    torch.testing.assert_close(drawn.coupling, fixed.coupling)
    assert (drawn.vectors - fixed.vectors)[:2].abs().max() > 0.01


@pytest.mark.parametrize("name", ["youtube-dnn", "maxmf", "mind", "comirec-sa"])
def test_in_the_mean_over_many_draws_nothing_is_lost(name, log):
    """Without head, where the vectors are linear in the values."""
    model = new(name, log, behavior_dropout=0.25, hidden=None)
    many = Histories.from_lists([list(range(1, 17))] * 4000, [[1]] * 4000)
    drawn = encode(model, many, seeded(0)).vectors
    expected = encode(model, many).vectors[0]
    error = (drawn.mean(0) - expected).abs() / drawn.std(0).clamp(min=1e-12)
    assert error[expected != 0].max() < 5 / 4000**0.5
    assert drawn.std(0)[expected != 0].min() > 0


def test_a_value_is_dropped_or_grows_by_what_the_others_lose(log):
    model = new("youtube-dnn", log, behavior_dropout=0.25)
    dropped = model.apply_dropout(torch.ones(100, 20, 16), seeded(0))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert (dropped == 0).float().mean((0, 1)).std() < 0.03, "every value by itself"
    ones = torch.ones(1, 2, 16)
    assert model.apply_dropout(ones, None) is ones


# The head


def head(kind, hidden=(32,)):
    return Head(16, 8, hidden, kind, generator=seeded(0))


@pytest.mark.parametrize("hidden", [(32,), (32, 24), ()])
def test_a_residual_head_starts_near_the_identity(hidden):
    vectors, profile = torch.randn(50, 4, 16, generator=seeded(1)), torch.zeros(50, 8)
    near, far = (head(kind, hidden)(vectors, profile) for kind in ("residual", "relu"))
    added = (near - vectors).norm() / vectors.norm()
    assert 0.02 < added < 0.25
    assert (far - vectors).norm() / vectors.norm() > 0.8
    torch.testing.assert_close(near - vectors, 0.1 * far, atol=1e-5, rtol=1e-4)


def test_a_residual_head_learns_from_the_profile():
    model = head("residual")
    vectors = torch.randn(200, 2, 16, generator=seeded(1))
    profile = torch.randn(200, 8, generator=seeded(2))
    wanted = vectors + profile.repeat(1, 2)[:, None, :]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        loss = (model(vectors, profile) - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_residual_head_adds_to_the_vectors_of_the_model_without_head(name, log):
    """With its last layer at zero, it is the model without head."""
    model = new(name, log)
    with torch.no_grad():
        model.head.layers[-1].weight.zero_()
    bare = new(name, log, hidden=None)
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    bare.load_state_dict(weights | {"profile.weight": bare.profile.weight})
    torch.testing.assert_close(encode(model).vectors, encode(bare).vectors)
    assert encode(bare).vectors.abs().max() > 0.01


def test_mind_1_with_the_identity_and_a_quiet_head_is_youtube_dnn(log):
    """K = 1 makes all weights 1 and a capsule the mean: routing does nothing."""
    single = new("mind", log, routing=RoutingConfig(max_interests=1))
    mean = new("youtube-dnn", log)
    weights = single.state_dict()
    assert torch.equal(weights.pop("routing.bilinear_map"), torch.eye(16))
    mean.load_state_dict(weights)
    torch.testing.assert_close(encode(single).vectors, encode(mean).vectors)
    torch.testing.assert_close(
        encode(single, generator=seeded(0)).vectors, encode(mean, generator=seeded(0)).vectors
    )
    with torch.no_grad():
        for model in (single, mean):
            model.head.layers[-1].weight.zero_()
    plain = mean.items(torch.arange(1, 17)).mean(0)
    for model in (single, mean):
        torch.testing.assert_close(encode(model).vectors[0, 0], plain)
