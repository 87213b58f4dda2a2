"""The arithmetic of scale, against counts by hand and against what a step really exchanges."""

from dataclasses import replace

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.lessons.n04_training.scale import Scale
from mindlib.models import YouTubeDNN, YouTubeDNNConfig
from mindlib.training import TrainingConfig, batches, make_optimizers, make_sampler, training_step
from mindlib.training.optimizers import distinct_rows

TMALL = Scale(
    items=10**8,
    users=5 * 10**8,
    events=5 * 10**9,
    dim=64,
    history_length=50,
    batch_size=51_200,
    negatives=20_000,
    workers=100,
    pairs_per_second=2_000.0,
)


def test_the_tables_of_a_hundred_million_items_by_hand():
    assert TMALL.table_bytes == pytest.approx(25.6e9, rel=1e-6)
    assert TMALL.optimizer_bytes == pytest.approx(51.2e9, rel=1e-6)


def test_a_pass_by_hand():
    assert TMALL.steps == 97_657
    assert TMALL.hours == pytest.approx(25_000 / 3600)
    assert TMALL.pairs_per_second_for(TMALL.hours) == pytest.approx(2000)
    assert TMALL.pairs_per_second_for(8) == pytest.approx(1736.1, abs=0.1)


def test_the_exchange_by_hand():
    """A worker's 512 pairs of 51 items and 20,000 negatives: 46,112 draws, hardly any twice."""
    assert TMALL.rows_per_worker == pytest.approx(46_112, rel=1e-3)
    assert TMALL.rows_per_worker < 46_112
    assert TMALL.sent_bytes == pytest.approx(46_112 * 264, rel=1e-3)
    assert TMALL.received_bytes == pytest.approx(99 * TMALL.sent_bytes)
    assert TMALL.dense_exchange_bytes == pytest.approx(1.98 * 25.6e9, rel=1e-6)
    steps_per_second = 100 * 2000 / 51_200
    assert TMALL.bytes_per_second == pytest.approx(TMALL.received_bytes * steps_per_second)


def test_a_small_catalogue_is_met_whole_and_a_draw_meets_one():
    assert replace(TMALL, items=100).rows_per_worker == pytest.approx(100)
    one = replace(TMALL, batch_size=1, workers=1, history_length=1, negatives=1, items=10**6)
    assert one.rows_per_worker == pytest.approx(3, rel=1e-5)


def test_the_traffic_of_a_step_does_not_depend_on_the_catalogue_and_that_of_all_weights_does():
    larger = replace(TMALL, items=10**9)
    assert larger.received_bytes == pytest.approx(TMALL.received_bytes, rel=1e-3)
    assert larger.dense_exchange_bytes == pytest.approx(10 * TMALL.dense_exchange_bytes, rel=1e-6)


def test_alone_a_worker_receives_nothing():
    alone = replace(TMALL, workers=1)
    assert alone.received_bytes == alone.dense_exchange_bytes == 0


def test_memory_and_rows_are_those_of_a_model_that_is_really_there():
    world = PlantedConfig(num_users=200, num_clusters=12, items_per_cluster=40, events=(20, 40))
    split = leave_last_out(replace(planted_interests(world, seed=0).log, item_features=None))
    config = TrainingConfig(batch_size=16, negatives=100)
    model = YouTubeDNN(
        split.log,
        YouTubeDNNConfig.paper(dim=8, hidden=(), history_length=5),
        generator=torch.Generator(),
    )
    paper = Scale(split.log.num_items, 200, len(split.log), 8, 5, 16, 100, 1, 1.0)
    table = model.items.weight
    assert paper.table_bytes == table.numel() * table.element_size()
    moments = list(make_optimizers(model, model.items.weight, 0.1)[0].state[table].values())[1:]
    assert paper.optimizer_bytes == sum(m.numel() * m.element_size() for m in moments)

    generator = torch.Generator().manual_seed(0)
    sampler = make_sampler(split, config, torch.device("cpu"))
    found = []
    for batch in batches(split.train, 16, generator):
        training_step(model, batch, sampler, config, generator)
        assert table.grad is not None
        rows, values = distinct_rows(table.grad)
        found.append(len(rows))
        assert rows.element_size() + values[0].numel() * values.element_size() == 8 + 8 * 4
    mean = sum(found) / len(found)
    assert 0.85 * paper.rows_per_worker < mean < 1.02 * paper.rows_per_worker


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": 0}, "items=0: expected a positive"),
        ({"pairs_per_second": -1.0}, "pairs_per_second=-1.0: expected a positive"),
        ({"batch_size": 99}, "batch_size=99: expected at least one pair for each of the 100"),
    ],
)
def test_impossible_scales_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        replace(TMALL, **options)
