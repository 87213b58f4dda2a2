"""A warm start copies each row to the row of the same name."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Interactions
from mindlib.layers.routing import RoutingConfig
from mindlib.models import MIND, MINDConfig, YouTubeDNN, YouTubeDNNConfig
from mindlib.online.refresh.warm import WarmState, warm_start

SMALL: dict[str, Any] = {"dim": 4, "hidden": (5,), "history_length": 6}
BRANDS, SEGMENTS, WORDS = ("A", "B", "C", "AB", "BCA"), "xyz", ("tea", "milk", "rice", "soap")


def log_of(items: dict[int, tuple[str, str]], segments: list[str]) -> Interactions:
    """Every user has met every item; an item has brands and a word in its title."""
    users = range(len(segments))
    events = [(user, item, time) for user in users for time, item in enumerate(items)]
    user, item, time = zip(*events, strict=True)
    return Interactions.from_frames(
        pl.DataFrame({"user": user, "item": item, "timestamp": time}),
        pl.DataFrame(
            {
                "item": list(items),
                "brand": [list(brands) for brands, _ in items.values()],
                "title": [f"{word} no 1" for _, word in items.values()],
            }
        ),
        pl.DataFrame({"user": list(users), "segment": segments}),
        item_fields=["brand"],
        profile_fields=["segment"],
        title="title",
    )


def mind(log: Interactions, seed: int, **options: Any) -> MIND:
    config = MINDConfig(routing=RoutingConfig(max_interests=2), **SMALL | options)
    return MIND(log, config, generator=torch.Generator().manual_seed(seed))


CATALOGUE = st.dictionaries(
    st.integers(0, 20),
    st.tuples(st.sampled_from(BRANDS), st.sampled_from(WORDS)),
    min_size=1,
    max_size=12,
)
USERS = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4)
FORMS = st.sampled_from([{}, {"pooling": "mean", "title_words": False}])


@given(CATALOGUE, CATALOGUE, USERS, USERS, FORMS)
def test_each_name_has_its_old_row_or_a_fresh_one(before, after, old_users, new_users, form):
    # An item that both have is the same item: its brand and title do not change.
    after = {item: before.get(item, features) for item, features in after.items()}
    old_log, new_log = log_of(before, old_users), log_of(after, new_users)
    old, new, fresh = mind(old_log, 1, **form), mind(new_log, 2, **form), mind(new_log, 2, **form)
    state = WarmState.from_model(old, old_log)
    done = warm_start(new, new_log, state)
    names = WarmState.from_model(new, new_log).names
    carried = 0
    for table, was in state.names.items():
        then, now, start = (getattr(model, table).weight for model in (old, new, fresh))
        for row, name in enumerate(names[table]):
            known = name is not None and name in was
            assert torch.equal(now[row], then[was.index(name)] if known else start[row]), name
            carried += known and table == "items"
    assert done["copied"] == carried
    assert done["copied"] + done["new"] == sum(name is not None for name in names["items"])
    assert torch.equal(new.items.weight[0], torch.zeros(4))
    for name, weight in new.state_dict().items():
        if name not in ("items.weight", "profile.weight"):
            assert torch.equal(weight, old.state_dict()[name]), name


@given(CATALOGUE, USERS, FORMS)
def test_a_state_is_read_as_it_was_saved(tmp_path_factory, items, users, form):
    log, path = log_of(items, users), tmp_path_factory.mktemp("state") / "weights"
    state = WarmState.from_model(mind(log, 0, **form), log)
    state.save(path)
    loaded = WarmState.load(path)
    assert loaded.names == state.names
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in state.weights.items())


@given(CATALOGUE, USERS, FORMS)
def test_an_item_is_the_sum_of_the_rows_that_bear_its_names(items, users, form):
    log = log_of(items, users)
    model = mind(log, 0, **form)
    names = WarmState.from_model(model, log).names["items"]
    for number, item in enumerate(log.item_ids[1:], 1):
        brands, word = items[item]
        own = {("id", item), ("title word", word), ("title word", "no")}
        own |= {("field brand", brand) for brand in brands}
        rows = [row for row, name in enumerate(names) if name in own]
        used = model.items.codes[number]
        assert sorted(used[used > 0].tolist()) == rows


def test_words_are_normalized_as_in_the_model():
    titles = ["", "Café ‘Luna’ d’Or", "Cafe\u0301 d'or"]
    log = replace(log_of({1: ("A", "tea"), 2: ("A", "tea")}, ["x"]), titles=tuple(titles))
    names = WarmState.from_model(mind(log, 0), log).names["items"]
    assert {name[1] for name in names if name and name[0] == "title word"} == {"café", "d'or"}


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        (
            MIND,
            MINDConfig(dim=5, hidden=(5,), history_length=6),
            r"previous shape is .* from scratch",
        ),
        (YouTubeDNN, YouTubeDNNConfig(**SMALL), "missing"),
    ],
)
def test_weights_of_another_model_are_refused_and_nothing_is_changed(kind, config, message):
    log = log_of({1: ("A", "tea"), 2: ("B", "milk")}, ["x"])
    other, new = kind(log, config, generator=torch.Generator()), mind(log, 2)
    kept = {name: weight.clone() for name, weight in new.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        warm_start(new, log, WarmState.from_model(other, log))
    assert all(torch.equal(weight, kept[name]) for name, weight in new.state_dict().items())
