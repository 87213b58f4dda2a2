"""The simulated week: its table says what happened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindlib.data import PlantedConfig, planted_interests
from mindlib.lessons.n06_online.days import spread_over_days
from mindlib.lessons.n06_online.refresh_week import FROZEN, Evening, reached, simulate_week
from mindlib.online.refresh import WarmStartConfig
from mindlib.training import EpochRecord, Fit
from tests.online.refresh.world import CONFIG, FIRST, training

pytestmark = pytest.mark.slow

SCRATCH = replace(CONFIG, training=training(3))


@pytest.fixture(scope="module")
def rows() -> list[Evening]:
    world = planted_interests(
        PlantedConfig(
            num_users=60, num_clusters=6, items_per_cluster=8, max_interests=2, num_segments=2
        )
    )
    log = spread_over_days(world.log, stable_days=FIRST, growing_days=3, new_items=0.5, seed=0)
    ways = {
        "warm": WarmStartConfig(training(1)),
        "newest day": WarmStartConfig(training(1), recent_days=1),
    }
    return simulate_week(log, SCRATCH, ways, first=FIRST, evenings=2, cutoff=5)


def test_every_way_has_a_row_every_day(rows):
    ways = ["from scratch", "warm", "newest day", FROZEN]
    assert [(row.day, row.way) for row in rows] == [(day, way) for day in (0, 1) for way in ways]
    for day in (0, 1):
        today = [row for row in rows if row.day == day]
        assert len({(row.events, row.items, row.cases) for row in today}) == 1
    assert rows[0].events < rows[-1].events
    assert rows[0].items < rows[-1].items


def test_the_first_evening_is_the_same_for_all(rows):
    first = rows[:4]
    assert len({row.recall for row in first}) == 1
    assert 0 < first[0].recall < first[0].known
    assert {(row.gain, row.low, row.high) for row in first} == {(0.0, 0.0, 0.0)}


def test_gains_are_differences_to_no_refresh_on_the_same_cases(rows):
    second = {row.way: row for row in rows[4:]}
    for row in second.values():
        assert row.gain == pytest.approx(row.recall - second[FROZEN].recall)
        assert row.low <= row.gain <= row.high
    assert second["from scratch"].low < second["from scratch"].high


def test_without_refresh_a_model_knows_less_of_what_is_taken(rows):
    *others, frozen = rows[4:]
    assert len({row.known for row in others}) == 1
    assert frozen.known < others[0].known <= 1


def test_training_is_counted(rows):
    scratch, warm, newest, frozen = rows[4:]
    assert (scratch.epochs, scratch.seconds) == (3, 1.0)
    assert (warm.epochs, frozen.epochs, frozen.steps, frozen.seconds) == (1, 0, 0, 0.0)
    assert scratch.steps == 3 * warm.steps > warm.steps > newest.steps > 0
    assert newest.seconds > 0
    assert frozen.steps_to_scratch is None
    assert scratch.steps_to_scratch in {n * scratch.steps // 3 for n in range(4)}


@pytest.mark.parametrize(
    ("initial_value", "values", "expected"),
    [(0.6, [0.7, 0.5], 0), (0.5, [0.6, 0.4], 10), (0.5, [0.5, 0.7], 20), (0.5, [0.5, 0.5], None)],
)
def test_steps_until_training_was_as_far_as_from_scratch(initial_value, values, expected):
    def fit(metrics: list[float]) -> Fit:
        records = [
            EpochRecord(n, 10 * n, 1.0, {"Recall@5": value}, 1e-3, 1.0, 1.0)
            for n, value in enumerate(metrics, 1)
        ]
        return Fit(records, 1, "cpu")

    scratch = fit([0.2, 0.6, 0.55])
    assert reached(initial_value, fit(values), scratch, "Recall@5") == expected


def test_names_that_are_taken_are_refused():
    with pytest.raises(ValueError, match="names are taken"):
        simulate_week(
            planted_interests(PlantedConfig(num_users=12)).log,
            CONFIG,
            {FROZEN: WarmStartConfig()},
            first=0,
        )
