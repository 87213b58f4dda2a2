"""Two runs are the same only if all that decides them is; a damaged file is not believed."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

import mindlib
from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.experiments.cache import (
    DECIDING,
    Stored,
    code_digest,
    data_digest,
    digest_of,
    plain,
    read,
    write,
)
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MINDConfig

PACKAGE = Path(mindlib.__file__).parent
SMALL = PlantedConfig(num_users=40, num_clusters=4, items_per_cluster=5, num_segments=2)


@pytest.fixture(scope="module")
def split():
    return leave_last_out(planted_interests(SMALL, seed=0).log)


@pytest.fixture
def package(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "mindlib", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "mindlib"


def fresh(package):
    code_digest.cache_clear()
    return code_digest(package)


def test_a_configuration_in_json_has_every_field_of_every_dataclass_in_it():
    config = MINDConfig(dim=8, power=math.inf, routing=RoutingConfig(max_interests=3))
    found = plain(config)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["class"] == "mindlib.models.mind.MINDConfig"
    assert found["power"] == "inf"
    names = {field.name for field in dataclasses.fields(RoutingConfig)}
    assert set(found["routing"]) == names | {"class"}
    assert found["routing"]["max_interests"] == 3


def test_what_has_no_lasting_name_is_refused():
    with pytest.raises(TypeError, match="is a function: a run's configuration may hold"):
        plain({"build": lambda: None})


@pytest.mark.parametrize(
    "part", ["name", "log", "train_events", "validation", "test"], ids=lambda part: f"split.{part}"
)
def test_every_part_of_a_split_decides_its_digest(split, part):
    other = {
        "name": "another",
        "log": dataclasses.replace(split.log, timestamps=split.log.timestamps + 1),
        "train_events": np.r_[~split.train_events[:1], split.train_events[1:]],
        "validation": split.validation.head(len(split.validation) - 1),
        "test": split.test.head(len(split.test) - 1),
    }[part]
    changed = dataclasses.replace(split, **{part: other})
    again = leave_last_out(planted_interests(SMALL, seed=0).log)
    assert data_digest(again) == data_digest(split)
    assert data_digest(changed) != data_digest(split)


@pytest.mark.parametrize("field", ["items", "user_ids", "item_ids", "titles", "item_features"])
def test_every_part_of_a_log_decides_its_digest(split, field):
    log = split.log
    features = log.item_features
    codes = features.codes.copy()
    codes[1, 0] += 1
    other = {
        "items": log.items[::-1].copy(),
        "user_ids": np.r_[log.user_ids[:1], log.user_ids[:0:-1]],
        "item_ids": np.r_[log.item_ids[:1], log.item_ids[:0:-1]],
        "titles": (*log.titles[:-1], "another title"),
        "item_features": dataclasses.replace(features, codes=codes),
    }[field]
    changed = dataclasses.replace(split, log=dataclasses.replace(log, **{field: other}))
    assert data_digest(changed) != data_digest(split)


@pytest.mark.parametrize("pattern", DECIDING)
def test_code_of_every_deciding_file_decides_the_digest(package, pattern):
    before = fresh(package)
    file = sorted(package.glob(pattern))[-1]
    file.write_text(file.read_text(encoding="utf-8") + "\nSOMETHING = 1\n", encoding="utf-8")
    assert fresh(package) != before


def test_neither_comments_nor_docstrings_nor_other_files_decide_it(package):
    before = fresh(package)
    file = package / "losses.py"
    text = file.read_text(encoding="utf-8").replace('"""Other losses', '"""Rather other losses')
    file.write_text(f"# a remark\n\n{text}", encoding="utf-8")
    (package / "report.py").write_text("", encoding="utf-8")
    assert fresh(package) == before


def test_a_deciding_file_that_has_gone_is_missed(package):
    (package / "losses.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no losses\.py, which decides"):
        fresh(package)


STORED = Stored({"a": np.arange(2000.0), "b": np.zeros((0, 3))}, {"name": "x", "of": [1, 2.5]})


@pytest.mark.parametrize("name", ["run.json", "values.npz"])
def test_a_file_comes_back_as_it_was_written_and_nothing_else_is_left(tmp_path, name):
    stored = STORED if name.endswith("npz") else Stored({}, STORED.facts)
    write(tmp_path / "new" / name, stored)
    found = read(tmp_path / "new" / name, {"name": "x"})
    assert found is not None
    assert found.facts == stored.facts
    assert found.arrays.keys() == stored.arrays.keys()
    for key, value in stored.arrays.items():
        assert np.array_equal(found.arrays[key], value)
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]
    assert read(tmp_path / "absent.json", {}) is None


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path):
    path = tmp_path / "run.json"
    write(path, Stored({}, {"n": 1}))
    with pytest.raises(TypeError):
        write(path, Stored({}, {"n": object()}))
    found = read(path, {})
    assert found is not None
    assert found.facts == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def damage(path, how):
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        place = whole.index(b"2.5") if path.suffix == ".json" else len(whole) // 3
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


@pytest.mark.parametrize("how", ["cut", "empty", "one bit"])
@pytest.mark.parametrize("name", ["run.json", "values.npz"])
def test_a_damaged_file_is_not_believed(tmp_path, name, how):
    path = tmp_path / name
    write(path, STORED if name.endswith("npz") else Stored({}, STORED.facts))
    damage(path, how)
    with pytest.warns(UserWarning, match=f"{name} is damaged .*computed again"):
        assert read(path, {}) is None


@pytest.mark.parametrize("name", ["run.json", "values.npz"])
def test_a_file_that_says_it_is_another_is_not_believed(tmp_path, name):
    path = tmp_path / name
    write(path, STORED if name.endswith("npz") else Stored({}, STORED.facts))
    for facts in ({"name": "y"}, {"absent": 1}):
        with pytest.warns(UserWarning, match="is damaged"):
            assert read(path, facts) is None


def test_the_order_of_what_is_said_does_not_matter():
    assert digest_of({"a": 1, "b": [1]}) == digest_of({"b": [1], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})
