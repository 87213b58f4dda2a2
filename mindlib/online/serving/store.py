"""The behavior store (§5): the behaviors and the profile of each user, under their original ids.

A version of the model assigns its own numbers to the items. The store holds original ids, and so it
outlives every version.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import monotonic, time
from typing import Any

from mindlib.data.catalogue import ItemId
from mindlib.data.interactions import Interactions
from mindlib.data.timestamps import MILLISECONDS_FROM
from mindlib.online.serving.database import SCHEMA, Database

MAX_ID_LENGTH, MAX_ID = 128, 2**63 - 1
CLOCK_TOLERANCE = 5.0  # seconds that a client's clock may be ahead
ADD_ITEM = "INSERT INTO items VALUES (?) ON CONFLICT DO NOTHING"
ADD_BEHAVIOR = "INSERT INTO behaviors (user, time, item) VALUES (?, ?, ?)"
ADD_KEY = "INSERT INTO keys VALUES (?, ?, ?)"
BY_KEY = "SELECT item, time FROM keys JOIN behaviors USING (place) WHERE keys.user = ? AND key = ?"
SET_PROFILE = "INSERT INTO users VALUES (?, ?) ON CONFLICT DO UPDATE SET profile = excluded.profile"


class InvalidRequest(ValueError):
    """A request has an invalid value: an id, an unknown item, a time or a slate size."""


def validate_id(value: ItemId, kind: str) -> ItemId:
    """Return an id unchanged; the kind ("user", "item" or "key") is for the message.

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
        text = repr(value) if not isinstance(value, int) or abs(value) < 2**64 else "a number"
        text = text if len(text) <= MAX_ID_LENGTH else f"{text[:MAX_ID_LENGTH]}…"
        raise InvalidRequest(
            f"{kind} {text}: expected a whole number from 0 to 2^63 - 1, or 1 to {MAX_ID_LENGTH} "
            f"printable characters"
        )
    return value


class SqliteStore(Database):
    """A behavior store in one SQLite file.

    Readers and one writer work concurrently (write-ahead log); a second writer waits. An
    acknowledged click survives the death of the process; a power failure may lose the last ones.
    Every method raises StoreError while the file cannot be used. Nothing is written after the file
    was deleted or replaced, because it would be lost with the process.

    Args:
        path: created if it does not exist; its folder must exist.
        lock_timeout: seconds to wait for another writer.

    Raises:
        StoreError: the file cannot be opened.
        ValueError: the file is not a store, or a store of another version.
    """

    def __init__(self, path: str | Path, *, lock_timeout: float = 0.2) -> None:
        super().__init__(Path(path).expanduser(), lock_timeout)
        self._clock_offset = time() - monotonic()

    def append(
        self, user: ItemId, item: ItemId, at: int | None = None, *, key: ItemId | None = None
    ) -> int:
        """Add a click, which is visible to every later call of `recent`, and return its time.

        Args:
            at: seconds since 1970. None: now, and not before the user's last behavior, whatever
                the clock says.
            key: chosen by the client for this click. A click with the same user, item and key is
                stored once, however often it is sent.

        Raises:
            InvalidRequest: an id or the time is invalid, the item is unknown, or the key belongs to
                a click on another item.
        """
        user, item = str(validate_id(user, "user")), validate_id(item, "item")
        key = None if key is None else str(validate_id(key, "key"))
        # A clock that is set back while the process runs does not refuse the clicks after that.
        now = max(time(), self._clock_offset + monotonic())
        if at is not None and at < 0:
            raise InvalidRequest(f"time {at}: expected seconds since 1970, 0 or more")
        if at is not None and at > now + CLOCK_TOLERANCE:
            hint = "; divide milliseconds by 1000" if at >= MILLISECONDS_FROM else ""
            raise InvalidRequest(
                f"time {at} lies in the future (it is {now:.0f}): expected the seconds since 1970 "
                f"at which the click happened{hint}"
            )
        with self._writing() as connection:
            if key is not None and (row := connection.execute(BY_KEY, (user, key)).fetchone()):
                if row[0] != item:
                    raise InvalidRequest(
                        f"key {key!r} belongs to a click on item {row[0]!r}, not {item!r}: choose "
                        f"a new key for each click"
                    )
                return row[1]
            if at is None:
                newest = "SELECT max(time) FROM behaviors WHERE user = ?"
                (last,) = connection.execute(newest, (user,)).fetchone()
                at = max(int(now), last or 0)
            try:
                place = connection.execute(ADD_BEHAVIOR, (user, at, item)).lastrowid
            except sqlite3.IntegrityError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                    raise
                row = connection.execute("SELECT typeof(id) FROM items LIMIT 1").fetchone()
                known = {"integer": "whole numbers", "text": "text"}.get(row[0] if row else "")
                raise InvalidRequest(
                    f"item {item!r} is unknown; the store's item ids are {known or 'none yet'}"
                ) from error
            if key is not None:
                connection.execute(ADD_KEY, (user, key, place))
        return at

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
        """Replace the profile of a user; an invalid id raises InvalidRequest."""
        row = (str(validate_id(user, "user")), json.dumps(dict(profile)))
        with self._writing() as connection:
            connection.execute(SET_PROFILE, row)

    def add_items(self, items: Iterable[ItemId]) -> None:
        """Add items, on which clicks are accepted from then on; known ones remain as they are.

        Raises:
            InvalidRequest: an id is invalid, so that a click on the item would always be refused.
        """
        new = [validate_id(item, "item") for item in self.unknown_items(items)]
        if new:
            with self._writing() as connection:
                connection.executemany(ADD_ITEM, ((item,) for item in new))

    def unknown_items(self, items: Iterable[ItemId]) -> list[ItemId]:
        """Return those of the items on which a click would be refused."""
        with self._connection() as connection:
            known = {item for (item,) in connection.execute("SELECT id FROM items")}
        return [item for item in items if item not in known]

    def check(self) -> None:
        """Write to the file without changing its content, which fails when clicks would fail."""
        with self._writing() as connection:
            connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def import_log(self, log: Interactions) -> None:
        """Import the items, the profiles and the behaviors of a log, all or none.

        Raises:
            ValueError: the store has behaviors already, or the log has an id that the store
                refuses, so that a click of this user or on this item would always be refused.
        """
        try:
            for kind, ids in (("user", log.user_ids[1:]), ("item", log.item_ids[1:])):
                for value in ids.tolist():
                    validate_id(value, kind)
        except InvalidRequest as error:
            raise InvalidRequest(f"the log {log.name!r} cannot be imported: {error}") from error
        items, users = log.item_ids.tolist(), [str(user) for user in log.user_ids]
        columns = (log.users.tolist(), log.timestamps.tolist(), log.items.tolist())
        behaviors = (
            (users[user], at, items[item]) for user, at, item in zip(*columns, strict=True)
        )
        with self._writing() as connection:
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


def _profiles(log: Interactions, users: list[str]) -> Iterator[tuple[str, str]]:
    if log.profiles is None:
        return
    fields, words = log.profiles.fields, log.profiles.vocabularies
    for user, codes in zip(users[1:], log.profiles.codes[1:].tolist(), strict=True):
        values = zip(fields, words, codes, strict=True)
        yield user, json.dumps({name: known[code] for name, known, code in values if code > 0})
