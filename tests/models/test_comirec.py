"""ComiRec's two extractors against their equations in plain Python."""

import math

import pytest
import torch

from mindlib.data import Histories, planted_interests
from mindlib.models import ComiRecDR, ComiRecDRConfig, ComiRecSA, ComiRecSAConfig
from tests.models.compared import SMALL, WORLD, build

PAST = [3, 1, 4, 15, 9]


@pytest.fixture(scope="module")
def log():
    return planted_interests(WORLD, seed=0).log


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(matrix, vector):
    return [dot(row, vector) for row in matrix]


def softmax(values):
    raised = [math.exp(value - max(values)) for value in values]
    return [value / sum(raised) for value in raised]


def added(vectors, weights):
    return [
        sum(w * v for w, v in zip(weights, column, strict=True))
        for column in zip(*vectors, strict=True)
    ]


def squashed(vector):
    square = dot(vector, vector)
    return [x * math.sqrt(square) / (1 + square) for x in vector]


@pytest.mark.parametrize("positions", [True, False])
def test_self_attention_equals_its_equation(log, positions):
    """Position embeddings steer the attention; what is averaged are the items alone."""
    config = ComiRecSAConfig.paper(positions=positions, **SMALL)
    model = ComiRecSA(log, config, generator=torch.Generator().manual_seed(0))
    found = model.encode_histories(Histories.from_lists([PAST], [[1]]))
    items = model.item_vectors().tolist()
    behaviors = [items[i] for i in PAST]
    places = model.positions.tolist()[: len(PAST)] if positions else [[0.0] * 16] * len(PAST)
    placed = [[x + p for x, p in zip(*pair, strict=True)] for pair in zip(behaviors, places)]  # noqa: B905
    hidden = [[math.tanh(x) for x in times(model.inner.tolist(), e)] for e in placed]
    assert len(hidden[0]) == 4 * 16
    for k, outer in enumerate(model.outer.tolist()):
        weights = softmax([dot(outer, h) for h in hidden])
        assert found.coupling is not None
        assert found.coupling[0, k, : len(PAST)].tolist() == pytest.approx(weights, abs=1e-5)
        assert found.vectors[0, k].tolist() == pytest.approx(added(behaviors, weights), abs=1e-5)
    assert found.active.all()


def routed(model, past, iterations):
    """Sabour's routing from zero logits, with a matrix for each position and interest."""
    items, maps = model.item_vectors().tolist(), model.maps.tolist()
    interests = range(model.config.max_interests)
    votes = [[times(maps[i][k], items[item]) for k in interests] for i, item in enumerate(past)]
    logits = [[0.0 for _ in interests] for _ in past]
    capsules, weights = [], []
    for _ in range(iterations):
        weights = [softmax(row) for row in logits]
        capsules = [
            squashed(added([vote[k] for vote in votes], [w[k] for w in weights])) for k in interests
        ]
        logits = [
            [b + dot(capsules[k], vote[k]) for k, b in enumerate(row)]
            for row, vote in zip(logits, votes, strict=True)
        ]
    return capsules, weights


@pytest.mark.parametrize("iterations", [1, 3])
def test_dynamic_routing_equals_its_algorithm(log, iterations):
    config = ComiRecDRConfig.paper(iterations=iterations, **SMALL)
    model = ComiRecDR(log, config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.maps.mul_(4)  # so that the iterations differ
    found = model.encode_histories(Histories.from_lists([PAST], [[1]]))
    capsules, weights = routed(model, PAST, iterations)
    assert found.coupling is not None
    assert found.active.all()
    for k in range(4):
        assert found.vectors[0, k].tolist() == pytest.approx(capsules[k], abs=1e-5)
        coupling = found.coupling[0, k, : len(PAST)].tolist()
        assert coupling == pytest.approx([w[k] for w in weights], abs=1e-5)
    spread = max(max(row) - min(row) for row in weights)
    assert (spread < 1e-6) == (iterations == 1)


def test_the_interests_of_dynamic_routing_differ_although_logits_start_at_zero(log):
    vectors, _ = build("comirec-dr", log).interests(Histories.from_lists([PAST], [[1]]))
    assert torch.pdist(vectors[0]).min() > 1e-2


def test_no_gradient_runs_through_the_coupling_of_dynamic_routing(log):
    """The gradient of squash(sum_i w_ik W_ik e_i) with w a constant."""
    model = build("comirec-dr", log)
    assert isinstance(model, ComiRecDR)
    history = Histories.from_lists([PAST], [[1]]).window(len(PAST))
    behaviors = model.item_vectors()[history.items]
    found = model.encode(behaviors, history, generator=None)
    target = torch.randn(found.vectors.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((found.vectors * target).sum(), model.maps)
    assert found.coupling is not None
    assert not found.coupling.requires_grad
    votes = torch.einsum("bld,lked->blke", behaviors, model.maps[: len(PAST)])
    z = torch.einsum("bkl,blke->bke", found.coupling, votes)
    constant = z * z.norm(dim=2, keepdim=True) / (1 + z.square().sum(2, keepdim=True))
    (expected,) = torch.autograd.grad((constant * target).sum(), model.maps)
    torch.testing.assert_close(gradient, expected)
