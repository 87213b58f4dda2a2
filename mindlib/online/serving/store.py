"""The behaviour store (§5): what each user has done, and what is known of her.

It speaks the shop's own ids. Which number a version of the model gives to an item is that version's
business, so that a store outlives all of them.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mindlib.data.catalogue import ItemId
from mindlib.data.interactions import MILLISECONDS_FROM, Interactions

# Of the file: "MIND", and the version of what is in it.
APPLICATION, SCHEMA = 0x4D494E44, 1
LONGEST_ID, LARGEST_ID = 128, 2**63 - 1
# Seconds that a client's clock may be ahead of ours.
CLOCK_TOLERANCE = 5.0
# A user's id is text (5 and "5" are one user); an item's keeps its type, as in the catalogue.
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


class InvalidId(ValueError):
    """An id that no shop has."""


class RefusedClick(ValueError):
    """A click that cannot have happened: an item the shop does not have, or a wrong time."""


class StoreError(Exception):
    """The store cannot be used now."""


class StoreLocked(StoreError):
    """Somebody else has been writing for longer than one waits."""


def validate_id(value: ItemId, what: str) -> ItemId:
    """An id that can be one.

    Args:
        what: is identified: "user" or "item".

    Raises:
        InvalidId: it is neither a whole number from 0 nor a short printable text.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        good = False
    elif isinstance(value, int):
        good = 0 <= value <= LARGEST_ID
    else:
        negative = value.startswith("-") and value[1:].isdecimal()
        plain = value.isprintable() and value == value.strip() and not negative
        good = 1 <= len(value) <= LONGEST_ID and plain
    if not good:
        text = repr(value) if not isinstance(value, int) or abs(value) <= LARGEST_ID else "a number"
        text = text if len(text) <= LONGEST_ID else f"{text[:LONGEST_ID]}…"
        raise InvalidId(
            f"{what} {text}: expected a whole number from 0 to 2^63 - 1, or 1 to {LONGEST_ID} "
            f"printable characters"
        )
    return value


@runtime_checkable
class BehaviorStore(Protocol):
    """What the platform needs of a store; of any thread."""

    def append(self, user: ItemId, item: ItemId, at: int) -> None:
        """Add a click, which every later `recent` sees.

        Args:
            at: seconds since 1970.

        Raises:
            InvalidId, RefusedClick: it cannot have happened. Nothing is stored.
            StoreError: it could not be stored now; try again.
        """
        ...

    def recent(self, user: ItemId, n: int) -> list[ItemId]:
        """The last n behaviours, oldest first; none of a user who is not known.

        Raises:
            StoreError: the store cannot be read now.
        """
        ...

    def profile(self, user: ItemId) -> dict[str, Any]:
        """What is known of a user: the value of each profile field, without the unknown ones.

        Raises:
            StoreError: the store cannot be read now.
        """
        ...


class SqliteStore:
    """A `BehaviorStore` in one file of SQLite's.

    Readers and one writer work side by side (a write-ahead log); a second writer waits for its
    turn. A click that was acknowledged survives the death of the process; a power cut may take the
    last ones.

    Args:
        path: is made if it is not there, its folder is not.
        lock_timeout: seconds to wait for somebody else's writing.
        clock: what time it is, in seconds since 1970.

    Raises:
        StoreError: the file cannot be opened.
        ValueError: it is no store, or of another version.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        lock_timeout: float = 0.2,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).expanduser()
        self.lock_timeout = lock_timeout
        self.clock = clock
        # Connections that nobody uses at the moment: as many as there were users at once.
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._closed = False
        with self._errors(), self._connection() as connection:
            self._prepare(connection)

    def append(self, user: ItemId, item: ItemId, at: int) -> None:
        """See `BehaviorStore.append`."""
        user, item = validate_id(user, "user"), validate_id(item, "item")
        self._check_time(at)
        with self._errors(), self._connection() as connection:
            try:
                connection.execute(
                    "INSERT INTO behaviors (user, time, item) VALUES (?, ?, ?)",
                    (str(user), at, item),
                )
            except sqlite3.IntegrityError as error:
                kind = connection.execute("SELECT typeof(id) FROM items LIMIT 1").fetchone()
                known = {"integer": "whole numbers", "text": "text"}.get(kind[0] if kind else "")
                raise RefusedClick(
                    f"item {item!r} is not in the shop; its ids are {known or 'none yet'}"
                ) from error

    def recent(self, user: ItemId, n: int) -> list[ItemId]:
        """See `BehaviorStore.recent`."""
        with self._errors(), self._connection() as connection:
            rows = connection.execute(
                "SELECT item FROM behaviors WHERE user = ? ORDER BY time DESC, place DESC LIMIT ?",
                (str(user), n),
            ).fetchall()
        return [item for (item,) in reversed(rows)]

    def profile(self, user: ItemId) -> dict[str, Any]:
        """See `BehaviorStore.profile`."""
        with self._errors(), self._connection() as connection:
            row = connection.execute(
                "SELECT profile FROM users WHERE id = ?", (str(user),)
            ).fetchone()
        return json.loads(row[0]) if row else {}

    def set_profile(self, user: ItemId, profile: Mapping[str, Any]) -> None:
        """Say what is known of a user, instead of what was known before.

        Raises:
            InvalidId: no such id can be.
            StoreError: it could not be stored now.
        """
        row = (str(validate_id(user, "user")), json.dumps(dict(profile)))
        with self._errors(), self._connection() as connection:
            connection.execute(
                "INSERT INTO users VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET profile = excluded.profile",
                row,
            )

    def stock(self, items: Iterable[ItemId]) -> None:
        """Add items to the shop; those that it has already stay.

        Raises:
            InvalidId: no such id can be.
            StoreError: they could not be stored now.
        """
        rows = [(validate_id(item, "item"),) for item in items]
        with self._errors(), self._transaction() as connection:
            connection.executemany("INSERT INTO items VALUES (?) ON CONFLICT DO NOTHING", rows)

    def import_log(self, log: Interactions) -> None:
        """Take over a log: its items, the profiles of its users, and their behaviours. All or none.

        Raises:
            StoreError: it could not be stored now.
            ValueError: the store has behaviours already.
        """
        items = log.item_ids.tolist()
        users = [str(user) for user in log.user_ids]
        behaviors = (
            (users[user], at, items[item])
            for user, at, item in zip(
                log.users.tolist(), log.timestamps.tolist(), log.items.tolist(), strict=True
            )
        )
        with self._errors(), self._transaction() as connection:
            if connection.execute("SELECT 1 FROM behaviors LIMIT 1").fetchone():
                raise ValueError(
                    f"{self.path} has behaviours already; seed a new store, or append clicks"
                )
            connection.executemany(
                "INSERT INTO items VALUES (?) ON CONFLICT DO NOTHING", ((i,) for i in items[1:])
            )
            connection.executemany(
                "INSERT INTO users VALUES (?, ?) ON CONFLICT DO NOTHING", _profiles(log, users)
            )
            connection.executemany(
                "INSERT INTO behaviors (user, time, item) VALUES (?, ?, ?)", behaviors
            )

    def users(self, n: int) -> list[str]:
        """The ids of at most n users who have behaviours.

        Raises:
            StoreError: the store cannot be read now.
        """
        with self._errors(), self._connection() as connection:
            rows = connection.execute("SELECT DISTINCT user FROM behaviors LIMIT ?", (n,))
            return [user for (user,) in rows.fetchall()]

    def close(self) -> None:
        """Close the file. A call that is still running ends first."""
        self._closed = True
        with suppress(queue.Empty):  # calls that end now may be closing others' too
            while True:
                self._idle.get_nowait().close()

    def _check_time(self, at: int) -> None:
        if at < 0:
            raise RefusedClick(f"time {at}: expected seconds since 1970, 0 or more")
        if at > self.clock() + CLOCK_TOLERANCE:
            hint = "; divide milliseconds by 1000" if at >= MILLISECONDS_FROM else ""
            raise RefusedClick(
                f"time {at} lies in the future (it is {self.clock():.0f}): expected the seconds "
                f"since 1970 at which the click happened{hint}"
            )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with _immediate(connection):
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if (application, schema, tables) == (0, 0, 0):
                for statement in TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != APPLICATION:
                raise ValueError(f"{self.path} is a database, but no behaviour store")
            elif schema != SCHEMA:
                raise ValueError(
                    f"{self.path} is a behaviour store of version {schema}, this mindlib reads "
                    f"{SCHEMA}: seed a new one from the log"
                )
        # Which is written into the file: into a store of ours only.
        connection.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One that nobody else uses meanwhile."""
        if self._closed:
            raise StoreError(f"{self.path} is closed")
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.put(connection)
            if self._closed:
                self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection, _immediate(connection):
            yield connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=self.lock_timeout,
            isolation_level=None,  # transactions begin where we say so
            check_same_thread=False,  # a connection changes threads, but between two uses
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            # The code of a kind of error is in the low byte.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreLocked(
                    f"{self.path} was locked by another writer for {self.lock_timeout:g} s; "
                    f"try again, and end what holds it (a backup, a shell with an open transaction)"
                ) from error
            if code == sqlite3.SQLITE_NOTADB:
                raise ValueError(f"{self.path} is no database: name another file") from error
            raise StoreError(f"{self.path} cannot be used ({error})") from error


@contextmanager
def _immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, and nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # The connection is used again. (A full disk may have rolled back by itself.)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _profiles(log: Interactions, users: list[str]) -> Iterator[tuple[str, str]]:
    if log.profiles is None:
        return
    fields, words = log.profiles.fields, log.profiles.vocabularies
    for user, codes in zip(users[1:], log.profiles.codes[1:].tolist(), strict=True):
        known = {
            name: words[field][code]
            for field, (name, code) in enumerate(zip(fields, codes, strict=True))
            if code > 0
        }
        yield user, json.dumps(known)
