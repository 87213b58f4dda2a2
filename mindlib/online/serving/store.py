"""The behavior store (§5): the behaviors and the profile of each user, under their original ids.

A version of the model assigns its own numbers to the items. The store holds original ids, and so it
outlives every version.
"""

from __future__ import annotations

import json
import queue
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any, Protocol, runtime_checkable

from mindlib.data.catalogue import ItemId
from mindlib.data.interactions import MILLISECONDS_FROM, Interactions

APPLICATION, SCHEMA = 0x4D494E44, 1  # "MIND", and the version of the tables
MAX_ID_LENGTH, MAX_ID = 128, 2**63 - 1
CLOCK_TOLERANCE = 5.0  # seconds that a client's clock may be ahead
# A user's id is text (5 and "5" are one user). An item's id keeps its type, as in the catalogue.
TABLES = """
CREATE TABLE items (id ANY PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE users (id TEXT PRIMARY KEY NOT NULL, profile TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE behaviors (
    place INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    time INTEGER NOT NULL,
    item ANY NOT NULL REFERENCES items (id)
) STRICT;
CREATE INDEX of_user ON behaviors (user, time);
"""
ADD_ITEM = "INSERT INTO items VALUES (?) ON CONFLICT DO NOTHING"
ADD_BEHAVIOR = "INSERT INTO behaviors (user, time, item) VALUES (?, ?, ?)"
SET_PROFILE = "INSERT INTO users VALUES (?, ?) ON CONFLICT DO UPDATE SET profile = excluded.profile"


class InvalidRequest(ValueError):
    """A request has an invalid value: an id, an unknown item, a time or a slate size."""


class StoreError(Exception):
    """The store cannot be used at the moment."""


def validate_id(value: ItemId, kind: str) -> ItemId:
    """Return an id unchanged if it is valid.

    Args:
        kind: "user" or "item", for the message.

    Raises:
        InvalidRequest: it is neither a whole number from 0 nor a short printable text.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        is_valid = False
    elif isinstance(value, int):
        is_valid = 0 <= value <= MAX_ID
    else:
        is_negative = value.startswith("-") and value[1:].isdecimal()
        is_plain = value.isprintable() and value == value.strip() and not is_negative
        is_valid = is_plain and 1 <= len(value) <= MAX_ID_LENGTH
    if not is_valid:
        text = repr(value) if not isinstance(value, int) or abs(value) <= MAX_ID else "a number"
        text = text if len(text) <= MAX_ID_LENGTH else f"{text[:MAX_ID_LENGTH]}…"
        raise InvalidRequest(
            f"{kind} {text}: expected a whole number from 0 to 2^63 - 1, or 1 to {MAX_ID_LENGTH} "
            f"printable characters"
        )
    return value


@runtime_checkable
class BehaviorStore(Protocol):
    """The interface of a store; its methods are those of `SqliteStore`, safe from any thread."""

    def append(self, user: ItemId, item: ItemId, at: int) -> None: ...

    def recent(self, user: ItemId, n: int) -> list[ItemId]: ...

    def profile(self, user: ItemId) -> dict[str, Any]: ...


class SqliteStore:
    """A `BehaviorStore` in one SQLite file.

    Readers and one writer work concurrently (write-ahead log); a second writer waits. An
    acknowledged click survives the death of the process; a power failure may lose the last ones.
    Every method raises StoreError while the file cannot be used.

    Args:
        path: created if it does not exist; its folder must exist.
        lock_timeout: seconds to wait for another writer.

    Raises:
        StoreError: the file cannot be opened.
        ValueError: the file is not a store, or a store of another version.
    """

    def __init__(self, path: str | Path, *, lock_timeout: float = 0.2) -> None:
        self.path = Path(path).expanduser()
        self.lock_timeout = lock_timeout
        # Connections that are not in use. A connection is used by one thread at a time.
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._is_closed = False
        with self._connection() as connection:
            self._prepare(connection)

    def append(self, user: ItemId, item: ItemId, at: int) -> None:
        """Add a click, which is visible to every later call of `recent`.

        Args:
            at: seconds since 1970.

        Raises:
            InvalidRequest: an id or the time is invalid, or the item is unknown.
        """
        user, item = validate_id(user, "user"), validate_id(item, "item")
        _check_time(at)
        with self._connection() as connection:
            try:
                connection.execute(ADD_BEHAVIOR, (str(user), at, item))
            except sqlite3.IntegrityError as error:
                row = connection.execute("SELECT typeof(id) FROM items LIMIT 1").fetchone()
                known = {"integer": "whole numbers", "text": "text"}.get(row[0] if row else "")
                raise InvalidRequest(
                    f"item {item!r} is unknown; the store's item ids are {known or 'none yet'}"
                ) from error

    def recent(self, user: ItemId, n: int) -> list[ItemId]:
        """Return the last n behaviors, oldest first; none for an unknown user."""
        newest = "SELECT item FROM behaviors WHERE user = ? ORDER BY time DESC, place DESC LIMIT ?"
        with self._connection() as connection:
            rows = connection.execute(newest, (str(user), n)).fetchall()
        return [item for (item,) in reversed(rows)]

    def profile(self, user: ItemId) -> dict[str, Any]:
        """Return the known values of the user's profile fields."""
        query = "SELECT profile FROM users WHERE id = ?"
        with self._connection() as connection:
            row = connection.execute(query, (str(user),)).fetchone()
        return json.loads(row[0]) if row else {}

    def set_profile(self, user: ItemId, profile: Mapping[str, Any]) -> None:
        """Replace the profile of a user.

        Raises:
            InvalidRequest: the id is invalid.
        """
        row = (str(validate_id(user, "user")), json.dumps(dict(profile)))
        with self._connection() as connection:
            connection.execute(SET_PROFILE, row)

    def import_log(self, log: Interactions) -> None:
        """Import the items, the profiles and the behaviors of a log, all or none.

        Raises:
            ValueError: the store has behaviors already.
        """
        items, users = log.item_ids.tolist(), [str(user) for user in log.user_ids]
        columns = (log.users.tolist(), log.timestamps.tolist(), log.items.tolist())
        behaviors = (
            (users[user], at, items[item]) for user, at, item in zip(*columns, strict=True)
        )
        with self._connection() as connection, _transaction(connection):
            if connection.execute("SELECT 1 FROM behaviors LIMIT 1").fetchone():
                raise ValueError(
                    f"{self.path} has behaviors already: import into a new store, or append clicks"
                )
            connection.executemany(ADD_ITEM, ((item,) for item in items[1:]))
            connection.executemany(SET_PROFILE, _profiles(log, users))
            connection.executemany(ADD_BEHAVIOR, behaviors)

    def users(self, n: int) -> list[str]:
        """Return the ids of at most n users who have behaviors."""
        with self._connection() as connection:
            rows = connection.execute("SELECT DISTINCT user FROM behaviors LIMIT ?", (n,))
            return [user for (user,) in rows.fetchall()]

    def close(self) -> None:
        """Close the file, after the calls that are still running."""
        self._is_closed = True
        with suppress(queue.Empty):  # several threads may close idle connections at once
            while True:
                self._idle.get_nowait().close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with _transaction(connection):
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if (application, schema, tables) == (0, 0, 0):
                for statement in TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != APPLICATION:
                raise ValueError(f"{self.path} is a database, but not a behavior store")
            elif schema != SCHEMA:
                raise ValueError(
                    f"{self.path} is a behavior store of version {schema}, this mindlib reads "
                    f"{SCHEMA}: import the log into a new one"
                )
        # This mode is written into the file, therefore only into a store of ours.
        connection.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that no other thread uses, and translate SQLite's errors."""
        if self._is_closed:
            raise StoreError(f"{self.path} is closed")
        try:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._idle.put(connection)
                if self._is_closed:
                    self.close()
        except sqlite3.Error as error:
            # The low byte is the primary error code.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreError(
                    f"{self.path} was locked by another writer for {self.lock_timeout:g} s; "
                    f"try again, and end what holds it (a backup, a shell with an open transaction)"
                ) from error
            if code == sqlite3.SQLITE_NOTADB:
                raise ValueError(f"{self.path} is not a database: name another file") from error
            raise StoreError(f"{self.path} cannot be used ({error})") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=self.lock_timeout,
            isolation_level=None,  # `_transaction` begins transactions explicitly
            check_same_thread=False,  # a connection changes threads only between two uses
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Apply all statements or none, and lock out other writers."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # The connection is used again. (SQLite may have rolled back itself, on a full disk.)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_time(at: int) -> None:
    if at < 0:
        raise InvalidRequest(f"time {at}: expected seconds since 1970, 0 or more")
    if at > (now := time()) + CLOCK_TOLERANCE:
        hint = "; divide milliseconds by 1000" if at >= MILLISECONDS_FROM else ""
        raise InvalidRequest(
            f"time {at} lies in the future (it is {now:.0f}): expected the seconds since 1970 at "
            f"which the click happened{hint}"
        )


def _profiles(log: Interactions, users: list[str]) -> Iterator[tuple[str, str]]:
    if log.profiles is None:
        return
    fields, words = log.profiles.fields, log.profiles.vocabularies
    for user, codes in zip(users[1:], log.profiles.codes[1:].tolist(), strict=True):
        values = zip(fields, words, codes, strict=True)
        yield user, json.dumps({name: known[code] for name, known, code in values if code > 0})
