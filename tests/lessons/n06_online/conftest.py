"""A small shop behind a platform that is never late by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from mindlib.lessons.n06_online import deployment, disturbed
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.config import PlatformConfig
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.store import SqliteStore
from tests.online.serving.world import LOG, Nearest, write

CONFIG = PlatformConfig(timeouts=deployment.PATIENT, workers=2)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Bundle:
    path = write(tmp_path_factory.mktemp("shop") / "one", "one", 0, ranker=Nearest(1))
    return Bundle.load(path, read_ranker=Nearest.load)


@pytest.fixture
def store(tmp_path) -> Iterator[SqliteStore]:
    with disturbed.seeded(tmp_path / "s.sqlite", LOG) as store:
        yield store


@pytest.fixture
def platform(bundle, store) -> Iterator[PersonalityPlatform]:
    with closing(PersonalityPlatform(store, bundle, CONFIG)) as platform:
        yield platform
