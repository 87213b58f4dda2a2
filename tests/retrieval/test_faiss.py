"""Approximate search: how much of the exact lists it finds, and which index is built by default."""

import pytest
import torch

from mindlib.retrieval import ExactIndex, search
from mindlib.retrieval import faiss as module
from mindlib.retrieval.faiss import FaissConfig, FaissIndex
from tests.conftest import unchecked
from tests.retrieval.vectors import clustered

N = 50
FACTORIES = pytest.mark.parametrize(
    ("config", "floor"),
    [
        (FaissConfig("Flat"), 1.0),
        (FaissConfig("HNSW32", ef_search=200), 0.95),
        (FaissConfig("IVF64,SQfp16", nprobe=8), 0.95),
        (FaissConfig("IVF64,PQ16x4fs,RFlat", nprobe=8, refine=4.0), 0.90),
        (FaissConfig("PCA24,IVF64,SQ8,Refine(SQfp16)", nprobe=8, refine=4.0), 0.90),
    ],
    ids=lambda value: value.factory if isinstance(value, FaissConfig) else None,
)


@pytest.fixture(scope="module")
def world():
    return clustered(6000, 32, 60, seed=1, users=20)


def recall(found, exact):
    """The share of the exact lists that was found."""
    shared = [torch.isin(a[a > 0], b).sum() for a, b in zip(found.items, exact.items, strict=True)]
    return float(sum(shared)) / exact.items.numel()


@FACTORIES
def test_recall_of_the_exact_lists(config, floor, world):
    exact = search(ExactIndex.build(world.items, world.ids), world.interests, world.active, N)
    index = FaissIndex.build(world.items, world.ids, config)
    found = search(index, world.interests, world.active, N)
    assert recall(found, exact) >= floor
    assert (found.items > 0).all()


def test_the_floor_tells_a_broken_index(world):
    """Codes of two bytes are not enough, nor is a graph of two edges a node."""
    exact = search(ExactIndex.build(world.items, world.ids), world.interests, world.active, N)
    for config in (FaissConfig("IVF1,PQ2x4"), FaissConfig("HNSW2", ef_search=1)):
        index = FaissIndex.build(world.items, world.ids, config)
        assert recall(search(index, world.interests, world.active, N), exact) < 0.9


def test_long_lists_are_not_cut_by_few_probes(world):
    """A list of half the catalogue cannot lie in one inverted list of 64."""
    index = FaissIndex.build(world.items, world.ids, FaissConfig("IVF64,SQfp16", nprobe=1))
    found = search(index, world.interests, world.active, 3000)
    assert (found.items > 0).all()


def test_a_graph_keeps_as_many_candidates_as_results(world):
    index = FaissIndex.build(world.items, world.ids, FaissConfig("HNSW32", ef_search=1))
    exact = search(ExactIndex.build(world.items, world.ids), world.interests, world.active, 500)
    assert recall(search(index, world.interests, world.active, 500), exact) > 0.9


def test_the_default_is_chosen_by_size(monkeypatch, world):
    assert FaissConfig.for_size(50_000).factory == "Flat"
    assert FaissConfig.for_size(100_000) == FaissConfig("IVF1024,SQfp16", nprobe=176)
    assert FaissConfig.for_size(1_000_000) == FaissConfig("IVF4096,SQfp16", nprobe=352)
    monkeypatch.setattr(module, "MAX_FLAT_ITEMS", 100)
    index = FaissIndex.build(world.items, world.ids)
    assert index.config == FaissConfig.for_size(6000)
    exact = search(ExactIndex.build(world.items, world.ids), world.interests, world.active, N)
    assert recall(search(index, world.interests, world.active, N), exact) >= 0.99


def test_a_build_is_reproducible(world):
    config = FaissConfig("IVF8,SQfp16", nprobe=2)
    queries = world.interests.flatten(0, 1)
    first, second = (FaissIndex.build(world.items, world.ids, config) for _ in range(2))
    owners = torch.arange(len(queries))
    found, again = (index.nearest(queries, 50, owners) for index in (first, second))
    assert torch.equal(found.items, again.items)


@pytest.mark.parametrize("name", ["nprobe", "ef_search", "refine"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_settings_below_one_are_refused(name, value):
    expected = rf"{name}={value}(\.0)?: expected (1 to|at least 1|a .*number)"
    with pytest.raises(ValueError, match=expected):
        unchecked(FaissConfig, **{name: value})


@pytest.mark.parametrize("factory", ["IVF64,SQfp16", "PQ5", "HNWS32", "IDMap,Flat"])
def test_a_factory_that_faiss_cannot_build_is_refused(factory):
    with pytest.raises(
        ValueError, match=r"cannot build it for 20 items of dimension 16 \(.+\); .*'Flat'"
    ):
        FaissIndex.build(torch.randn(20, 16), torch.arange(1, 21), FaissConfig(factory))


def test_numbers_beyond_half_precision_are_refused():
    message = "the vector of item 9 has a number beyond 65504, the largest in half precision"
    for value in (70_000.0, -70_000.0):
        vector = torch.full((1, 3), value)
        with pytest.raises(ValueError, match=message):
            FaissIndex.build(vector, torch.tensor([9]), FaissConfig("SQfp16"))


# The lists of one user's interests compete


@pytest.fixture(scope="module")
def inverted(world):
    return FaissIndex.build(world.items, world.ids, FaissConfig("IVF64,SQfp16", nprobe=5))


def test_the_lists_scanned_are_the_best_pairs_of_interest_and_centroid(world, inverted):
    owners = torch.tensor([0, 0, 0, 2, 5, 5])
    queries = world.interests.flatten(0, 1)[:6] * torch.tensor([[3.0], [1], [1], [1], [1], [1]])
    lists, scores = inverted._probes(queries.numpy(), 1, owners)
    centroids = torch.from_numpy(inverted.engine.quantizer.reconstruct_n(0, 64))
    inner = queries @ centroids.T
    for owner in (0, 2, 5):
        rows = (owners == owner).nonzero()[:, 0].tolist()
        pairs = sorted(
            ((float(inner[row, c]), row, c) for row in rows for c in range(64)), reverse=True
        )
        # No interest takes more than four times its share.
        taken = {row: 0 for row in rows}
        expected = set()
        for _, row, c in pairs:
            if len(expected) < 5 * len(rows) and taken[row] < 20:
                expected.add((row, c))
                taken[row] += 1
        assert {(row, int(c)) for row in rows for c in lists[row] if c >= 0} == expected
    for row, column in zip(*(lists >= 0).nonzero(), strict=True):
        assert scores[row, column] == pytest.approx(float(inner[row, lists[row, column]]), abs=1e-4)


def test_competing_finds_more_of_a_user_with_one_strong_interest(world, inverted):
    strong = world._replace(interests=world.interests * torch.tensor([2.0, 1, 1])[:, None])
    exact = search(ExactIndex.build(world.items, world.ids), strong.interests, world.active, 300)

    class Alone(FaissIndex):
        def nearest(self, queries, n, owners):
            return super().nearest(queries, n, torch.arange(len(queries)))

    index = FaissIndex.build(world.items, world.ids, FaissConfig("IVF64,SQfp16", nprobe=13))
    alone = Alone(**vars(index))
    shared = recall(search(index, strong.interests, world.active, 300), exact)
    assert shared > recall(search(alone, strong.interests, world.active, 300), exact) + 0.005


def test_a_user_gets_the_same_list_whoever_else_asks(world, inverted):
    active = world.active.clone()
    active[::3, 1] = False
    active[1::4, 0] = False
    active[2] = False
    together = search(inverted, world.interests, active, N)
    for user in range(6):
        one = slice(user, user + 1)
        alone = search(inverted, world.interests[one], active[one], N)
        torch.testing.assert_close(alone.scores, together.scores[one], atol=1e-5, rtol=1e-5)
        assert torch.equal(alone.items.sort().values, together.items[one].sort().values)
