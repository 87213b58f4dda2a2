"""An export is whole or absent, and a server opens none that is not the one it means."""

import dataclasses
import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mindlib.data import Catalogue, Histories, PlantedConfig, planted_interests
from mindlib.data.storage import checksum
from mindlib.models import YouTubeDNN, YouTubeDNNConfig
from mindlib.online import export as export_module
from mindlib.online.artifacts import MANIFEST, ArtifactError, seal
from mindlib.online.export import export
from mindlib.online.exported import CATALOGUE, GRAPH, ITEMS, ExportedModel
from tests.reliability import behaves, refuses

AREA = "Index, model and version files"

pytestmark = pytest.mark.slow

LOG = planted_interests(PlantedConfig(num_users=60, num_clusters=6), seed=0).log
FILES = {CATALOGUE, GRAPH, ITEMS, MANIFEST}


def make() -> YouTubeDNN:
    config = YouTubeDNNConfig.paper(dim=8, hidden=(), history_length=5)
    return YouTubeDNN(LOG, config, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return export(make(), LOG, tmp_path_factory.mktemp("whole") / "model")


@pytest.fixture(scope="module")
def program():
    assert LOG.profiles is not None
    return export_module._trace(make(), len(LOG.profiles.fields))


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def test_an_export_is_four_files_and_says_what_it_is(whole):
    assert {path.name for path in whole.iterdir()} == FILES
    manifest = json.loads((whole / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["model"] == "YouTubeDNN"
    config = YouTubeDNNConfig.paper(dim=8, hidden=(), history_length=5)
    assert manifest["config"] == json.loads(json.dumps(dataclasses.asdict(config)))
    assert (manifest["dim"], manifest["items"]) == (8, LOG.num_items)
    assert manifest["catalogue"] == Catalogue.from_log(LOG).fingerprint
    assert [path.name for path in whole.parent.iterdir()] == ["model"]


def test_the_graph_reads_its_embeddings_from_the_catalogues_file(folder):
    """One table: other vectors in the file are other behaviours, without a new graph."""
    vectors = np.load(folder / ITEMS)
    np.save(folder / ITEMS, 2 * vectors)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][ITEMS] = checksum(folder / ITEMS)
    (folder / MANIFEST).write_text(json.dumps(seal(manifest)), encoding="utf-8")
    model = make()
    with torch.no_grad():
        model.items.weight.mul_(2)
    histories = Histories.from_lists([[1, 2, 3]], [[1]])
    served, _ = ExportedModel.load(folder).interests(histories)
    torch.testing.assert_close(served, model.interests(histories)[0])


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(folder, name, kept):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ArtifactError, match=rf"{name} is damaged .*write it again with mindlib"):
        ExportedModel.load(folder)


@pytest.mark.parametrize("name", [GRAPH, ITEMS, CATALOGUE])
def test_a_changed_byte_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name} is damaged .*\({len(content)} bytes, sha256"):
        ExportedModel.load(folder)
    behaves(
        AREA, "one bit of an export's file is flipped",
        "ArtifactError, a ValueError, names the file, its size and sha256, and those expected",
    )  # fmt: skip


def test_a_loaded_export_outlives_its_files(folder):
    """Mapped files would end the process (SIGBUS) or change its answers."""
    served, histories = ExportedModel.load(folder), Histories.from_lists([[1, 2, 3]], [[1]])
    before, vectors = served.interests(histories)[0], served.item_vectors().clone()
    for damage in (lambda content: b"\xff" * len(content), lambda content: b""):
        for name in FILES:
            (folder / name).write_bytes(damage((folder / name).read_bytes()))
        assert torch.equal(served.interests(histories)[0], before)
        assert torch.equal(served.item_vectors(), vectors)
    behaves(
        AREA, "an export is overwritten or truncated while it is served",
        "the loaded model answers as before: nothing is mapped from the files",
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    message = rf"{name} is missing" if name != MANIFEST else "lacks manifest"
    with refuses(AREA, f"{name} of an export is missing", ArtifactError, match=message):
        ExportedModel.load(folder)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere lacks manifest\.json"):
        ExportedModel.load(tmp_path / "nowhere")


def test_another_format_is_refused(folder):
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8")) | {"format": "mindlib export 1"}
    path.write_text(json.dumps(seal(manifest)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'mindlib export 1', .* reads 'mindlib export 2'"):
        ExportedModel.load(folder)


def full(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["items", "graph", "catalogue", "rename"])
def test_on_a_full_disk_nothing_is_left(tmp_path, monkeypatch, program, place):
    monkeypatch.setattr(export_module, "_trace", lambda *_: program)
    target, name = {
        "items": (np, "save"),
        "graph": (type(program), "save"),
        "catalogue": (Path, "write_text"),
        "rename": (Path, "rename"),
    }[place]
    monkeypatch.setattr(target, name, full)
    with pytest.raises(OSError, match=r"cannot be written \(No space left") as caught:
        export(make(), LOG, tmp_path / "model")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(export_module, "_trace", lambda *_: program)
    ExportedModel.load(export(make(), LOG, tmp_path / "model"))


def test_in_a_read_only_folder_nothing_is_left(tmp_path, monkeypatch, program):
    def refused(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(export_module, "_trace", lambda *_: program)
    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(PermissionError, match=r"cannot be written \(Permission denied\)"):
        export(make(), LOG, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch, program):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "_trace", lambda *_: program)
    monkeypatch.setattr(type(program), "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(make(), LOG, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_never_overwritten(whole):
    before = (whole / MANIFEST).read_bytes()
    message = r"never overwritten.*choose another name"
    with refuses(AREA, "an export to a folder that exists", FileExistsError, match=message):
        export(make(), LOG, whole)
    assert (whole / MANIFEST).read_bytes() == before


def test_a_model_that_cannot_be_served_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_trace", lambda *_: pytest.fail("traced"))
    smaller = planted_interests(
        PlantedConfig(num_users=60, num_clusters=5, num_segments=5), seed=0
    ).log
    with pytest.raises(ValueError, match=r"240 items and 7 profile values, the log 200 and 6"):
        export(make(), smaller, tmp_path / "model")
    diverged = make()
    with torch.no_grad():
        diverged.items.weight[7, 0] = torch.nan
    with pytest.raises(ValueError, match=r"items.weight has NaN or infinite values"):
        export(diverged, LOG, tmp_path / "model")
    with pytest.raises(ValueError, match=r"is on meta; export model.cpu\(\)"):
        export(make().to("meta"), LOG, tmp_path / "model")


def test_what_is_not_installed_is_named(whole, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"onnxruntime: pip install 'mindlib\[export\]'"):
        ExportedModel.load(whole)
    with pytest.raises(ImportError, match=r"onnxscript: pip install 'mindlib\[export\]'"):
        export(make(), LOG, tmp_path / "model")
