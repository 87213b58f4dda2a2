from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.filtering import frequent, in_order
from mindlib.data.interactions import Interactions

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


def log_of(pairs: list[tuple[int, int]]) -> pl.DataFrame:
    log = pl.DataFrame(pairs, schema={"user": pl.Int64, "item": pl.Int64}, orient="row")
    return log.with_columns(timestamp=pl.int_range(pl.len()))


@given(PAIRS, st.integers(1, 4))
def test_once_counts_in_the_log_as_it_comes(pairs: list[tuple[int, int]], k: int):
    users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
    wanted = [pair for pair in pairs if users[pair[0]] >= k and items[pair[1]] >= k]
    if not wanted:
        with pytest.raises(ValueError, match="choose a smaller min_count"):
            frequent(log_of(pairs), k, "once")
    else:
        assert frequent(log_of(pairs), k, "once").select("user", "item").rows() == wanted


@given(PAIRS, st.integers(1, 4))
def test_the_k_core_is_the_one_that_the_log_itself_finds(pairs: list[tuple[int, int]], k: int):
    log = log_of(pairs)
    try:
        core = Interactions.from_frames(log).k_core(k)
    except ValueError:
        with pytest.raises(ValueError, match="none is left"):
            frequent(log, k, "k-core")
        return
    found = frequent(log, k, "k-core")
    assert sorted(found["timestamp"].to_list()) == sorted(core.timestamps.tolist())
    for name in ("user", "item"):
        assert min(Counter(found[name].to_list()).values()) >= k


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=30))
def test_each_row_is_there_once_in_order(rows: list[tuple[int, int, int]]):
    log = pl.DataFrame(
        rows, schema=dict.fromkeys(("user", "item", "timestamp"), pl.Int32), orient="row"
    )
    wanted = sorted(set(rows), key=lambda row: (row[0], row[2], row[1]))
    assert in_order(log.with_columns(other=1)).rows() == wanted


def test_once_and_the_k_core_differ():
    # item 9 has two reviews, one of them by a user with only one
    pairs = [(1, 7), (1, 8), (2, 7), (2, 8), (1, 9), (3, 9)]
    assert len(frequent(log_of(pairs), 2, "once")) == 5  # (1, 9) stays, though alone by now
    assert len(frequent(log_of(pairs), 2, "k-core")) == 4


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="min_count=0: expected at least 1"):
        frequent(log_of([(1, 1)]), 0, "once")
