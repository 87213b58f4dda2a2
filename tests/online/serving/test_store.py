"""The store keeps what can have happened, in its order, and says clearly what it refuses."""

from __future__ import annotations

import inspect
import queue
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Interactions
from mindlib.online.serving.database import StoreError, _transaction
from mindlib.online.serving.store import (
    CLOCK_TOLERANCE,
    InvalidRequest,
    SqliteStore,
    validate_id,
)
from tests.online.serving.world import LOG
from tests.reliability import behaves, refuses

NOW = 1_700_000_000


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("mindlib.online.serving.store.time", lambda: NOW)
    with closing(SqliteStore(tmp_path / "s.sqlite", lock_timeout=0.05)) as store:
        store.add_items(["apple", "pear", "plum", 7])
        yield store


def test_behaviours_are_in_the_order_of_time_and_then_of_arrival(store):
    for item, at in [("apple", 30), ("pear", 10), ("plum", 20), (7, 20), ("apple", 20)]:
        store.append("ann", item, at)
    store.append("bob", "plum", 15)
    assert store.recent("ann", 10) == ["pear", "plum", 7, "apple", "apple"]
    assert store.recent("ann", 2) == ["apple", "apple"]
    assert store.recent("bob", 10) == ["plum"]
    assert store.recent("nobody", 10) == []


def test_a_user_is_the_same_as_a_number_and_as_text(store):
    store.append(5, "apple", 1)
    assert store.recent("5", 1) == store.recent(5, 1) == ["apple"]


def test_an_items_type_counts(store):
    store.append("ann", 7, 1)
    with pytest.raises(InvalidRequest, match="item '7' is unknown"):
        store.append("ann", "7", 1)
    assert store.recent("ann", 9) == [7]


def test_another_process_sees_a_click_at_once(store):
    with closing(SqliteStore(store.path)) as other:
        assert other.recent("ann", 1) == []
        store.append("ann", "apple", 1)
        assert other.recent("ann", 1) == ["apple"]


def test_what_is_stored_outlives_the_store(store):
    store.append("ann", "apple", 1)
    store.close()
    with closing(SqliteStore(store.path)) as again:
        assert again.recent("ann", 1) == ["apple"]


def test_a_profile_is_replaced_as_a_whole(store):
    assert store.profile("ann") == {}
    store.set_profile("ann", {"age": 35, "town": "Oslo"})
    assert store.profile("ann") == {"age": 35, "town": "Oslo"}
    store.set_profile("ann", {"age": 36})
    assert store.profile("ann") == {"age": 36}


def test_a_log_is_taken_over_whole(tmp_path):
    with closing(SqliteStore(tmp_path / "s.sqlite")) as store:
        store.import_log(LOG)
        assert LOG.profiles is not None
        for user in (1, 17, LOG.num_users):
            events = slice(LOG.offsets[user], LOG.offsets[user + 1])
            expected = LOG.item_ids[LOG.items[events]].tolist()
            assert store.recent(LOG.user_ids[user], 10_000) == expected
            segment = LOG.profiles.names("segment")[user]
            assert store.profile(LOG.user_ids[user]) == {"segment": segment}
        store.append("new", LOG.item_ids[-1], 0)
        fault = "a log is imported into a store that has behaviors"
        with refuses("Serving", fault, ValueError, match="has behaviors already"):
            store.import_log(LOG)


def test_a_broken_log_leaves_nothing(store):
    items = LOG.items.copy()
    items[-1] = 0  # padding, which has no id
    broken = replace(LOG, items=items)
    with pytest.raises(StoreError):
        store.import_log(broken)
    assert store.recent(LOG.user_ids[1], 1) == []


def test_unknown_profile_values_are_left_out(store):
    assert LOG.profiles is not None
    codes = LOG.profiles.codes.copy()
    codes[1] = 0
    profiles = replace(LOG.profiles, codes=codes)
    store.import_log(replace(LOG, profiles=profiles))
    assert store.profile(LOG.user_ids[1]) == {}


@pytest.mark.parametrize(
    ("fault", "at", "message"),
    [
        ("a click at a negative time", -1, "time -1: expected seconds since 1970, 0 or more"),
        (
            "a click in the future",
            NOW + int(CLOCK_TOLERANCE) + 1,
            r"lies in the future \(it is 1700000000\)",
        ),
        ("a click at a time in milliseconds", NOW * 1000, "divide milliseconds by 1000"),
    ],
)
def test_a_click_at_an_impossible_time_is_refused(store, fault, at, message):
    with refuses("Serving", fault, InvalidRequest, match=message):
        store.append("ann", "apple", at)
    assert store.recent("ann", 1) == []


def test_a_clock_that_is_set_back_neither_refuses_clicks_nor_makes_them_old(store, monkeypatch):
    """Clients are right, and the server's clock is an hour behind."""
    store.append("ann", "apple", NOW)
    monkeypatch.setattr("mindlib.online.serving.store.time", lambda: NOW - 3600)
    store.append("ann", "pear", NOW + 1)
    assert store.append("ann", "plum") >= NOW + 1
    assert store.recent("ann", 9) == ["apple", "pear", "plum"]
    with closing(SqliteStore(store.path)) as restarted:
        assert restarted.append("ann", 7) >= NOW + 1
        assert restarted.recent("ann", 2) == ["plum", 7]
    behaves(
        "Serving",
        "the server's clock is set back by an hour",
        "clicks are accepted as before until a restart; a click without a time stays the newest",
    )


def test_a_click_that_is_sent_again_with_its_key_is_stored_once(store):
    assert store.append("ann", "apple", 5, key="c-1") == 5
    assert store.append("ann", "apple", 9, key="c-1") == 5
    assert store.append("ann", "apple", key="c-1") == 5
    store.append("bob", "apple", 6, key="c-1")
    store.append("ann", "apple", 7, key="c-2")
    store.append("ann", "apple", 8)
    assert store.recent("ann", 9) == ["apple"] * 3
    assert store.recent("bob", 9) == ["apple"]
    behaves(
        "Serving",
        "a client sends a click again because it got no answer",
        "with the same key it is stored once, and the answer has the time of the first",
    )
    with refuses("Serving", "a key of another click", InvalidRequest, match="a new key for each"):
        store.append("ann", "pear", 9, key="c-1")
    with pytest.raises(InvalidRequest, match="key '': expected"):
        store.append("ann", "pear", 9, key="")
    assert store.recent("ann", 9) == ["apple"] * 3


def test_a_click_that_was_not_stored_does_not_use_up_its_key(store):
    with pytest.raises(InvalidRequest, match="unknown"):
        store.append("ann", "kiwi", 1, key="c-1")
    store.append("ann", "apple", 1, key="c-1")
    assert store.recent("ann", 9) == ["apple"]


def test_a_store_without_keys_gets_them(store):
    """Stores that an earlier mindlib wrote."""
    store.append("ann", "apple", 1)
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("DROP TABLE keys")
    with closing(SqliteStore(store.path)) as again:
        again.append("ann", "pear", 2, key=1)
        assert again.recent("ann", 9) == ["apple", "pear"]


def test_a_client_whose_clock_is_a_little_ahead_is_served(store):
    store.append("ann", "apple", NOW + int(CLOCK_TOLERANCE))
    assert store.recent("ann", 1) == ["apple"]


ABSURD = (-1, -(10**30), 2**63, 10**5000, "", " ", "-5", "a\nb", "a\0", "\ud800", " a", "x" * 129)


@pytest.mark.parametrize("bad", [pytest.param(x, id=str(n)) for n, x in enumerate(ABSURD)])
def test_an_absurd_id_is_refused(store, bad):
    with pytest.raises(InvalidRequest, match="expected a whole number from 0 to 2") as raised:
        store.append(bad, "apple", 1)
    assert len(str(raised.value)) < 300
    with pytest.raises(InvalidRequest, match="item "):
        store.append("ann", bad, 1)


@pytest.mark.parametrize("bad", [True, 1.5, None, b"a", np.int64(3)])
def test_an_id_of_another_type_is_refused(bad):
    with pytest.raises(InvalidRequest):
        inspect.unwrap(validate_id)(
            bad, "user"
        )  # as it runs without pytest's type checks before it


@given(
    st.integers(0, 2**63 - 1) | st.from_regex(r"[A-Za-z0-9_:/.é-]{0,99}[A-Za-z_]", fullmatch=True)
)
def test_an_ordinary_id_is_taken(good):
    assert validate_id(good, "item") == good


def test_an_unknown_item_is_refused(store):
    fault = "a click on an item that the store does not know"
    with refuses("Serving", fault, InvalidRequest, match="item 'kiwi' is unknown"):
        store.append("ann", "kiwi", 1)
    assert store.recent("ann", 1) == []


def test_another_violated_rule_is_not_called_an_unknown_item(store):
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON behaviors BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(StoreError, match=r"cannot be used \(no\)"):
        store.append("ann", "apple", 1)


@pytest.mark.parametrize(
    ("fault", "ids"),
    [
        ("seeding a store with a log that has an empty id", ["", "b"]),
        ("seeding a store with a log that has an id of two lines", ["a\nb", "c"]),
        ("seeding a store with a log that has an id of 129 letters", ["a", "x" * 129]),
        ("seeding a store with a log that has a negative id", [-1, 5]),
        ("seeding a store with a log that has an id of 2^63 or more", [1, 2**63]),
    ],
)
def test_ids_on_which_a_click_would_be_refused_are_refused_when_seeding(store, fault, ids):
    def load(users: list, items: list) -> Interactions:
        rows = pl.DataFrame({"user": [1, 2], "item": [1, 2], "timestamp": [1, 2]})
        user_ids, item_ids = (np.array([None, *ids], dtype=object) for ids in (users, items))
        log = Interactions.from_frames(rows, name="shop")
        return replace(log, user_ids=user_ids, item_ids=item_ids)

    with refuses("Serving", fault, InvalidRequest, match="'shop' cannot be imported: item "):
        store.import_log(load(["ann", "bob"], ids))
    with pytest.raises(InvalidRequest, match="'shop' cannot be imported: user "):
        store.import_log(load(ids, ["apple", "pear"]))
    assert store.users(9) == []


def test_added_items_can_be_clicked_and_are_checked(store):
    assert store.unknown_items(["fig", "apple"]) == ["fig"]
    store.add_items(["fig", "apple"])
    store.append("ann", "fig", 1)
    with pytest.raises(InvalidRequest, match="item ' fig': expected"):
        store.add_items([" fig"])


@pytest.mark.parametrize("name", ["s.sqlite", "s.sqlite-wal"])
@pytest.mark.parametrize("replaced", [False, True])
def test_no_click_is_acknowledged_after_the_file_was_deleted_or_replaced(
    store, tmp_path, name, replaced
):
    path = tmp_path / name
    store.append("ann", "apple", 1)
    store.check()
    path.rename(tmp_path / "aside")
    if replaced:
        path.write_bytes(b"")
    for use in (store.check, lambda: store.append("ann", "pear", 2)):
        with pytest.raises(StoreError, match="was deleted or replaced while it was open"):
            use()
    (tmp_path / "aside").replace(path)
    store.append("ann", "plum", 3)
    assert store.recent("ann", 9) == ["apple", "plum"]


def test_a_file_deleted_during_the_commit_is_not_an_acknowledged_click(store):
    with pytest.raises(StoreError, match="was deleted or replaced"), store._writing():
        store.path.unlink()
    with pytest.raises(StoreError, match="was deleted or replaced"):
        store._connect()
    assert not store.path.exists()


def test_a_full_disk_is_noticed_before_a_click_is_acknowledged(store):
    """A limit on the size of files stands for the end of the disk."""
    resource = pytest.importorskip("resource")
    store.append("ann", "apple", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        errors = []
        for use in (store.check, lambda: store.append("ann", "pear", 2)):
            try:
                use()
            except StoreError as error:
                errors.append(str(error))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(errors) == 2
    store.check()
    store.append("ann", "plum", 3)
    assert store.recent("ann", 9) == ["apple", "plum"]


def test_the_refusal_says_what_ids_the_shop_has(tmp_path):
    with closing(SqliteStore(tmp_path / "s.sqlite")) as store:
        with pytest.raises(InvalidRequest, match="item ids are none yet"):
            store.append("ann", "7", 1)
        store.add_items([7])
        with pytest.raises(InvalidRequest, match="item ids are whole numbers"):
            store.append("ann", "7", 1)


def test_a_locked_store_refuses_clicks_after_its_patience_and_goes_on_reading(store):
    store.append("ann", "apple", 1)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        fault, match = "a store that another writer locks", r"locked by another writer for 0\.05 s"
        with refuses("Serving", fault, StoreError, match=match):
            store.append("ann", "pear", 2)
        assert store.recent("ann", 9) == ["apple"]
        other.execute("ROLLBACK")
    store.append("ann", "pear", 2)
    assert store.recent("ann", 9) == ["apple", "pear"]


def test_a_short_lock_is_waited_for(tmp_path):
    with (
        closing(SqliteStore(tmp_path / "s.sqlite", lock_timeout=30.0)) as store,
        closing(sqlite3.connect(store.path, check_same_thread=False)) as other,
    ):
        store.add_items(["apple"])
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, other.execute, ["ROLLBACK"])
        timer.start()
        store.append("ann", "apple", 1)
        timer.join()
        assert store.recent("ann", 1) == ["apple"]


def test_many_threads_lose_no_click(tmp_path):
    with closing(SqliteStore(tmp_path / "s.sqlite", lock_timeout=30.0)) as store:
        store.add_items(range(200))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: store.append(item % 3, item, item), range(200)))
        found = [store.recent(user, 1000) for user in range(3)]
    assert found == [[i for i in range(200) if i % 3 == user] for user in range(3)]


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "text").write_text("no database, but long enough to look like one" * 9)
    fault = "a behavior store that is not a database"
    with refuses("Serving", fault, ValueError, match="is not a database"):
        SqliteStore(tmp_path / "text")
    with closing(sqlite3.connect(tmp_path / "foreign")) as foreign:
        foreign.execute("CREATE TABLE t (x)")
    content = (tmp_path / "foreign").read_bytes()
    fault = "a behavior store that is another program's database"
    with refuses("Serving", fault, ValueError, match="not a behavior store"):
        SqliteStore(tmp_path / "foreign")
    assert (tmp_path / "foreign").read_bytes() == content, "somebody else's file is left alone"


def test_a_store_of_another_version_is_refused(store):
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    fault = "a behavior store of another version"
    with refuses("Serving", fault, ValueError, match="of version 2, this mindlib reads 1"):
        SqliteStore(store.path)


def test_a_store_in_no_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        SqliteStore(tmp_path / "nowhere" / "s.sqlite")


def test_a_closed_store_says_so(store):
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.recent("ann", 1)


def test_a_connection_whose_commit_failed_is_as_good_as_new(store):
    """A click after it would otherwise be acknowledged, and never be committed."""

    def fail_at_the_end() -> None:
        with store._connection() as connection, _transaction(connection):
            connection.execute("PRAGMA defer_foreign_keys = ON")
            connection.execute("INSERT INTO behaviors (user, time, item) VALUES ('x', 1, 'kiwi')")

    with pytest.raises(StoreError, match="FOREIGN KEY"):
        fail_at_the_end()
    store.append("ann", "apple", 1)
    with closing(sqlite3.connect(store.path)) as other:
        assert other.execute("SELECT user, item FROM behaviors").fetchall() == [("ann", "apple")]


def test_calls_that_run_when_it_is_closed_all_end(store):
    """Each closes what is idle by then: none may wait for what another one has closed."""
    together = threading.Barrier(8)

    def read() -> None:
        with store._connection():
            together.wait(30)
            together.wait(30)

    class Slow(queue.SimpleQueue):
        """Lets the others in between a look and what follows from it."""

        def empty(self) -> bool:
            found = super().empty()
            time.sleep(0.05)
            return found

    first, store._idle = store._idle, Slow()
    readers = [threading.Thread(target=read, daemon=True) for _ in range(7)]
    for reader in readers:
        reader.start()
    together.wait(30)
    store._is_closed = True
    together.wait(30)
    until = time.monotonic() + 20
    for reader in readers:
        reader.join(max(0.0, until - time.monotonic()))
    assert not any(reader.is_alive() for reader in readers)
    assert store._idle.empty()
    first.get_nowait().close()
