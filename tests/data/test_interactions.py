from collections import Counter
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.feature_table import FeatureTable
from mindlib.data.interactions import Interactions

Row = tuple[str, int, int]
ROWS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(-2, 5), st.integers(0, 6)),
    min_size=1,
    max_size=40,
)


def build(rows: list[Row], **arguments: object) -> Interactions:
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    return Interactions.from_frames(frame, **arguments)  # type: ignore[arg-type]


def original(log: Interactions) -> list[Row]:
    """The events in the ids they came with."""
    users, items = log.user_ids[log.users], log.item_ids[log.items]
    return list(zip(users.tolist(), items.tolist(), log.timestamps.tolist(), strict=True))


@given(ROWS)
def test_original_ids_come_back_sorted_by_user_and_time(rows: list[Row]):
    log = build(rows)
    # Python's sort is stable too: what shares a timestamp keeps its order.
    assert original(log) == sorted(rows, key=lambda row: (row[0], row[2]))
    assert log.user_ids[0] is None
    assert set(log.users) == set(range(1, log.num_users + 1))
    assert set(log.items) == set(range(1, log.num_items + 1))


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_with_distinct_timestamps_does_not_matter(rows: list[Row], random):
    rows = [(user, item, time) for time, (user, item, _) in enumerate(rows)]
    log = build(rows)
    random.shuffle(rows)
    again = build(rows)
    for name in ("users", "items", "timestamps", "user_ids", "item_ids"):
        np.testing.assert_array_equal(getattr(log, name), getattr(again, name))


@given(ROWS)
def test_offsets_and_before_say_where_users_and_steps_start(rows: list[Row]):
    log = build(rows)
    starts = log.step_starts(np.arange(len(log)))
    for event, (user, _, time) in enumerate(original(log)):
        earlier = sum(row[0] == user and row[2] < time for row in rows)
        assert starts[event] == log.offsets[log.users[event]] + earlier
    assert log.offsets[-1] == len(log)


@given(ROWS)
def test_drop_repeats_equals_a_python_loop(rows: list[Row]):
    seen, expected = set(), []
    for user, item, time in original(build(rows)):
        if (user, item) not in seen:
            seen.add((user, item))
            expected.append((user, item, time))
    assert original(build(rows).drop_repeats()) == expected


@given(ROWS, st.integers(1, 5))
def test_k_core_is_the_largest_log_in_which_all_have_k(rows: list[Row], k: int):
    expected = original(build(rows))
    while True:  # one at a time, the slow way: what is removed can be in no k-core
        users, items = Counter(r[0] for r in expected), Counter(r[1] for r in expected)
        kept = [r for r in expected if users[r[0]] >= k and items[r[1]] >= k]
        if kept == expected:
            break
        expected = kept
    if not expected:
        with pytest.raises(ValueError, match=rf"log: of {len(rows)} interactions .* min_count={k}"):
            build(rows).k_core(k)
    else:
        core = build(rows).k_core(k)
        assert original(core) == expected
        assert np.bincount(core.users)[1:].min() >= k
        assert core.item_counts()[1:].min() >= k


def test_k_core_requires_a_positive_k():
    with pytest.raises(ValueError, match="min_count=0"):
        build([("a", 1, 1)]).k_core(0)


@given(ROWS, st.integers(0, 2**32 - 1))
def test_selection_takes_features_profiles_and_titles_along(rows: list[Row], seed: int):
    frame = pl.DataFrame({"item": range(-2, 6)}).with_columns(
        half=pl.when(pl.col("item") > 1).then(pl.lit("high")).otherwise(pl.lit("low")),
        title=pl.lit("item ") + pl.col("item").cast(pl.String),
    )
    users = pl.DataFrame({"user": list("abcde"), "vowel": ["yes", "no", "no", "no", "yes"]})
    log = build(
        rows,
        items=frame,
        users=users,
        item_fields=("half",),
        profile_fields=("vowel",),
        title="title",
    )
    keep = np.random.default_rng(seed).random(len(log)) < 0.5
    if not keep.any():
        with pytest.raises(ValueError, match="no interaction"):
            log.select(keep)
        return
    part = log.select(keep)
    assert original(part) == [row for row, kept in zip(original(log), keep, strict=True) if kept]
    assert part.item_features is not None
    assert part.profiles is not None
    for row, item in enumerate(part.item_ids.tolist()[1:], start=1):
        assert part.item_features.names("half")[row] == ("high" if item > 1 else "low")
        assert part.label(row) == f"item {item}"
    for row, user in enumerate(part.user_ids.tolist()[1:], start=1):
        assert part.profiles.names("vowel")[row] == ("yes" if user in "ae" else "no")


def test_dates_and_datetimes_become_seconds():
    for time in (date(1970, 1, 2), datetime(1970, 1, 2)):
        frame = pl.DataFrame({"user": [1], "item": [1], "timestamp": [time]})
        assert Interactions.from_frames(frame).timestamps.tolist() == [86400]


def test_describe_counts():
    described = build([("a", 1, 1), ("a", 2, 1), ("b", 1, 5)]).describe()
    assert described["users"] == 2
    assert described["items"] == 2
    assert described["density"] == 0.75
    assert described["median interactions per user"] == 1.5
    assert described["median steps per user"] == 1
    assert described["median interactions per item"] == 1.5


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"timestamp": None}, r"no column 'timestamp'; its columns are 'user', 'item'"),
        ({"timestamp": [1.0, float("nan")]}, "NaN or infinite"),
        ({"timestamp": [1.0, float("inf")]}, "NaN or infinite"),
        ({"timestamp": [1, -3]}, "negative value -3"),
        ({"timestamp": [1, 1_500_000_000_000]}, "divide milliseconds by 1000"),
        ({"timestamp": ["1", "2"]}, "'timestamp' is String; expected seconds"),
        ({"timestamp": [1, None]}, "'timestamp' of the log has 1 empty values"),
        ({"user": ["a", None]}, "'user' of the log has 1 empty values"),
        ({"item": [1.5, 2.0]}, "'item' of the log is Float64; expected whole numbers or text"),
        ({"user": [[1], [2]]}, r"'user' of the log is List\(Int64\)"),
        ({"user": [], "item": [], "timestamp": []}, "no rows"),
    ],
)
def test_a_bad_log_is_refused(columns: dict[str, list | None], message: str):
    good = {"user": ["a", "b"], "item": [1, 2], "timestamp": [1, 2]}
    frame = pl.DataFrame({k: v for k, v in (good | columns).items() if v is not None})
    with pytest.raises(ValueError, match=message):
        Interactions.from_frames(frame)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"item": [1, 1], "color": ["red", "red"]}, "1 ids more than once, the first is 1"),
        ({"item": [1], "color": ["red"]}, "1 of 2 item ids .* the first is 2; .*missing="),
        ({"item": [1, 2], "shape": ["x", "y"]}, "the item table has no column 'color'"),
        ({"item": ["x", "y"], "color": ["x", "y"]}, "String in the feature table and Int64 in the"),
        (None, "without a table to take them from"),
    ],
)
def test_a_bad_feature_table_is_refused(items: dict[str, list] | None, message: str):
    frame = None if items is None else pl.DataFrame(items)
    with pytest.raises(ValueError, match=message):
        build([("a", 1, 1), ("a", 2, 2)], items=frame, item_fields=("color",))


def test_unknown_is_code_zero_and_fields_may_have_any_name():
    items = pl.DataFrame({"item": ["2", "3"], "code": ["x", None]})
    log = build(
        [("a", 1, 1), ("a", 2, 2), ("a", 3, 3)],
        items=items,
        item_fields=("code",),
        missing="unknown",
    )
    assert log.item_features is not None
    assert log.item_features.names("code") == ["unknown", "unknown", "x", "unknown"]
    assert log.item_features.sizes == (2,)
    with pytest.raises(KeyError, match="no field 'color'; the fields are code"):
        log.item_features.column("color")


def test_a_feature_table_lines_up_with_the_ids_in_any_order():
    frame = pl.DataFrame({"item": [30, 10, 20], "color": ["c", "a", "b"]})
    table = FeatureTable.from_frame(
        frame, "item", pl.Series("item", [10, 20, 30]), ("color",), "error"
    )
    assert table.names("color") == ["unknown", "a", "b", "c"]


LISTS = st.lists(st.sampled_from(["a", "b", "c", "", None]), max_size=4)


@given(st.lists(LISTS, min_size=1, max_size=6), st.data())
def test_a_column_of_lists_is_a_field_with_several_values(lists: list[list], data: st.DataObject):
    """Each row has its values in their order, without repetitions, and so has a selection."""
    rows: list[Row] = [("a", item, 0) for item in range(len(lists))]
    frame = pl.DataFrame(
        {"item": range(len(lists)), "tag": lists, "year": ["1990"] * len(lists)},
        schema_overrides={"tag": pl.List(pl.String)},
    )
    log = build(rows, items=frame, item_fields=("tag", "year"))
    kept = data.draw(st.sets(st.integers(0, len(lists) - 1), min_size=1))
    part = log.select(np.isin(log.items, [item + 1 for item in kept]))
    for some in (log, part):
        table, items = some.item_features, some.item_ids[1:].tolist()
        assert table is not None
        columns = table.columns["tag"]
        expected = [[value for value in dict.fromkeys(lists[item]) if value] for item in items]
        assert columns == slice(0, max(1, *map(len, expected), 0))
        assert table.fields == ("tag",) * columns.stop + ("year",)
        assert len(set(table.vocabularies[columns])) == 1
        assert table.vocabularies[0] == (
            "unknown",
            *sorted({value for row in expected for value in row}),
        )
        assert not table.codes[0].any()
        for codes, values in zip(table.codes[1:, columns].tolist(), expected, strict=True):
            padding = [0] * (columns.stop - len(values))
            assert codes == [*map(table.vocabularies[0].index, values), *padding]
        assert table.names("tag")[1:] == [values[0] if values else "unknown" for values in expected]
        assert table.names("year")[1:] == ["1990"] * len(items)


def test_profiles_and_titles_have_one_value():
    frame = pl.DataFrame({"user": ["a"], "item": [1], "tag": [["x", "y"]]})
    for sides in (
        {"users": frame, "profile_fields": ["tag"]},
        {"items": frame, "title": "tag"},
    ):
        key = next(iter(sides))[:-1]
        with pytest.raises(ValueError, match=f"'tag' of the {key} table has lists; expected one"):
            build([("a", 1, 1)], **sides)
