"""Every id that a log can contain: it is refused early, or its recommendation can be clicked."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mindlib.data import load
from mindlib.online.serving.app import create_app
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.stages import PlatformConfig
from mindlib.online.serving.store import InvalidRequest, SqliteStore
from tests.online.serving.conftest import NO_TIMEOUTS
from tests.online.serving.world import nearest, write

pytestmark = pytest.mark.slow

LETTERS = "0123456789+-. _/%?#é\t\n\x00\u200b\ufeff"
TEXTS = st.text(max_size=4) | st.text(LETTERS, max_size=6) | st.sampled_from([".", "..", "x" * 129])


def ids(values: st.SearchStrategy) -> st.SearchStrategy[list]:
    return st.lists(values, min_size=2, max_size=4, unique=True)


PLAIN = st.text("0aé/%?#+.", min_size=1, max_size=4)
IDS = ids(st.integers(-1, 5)) | ids(st.integers(2**63 - 3, 2**63)) | ids(TEXTS) | ids(PLAIN)
EXAMPLES = max(1, settings().max_examples // 3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    folder = write(tmp_path_factory.mktemp("version") / "one")
    return replace(Bundle.load(folder), ranker=nearest())


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(IDS, IDS, st.sampled_from([".csv", ".parquet"]))
@example(["ann", "bob"], [2**63, 1], ".parquet")
@example(["ann", "bob"], ["", "b"], ".parquet")
@example([".", ".."], ["a", "b"], ".csv")
def test_an_id_is_refused_early_or_its_recommendation_can_be_clicked(bundle, users, items, suffix):
    rows = [(user, item, time) for time, item in enumerate(items) for user in users]
    frame = pl.DataFrame(
        [
            pl.Series("user", [row[0] for row in rows]),
            pl.Series("item", [row[1] for row in rows]),
            pl.Series("timestamp", [row[2] for row in rows]),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"log{suffix}"
        frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
        try:
            log = load(str(path))
        except ValueError:
            return
        with closing(SqliteStore(Path(folder) / "store.sqlite")) as store:
            try:
                store.import_log(log)
            except InvalidRequest:
                return
            serve(bundle, log.item_ids[1:].tolist(), log.user_ids[1:].tolist(), store)


def serve(bundle: Bundle, items: list, users: list, store: SqliteStore) -> None:
    """Recommend all items of a shop to its users and to a new one, and click on the log's items."""
    size = len(bundle.catalogue)
    fillers = [f"filler {n}" if isinstance(items[0], str) else 10**9 + n for n in range(size)]
    own = replace(bundle.catalogue, item_ids=(*items, *fillers)[:size])
    config = PlatformConfig(
        max_candidates=size, max_slate_size=size, workers=1, timeouts=NO_TIMEOUTS
    )
    with (
        closing(PersonalityPlatform(store, replace(bundle, catalogue=own), config)) as platform,
        TestClient(create_app(platform)) as client,
    ):
        everything = client.get(f"/recommendations/somebody new?n={size}").json()["items"]
        known = {row["id"] for row in everything} & set(items)
        assert known == set(items)
        for user in users:
            # The client resolves a path of dots, unless it is escaped, and decodes a path twice.
            address = quote(str(user).replace("%", "%25"), safe="").replace(".", "%2E")
            slate = client.get(f"/recommendations/{address}?n=5").json()
            assert slate["user"] == str(user)
            assert slate["fallbacks"] == []
            for item in [row["id"] for row in everything if row["id"] in known]:
                response = client.post("/clicks", json={"user": user, "item": item})
                assert response.status_code == 201, response.text
            assert not known & {row["id"] for row in slate["items"]}
