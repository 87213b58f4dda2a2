"""Nights in small: logs that grow, an index that lies, and what requests see of a swap."""

import itertools
import threading
import time

import pytest
import torch

from mindlib.lessons.n06_online import nights
from mindlib.lessons.n06_online.refresh_week import FROZEN, Evening
from mindlib.retrieval import ExactIndex


def test_each_evening_knows_what_the_one_before_knew_and_more():
    one, two, three = nights.evenings(3)
    assert len(one) < len(two) < len(three)
    assert set(one.item_ids[1:]) <= set(two.item_ids[1:]) <= set(three.item_ids[1:])
    assert two.timestamps.max() > one.timestamps.max()


def test_the_misnumbered_index_finds_every_vector_under_another_number():
    vectors = torch.eye(5)
    ids = torch.arange(1, 6)
    found = nights.misnumbered(vectors, ids).nearest(vectors, 1, ids).items[:, 0]
    right = ExactIndex.build(vectors, ids).nearest(vectors, 1, ids).items[:, 0]
    assert right.tolist() == ids.tolist()
    assert sorted(found.tolist()) == ids.tolist()
    assert (found != right).all()


class Answers:
    """A platform that answers by its version, a little later."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.version, self.fails_at, self.numbers = "old", fails_at, itertools.count(1)
        self.users: set[str] = set()

    def ask(self, user):
        version, number = self.version, next(self.numbers)
        self.users.add(user)
        time.sleep(0.001)
        if number == self.fails_at:
            raise RuntimeError("cut off")
        return version


def test_requests_before_and_after_are_told_apart():
    platform = Answers()
    seen = nights.under_traffic(
        platform.ask,
        ["a", "b", "c"],
        lambda: setattr(platform, "version", "new"),
        clients=2,
        each=5,
    )
    assert not seen.errors
    assert seen.before <= seen.after
    assert seen.versions(old=True) == {"old"}
    assert seen.versions(old=False) == {"new"}
    assert len(seen.requests) >= 20
    assert all(r.began < r.ended for r in seen.requests)
    assert platform.users == {"a", "b", "c"}


def test_a_clients_error_is_told_and_nobody_waits_for_it():
    platform = Answers(fails_at=3)
    seen = nights.under_traffic(platform.ask, ["a"], lambda: None, clients=2, each=5)
    assert seen.errors == ["RuntimeError: cut off"]


def test_an_act_that_fails_ends_the_clients_too():
    def fail():
        raise OSError("no such version")

    before = threading.active_count()
    with pytest.raises(OSError, match="no such version"):
        nights.under_traffic(Answers().ask, ["a"], fail, clients=1, each=2)
    assert threading.active_count() <= before


def test_folders_are_listed_without_what_is_in_versions(tmp_path):
    (tmp_path / "versions" / "0001" / "bundle").mkdir(parents=True)
    (tmp_path / "rejected").mkdir()
    (tmp_path / "rejected" / "0002.json").touch()
    (tmp_path / "current").touch()
    assert nights.folders(tmp_path) == [
        "current", "rejected/", "rejected/0002.json", "versions/", "versions/0001/",
    ]  # fmt: skip


def row(day, way, recall, gain, low, high, seconds):
    return Evening(day, way, 1, 1, 1, 1.0, recall, gain, low, high, 1, 1, None, seconds)


def test_the_first_evening_which_is_common_to_all_ways_counts_for_none():
    rows = [
        row(0, "a", 0.9, 0.0, 0.0, 0.0, 1.0),
        row(1, "a", 0.5, 0.1, 0.05, 0.2, 0.5),
        row(2, "a", 0.7, -0.1, -0.2, -0.05, 0.3),
        row(3, "a", 0.6, 0.3, -0.1, 0.7, 0.1),
        row(1, FROZEN, 0.4, 0.0, 0.0, 0.0, 0.0),
    ]
    found = nights.ways(rows)
    assert found["a"] == pytest.approx((0.6, 0.1, 1, 1, 0.3))
    assert found[FROZEN] == (0.4, 0.0, 0, 0, 0.0)
