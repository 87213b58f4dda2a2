"""What features do: before training by a formula, and for items that no training has met."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mindlib.data import PlantedConfig, planted_interests
from mindlib.layers.pooling import ItemEmbedding
from mindlib.lessons.n00_problem.described import (
    cold_and_warm_found,
    cold_starts,
    cosines_by_shared_fields,
    found_of_each_kind,
    new_ids,
    pairs_by_shared_fields,
    with_codes,
)
from mindlib.lessons.n00_problem.served import TwoInterests, cold_items, without_items
from mindlib.models import VectorModel, YouTubeDNN, YouTubeDNNConfig

CONFIG = PlantedConfig(num_users=80, num_clusters=8, items_per_cluster=10, num_segments=4)
WORLD = planted_interests(CONFIG)
COLD = cold_items(WORLD, 2, seed=0)
LOG = without_items(WORLD.log, COLD)
USERS = TwoInterests.of(WORLD, LOG, COLD, 12)
CLUSTERS = torch.from_numpy(WORLD.item_clusters)


def both_models() -> dict[str, VectorModel]:
    logs = {"id only": replace(LOG, item_features=None), "with features": LOG}
    shape = YouTubeDNNConfig.paper(dim=4, hidden=(8,))
    return {
        name: YouTubeDNN(log, shape, generator=torch.Generator().manual_seed(0))
        for name, log in logs.items()
    }


def test_pairs_agree_in_as_many_fields_as_they_are_filed_under():
    codes = np.random.default_rng(0).integers(0, 4, (60, 3))
    pairs = pairs_by_shared_fields(codes, limit=50, fewest=5, seed=0)
    assert set(pairs) == {0, 1, 2, 3}
    for number, (left, right) in pairs.items():
        assert 5 <= len(left) == len(right) <= 50
        assert (left != right).all()
        assert (codes[left] > 0).all()
        assert ((codes[left] == codes[right]).sum(1) == number).all()


def test_numbers_with_too_few_pairs_are_left_out():
    codes = np.arange(1, 31)[:, None]  # no two agree
    assert set(pairs_by_shared_fields(codes, limit=50, fewest=5, seed=0)) == {0}


def test_the_cosine_of_untrained_items_is_the_share_of_what_they_share():
    features = WORLD.log.item_features
    assert features is not None
    tables = cosines_by_shared_fields(features, 32, tables=12)
    assert len(tables) == 12
    assert set(tables[0]) == {0, 1, 2}
    for shared in tables[0]:
        mean = np.mean([table[shared].mean() for table in tables])
        assert mean == pytest.approx(shared / 3, abs=0.1)


def test_other_codes_change_the_vectors_of_these_items_and_leave_the_embedding(generator):
    embedding = ItemEmbedding(LOG.num_items, 4, LOG.item_features, generator=generator)
    before, weight = embedding.all(), embedding.weight.detach().clone()
    items = torch.tensor([3, 5])
    codes = embedding.codes[items].clone()
    codes[:, 0] = 0
    after = with_codes(embedding, items, codes)
    torch.testing.assert_close(after[items], weight[codes[:, 1:]].mean(1))
    others = torch.ones(len(before), dtype=torch.bool)
    others[items] = False
    assert torch.equal(after[others], before[others])
    assert torch.equal(embedding.weight, weight)
    assert torch.equal(embedding.all(), before)


def test_new_ids_are_drawn_as_an_embedding_draws_them(generator):
    many = ItemEmbedding(4000, 8, None, generator=generator)
    spread = many.weight[1:].std().item()
    with torch.no_grad():
        many.weight[1:] = 9
    new_ids(many, torch.arange(1, 2001), seed=0)
    assert many.weight[1:2001].std().item() == pytest.approx(spread, rel=0.05)
    assert (many.weight[2001:] == 9).all()
    assert (many.weight[0] == 0).all()


def test_the_four_ways_differ_in_the_cold_items_alone():
    models, cold = both_models(), torch.from_numpy(COLD)
    starts = cold_starts(models, cold, seed=0)
    assert list(starts) == [
        "id only", "with features", "features, id left out", "null: another's features",
    ]  # fmt: skip
    _, pooled = starts["with features"]
    weight, codes = models["with features"].items.weight, models["with features"].items.codes
    _, alone = starts["features, id left out"]
    torch.testing.assert_close(alone[cold], weight[codes[cold, 1:]].mean(1))
    for name in ("features, id left out", "null: another's features"):
        changed = (starts[name][1] != pooled).any(1).nonzero().flatten()
        assert set(changed.tolist()) <= set(COLD.tolist())
    kinds = {tuple(row) for row in codes[1:, 1:].tolist()}
    means = torch.stack([weight[list(kind)].mean(0) for kind in kinds])
    _, null = starts["null: another's features"]
    assert torch.cdist(null[cold], means).amin(1).max() < 1e-5, "features of some item"
    assert (torch.cdist(null[cold], alone[cold]).diagonal() > 1e-5).any(), "not its own"


def test_what_is_found_is_counted_for_cold_and_warm_items_apart():
    items = F.one_hot(CLUSTERS.clamp(min=0), 8).float()
    items[0] = 0
    two = F.one_hot(USERS.pairs, 8).float()
    cold, warm = found_of_each_kind(USERS, two, items, CLUSTERS)
    assert (cold == 1).all()
    assert (warm == 1).all()
    items[torch.from_numpy(COLD)] = 0  # the cold ones point nowhere
    cold, warm = found_of_each_kind(USERS, two, items, CLUSTERS)
    # 20 places, 16 warm items; the other four are filled by whoever comes first.
    assert (warm == 1).all()
    assert cold.mean() < 0.5


def test_each_kind_gets_a_mean_and_an_interval_for_each_way():
    starts = cold_starts(both_models(), torch.from_numpy(COLD), seed=0)
    found = cold_and_warm_found(USERS, starts, CLUSTERS)
    assert len(found) == 3
    for of_kind in found.values():
        assert list(of_kind) == list(starts)
        assert all(low <= mean <= high and 0 <= mean <= 1 for mean, low, high in of_kind.values())
