import json
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from mindlib.data.feature_table import FeatureTable
from mindlib.data.interactions import Interactions
from mindlib.data.log_folder import MANIFEST
from mindlib.data.planted import PlantedConfig, planted_interests
from mindlib.data.sources import load


def features_log() -> Interactions:
    rng = np.random.default_rng(0)
    log = pl.DataFrame(
        {
            "user": rng.integers(0, 9, 60),
            "item": [f"i{n}é" for n in rng.integers(0, 20, 60)],
            "timestamp": rng.integers(0, 5, 60),
        }
    )
    items = pl.DataFrame(
        {
            "item": [f"i{n}é" for n in range(20)],
            "brand": [None, "b", *"cdcdcdcdcdcdcdcdcd"],
            "colors": [["red"], [], None, ["blue", "red"]] * 5,
            "title": [f"Title {n}" for n in range(20)],
        }
    )
    users = pl.DataFrame({"user": range(9), "age": [str(n % 3) for n in range(9)]})
    return Interactions.from_frames(
        log,
        items,
        users,
        item_fields=["brand", "colors"],
        profile_fields=["age"],
        title="title",
        name="shop",
    )


def check_equal(log: Interactions, other: Interactions) -> None:
    for field in fields(Interactions):
        mine, theirs = getattr(log, field.name), getattr(other, field.name)
        if isinstance(mine, FeatureTable):
            assert (mine.fields, mine.vocabularies) == (theirs.fields, theirs.vocabularies)
            mine, theirs = mine.codes, theirs.codes
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
        else:
            assert mine == theirs
            assert type(mine) is type(theirs)


@pytest.fixture(
    params=[features_log, lambda: planted_interests(PlantedConfig(num_users=20), seed=0).log]
)
def log(request: pytest.FixtureRequest) -> Interactions:
    return request.param()


def test_a_folder_has_every_field_of_the_log(log: Interactions, tmp_path: Path):
    log.save(tmp_path / "log")
    check_equal(log, Interactions.open(tmp_path / "log"))
    check_equal(log, load(tmp_path / "log"))


def test_arrays_are_mapped_and_changes_stay_in_memory(tmp_path: Path):
    log = features_log()
    log.save(tmp_path / "log")
    opened = Interactions.open(tmp_path / "log")
    assert opened.profiles is not None
    for array in (opened.users, opened.items, opened.timestamps, opened.profiles.codes):
        assert isinstance(array.base, np.memmap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.from_numpy(opened.items)[0] = 7
    check_equal(log, Interactions.open(tmp_path / "log"))


def test_a_folder_with_contents_is_refused_and_unchanged(tmp_path: Path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty; choose another"):
        features_log().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", interrupt)
    with pytest.raises(KeyboardInterrupt):
        features_log().save(tmp_path / "log")
    assert not list(tmp_path.iterdir())


def test_another_folder_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no log\.json; write it with Interactions\.save"):
        Interactions.open(tmp_path)


def change_manifest(folder: Path, **values: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | values))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: change_manifest(f, format="other 2"), "format is 'other 2'; expected"),
        (lambda f: cut(f / MANIFEST), "Unterminated|Expecting|delimiter"),
        (lambda f: (f / MANIFEST).write_text("[]"), "TypeError"),
        (lambda f: change_manifest(f, arrays={}), r"log\.json has another sha256"),
        (lambda f: cut(f / "items.npy"), "mmap length|size"),
        (lambda f: (f / "items.npy").unlink(), "FileNotFoundError"),
        (lambda f: np.save(f / "users.npy", np.arange(3)), r"users\.npy has int64 \(3,\); log"),
        (lambda f: np.save(f / "items.npy", np.zeros(60)), r"float64 \(60,\); log\.json says int"),
        (lambda f: np.save(f / "items.npy", np.array([None])), "Python objects|allow_pickle"),
        (lambda f: flip_last(f / "user_ids.parquet"), "another sha256"),
        (lambda f: cut(f / "item_ids.parquet"), "another sha256"),
    ],
)
def test_damage_is_named_with_a_remedy(damage, message: str, tmp_path: Path):
    features_log().save(tmp_path / "log")
    damage(tmp_path / "log")
    with pytest.raises(ValueError, match=message) as caught:
        Interactions.open(tmp_path / "log")
    assert str(tmp_path / "log") in str(caught.value)
    assert "convert the source again" in str(caught.value)
