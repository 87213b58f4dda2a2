from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.stages import PlatformConfig, Timeouts
from mindlib.online.serving.store import SqliteStore
from tests.online.serving.world import LOG, nearest, write

# The machine that runs the tests is busy: only a stage that hangs is to be late.
NO_TIMEOUTS = Timeouts(store=20.0, extract=20.0, recall=20.0, rank=20.0, rerank=20.0)
PlatformMaker = Callable[..., PersonalityPlatform]


@pytest.fixture(scope="session")
def versions(tmp_path_factory) -> tuple[Bundle, Bundle]:
    """Two versions of one shop, the second with a ranker that thinks the opposite."""
    folder: Path = tmp_path_factory.mktemp("versions")
    one, two = (
        replace(Bundle.load(write(folder / name, name, seed)), ranker=nearest(sign))
        for name, seed, sign in (("one", 0, 1), ("two", 1, -1))
    )
    return one, two


@pytest.fixture
def bundle(versions) -> Bundle:
    return versions[0]


@pytest.fixture
def store(tmp_path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "s.sqlite", lock_timeout=0.1)) as store:
        store.import_log(LOG)
        yield store


@pytest.fixture
def make(store, bundle) -> Iterator[PlatformMaker]:
    """A platform on the store, with changes to its configuration."""
    with ExitStack() as stack:

        def build(of: Bundle = bundle, **options: Any) -> PersonalityPlatform:
            config = PlatformConfig(**{"timeouts": NO_TIMEOUTS, "workers": 2} | options)
            platform = PersonalityPlatform(store, of, config)
            stack.callback(platform.close)
            return platform

        yield build
