import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.histories import Histories

HISTORIES = st.lists(st.lists(st.integers(1, 9), max_size=9), min_size=1, max_size=6)


@given(HISTORIES, st.integers(1, 7))
def test_window_equals_a_python_loop(behaviors: list[list[int]], length: int):
    history = Histories.from_lists(behaviors).window(length)
    for row, items in enumerate(behaviors):
        last = items[-length:]
        assert history.items[row].tolist() == last + [0] * (length - len(last))
        assert history.mask[row].tolist() == [True] * len(last) + [False] * (length - len(last))


@given(HISTORIES, st.data())
def test_windows_contain_nothing_outside_their_slices(
    behaviors: list[list[int]], data: st.DataObject
):
    flat = [item for items in behaviors for item in items] or [1]
    bounds = [sorted(data.draw(st.tuples(*[st.integers(0, len(flat))] * 2))) for _ in range(4)]
    starts, ends = torch.tensor(bounds).T
    histories = Histories(
        torch.tensor(flat),
        starts,
        ends,
        torch.zeros(4, dtype=torch.int64),
        torch.zeros((1, 0), dtype=torch.int64),
    )
    history = histories.window(5)
    for row, (start, end) in enumerate(bounds):
        assert history.items[row][history.mask[row]].tolist() == flat[start:end][-5:]
        assert not history.items[row][~history.mask[row]].any()
    rows, items = histories.pairs()
    expected = [(row, i) for row, (start, end) in enumerate(bounds) for i in flat[start:end]]
    assert list(zip(rows.tolist(), items.tolist(), strict=True)) == expected


@given(HISTORIES)
def test_pairs_contain_every_behavior(behaviors: list[list[int]]):
    histories = Histories.from_lists(behaviors)
    rows, items = histories.pairs()
    expected = [(row, item) for row, items in enumerate(behaviors) for item in items]
    assert list(zip(rows.tolist(), items.tolist(), strict=True)) == expected
    assert histories.lengths.tolist() == [len(items) for items in behaviors]


@given(HISTORIES, st.data())
def test_select_commutes_with_window(behaviors: list[list[int]], data: st.DataObject):
    rows = data.draw(st.lists(st.integers(0, len(behaviors) - 1), max_size=5))
    profiles = [[row, row + 1] for row in range(len(behaviors))]
    histories = Histories.from_lists(behaviors, profiles)
    index = torch.tensor(rows, dtype=torch.int64)
    part, whole = histories.select(index).window(4), histories.window(4)
    for name in ("items", "mask", "profile"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[index])
    assert len(histories.select(slice(0, 1))) == 1


def test_profiles_belong_to_their_user():
    history = Histories.from_lists([[1], [2, 3]], [[4, 5], [6, 7]]).window(2)
    assert history.profile.tolist() == [[4, 5], [6, 7]]


def test_no_users_are_an_empty_batch():
    for histories in (Histories.from_lists([]), Histories.from_lists([], [])):
        assert len(histories) == 0
        assert histories.window(3).items.shape == (0, 3)
        assert len(histories.pairs()[0]) == 0


def test_to_keeps_everything():
    histories = Histories.from_lists([[1, 2]], [[3]])
    assert torch.equal(histories.to("cpu").window(2).items, histories.window(2).items)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="item id 0: expected at least 1"):
        Histories.from_lists([[1, 0]])
    with pytest.raises(ValueError, match="1 profiles for 2 users"):
        Histories.from_lists([[1], [2]], [[1]])
    with pytest.raises(ValueError, match="length=0"):
        Histories.from_lists([[1]]).window(0)
