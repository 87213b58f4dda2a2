"""Milvus retrieves the same lists; Milvus Lite stands in for a cluster."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mindlib.retrieval import load_index, search
from mindlib.retrieval import milvus as module
from mindlib.retrieval.milvus import MilvusConfig, MilvusIndex
from tests.retrieval.vectors import assert_same_lists, brute_force, problem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return str(tmp_path_factory.mktemp("milvus") / "lite.db")


def build(uri, items, ids):
    return MilvusIndex.build(items, ids, MilvusConfig(uri))


@given(seed=st.integers(0, 2**31), n=st.integers(1, 20), exclude=st.booleans())
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_search_equals_brute_force_before_and_after_loading(uri, tmp_path, seed, n, exclude):
    p = problem(seed, ties=False)
    index = build(uri, p.items, p.ids)
    index.save(tmp_path / "index")
    expected = brute_force(p, n, exclude_history=exclude)
    for each in (index, load_index(tmp_path / "index", built_from=(p.items, p.ids))):
        histories = p.histories if exclude else None
        found = search(each, p.interests, p.active, n, histories=histories)
        assert_same_lists(found, expected, p)


def test_each_index_has_a_collection_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = (MilvusIndex.build(torch.eye(3), torch.arange(n, n + 3)) for n in (1, 4))
    found = [index.nearest(torch.eye(3), 1, torch.arange(3)).items for index in (first, second)]
    assert torch.cat(found, dim=1).tolist() == [[1, 4], [2, 5], [3, 6]]


def test_items_are_sent_in_batches(uri, monkeypatch):
    monkeypatch.setattr(module, "INSERT_BATCH", 7)
    p = problem(3, ties=False)
    index = build(uri, p.items, p.ids)
    found = search(index, p.interests, p.active, 8)
    assert_same_lists(found, brute_force(p, 8, exclude_history=False), p)


def test_a_collection_that_exists_is_refused_and_kept(uri):
    index = build(uri, torch.eye(3), torch.arange(1, 4))
    with pytest.raises(ValueError, match=r"has a collection 'items_.*': choose another name"):
        MilvusIndex.build(torch.eye(2), torch.arange(1, 3), index.config)
    assert index.nearest(torch.eye(3), 1, torch.arange(3)).items.tolist() == [[1], [2], [3]]


def test_a_build_that_fails_leaves_no_collection(uri, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    config = MilvusConfig(uri, "interrupted")
    with monkeypatch.context() as patch:
        patch.setattr(module.MilvusClient, "insert", fail)
        with pytest.raises(KeyboardInterrupt):
            MilvusIndex.build(torch.eye(3), torch.arange(1, 4), config)
    with pytest.raises(ValueError, match="item id 4 twice"):
        MilvusIndex.build(torch.eye(2), torch.tensor([4, 4]), config)
    assert MilvusIndex.build(torch.eye(3), torch.arange(1, 4), config).ids.tolist() == [1, 2, 3]


def test_a_collection_that_changed_or_was_dropped_since_it_was_saved_is_refused(uri, tmp_path):
    index = build(uri, torch.eye(3), torch.arange(1, 4))
    index.save(tmp_path / "index")
    index.client.delete(index.config.collection, ids=[2])
    with pytest.raises(ValueError, match=r"has 2 items; expected 3, .*; build the index again"):
        load_index(tmp_path / "index")
    index.drop()
    with pytest.raises(ValueError, match=r"has no collection .*: build the index again"):
        load_index(tmp_path / "index")


def test_more_results_than_milvus_returns_are_refused(uri):
    index = build(uri, torch.eye(3), torch.arange(1, 4))
    with pytest.raises(ValueError, match=r"16385 results .* Milvus returns at most 16384"):
        index.nearest(torch.eye(3), 16_385, torch.arange(3))


@pytest.mark.parametrize("uri", ["items", "localhost:19530", "ftp://localhost/items.db"])
def test_an_invalid_address_is_refused(uri):
    with pytest.raises(ValueError, match=r"expected a path that ends in .db .* or the URL"):
        MilvusConfig(uri)


def test_credentials_in_the_address_are_refused_without_repeating_them():
    with pytest.raises(ValueError, match="remove them and set MILVUS_TOKEN") as refusal:
        MilvusConfig("https://root:secret@localhost:19530")
    assert "secret" not in str(refusal.value)


def test_the_credentials_come_from_the_environment_and_are_in_no_message(monkeypatch):
    def refuse(uri, token):
        raise module.MilvusException(message=f"access denied for {token}")

    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    monkeypatch.setattr(module, "MilvusClient", refuse)
    message = r"does not answer \(.*access denied for ….*\); check the address and the credentials"
    with pytest.raises(ConnectionError, match=message) as refusal:
        MilvusIndex(torch.arange(1, 4), 3, "", MilvusConfig("http://localhost:19530"))
    assert "secret" not in str(refusal.value)
    assert refusal.value.__suppress_context__
