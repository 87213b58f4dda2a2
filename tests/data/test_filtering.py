from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.filtering import filter_by_count, sort_events

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def log_of(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    log = pl.DataFrame(pairs, schema={"user": pl.Int64, "item": pl.Int64}, orient="row")
    return log.with_columns(timestamp=pl.int_range(pl.len()))


def keep_frequent(pairs: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
    return [(u, i) for u, i in pairs if users[u] >= k and items[i] >= k]


@given(PAIRS, st.integers(1, 4), st.sampled_from(["once", "k-core"]))
def test_filters_equal_a_python_loop(pairs: list[tuple[int, int]], k: int, filtering):
    expected = keep_frequent(pairs, k)
    while filtering == "k-core" and expected != (fewer := keep_frequent(expected, k)):
        expected = fewer
    if not expected:
        with pytest.raises(ValueError, match=rf"log: of {len(pairs)} interactions .*smaller count"):
            filter_by_count(log_of(pairs), k, filtering, "log")
    else:
        kept = filter_by_count(log_of(pairs), k, filtering, "log")
        assert kept.select("user", "item").rows() == expected


def test_once_and_k_core_differ():
    # Item 9 has two events, one of them of a user with a single event.
    log = log_of([(1, 7), (1, 8), (2, 7), (2, 8), (1, 9), (3, 9)])
    assert len(filter_by_count(log, 2, "once", "log")) == 5
    assert len(filter_by_count(log, 2, "k-core", "log")) == 4


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=30))
def test_sort_events_sorts_and_drops_duplicates(rows: list[tuple[int, int, int]]):
    log = pl.DataFrame(
        rows, schema=dict.fromkeys(("user", "item", "timestamp"), pl.Int32), orient="row"
    )
    expected = sorted(set(rows), key=lambda row: (row[0], row[2], row[1]))
    assert sort_events(log.with_columns(other=1)).rows() == expected


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="min_count=0: expected at least 1"):
        filter_by_count(log_of([(1, 1)]), 0, "once", "log")
