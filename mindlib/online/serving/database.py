"""The file of the behavior store: its tables, its connections, and what can happen to it."""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

APPLICATION, SCHEMA = 0x4D494E44, 1  # "MIND", and the version of the tables
# A user's id is text (5 and "5" are one user). An item's id keeps its type, as in the catalogue.
# A key names a click of a user, so that a click that is sent again is stored once.
TABLES = """
CREATE TABLE IF NOT EXISTS items (id ANY PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY NOT NULL,
    profile TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS behaviors (
    place INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    time INTEGER NOT NULL,
    item ANY NOT NULL REFERENCES items (id)
) STRICT;
CREATE INDEX IF NOT EXISTS of_user ON behaviors (user, time);
CREATE TABLE IF NOT EXISTS keys (
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    place INTEGER NOT NULL REFERENCES behaviors (place),
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
"""


class StoreError(Exception):
    """The store cannot be used at the moment."""


class Database:
    """One SQLite file with connections for any number of threads.

    Raises:
        StoreError, ValueError: see `SqliteStore`.
    """

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self.path = path
        self.lock_timeout = lock_timeout
        # Connections that are not in use. A connection is used by one thread at a time.
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._is_closed = False
        self._files: list[tuple[int, int]] | None = None
        with self._connection() as connection:
            self._prepare(connection)
            self._files = self._identify_files()

    def close(self) -> None:
        """Close the file, after the calls that are still running."""
        self._is_closed = True
        with suppress(queue.Empty):  # several threads may close idle connections at once
            while True:
                self._idle.get_nowait().close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection for one transaction, which is lost neither silently nor in part."""
        self._check_files()
        with self._connection() as connection:
            with _transaction(connection):
                yield connection
            self._check_files()  # the caller must not acknowledge a commit into a deleted file

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

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with _transaction(connection):
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if (application, schema, tables) == (0, 0, 0):
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != APPLICATION:
                raise ValueError(f"{self.path} is a database, but not a behavior store")
            elif schema != SCHEMA:
                raise ValueError(
                    f"{self.path} is a behavior store of version {schema}, this mindlib reads "
                    f"{SCHEMA}: import the log into a new one"
                )
            for statement in TABLES.split(";"):
                connection.execute(statement)
        # This mode is written into the file, therefore only into a store of ours.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("SELECT 1 FROM items").fetchone()  # creates the write-ahead log

    def _identify_files(self) -> list[tuple[int, int]]:
        """Return what distinguishes the database and its write-ahead log from other files."""
        try:
            stats = [Path(f"{self.path}{end}").stat() for end in ("", "-wal")]
        except FileNotFoundError:
            return []
        return [(stat.st_dev, stat.st_ino) for stat in stats]

    def _check_files(self) -> None:
        if self._files is not None and self._files != self._identify_files():
            raise StoreError(
                f"{self.path} (or its -wal) was deleted or replaced while it was open, so that "
                f"clicks would be lost: put the file back, or restart the server with another one"
            )

    def _connect(self) -> sqlite3.Connection:
        self._check_files()  # SQLite would create a new file
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
