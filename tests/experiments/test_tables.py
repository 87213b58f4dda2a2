"""A run is a row: the same data and cases for every model, and the spread over its seeds."""

import math
import statistics

import pytest
import torch

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.evaluation import Evaluation, compare
from mindlib.experiments.tables import Run, compare_models, run_all, summary, table
from mindlib.models import YouTubeDNN, YouTubeDNNConfig
from mindlib.models.baselines import Random
from mindlib.training import TrainingConfig

QUICK = TrainingConfig(epochs=1, batch_size=256, negatives=16, monitor="Recall@10", seed=99)


@pytest.fixture(scope="module")
def split():
    config = PlantedConfig(num_users=80, num_clusters=4, items_per_cluster=10, num_segments=2)
    return leave_last_out(planted_interests(config, seed=0).log)


@pytest.fixture(scope="module")
def runs(split):
    config = YouTubeDNNConfig.paper(dim=8, hidden=(), history_length=10)
    models = {"YouTube DNN": lambda g: YouTubeDNN(split.log, config, generator=g)}
    return run_all(split, models, QUICK, seeds=2, cutoffs=(5, 10), device="cpu", progress=False)


def made_up(model: str, seed: int, values: list[float]) -> Run:
    evaluation = Evaluation(
        {"HitRate@5": torch.tensor(values, dtype=torch.float64)}, {"Coverage@5": sum(values) / 8}
    )
    return Run(model, seed, Random(9, 0), evaluation, None)


MADE_UP = [
    made_up("A", 0, [1, 0, 1, 0]),
    made_up("A", 1, [1, 1, 1, 0]),
    made_up("A", 2, [0, 0, 0, 1]),
    made_up("B", 0, [0, 0, 1, 0]),
]


def test_the_floors_come_first_and_each_model_once_with_each_seed(runs):
    assert [(run.model, run.seed) for run in runs] == [
        ("Random", 0),
        ("Random", 1),
        ("Popularity", 0),
        ("YouTube DNN", 0),
        ("YouTube DNN", 1),
    ]
    assert [run.fit is not None for run in runs] == [False] * 3 + [True] * 2


def test_every_run_is_judged_on_the_same_cases(runs, split):
    for run in runs:
        metrics = run.evaluation.values
        assert list(metrics) == [f"{m}@{n}" for n in (5, 10) for m in ("HitRate", "Recall", "NDCG")]
        assert all(len(values) == len(split.test) for values in metrics.values())


def test_a_seed_is_a_training_of_its_own(runs):
    first, second = (run.recommender for run in runs[-2:])
    assert isinstance(first, YouTubeDNN)
    assert isinstance(second, YouTubeDNN)
    assert not torch.equal(first.items.weight, second.items.weight)
    assert not torch.equal(
        runs[0].evaluation.values["NDCG@10"], runs[1].evaluation.values["NDCG@10"]
    )


def test_a_seed_gives_the_same_row_again_whatever_the_seed_of_the_configuration(runs, split):
    config = YouTubeDNNConfig.paper(dim=8, hidden=(), history_length=10)
    models = {"YouTube DNN": lambda g: YouTubeDNN(split.log, config, generator=g)}
    other = TrainingConfig(
        epochs=1, batch_size=256, negatives=16, monitor="Recall@10", seed=QUICK.seed + 1
    )
    again = run_all(split, models, other, seeds=1, cutoffs=(5, 10), device="cpu", progress=False)
    before = runs[-2].evaluation.means()
    assert again[-1].evaluation.means() == before
    assert again[0].evaluation.means() == runs[0].evaluation.means()


def test_the_history_is_excluded_or_not_as_in_training(split):
    keep = TrainingConfig(exclude_history=False)
    for training, past_may_come in ((TrainingConfig(), False), (keep, True)):
        (popular,) = [
            run
            for run in run_all(split, {}, training, seeds=1, cutoffs=(10,), progress=False)
            if run.model == "Popularity"
        ]
        lists = popular.recommender.recommend(
            split.test.histories, 10, exclude_history=training.exclude_history
        )
        same_for_all = len(lists.items.unique(dim=0)) == 1
        assert same_for_all == past_may_come
        shown = int((lists.items.unique() > 0).sum()) / split.log.num_items
        assert popular.evaluation.coverage["Coverage@10"] == pytest.approx(shown)


def test_fewer_than_one_seed_is_refused(split):
    with pytest.raises(ValueError, match="seeds=0: expected at least one"):
        run_all(split, {}, QUICK, seeds=0, cutoffs=(5,))


def test_mean_and_deviation_over_seeds_equal_plain_python():
    rows = {(row["model"], row["metric"]): row for row in summary(MADE_UP).to_dicts()}
    assert list(rows) == [(m, x) for m in "AB" for x in ("HitRate@5", "Coverage@5")]
    by_seed = [0.5, 0.75, 0.25]
    row = rows["A", "HitRate@5"]
    assert row["mean"] == pytest.approx(statistics.mean(by_seed))
    assert row["deviation"] == pytest.approx(statistics.stdev(by_seed))
    assert row["seeds"] == 3
    coverage = [0.25, 0.375, 0.125]
    assert rows["A", "Coverage@5"]["deviation"] == pytest.approx(statistics.stdev(coverage))
    assert rows["B", "HitRate@5"] == {
        "model": "B", "metric": "HitRate@5", "mean": 0.25, "deviation": None, "seeds": 1,
    }  # fmt: skip


def test_the_summary_of_real_runs_equals_plain_python(runs):
    rows = {(row["model"], row["metric"]): row for row in summary(runs).to_dicts()}
    for model in ("Random", "YouTube DNN"):
        for metric in ("NDCG@5", "Coverage@10"):
            values = [r.evaluation.means()[metric] for r in runs if r.model == model]
            assert rows[model, metric]["mean"] == pytest.approx(statistics.mean(values))
            assert rows[model, metric]["deviation"] == pytest.approx(statistics.stdev(values))


def test_the_table_is_markdown_in_percent_with_the_spread_where_there_is_one():
    assert table(MADE_UP, ["HitRate@5", "Coverage@5"]).splitlines() == [
        "| model | seeds | HitRate@5 | Coverage@5 |",
        "|---|--:|--:|--:|",
        "| A | 3 | 50.00 ± 25.00 | 25.00 ± 12.50 |",
        "| B | 1 | 25.00 | 12.50 |",
    ]


def test_models_are_compared_case_by_case_after_averaging_over_seeds():
    a = torch.tensor([2 / 3, 1 / 3, 2 / 3, 1 / 3], dtype=torch.float64)
    b = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    result = compare_models(MADE_UP, "A", "B", "HitRate@5")
    assert result == pytest.approx(compare(a, b))
    difference = [x - y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert result.value == pytest.approx(statistics.mean(difference))
    error = statistics.stdev(difference) / math.sqrt(4)
    assert result.high - result.low == pytest.approx(2 * 3.1824463 * error, rel=1e-5)  # t, 3 d.f.
    back = compare_models(MADE_UP, "B", "A", "HitRate@5")
    assert back.value == pytest.approx(-result.value)


def test_an_unknown_model_is_refused_naming_those_that_ran():
    with pytest.raises(ValueError, match="no run of 'MIND'; there are runs of A, B"):
        compare_models(MADE_UP, "A", "MIND", "HitRate@5")
