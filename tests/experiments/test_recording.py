"""The script of the recorded tables: complete, in any order, and again from the cache."""

import dataclasses
import importlib.util
import json
import math
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from mindlib.data import held_out_users, leave_last_out
from mindlib.evaluation import Evaluation, compare_seeds
from mindlib.experiments import execution, tuning
from mindlib.experiments.cache import code_version
from mindlib.experiments.claims import CLAIMS
from mindlib.experiments.results import recorded_table
from mindlib.experiments.search_space import search_space
from mindlib.experiments.tables import summarize
from mindlib.experiments.trial import Trial, TrialRun
from mindlib.experiments.tuning import Tuning
from mindlib.lessons.n05_experiments.gains import recorded_groups, study_changes
from mindlib.models import ItemCF, ItemCFConfig

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "experiments.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("recording", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["recording"] = module  # where its dataclasses look for themselves
    spec.loader.exec_module(module)
    yield module
    del sys.modules["recording"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recording")


def command(folder, out, *more):
    where = ["--cache", str(folder / "cache"), "--out", str(folder / out)]
    return ["--quick", *where, "--models", "wals,mind-4,popularity,mind-1", *more]


@pytest.fixture(scope="module")
def results(script, folder):
    script.main(command(folder, "all.json", "--studies", "adaptive"))
    return json.loads((folder / "all.json").read_text(encoding="utf-8"))


def test_every_row_is_there_in_its_order_with_its_seeds(results):
    assert [(row["study"], row["name"], len(row["seeds"])) for row in results["rows"]] == [
        (None, "WALS", 2),
        (None, "MIND-4", 2),
        (None, "Popularity", 1),
        (None, "MIND-1", 2),
        ("adaptive", "MIND-4 tuned", 2),
        ("adaptive", "MIND-4 adaptive=1", 2),
        ("adaptive", "MIND-4 adaptive=0", 2),
    ]


def test_the_results_have_their_provenance(results, folder):
    assert results["command"].startswith("python benchmarks/experiments.py --quick --cache cache ")
    assert str(folder) not in json.dumps(results)
    assert results["data"]["name"] == "planted"
    assert results["data"]["test_cases"] == 30
    assert results["machine"]["threads"] == 1
    assert results["commit"] == code_version()
    assert {tuple(row["commits"]) for row in results["rows"]} == {(code_version(),)}
    assert results["settings"]["budget"] == 8


def test_a_row_has_the_metrics_of_both_parts_and_its_tuning(results):
    row = results["rows"][1]
    for part in ("validation", "test"):
        for metric in ("Recall@50", "HitRate@100", "NDCG@10", "Categories@50", "Coverage@10"):
            assert row[part][metric]["mean"] >= 0
            assert row[part][metric]["deviation"] is not None
    values = [candidate["value"] for candidate in row["tuned"]["candidates"]]
    assert len(values) == 8
    assert values[row["tuned"]["chosen"]] == max(values)
    assert set(row["tuned"]["candidates"][0]) == {
        "config.behavior_dropout", "training.learning_rate", "value",
    }  # fmt: skip
    assert [len(curve) for curve in row["curves"]] == [1, 1]
    assert results["rows"][2]["tuned"] is None


def test_the_tuned_base_of_a_study_is_the_row_of_the_table(results):
    rows = {row["name"]: row for row in results["rows"]}
    assert rows["MIND-4 tuned"]["test"] == rows["MIND-4"]["test"]
    assert rows["MIND-4 adaptive=1"]["test"] == rows["MIND-4"]["test"]
    assert rows["MIND-4 adaptive=0"]["test"] != rows["MIND-4"]["test"]


def test_ways_to_merge_the_interests_are_compared_with_that_of_serving(script, folder, results):
    script.main(command(folder, "merges.json", "--merges", "--only", "mind-4,popularity"))
    rows = json.loads((folder / "merges.json").read_text(encoding="utf-8"))["rows"]
    rows = {row["name"]: row for row in rows}
    assert "merges" not in rows["Popularity"]
    found = rows["MIND-4"]["merges"]
    assert list(found) == ["served", "in_turn", "standardized", "oracle"]
    served = rows["MIND-4"]["test"]["HitRate@50"]["mean"]
    assert found["served"] == {"HitRate@50": pytest.approx(served, abs=1e-5)}
    for way in ("in_turn", "standardized", "oracle"):
        difference = found[way]["HitRate@50"] - served
        assert found[way]["value"] == pytest.approx(difference, abs=1e-5)
        assert found[way]["low"] <= found[way]["value"] <= found[way]["high"]
    assert found["oracle"]["value"] > 0


def test_a_merge_is_compared_with_serving_within_each_training_run(script, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    hits = [script.Hits(*torch.rand(4, 9, generator=generator)) for _ in range(3)]
    model = object.__new__(script.VectorModel)
    monkeypatch.setattr(script, "trained_model", lambda *_: model)
    given = iter(hits)
    monkeypatch.setattr(script, "count_hits", lambda *_: next(given))
    split = types.SimpleNamespace(test=None)
    found = script.merges(split, [types.SimpleNamespace(trial=None)] * 3, Path())
    for way in ("in_turn", "standardized", "oracle"):
        gain = torch.stack([getattr(hit, way) - hit.served for hit in hits])
        expected = compare_seeds(gain, torch.zeros(1, 9))
        rate = float(torch.stack([getattr(hit, way) for hit in hits]).mean())
        facts = {"HitRate@50": pytest.approx(rate)} | dataclasses.asdict(expected)
        assert found[way] == facts


def test_the_fields_of_the_items_can_be_left_out(script, folder, results):
    script.main(command(folder, "ids.json", "--ids-only", "--only", "mind-4"))
    found = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
    (row,) = found["rows"]
    assert found["settings"]["ids_only"]
    assert not results["settings"]["ids_only"]
    assert "Categories@50" not in row["test"]
    assert row["test"]["Recall@50"] != results["rows"][1]["test"]["Recall@50"]


def test_the_comparisons_are_minds_with_all_and_a_studys_rows_with_those_before(results):
    pairs = [(x["study"], x["a"], x["b"]) for x in results["comparisons"]]
    assert pairs == [
        (None, "MIND-4", "WALS"),
        (None, "MIND-4", "Popularity"),
        (None, "MIND-1", "Popularity"),
        (None, "MIND-1", "WALS"),
        (None, "MIND-4", "MIND-1"),
        ("adaptive", "MIND-4 adaptive=1", "MIND-4 tuned"),
        ("adaptive", "MIND-4 adaptive=0", "MIND-4 tuned"),
        ("adaptive", "MIND-4 adaptive=0", "MIND-4 adaptive=1"),
    ]
    rows = {row["name"]: row["test"] for row in results["rows"]}
    said = {x["metric"]: x for x in results["comparisons"][0]["all"]}["Recall@50"]
    difference = rows["MIND-4"]["Recall@50"]["mean"] - rows["WALS"]["Recall@50"]["mean"]
    assert said["difference"] == pytest.approx(difference, abs=1e-5)
    assert said["low"] < said["difference"] < said["high"]
    assert results["comparisons"][1]["all"][0]["p_value"] <= 1


def test_models_are_compared_over_users_and_within_groups_but_not_in_categories(script):
    values = torch.tensor([0, 1, 1, 2, 3, 4, 5, 6, 8, 9, 40])
    generator = torch.Generator().manual_seed(0)
    a, b = (
        {name: torch.rand(2, 11, generator=generator) for name in ("HitRate@50", "Categories@50")}
        for _ in range(2)
    )
    by = {
        "x": script.Grouping(values, torch.zeros_like(values)),
        "alike": script.Grouping(torch.ones_like(values), torch.zeros_like(values)),
    }
    found = script.compare_values(a, b, by)
    whole = compare_seeds(a["HitRate@50"], b["HitRate@50"])
    facts = {"low": whole.low, "high": whole.high, "p_value": whole.p_value}
    assert found["all"] == [{"metric": "HitRate@50", "difference": whole.value} | facts]
    assert list(found["groups"]) == ["x"]
    groups = found["groups"]["x"]["groups"]
    assert [(g["least"], g["most"], g["cases"]) for g in groups] == [
        (0, 0, 1), (1, 2, 3), (3, 4, 2), (5, 6, 2), (8, 40, 3),
    ][1:]  # fmt: skip # one case has no variance
    difference = a["HitRate@50"] - b["HitRate@50"]
    assert groups[-1]["difference"] == pytest.approx(float(difference[:, values >= 8].mean()))
    slope = np.polyfit(np.log2(1 + values.numpy()), difference.mean(0).numpy(), 1)[0]
    assert found["groups"]["x"]["per_doubling"]["value"] == pytest.approx(slope, abs=1e-6)
    assert list(script.compare_values(a, b)) == ["all"]


def test_cases_are_grouped_by_length_by_breadth_and_by_their_most_frequent_target(script):
    data = script.DATA["planted"]
    split = leave_last_out(data.read(""))
    by = script.groupings(split, data)
    case = 7
    history, targets = split.test.histories, split.test.targets[split.test.rows == case]
    assert by["length of the history"].values[case] == history.lengths[case]
    most = split.train_counts[targets.numpy()].max()
    assert by["training events of the target"].values[case] == most
    items = history.items[history.starts[case] : history.ends[case]].numpy()
    assert split.log.item_features
    departments = split.log.item_features.column("department")[items]
    assert by["categories of the history"].values[case] == len(set(departments) - {0})
    categories = split.log.item_categories("department")
    for case, place in enumerate(by["category of the target"].values.tolist()):
        window = history.items[history.starts[case] : history.ends[case]].numpy()
        places = [0]
        for target in split.test.targets[split.test.rows == case].tolist():
            counts = Counter(categories[window].tolist())
            own = counts.pop(categories[target], 0)
            places.append(2 if own > max(counts.values(), default=0) else int(own > 0))
        assert place == max(places)
    assert len(script.groupings(split, data._replace(categories=None, world=None))) == 2


def test_in_a_planted_world_cases_are_grouped_by_the_number_of_planted_interests(script):
    data = script.DATA["planted-crowded-no-noise"]
    split = leave_last_out(data.read(""))
    by = script.groupings(split, data)["interests of the user"].values
    histories = split.test.histories
    assert by.unique().tolist() == [1, 2, 3, 4]
    for case in range(0, len(split.test), 500):
        items = histories.items[histories.starts[case] : histories.ends[case]].tolist()
        clusters = {split.log.label(item).partition(",")[0] for item in items}
        assert len(clusters) == by[case]  # without noise, all behaviors are of these


def test_written_floats_have_six_digits_and_no_number_is_nan(script, tmp_path):
    script.write(tmp_path / "x.json", {"a": [1 / 3, [2, math.nan]], "b": {"c": 123456789.0}})
    found = json.loads((tmp_path / "x.json").read_text())
    assert found == {"a": [0.333333, [2, None]], "b": {"c": 123457000.0}}


def test_the_readers_of_recorded_results_accept_them(results):
    assert "| MIND-4 | 2 |" in recorded_table(results, ("Recall@50", "Categories@50"))
    assert len(study_changes(results, "adaptive", "Recall@50", "MIND-4 tuned")) == 2
    assert recorded_groups(results, "MIND-4", "MIND-1", "length of the history")
    grouped = [(x["a"], x["b"]) for x in results["comparisons"] if "groups" in x]
    assert grouped == [("MIND-4", "MIND-1")]


def test_every_pair_that_a_claim_needs_is_compared(script):
    names = list(script.search_space())
    base = script.search_space()["MIND-4"][0]
    done = [script.Row(None, {"name": name}, {"x": None}) for name in names]
    for study, build in script.STUDIES.items():
        rows = ["MIND-4 tuned", *(trial.name for trial in build(base))]
        done += [script.Row(study, {"name": name}, {"x": None}) for name in rows]
    pairs = {(a.study, a.facts["name"], b.facts["name"]) for a, b in script.pairs_of(done)}
    for claim in CLAIMS:
        either = {(claim.study, claim.a, claim.b), (claim.study, claim.b, claim.a)}
        assert pairs & either, claim.text
    assert (None, "MIND-4", "MIND-1") in pairs
    assert (None, "MIND-1", "MIND-4") not in pairs


def test_the_same_command_again_trains_nothing_and_only_makes_the_wanted_rows(
    script, folder, results, monkeypatch
):
    def no_training(*args, **options):
        raise AssertionError("it was trained before")

    monkeypatch.setattr(execution, "fit", no_training)
    wanted = "--studies", "adaptive", "--only", "mind-4-adaptive-0,popularity"
    script.main(command(folder, "some.json", *wanted))
    some = json.loads((folder / "some.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in some["rows"]] == [
        "Popularity", "MIND-4 tuned", "MIND-4 adaptive=0",
    ]  # fmt: skip
    assert some["rows"][-1]["test"] == results["rows"][-1]["test"]


def test_a_row_may_have_its_own_number_of_seeds(script, folder, results):
    again = command(folder, "fewer.json")
    again[again.index("--models") + 1] = "wals:1,mind-4"
    script.main(again)
    rows = json.loads((folder / "fewer.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["name"], len(row["seeds"])) for row in rows] == [("WALS", 1), ("MIND-4", 2)]


def test_users_who_chose_the_settings_on_another_protocol_are_no_test_cases(
    script, folder, results
):
    whole = leave_last_out(script.DATA["planted"].read(""))
    chose = held_out_users(whole.log, script.SPLIT_SEED).validation.histories.users
    words = ["--protocol", "leave-last-out", "--settings", str(folder / "all.json")]
    script.main(command(folder, "last.json", *words))
    last = json.loads((folder / "last.json").read_text(encoding="utf-8"))
    assert last["data"]["excluded_test_cases"] == len(chose) > 0
    known = json.loads((folder / "all.json").read_text(encoding="utf-8"))
    known["data"]["protocol"] += ", known users"
    (folder / "known-users.json").write_text(json.dumps(known), encoding="utf-8")
    words[-1] = str(folder / "known-users.json")
    given = script.parse(command(folder, "last.json", *words))
    assert torch.equal(script.tuned_users(given, whole.log).sort().values, chose.sort().values)
    assert last["data"]["test_cases"] == len(whole.test) - len(chose)
    assert results["data"]["excluded_test_cases"] == 0
    rest = script.without_users(whole.test, chose)
    kept = [n for n, user in enumerate(whole.test.histories.users) if user not in chose]
    assert rest.histories.users.tolist() == whole.test.histories.users[kept].tolist()
    assert rest.targets.tolist() == [
        t for n in kept for t in whole.test.targets[whole.test.rows == n].tolist()
    ]
    assert rest.rows.tolist() == sorted(rest.rows.tolist())
    assert int(rest.offsets[-1]) == len(rest.targets)


def test_known_users_are_trained_on_up_to_their_targets(script):
    split = held_out_users(script.DATA["planted"].read(""), 0)
    known = script.with_known_users(split)
    added = np.flatnonzero(known.train_events & ~split.train_events)
    histories = split.test.histories
    assert set(split.log.users[added]) == set(histories.users.tolist())
    spans = zip(histories.starts.tolist(), histories.ends.tolist(), strict=True)
    assert added.tolist() == [event for start, end in spans for event in range(start, end)]
    assert (known.train_events >= split.train_events).all()
    assert known.test is split.test
    assert known.digest != split.digest


def test_the_results_say_that_users_are_known_and_targets_next(script, folder):
    words = ["--known-users", "--next-item", "--only", "popularity"]
    script.main(command(folder, "known.json", *words))
    data = json.loads((folder / "known.json").read_text(encoding="utf-8"))["data"]
    assert data["protocol"] == "held-out users 8:1:1, known users, next item"


def test_the_next_item_is_that_of_the_first_step_after_the_history(script):
    log = script.DATA["planted"].read("")
    log = dataclasses.replace(
        log, timestamps=log.timestamps // 180
    )  # some steps have several items
    split = held_out_users(log, 0)
    following = script.with_next_items(split).test
    assert following.histories.ends.tolist() == split.test.histories.ends.tolist()
    sizes = set()
    for case, (user, end) in enumerate(
        zip(split.test.histories.users.tolist(), split.test.histories.ends.tolist(), strict=True)
    ):
        is_next = (log.users == user) & (log.timestamps == log.timestamps[end])
        targets = following.targets[following.rows == case].tolist()
        assert targets == sorted(set(log.items[is_next]))
        sizes.add(len(targets))
    assert len(sizes) > 1
    assert len(following.targets) < len(split.test.targets)


def test_of_recorded_settings_only_the_learning_rate_is_chosen_anew(script, folder, results):
    words = ["--settings", str(folder / "all.json"), "--rates", "0.1,0.2"]
    script.main(command(folder, "rates.json", *words))
    found = json.loads((folder / "rates.json").read_text(encoding="utf-8"))
    assert found["settings"]["budget"] == 2
    before, after = ({row["name"]: row for row in r["rows"]} for r in (results, found))
    tried = after["MIND-4"]["tuned"]["candidates"]
    assert [set(candidate) for candidate in tried] == 2 * [{"training.learning_rate", "value"}]
    assert [candidate["training.learning_rate"] for candidate in tried] == [0.1, 0.2]
    assert after["MIND-4"]["config"] == before["MIND-4"]["config"]
    # What is not trained by gradient steps has no learning rate, and is tuned anew, which is cheap.
    assert len(after["WALS"]["tuned"]["candidates"]) == 8


def failing(monkeypatch, name, error):
    """Let every run of a row fail whose test cases are evaluated."""
    real = tuning.run_trial

    def run_trial(split, trial, *args, **options):
        if trial.name == name and "parts" not in options:
            raise error
        return real(split, trial, *args, **options)

    monkeypatch.setattr(tuning, "run_trial", run_trial)


def test_finished_rows_are_written_before_a_failure(script, folder, results, monkeypatch):
    failing(monkeypatch, "Popularity", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        script.main(command(folder, "broken.json"))
    there = json.loads((folder / "broken.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in there["rows"]] == ["WALS", "MIND-4"]
    assert there["rows"][0]["test"] == results["rows"][0]["test"]
    assert not list(folder.glob(".*"))


def test_a_diverged_training_run_is_recorded_as_failed(script, folder, results, monkeypatch):
    failing(monkeypatch, "WALS", FloatingPointError("the loss is nan"))
    script.main(command(folder, "failed.json"))
    there = json.loads((folder / "failed.json").read_text(encoding="utf-8"))
    assert there["rows"][0]["failed"] == "the loss is nan"
    assert [row["name"] for row in there["rows"]] == ["WALS", "MIND-4", "Popularity", "MIND-1"]
    assert [(x["a"], x["b"]) for x in there["comparisons"]] == [
        ("MIND-4", "Popularity"), ("MIND-1", "Popularity"), ("MIND-4", "MIND-1"),
    ]  # fmt: skip


def test_an_unknown_row_of_only_is_named(script, folder, results):
    with pytest.raises(SystemExit, match="--only: no row mind-9 among those"):
        script.main(command(folder, "none.json", "--only", "mind-9,popularity"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--models", "mind-5"], "--models: no 'mind-5'; there is random, popularity"),
        (["--models", "mind-4:x"], "--models mind-4:x: expected a number of seeds >= 1"),
        (["--studies", "depth"], "--studies: no 'depth'; there is sigma, power"),
        (["--base", "wals"], "--base: no 'wals'; there is mind-1, mind-4"),
        (["--seeds", "0"], "--seeds 0: expected >= 1"),
        (["--rates", "0.1"], "--rates: expected with --settings only"),
        (["--known-users", "--protocol=random"], "expected with --protocol held-out-users only"),
        (["--next-item", "--protocol=random"], "expected with --protocol held-out-users only"),
        (["--rates", "x"], "--rates x: expected numbers, separated by commas"),
        (["--lowest-rate", "0"], "--lowest-rate 0.0: expected more than 0 and less than 1"),
        (["--data", "books=."], "--data books: no such data; there is amazon-beauty"),
        (["--data", "amazon-beauty"], "amazon-beauty=PATH: there is no PATH given"),
        (["--out", "nowhere/x.json"], "there is no folder nowhere"),
        (["--cache", None], "--cache is missing"),
    ],
)
def test_a_wrong_command_is_refused_before_any_work(script, tmp_path, capsys, change, message):
    options = {"--data": "complete-journey", "--cache": "c", "--out": str(tmp_path / "x.json")}
    options[change[0]] = change[1]
    with pytest.raises(SystemExit):
        script.parse([word for pair in options.items() if pair[1] for word in pair])
    assert message in capsys.readouterr().err


def test_recorded_settings_are_the_recorded_choices_and_the_single_candidates(script):
    space = search_space()
    # Recorded with fewer candidates: the place in that list says nothing about the space of today.
    chosen = {"config.regularization": 1.0, "config.alpha": 40.0, "value": 0.5}
    rows = [
        {"name": "Popularity", "tuned": None},
        {"name": "WALS", "tuned": {"chosen": 0, "candidates": [chosen]}},
        {"name": "a row that is no longer in the space", "tuned": {"chosen": 0}},
        {"name": "MIND-1", "failed": "NaN"},
    ]
    found = script.recorded_settings(space, {"rows": rows})
    assert found == {name: space[name][0] for name in ("Random", "Popularity")} | {
        "WALS": next(trial for trial in space["WALS"] if trial.config.alpha == 40)
    }


def test_a_recorded_choice_outside_the_grid_is_refused(script):
    chosen = {"training.learning_rate": 0.064, "config.behavior_dropout": 0.2, "value": 0.5}
    rows = [{"name": "MIND-1", "tuned": {"chosen": 0, "candidates": [chosen]}}]
    with pytest.raises(ValueError, match=r"MIND-1: .*0\.064.* not among .*--lowest-rate"):
        script.recorded_settings(search_space(), {"rows": rows})


def made_up(seed: int) -> TrialRun:
    generator = torch.Generator().manual_seed(seed)
    parts = {
        part: Evaluation(
            {"Recall@50": torch.rand(cases, generator=generator)}, {"Coverage@50": 0.25}
        )
        for part, cases in (("validation", 5), ("test", 11))
    }
    trial = Trial("ItemCF", ItemCF, ItemCFConfig(neighbors=7), seed=seed)
    return TrialRun(trial, parts, None, float(seed), ("c" * 40,))  # pyright: ignore[reportArgumentType]


RUNS = [made_up(seed) for seed in range(3)]


def test_a_row_has_the_configuration_the_tuning_and_the_summaries(script):
    other = dataclasses.replace(RUNS[0].trial, config=ItemCFConfig("bm25", neighbors=7))
    tuning = Tuning(RUNS[0].trial, (other, RUNS[0].trial), (0.1, 0.2), "Recall@50")
    row = script.result_row(RUNS, tuning)
    assert (row["name"], row["model"], row["seeds"]) == ("ItemCF", "ItemCF", [0, 1, 2])
    assert row["seconds"] == 1.0
    assert row["commits"] == ["c" * 40]
    assert row["config"]["neighbors"] == 7
    assert row["tuned"] == {
        "on": "validation Recall@50",
        "candidates": [
            {"config.similarity": "bm25", "value": 0.1},
            {"config.similarity": "cosine", "value": 0.2},
        ],
        "chosen": 1,
    }
    assert row["test"] == summarize(RUNS, "test")
    assert row["validation"] == summarize(RUNS, "validation")
    assert script.result_row(RUNS, Tuning(other, (other,)))["tuned"] is None
