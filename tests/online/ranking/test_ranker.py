"""The ranker as it is served, and the file that it is kept in."""

import os
import stat
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from mindlib.data import Histories
from mindlib.data.catalogue import Catalogue
from mindlib.online.ranking.ranker import FORMAT, DINRanker
from tests.online.ranking.world import din, randomized, tiny, world
from tests.reliability import refuses

LOG = tiny().log
PAST, CANDIDATES = np.array([3, 1, 7]), np.arange(1, LOG.num_items + 1)


@pytest.fixture
def ranker():
    return DINRanker.from_model(randomized(LOG), LOG)


@pytest.fixture
def file(ranker, tmp_path):
    path = tmp_path / "ranker.safetensors"
    ranker.save(path)
    return path


def test_it_is_the_ranking_stages_model(ranker):
    scores = ranker.score(PAST, CANDIDATES)
    expected = ranker.model.score_lists(
        Histories.from_lists([PAST.tolist()]), torch.from_numpy(CANDIDATES)[None]
    )
    np.testing.assert_allclose(scores, expected[0], rtol=1e-5, atol=1e-6)
    assert scores.std() > 0.01
    few = ranker.score(PAST.astype(np.int32), CANDIDATES[[4, 2]])
    np.testing.assert_allclose(few, scores[[4, 2]], rtol=1e-4, atol=1e-5)


def test_no_behaviours_and_no_candidates_are_answered(ranker):
    nothing = np.zeros(0, dtype=np.int64)
    scores = ranker.score(nothing, CANDIDATES)
    assert np.isfinite(scores).all()
    assert scores.std() > 0.01
    assert ranker.score(PAST, nothing).shape == (0,)


def test_logits_that_overflow_are_refused():
    model = randomized(LOG)
    for weight in model.parameters():
        weight.data.mul_(1e30)  # finite, but no product of two of them is
    with pytest.raises(ValueError, match="the logits of the candidates overflow; train again"):
        DINRanker.from_model(model, LOG).score(PAST, CANDIDATES)


@pytest.mark.parametrize("item", [LOG.num_items + 1, 2**40])
def test_numbers_outside_the_catalogue_are_refused(ranker, item):
    message = rf"item {item}: the model has the items 1 to {LOG.num_items}"
    for behaviors, candidates in (([1, item], CANDIDATES), (PAST, [1, item])):
        with pytest.raises(ValueError, match=message):
            ranker.score(np.array(behaviors), np.array(candidates))


@pytest.mark.parametrize("item", [0, -1])
def test_the_number_of_padding_and_negative_numbers_are_refused(ranker, item):
    for behaviors, candidates in (([1, item], CANDIDATES), (PAST, [1, item])):
        with pytest.raises(ValueError, match=rf"item {item}: expected 1 or more; number"):
            ranker.score(np.array(behaviors), np.array(candidates))


def test_serving_never_uses_a_batchs_statistics():
    model = randomized(LOG).train()
    ranker = DINRanker.from_model(model, LOG)
    mean = model.activation.dice.standardize.running_mean
    assert mean is not None
    before = mean.clone()
    ranker.score(PAST, CANDIDATES)
    assert not model.training
    assert torch.equal(mean, before)


def test_what_cannot_be_served_is_refused():
    model = din(LOG)
    with pytest.raises(ValueError, match="the log 80; pass the log that the model"):
        DINRanker.from_model(model, world(0).log)
    with torch.no_grad():
        model.items.weight[2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"items\.weight has NaN"):
        DINRanker.from_model(model, LOG)


def test_a_loaded_ranker_scores_as_the_saved_one_did(ranker, file):
    loaded = DINRanker.load(file, Catalogue.from_log(LOG))
    assert loaded.catalogue == ranker.catalogue
    assert loaded.model.config == ranker.model.config
    assert loaded.model.items.codes.shape[1] == 1  # features are pooled already
    for past in (PAST, np.zeros(0, dtype=np.int64)):
        scores = loaded.score(past, CANDIDATES)
        np.testing.assert_allclose(scores, ranker.score(past, CANDIDATES), rtol=1e-4, atol=1e-5)


def test_the_catalogue_is_checked_where_it_is_known(file):
    assert DINRanker.load(file).catalogue == Catalogue.from_log(LOG).fingerprint
    other = world(0).log
    fault, message = "a ranker of another catalogue", r"catalogue \(24 items, .* expected \(80"
    with refuses("Index, model and version files", fault, ValueError, match=message):
        DINRanker.load(file, Catalogue.from_log(other))


def change_byte(content: bytes, place: float) -> bytes:
    position = int(place * len(content))
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *((partial(change_byte, place=place), "is damaged") for place in (0.3, 0.6, 0.999)),
        (lambda content: content[:-9], "is damaged or has another format"),
        (lambda content: b"a text", "is damaged or has another format"),
        (lambda content: save({"x": torch.ones(3)}), "was not written by mindlib"),
    ],
)
def test_a_damaged_file_and_one_of_something_else_are_refused(file, damage, message):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=message):
        DINRanker.load(file)
    with pytest.raises(FileNotFoundError, match="no ranker at"):
        DINRanker.load(file.with_name("none"))


def test_another_format_is_refused(ranker, tmp_path, monkeypatch):
    monkeypatch.setattr("mindlib.online.ranking.ranker.FORMAT", "mindlib ranker 0")
    ranker.save(tmp_path / "old")
    monkeypatch.undo()
    fault, message = "a ranker of another version's format", f"expected '{FORMAT}'"
    with refuses("Index, model and version files", fault, ValueError, match=message):
        DINRanker.load(tmp_path / "old")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(ranker, file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr(os, "replace", _full)
    with pytest.raises(OSError, match="earlier files are unchanged"):
        ranker.save(file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    with pytest.raises(OSError, match="could not be written"):
        ranker.save(file.parent / "no folder" / "ranker")


def _full(*paths: Path) -> None:
    raise OSError("no space left")


def test_a_ranker_outlives_its_file(file):
    loaded = DINRanker.load(file)
    before = loaded.score(PAST, CANDIDATES)
    assert set(load_file(file)) > {"item_vectors", "activation.dice.standardize.running_mean"}
    file.chmod(file.stat().st_mode | stat.S_IWUSR)
    file.write_bytes(b"\0" * file.stat().st_size)
    np.testing.assert_array_equal(loaded.score(PAST, CANDIDATES), before)
