"""Writing the files of a log, and its contents in the original ids."""

import gzip
from pathlib import Path

from mindlib.data import Interactions


def events(log: Interactions) -> list[tuple]:
    """The user, item and timestamp of each event."""
    users, items = log.user_ids[log.users], log.item_ids[log.items]
    return list(zip(users.tolist(), items.tolist(), log.timestamps.tolist(), strict=True))


def features(log: Interactions, field: str) -> dict:
    """The value of a field for each item."""
    assert log.item_features is not None
    names = zip(log.item_ids.tolist(), log.item_features.names(field), strict=True)
    return dict(list(names)[1:])


def profile(log: Interactions, field: str) -> dict:
    """The value of a profile field for each user."""
    assert log.profiles is not None
    names = zip(log.user_ids.tolist(), log.profiles.names(field), strict=True)
    return dict(list(names)[1:])


def write(path: Path, text: str | bytes) -> Path:
    """Write a file, compressed if its name ends in .gz, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path
