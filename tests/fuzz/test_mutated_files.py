"""Every kind of file that mindlib writes, with some bytes changed: refused, or read as it was."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mindlib.data import PlantedConfig, leave_last_out, planted_interests
from mindlib.data.tensor_file import TensorFile, write_tensors
from mindlib.experiments import results
from mindlib.experiments.cache import FORM, read_entry
from mindlib.models import YouTubeDNN, YouTubeDNNConfig
from mindlib.online.exported import CATALOGUE, GRAPH, ITEMS, ExportedModel
from mindlib.online.ranking.ranker import DINRanker
from mindlib.online.refresh import Registry
from mindlib.online.refresh.registry import FACTS
from mindlib.online.refresh.warm import WarmState
from mindlib.online.serving.bundle import INDEX, METADATA, POPULARITY, RANKER, Bundle
from mindlib.retrieval import ExactIndex, load_index
from mindlib.retrieval.faiss import FaissIndex
from mindlib.training.checkpoints import Checkpoints
from tests.online.ranking.world import randomized

pytestmark = pytest.mark.slow


class File(NamedTuple):
    """A file, and the function that reads it and returns its content for a comparison."""

    path: Path
    read: Callable[[], Any]


def mutate(content: bytes, changes: list[tuple[str, float, float, bytes]]) -> bytes:
    """Apply changes at places that are given as fractions of the length."""
    for kind, first, second, new in changes:
        a, b = sorted((int(first * len(content)), int(second * len(content))))
        before, block, after = content[:a], content[a : a + len(new)], content[a + len(new) :]
        content = {
            "flip": before + bytes([block[0] ^ new[0]]) + content[a + 1 :] if block else content,
            "overwrite": before + new + after,
            "truncate": before,
            "insert": before + new + content[a:],
            "duplicate": content[:b] + content[a:b][:999] + content[b:],
            "zero": before + bytes(len(block)) + after,
            "remove": before + after,
            "swap": before + content[b : b + len(new)] + content[a + len(new) : b] + block
            + content[b + len(new) :] if a + len(new) <= b else content,
        }[kind]  # fmt: skip
    return content


KINDS = ("flip", "overwrite", "truncate", "insert", "duplicate", "zero", "remove", "swap")
PLACES = st.floats(0, 1, exclude_max=True)
CHANGES = st.lists(
    st.tuples(st.sampled_from(KINDS), PLACES, PLACES, st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=3,
)


def comparable(value: Any) -> Any:
    """Replace arrays by their types, shapes and bytes, below dictionaries and tuples too."""
    if isinstance(value, dict):
        return {name: comparable(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [comparable(part) for part in value]
    if isinstance(value, np.ndarray | torch.Tensor):
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes()
    return value


def read_ranker(path: Path) -> Any:
    ranker = DINRanker.load(path)
    return ranker.catalogue, ranker.model.config, ranker.model.state_dict()


def read_export(path: Path) -> Any:
    model = ExportedModel.load(path)
    return model.manifest, model.catalogue, model.items


def read_bundle(path: Path) -> Any:
    bundle = Bundle.load(path)
    assert isinstance(bundle.index, ExactIndex)
    assert isinstance(bundle.ranker, DINRanker)
    return (
        bundle.version, bundle.catalogue, bundle.model.item_vectors(), bundle.index.items,
        bundle.index.ids, bundle.counts, bundle.titles, bundle.categories,
        bundle.ranker.model.state_dict(),
    )  # fmt: skip


def read_cache(path: Path) -> Any:
    """A damaged file of the cache is not refused but reported, and computed again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entry = read_entry(path)
    if entry is None:
        assert len(caught) == 1
        raise ValueError(caught[0].message)
    return entry


class Originals(dict):
    """Files by kind, with their content, which is too long for the report of a failure."""

    def __repr__(self) -> str:
        return f"the original files: {', '.join(self)}"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, tuple[File, Any]]:
    """One small file of each kind, and its content."""
    home: Path = tmp_path_factory.mktemp("originals")
    log = planted_interests(PlantedConfig(num_users=60, num_clusters=6), seed=0).log
    config = YouTubeDNNConfig.paper(dim=4, hidden=(), history_length=5)
    model = YouTubeDNN(log, config, generator=torch.Generator().manual_seed(0))
    items, ids = torch.randn(9, 4), torch.arange(1, 10)

    ExactIndex.build(items, ids).save(home / "exact")
    FaissIndex.build(items, ids).save(home / "faiss")
    checkpoints = Checkpoints(home)
    checkpoints.write(1, TensorFile({"x": items, "step": torch.tensor(3)}, {"log": [{"a": 0.5}]}))
    names = {"items": (None, ("id", 7), ("title word", "red")), "profile": (("age", None),)}
    WarmState({"items.weight": items[:3]}, names).save(home / "weights")
    ranker = DINRanker.from_model(randomized(log), log)
    ranker.save(home / "ranker")
    write_tensors(home / "run", FORM, TensorFile({"a": torch.arange(9.0)}, {"name": "x"}))
    bundle, counts = home / "bundle", leave_last_out(log).train_counts
    Bundle.write(bundle, version="v1", model=model, log=log, counts=counts, ranker=ranker)

    found = {
        "exact index": File(home / "exact", lambda: vars(load_index(home / "exact"))),
        "Faiss index": File(home / "faiss", lambda: load_index(home / "faiss")._state(home)),
        "checkpoint": File(checkpoints.path(1), lambda: checkpoints.read(1)),
        "weights": File(home / "weights", lambda: WarmState.load(home / "weights")),
        "ranker": File(home / "ranker", lambda: read_ranker(home / "ranker")),
        "cache": File(home / "run", lambda: read_cache(home / "run")),
    }
    for name in ("manifest.json", CATALOGUE, GRAPH, ITEMS):
        found[f"export {name}"] = File(
            bundle / "model" / name, lambda: read_export(bundle / "model")
        )
    for name in ("manifest.json", INDEX, POPULARITY, METADATA, RANKER, "model/manifest.json"):
        found[f"bundle {name}"] = File(bundle / name, lambda: read_bundle(bundle))
    return Originals({name: (file, comparable(file.read())) for name, file in found.items()})


SINGLE = ("exact index", "Faiss index", "checkpoint", "weights", "ranker", "cache")
IN_FOLDERS = (
    *(f"export {name}" for name in ("manifest.json", CATALOGUE, GRAPH, ITEMS)),
    *(
        f"bundle {name}"
        for name in ("manifest.json", INDEX, POPULARITY, METADATA, RANKER, "model/manifest.json")
    ),
)
FEWER = max(1, settings().max_examples // 5)
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def check(original: tuple[File, Any], changes: list[tuple[str, float, float, bytes]]) -> None:
    file, content = original
    whole = file.path.read_bytes()
    file.path.write_bytes(mutate(whole, changes))
    try:
        with suppress(ValueError, OSError):
            assert comparable(file.read()) == content
    finally:
        file.path.write_bytes(whole)


@pytest.mark.parametrize("kind", SINGLE)
@given(changes=CHANGES)
@settings(suppress_health_check=FIXTURES)
def test_a_mutated_file_is_refused_or_read_as_it_was(files, kind, changes):
    check(files[kind], changes)


@pytest.mark.parametrize("kind", IN_FOLDERS)
@given(changes=CHANGES)
@settings(suppress_health_check=FIXTURES, max_examples=FEWER)
def test_a_folder_with_a_mutated_file_is_refused_or_read_as_it_was(files, kind, changes):
    check(files[kind], changes)


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory) -> dict[str, File]:
    """JSON without a digest: people edit the pointer, and facts and records are only shown."""
    home: Path = tmp_path_factory.mktemp("unsealed")
    registry = Registry(home)
    for _ in range(2):
        with registry.refresh_lock(), registry.new_version() as (_, _, facts):
            facts["metrics"] = {"Recall@5": 0.5}
    recorded = home / "recorded" / "load.json"
    recorded.parent.mkdir()
    recorded.write_text(json.dumps({"rows": [{"name": "x", "seconds": 1.5}]}), encoding="utf-8")
    return {
        "pointer": File(home / "current", registry.current),
        "facts": File(registry.path(1) / FACTS, registry.history),
        "results": File(recorded, lambda: results.load_recorded("load")),
    }


@pytest.mark.parametrize("kind", ["pointer", "facts", "results"])
@given(changes=CHANGES)
@settings(suppress_health_check=FIXTURES)
def test_mutated_text_raises_a_documented_error_or_is_read(unsealed, kind, changes):
    file = unsealed[kind]
    original = file.path.read_bytes()
    file.path.write_bytes(mutate(original, changes))
    try:
        with pytest.MonkeyPatch.context() as patch, suppress(ValueError, OSError):
            patch.setattr(results.resources, "files", lambda _: file.path.parent.parent)
            file.read()
    finally:
        file.path.write_bytes(original)
