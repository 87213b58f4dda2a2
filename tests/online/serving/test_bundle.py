"""A version is on disk whole or not at all, and none is served that is not the one written."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mindlib.data import Catalogue
from mindlib.data.storage import checksum
from mindlib.online.artifacts import MANIFEST, ArtifactError, seal
from mindlib.online.ranking.din import DIN, DINConfig
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.serving.bundle import (
    INDEX,
    METADATA,
    MODEL,
    POPULARITY,
    RANKER,
    Bundle,
)
from mindlib.retrieval import ExactIndex, IndexRecommender
from mindlib.retrieval.faiss import FaissIndex
from tests.online.serving.world import LOG, SPLIT, make_model, write
from tests.reliability import behaves, refuses

pytestmark = pytest.mark.slow

PARTS = {INDEX, METADATA, MANIFEST, MODEL, POPULARITY, RANKER}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("whole") / "v1", ranker=make_ranker())


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "v1"))


def make_ranker(seed: int = 0) -> DINRanker:
    config = DINConfig(dim=4, hidden=(4,))
    model = DIN.from_log(LOG, config, generator=torch.Generator().manual_seed(seed))
    return DINRanker.from_model(model, LOG)


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in manifest.items() if value is not None}
    path.write_text(json.dumps(seal(kept)), encoding="utf-8")


def rehash(folder: Path, name: str) -> None:
    """Let the manifest call a changed part its own."""
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    edit(folder, files=files | {name: checksum(folder / name)})


def test_a_version_is_what_was_written(whole):
    bundle = Bundle.load(whole)
    assert {path.name for path in whole.iterdir()} == PARTS
    assert [path.name for path in whole.parent.iterdir()] == ["v1"]
    assert bundle.version == "one"
    assert bundle.catalogue.fingerprint == Catalogue.from_log(LOG).fingerprint
    assert isinstance(bundle.index, ExactIndex)
    assert np.array_equal(bundle.counts, SPLIT.train_counts)
    items = np.arange(1, 9)
    assert bundle.ranker is not None
    scores = make_ranker().score(items, items)
    np.testing.assert_allclose(bundle.ranker.score(items, items), scores, rtol=1e-5)
    assert bundle.titles[1] == LOG.label(1)
    assert LOG.item_features is not None
    assert np.array_equal(bundle.categories, LOG.item_features.column("department"))
    torch.testing.assert_close(bundle.model.item_vectors(), make_model().item_vectors())


@pytest.mark.parametrize("index", ["exact", "faiss", FaissIndex.build, "milvus:items.db"])
def test_every_index_recommends_what_the_model_does(tmp_path, index):
    """The folder moves, and takes the embedded Milvus along."""
    written = write(tmp_path / "written", index=index)
    bundle = Bundle.load(written.rename(tmp_path / "moved"))
    histories = SPLIT.test.histories
    found = IndexRecommender(bundle.model, bundle.index).recommend(histories, 20)
    expected = bundle.model.recommend(histories, 20)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=1e-5)
    assert (found.items == expected.items).float().mean() > 0.99  # equal scores may swap
    engine = "faiss" if callable(index) else index.split(":")[0]
    assert type(bundle.index).__name__.lower() == f"{engine}index"


def test_a_version_whose_milvus_is_elsewhere_or_silent_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / "v1", index="milvus:items.db")
    (folder / "items.db").rename(tmp_path / "items.db")
    with pytest.raises(ArtifactError, match=r"items\.db, which does not exist; move it there"):
        Bundle.load(folder)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Milvus does not answer")

    monkeypatch.setattr("mindlib.online.serving.bundle.load_index", refuse)
    with pytest.raises(ArtifactError, match="Milvus does not answer"):
        Bundle.load(folder)


def test_without_a_ranker_there_is_none(tmp_path):
    assert Bundle.load(write(tmp_path / "v1")).ranker is None


def test_a_ranker_of_another_catalogue_is_refused(tmp_path):
    folder = write(tmp_path / "v1", ranker=replace(make_ranker(), catalogue="0" * 64))
    with pytest.raises(ArtifactError, match="is of another catalogue"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", sorted(PARTS - {MODEL}))
def test_a_missing_part_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["interests.onnx", "items.npy", "catalogue.json", MANIFEST])
def test_a_missing_part_of_the_model_is_named(folder, name):
    (folder / MODEL / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        Bundle.load(folder)


def test_a_folder_that_is_none_is_refused(tmp_path):
    fault = "a version is loaded from a folder that is none"
    with refuses("Index, model and version files", fault, ArtifactError, match="lacks manifest"):
        Bundle.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [*sorted(PARTS - {MODEL, MANIFEST}), f"{MODEL}/items.npy"])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_truncated_part_is_refused(folder, name, kept):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ArtifactError, match=rf"{name} is damaged"):
        Bundle.load(folder)


def test_a_truncated_manifest_is_refused(folder):
    content = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", [INDEX, RANKER, POPULARITY])
def test_a_part_of_another_version_is_refused(folder, tmp_path, name):
    other = write(tmp_path / "v2", "two", seed=1, ranker=make_ranker(1))
    if name == POPULARITY:  # two trainings of one log count alike
        np.save(other / name, SPLIT.train_counts + 1)
    shutil.copy(other / name, folder / name)
    with pytest.raises(ArtifactError, match=rf"{name} is damaged or of another version"):
        Bundle.load(folder)


def test_a_manifest_does_not_make_a_part_fit(folder):
    """Checksums say that a part is the one written, not that it belongs to the model."""
    vectors = torch.ones((LOG.num_items, 3))
    ExactIndex.build(vectors, torch.arange(1, LOG.num_items + 1)).save(folder / INDEX)
    rehash(folder, INDEX)
    with pytest.raises(ArtifactError, match=r"other item vectors than .*dimension 3\)"):
        Bundle.load(folder)
    stale = torch.ones((LOG.num_items, 8))
    ExactIndex.build(stale, torch.arange(1, LOG.num_items + 1)).save(folder / INDEX)
    rehash(folder, INDEX)
    fault, message = "a version with a stale index", r"other item vectors than .*dimension 8\)"
    with refuses("Index, model and version files", fault, ArtifactError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize(
    "changes", [{"format": "mindlib bundle 2"}, {"format": {}, "mindlib": None}]
)
def test_a_manifest_of_another_format_is_refused(folder, changes):
    edit(folder, **changes)
    with pytest.raises(ArtifactError, match=re.escape(f"has the format {changes['format']!r}")):
        Bundle.load(folder)


@pytest.mark.parametrize(
    "content", [pytest.param("[" * 100_000, id="nested"), "{}", "[]", "null", "\x00"]
)
def test_a_manifest_that_is_none_is_refused(folder, content):
    (folder / MANIFEST).write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        Bundle.load(folder)


def test_a_changed_manifest_is_refused(folder):
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    (folder / MANIFEST).write_text(text.replace('"one"', '"two"'), encoding="utf-8")
    fault = "one letter of a version's manifest.json is changed"
    with refuses("Index, model and version files", fault, ArtifactError, match="its sha256 is"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "model/../../secret", "", "a\nb"])
def test_a_manifest_names_files_in_its_folder_only(folder, name):
    (folder.parent / "secret").write_text("secret")
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    edit(folder, files=files | {name: {"bytes": 1, "sha256": "0" * 64}})
    with pytest.raises(ArtifactError, match="names the part") as error:
        Bundle.load(folder)
    assert checksum(folder.parent / "secret")["sha256"][:12] not in str(error.value)
    if name == "../secret":
        fault = "a version's manifest.json names a file outside of its folder"
        behaves("Index, model and version files", fault, f"ArtifactError: {error.value}")


@pytest.mark.parametrize("expected", [None, 7, {}, {"bytes": 1}])
def test_a_manifest_with_a_malformed_checksum_is_refused(folder, expected):
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    edit(folder, files=files | {INDEX: expected})
    with pytest.raises(ArtifactError, match=r"index\.safetensors is damaged or of another version"):
        Bundle.load(folder)


def test_a_version_is_never_overwritten(folder):
    before = (folder / MANIFEST).read_bytes()
    fault = "a version is written into a folder that exists"
    area = "Index, model and version files"
    with refuses(area, fault, FileExistsError, match="never overwritten"):
        write(folder)
    assert (folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("version", ["", "../up", ".hidden", "a b", "x" * 65])
def test_a_version_has_a_plain_name(tmp_path, version):
    with pytest.raises(ValueError, match="expected letters, digits"):
        write(tmp_path / "v1", version)
    assert not any(tmp_path.iterdir())


def test_what_does_not_belong_together_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="counts of 2 items"):
        write(tmp_path / "v1", counts=np.ones(3, dtype=np.int64))
    with pytest.raises(ValueError, match=r"category='colour': expected one of .*department, brand"):
        write(tmp_path / "v1", category="colour")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["export", "index", "ranker"])
def test_nothing_half_written_is_left(tmp_path, monkeypatch, name):
    def fail(*args, **options):
        raise OSError("No space left on device")

    if name == "export":
        monkeypatch.setattr("mindlib.online.export.export", fail)
    elif name == "index":
        monkeypatch.setattr(ExactIndex, "save", fail)
    else:
        monkeypatch.setattr(DINRanker, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "v1", ranker=make_ranker())
    assert not any(tmp_path.iterdir())
