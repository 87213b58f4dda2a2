"""What is shown of a log is what is in it."""

import numpy as np
import polars as pl
import pytest

from mindlib.data.interactions import Interactions
from mindlib.lessons.n00_problem.triples import profiled_users, triple, values_touched


def log_of(profiles: pl.DataFrame | None = None, *, described: bool = True) -> Interactions:
    events = pl.DataFrame(
        {
            "user": ["a"] * 4 + ["b"] * 2,
            "item": ["x", "y", "x", "z", "z", "y"],
            "timestamp": [0, 60, 120, 180, 0, 60],
        }
    )
    items = pl.DataFrame(
        {"item": ["x", "y", "z"], "kind": ["fruit", "bread", None], "brand": ["p", "q", "p"]}
    )
    return Interactions.from_frames(
        events,
        items if described else None,
        profiles,
        item_fields=("kind", "brand") if described else (),
        profile_fields=("age",) if profiles is not None else (),
        name="small",
    )


AGES = pl.DataFrame({"user": ["a", "b"], "age": [None, "old"]})


def test_the_last_item_is_the_target_and_the_others_are_behaviours():
    text = triple(log_of(AGES), 1, last=2)
    assert text.splitlines()[0] == "user a"
    assert "3 behaviours, 2 different items, 2 values of kind" in text
    _, _, _, *latest, features = text.splitlines()
    assert [line.split("[")[1] for line in latest] == ["bread]", "fruit]"]
    assert "id z" in features
    assert "brand p" in features
    assert "age old" in triple(log_of(AGES), 2)


def test_without_features_and_profiles_there_are_ids():
    text = triple(log_of(described=False), 1)
    assert "P_u  nothing is known" in text
    assert "3 behaviours, 2 different items; the latest" in text
    assert "[" not in text
    assert text.endswith("id z")


def test_users_with_a_known_profile_come_first_if_there_are_enough():
    assert profiled_users(log_of(AGES), 1).tolist() == [2]
    assert profiled_users(log_of(AGES), 2).tolist() == [1, 2]
    assert profiled_users(log_of(), 2).tolist() == [1, 2]


def test_values_are_counted_over_the_last_behaviours_without_the_target_and_the_unknown():
    log = log_of()
    assert values_touched(log, "kind", last=50).tolist() == [2, 0]  # b's past is z, of no kind
    assert values_touched(log, "kind", last=1).tolist() == [1, 0]
    assert values_touched(log, "brand", last=50).tolist() == [2, 1]
    assert values_touched(log, "brand", last=50).dtype.kind == "i"
    with pytest.raises(ValueError, match="small has no item features"):
        values_touched(log_of(described=False), "kind", last=50)
    assert isinstance(values_touched(log, "kind", last=1), np.ndarray)
