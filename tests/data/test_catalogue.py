"""A serving request is encoded exactly as the training log."""

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import (
    Catalogue,
    Interactions,
    PlantedConfig,
    leave_last_out,
    planted_interests,
)

WORLD = planted_interests(PlantedConfig(num_users=100, num_clusters=6), seed=0)
SPLIT = leave_last_out(WORLD.log)
SEGMENTS = Catalogue.from_log(WORLD.log)

# Every type that a table's column may have; "unknown" is a value like another, None and "" are not.
USERS = {
    "user": [1, 2, 3, 4],
    "age": [35, None, 7, 35],
    "plus": [True, False, None, True],
    "city": ["Hangzhou", "unknown", "", None],
    "spent": [0.5, 12.0, None, 1e6],
}
FIELDS = tuple(USERS)[1:]


def shop(item_ids=("b", "a", "c", "a"), users=USERS) -> Interactions:
    return Interactions.from_frames(
        pl.DataFrame({"user": [1, 2, 3, 4], "item": item_ids, "timestamp": [1, 2, 3, 4]}),
        users=pl.DataFrame(users),
        profile_fields=tuple(users)[1:],
    )


def requests(log: Interactions, histories) -> tuple[list[list], list[dict]]:
    """The behaviors and profiles of histories of a log in the ids and values of a store."""
    assert log.profiles is not None
    item_ids = log.item_ids.tolist()
    rows, items = histories.pairs()
    behaviors, profiles = [], []
    for case, user in enumerate(histories.users.tolist()):
        behaviors.append([item_ids[item] for item in items[rows == case].tolist()])
        names = {field: log.profiles.names(field)[user] for field in log.profiles.fields}
        profiles.append({k: v for k, v in names.items() if v != "unknown"})
    return behaviors, profiles


@pytest.mark.parametrize("length", [1, 7, 50])
def test_a_request_has_exactly_the_features_of_training(length):
    for cases in (SPLIT.train[:300], SPLIT.validation, SPLIT.test):
        trained = cases.histories.window(length)
        served = SEGMENTS.encode_requests(*requests(WORLD.log, cases.histories)).window(length)
        assert torch.equal(served.items, trained.items)
        assert torch.equal(served.mask, trained.mask)
        assert torch.equal(served.profile, trained.profile)


@given(data=st.data())
def test_a_request_does_not_depend_on_the_others(data):
    sent = list(zip(*requests(WORLD.log, SPLIT.test.histories), strict=True))
    chosen = data.draw(st.lists(st.integers(0, len(sent) - 1), min_size=1, max_size=5))
    drawn = zip(*(sent[row] for row in chosen), strict=True)
    together = SEGMENTS.encode_requests(*map(list, drawn)).window(20)
    for place, row in enumerate(chosen):
        behaviors, profile = sent[row]
        alone = SEGMENTS.encode_requests([behaviors], [profile]).window(20)
        assert torch.equal(alone.items[0], together.items[place])
        assert torch.equal(alone.profile[0], together.profile[place])


def test_a_profile_value_of_any_type_has_the_code_of_training():
    log = shop()
    catalogue = Catalogue.from_log(log)
    assert log.profiles is not None
    for user, codes in enumerate(log.profiles.codes[1:].tolist()):
        assert catalogue.encode_profile({field: USERS[field][user] for field in FIELDS}) == codes
    assert catalogue.encode_profile({"city": "unknown"}) != catalogue.encode_profile({})


def test_a_value_that_the_log_has_never_seen_is_unknown_like_a_missing_one():
    catalogue = Catalogue.from_log(shop())
    seen = catalogue.encode_profile({"age": 35, "plus": True, "city": "Hangzhou", "spent": 0.5})
    assert all(code > 0 for code in seen)
    assert catalogue.encode_profile({}) == [0, 0, 0, 0]
    assert catalogue.encode_profile({"age": 36, "plus": None, "city": "hangzhou"}) == [0, 0, 0, 0]
    assert catalogue.encode_profile({"age": 36, "city": "Hangzhou"}) == [0, 0, seen[2], 0]


def test_an_unknown_item_is_refused_by_name():
    catalogue = Catalogue.from_log(shop())
    message = r"2 items are not in the catalogue: 'd', 7; expected ids of the log \(text\)"
    with pytest.raises(ValueError, match=message):
        catalogue.encode_requests([["a", "d", 7]], [{}])
    with pytest.raises(ValueError, match=r"'x9' and 5 more"):
        catalogue.encode_items([f"x{n}" for n in range(15)])
    with pytest.raises(ValueError, match="whole numbers"):
        Catalogue.from_log(shop((10, 11, 12, 11))).encode_items(["10"])


def test_unknown_items_can_be_dropped():
    catalogue = Catalogue.from_log(shop())
    known = catalogue.drop_unknown(["c", "d", "a", "d", "c"])
    assert known == ["c", "a", "c"]
    assert catalogue.encode_items(known) == [3, 1, 3]
    assert catalogue.drop_unknown([]) == []


def test_an_invalid_field_or_value_is_refused():
    catalogue = Catalogue.from_log(shop())
    with pytest.raises(
        ValueError, match=r"the profile has 'aeg'; the catalogue's fields are 'age'"
    ):
        catalogue.encode_profile({"aeg": 35})
    with pytest.raises(ValueError, match=r"profile field 'age' has the value <object"):
        catalogue.encode_profile({"age": object()})
    with pytest.raises(ValueError, match="fields are none"):
        Catalogue(("a",)).encode_profile({"age": 35})


def test_without_profiles_a_request_has_no_columns():
    history = Catalogue((10, 11)).encode_requests([[11], []], [{}, {}]).window(2)
    assert history.profile.shape == (2, 0)
    assert history.items.tolist() == [[2, 0], [0, 0]]


def test_the_fingerprint_depends_on_ids_and_vocabularies_only():
    catalogue = Catalogue.from_log(shop())
    assert catalogue.fingerprint == Catalogue.from_log(shop(("a", "b", "c", "c"))).fingerprint
    older = {**USERS, "age": [36, None, 7, 36]}
    other = [
        Catalogue.from_log(shop(("a", "b", "d", "a"))),
        Catalogue.from_log(shop(users=older)),
        Catalogue.from_log(shop(users={"user": USERS["user"], "years": USERS["age"]})),
        Catalogue((1, 2)),
        Catalogue(("1", "2")),
        Catalogue(("2", "1")),
    ]
    assert len({c.fingerprint for c in [catalogue, *other]}) == 1 + len(other)


def test_a_catalogue_is_equal_after_serialization():
    for catalogue in (Catalogue.from_log(shop()), Catalogue((7, "é"))):
        again = Catalogue.from_json(catalogue.to_json())
        assert again == catalogue
        assert again.fingerprint == catalogue.fingerprint
