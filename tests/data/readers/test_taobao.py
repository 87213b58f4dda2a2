import random
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import load, taobao_behaviors
from mindlib.data.readers import text_blocks
from mindlib.data.readers.taobao import FROM, UNTIL
from tests.data import logs
from tests.data.logs import events, features

LINES = [
    f"1,2268318,2520377,pv,{FROM}",
    f"1,2333346,2520771,pv,{FROM + 61}",
    f"1,2576651,149192,buy,{FROM + 5}",
    f"100,2268318,2520377,fav,{UNTIL - 1}",
    f"100,2333346,2520771,pv,{FROM + 3}",
    f"100,2333346,2520771,pv,{FROM + 3}",
]


def write(path: Path, lines: list[str]) -> Path:
    return logs.write(path, "\n".join(lines) + "\n")


def test_clicks_are_read_in_order_of_time_with_their_category(tmp_path: Path):
    log = taobao_behaviors(write(tmp_path / "UserBehavior.csv", LINES))
    assert events(log) == [
        (1, 2268318, FROM),
        (1, 2333346, FROM + 61),
        (100, 2333346, FROM + 3),  # twice in the file
    ]
    assert features(log, "category") == {2268318: "2520377", 2333346: "2520771"}
    assert log.name == "UserBehavior"


def test_the_nine_days_are_those_of_china():
    china = timezone(timedelta(hours=8))
    assert datetime.fromtimestamp(FROM, china).isoformat() == "2017-11-25T00:00:00+08:00"
    assert datetime.fromtimestamp(UNTIL, china).isoformat() == "2017-12-04T00:00:00+08:00"


def test_behaviors_are_chosen(tmp_path: Path):
    path = write(tmp_path / "UserBehavior.csv", LINES)
    assert events(taobao_behaviors(path, ["buy", "fav"])) == [
        (1, 2576651, FROM + 5),
        (100, 2268318, UNTIL - 1),
    ]
    with pytest.raises(ValueError, match=r"no event of cart from 2017.*; choose other behav"):
        taobao_behaviors(path, ["cart"])
    unhinted: Any = taobao_behaviors
    unhinted = unhinted.__wrapped__  # the type checks of the tests would refuse first
    with pytest.raises(ValueError, match=r"behaviors=\('click',\): expected \('pv' or 'buy' or"):
        unhinted(path, ["click"])
    with pytest.raises(ValueError, match=r"behaviors=\('p', 'v'\): expected"):
        unhinted(path, "pv")


def test_events_of_other_days_are_dropped_with_a_warning(tmp_path: Path):
    far = [f"1,5,6,pv,{time}" for time in (FROM - 1, UNTIL, -1, 0, 2**33)]
    path = write(tmp_path / "UserBehavior.csv", [*LINES, *far, f"1,5,6,buy,{UNTIL}"])
    with pytest.warns(UserWarning, match=r"dropped 5 of 9 events"):
        log = taobao_behaviors(path)
    assert len(log) == 3
    with pytest.raises(ValueError, match=r"and 5 on other days; choose other"):
        taobao_behaviors(write(tmp_path / "far.csv", far))


def test_an_item_has_its_most_frequent_or_smallest_category(tmp_path: Path):
    rows = [(1, 10, 7), (2, 10, 7), (3, 10, 5), (1, 11, 9), (2, 11, 8)]
    lines = [f"{u},{i},{c},pv,{FROM + place}" for place, (u, i, c) in enumerate(rows)]
    for order in (1, -1):
        log = taobao_behaviors(write(tmp_path / "a.csv", lines[::order]))
        assert features(log, "category") == {10: "7", 11: "8"}


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3)),
        min_size=1,
        max_size=30,
    ),
    seed=st.integers(0, 100),
    block=st.integers(1, 200),
)
def test_the_log_does_not_depend_on_line_order_or_blocks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple], seed: int, block: int
):
    folder = tmp_path_factory.mktemp("taobao")
    lines = [f"{u},{i},{c},pv,{FROM + t}" for u, i, c, t in rows]
    mixed = random.Random(seed).sample(lines, len(lines))
    one = taobao_behaviors(write(folder / "one.csv", lines))
    with patch.object(text_blocks, "BLOCK_BYTES", block):
        two = taobao_behaviors(write(folder / "two.csv", mixed))
    assert events(one) == events(two)
    assert features(one, "category") == features(two, "category")


def test_ids_beyond_four_bytes_are_kept(tmp_path: Path):
    large = 2**40
    lines = [f"1,2,3,pv,{FROM}", f"{large},{large + 1},3,pv,{FROM}"]
    with patch.object(text_blocks, "BLOCK_BYTES", 24):
        log = taobao_behaviors(write(tmp_path / "large.csv", lines))
    assert events(log)[1] == (large, large + 1, FROM)


def test_rare_users_and_items_are_dropped(tmp_path: Path):
    lines = [f"{u},{i},3,pv,{FROM + u}" for u, i in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3)]]
    path = write(tmp_path / "UserBehavior.csv", lines)
    assert taobao_behaviors(path, min_count=2).num_users == 2
    with pytest.raises(ValueError, match="min_count=3"):
        taobao_behaviors(path, min_count=3)
    with pytest.raises(ValueError, match="min_count=0"):
        taobao_behaviors(path, min_count=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,pv", "expected 5 fields, user"),
        ("1,2,3,pv,1511539200,9", "expected 5 fields, user"),
        ("1,2,3,pv,soon", "timestamp .Int64"),
        ("1,,3,pv,1511539200", "expected 5 fields"),
        ("1,2,3,look,1511539200", "behavior .Enum.*fav"),
    ],
)
@pytest.mark.parametrize("block", [1, 10_000])
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str, block: int):
    path = write(tmp_path / "UserBehavior.csv", [*LINES, line, LINES[0]])
    with (
        patch.object(text_blocks, "BLOCK_BYTES", block),
        pytest.raises(ValueError, match=rf"line 7, is '{line}'; .*{message}"),
    ):
        taobao_behaviors(path)


def test_a_missing_or_empty_file_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        taobao_behaviors(tmp_path / "UserBehavior.csv")
    (tmp_path / "UserBehavior.csv").touch()
    with pytest.raises(ValueError, match="is empty"):
        taobao_behaviors(tmp_path / "UserBehavior.csv")
    with pytest.raises(ValueError, match="no event of pv"):
        taobao_behaviors(write(tmp_path / "blank.csv", ["", ""]))


def test_load_recognizes_the_first_line(tmp_path: Path):
    path = write(tmp_path / "data" / "UserBehavior.csv", LINES)
    wanted = events(taobao_behaviors(path))
    assert events(load(path)) == events(load(path.parent)) == wanted
    renamed = write(path.with_name("log.csv.gz"), LINES)
    assert events(load(renamed)) == wanted
    with pytest.raises(ValueError, match=r"2 files .*UserBehavior.csv, log.csv.gz\); name the one"):
        load(path.parent)


def test_the_downloaded_archive_is_read(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "UserBehavior.csv.zip", "w") as archive:
        archive.writestr("UserBehavior.csv", "\n".join(LINES))
    log = load(tmp_path, behaviors=("buy",))
    assert events(log) == [(1, 2576651, FROM + 5)]
    assert log.name == "UserBehavior"
