"""The words of titles."""

import re
import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import title_words
from mindlib.data.title_words import encode_titles, split_titles
from tests.reliability import behaves


def words_of(titles):
    """For each title its words, by codes: 1, 2, ... in the order of the alphabet."""
    codes = encode_titles(["", *titles])
    assert codes.shape[0] == len(titles) + 1
    assert (codes[0] == 0).all(), "padding has no words"
    return [[int(code) for code in row if code] for row in codes[1:]]


def test_codes_follow_the_alphabet_and_the_order_of_the_title():
    assert words_of(["red shoe", "blue shoe red", "blue", "shoe"]) == [[2, 3], [1, 3, 2], [1], [3]]


def test_case_does_not_matter():
    assert words_of(["Red SHOE", "red shoe"]) == [[1, 2], [1, 2]]
    assert words_of(["ÉTÉ", "été"]) == [[1], [1]]


def test_words_of_all_scripts_are_normalized():
    titles = ["Crème für Füße", "крем Ночной", "夜 クリーム", "ﬁne"]
    apart = [unicodedata.normalize("NFD", title) for title in titles[:3]] + ["fine"]
    found = words_of(titles + apart)
    assert found[:4] == found[4:]
    assert [len(words) for words in found[:4]] == [3, 2, 2, 1]
    behaves(
        "Data files",
        "a title with ligatures, full-width letters or decomposed accents",
        "its words are those of the plain spelling (NFKC)",
    )


def test_apostrophes_hyphens_and_ampersands_stand_within_words():
    assert words_of(["Bob's roll-on, B&W!", "(bob’s) ROLL-ON/b&w"]) == [[2, 3, 1], [2, 3, 1]]
    assert words_of(["'tis -x", "tis x"]) == [[1, 2], [1, 2]], "but do not begin them"


def test_a_word_begins_with_a_letter():
    assert words_of(["50 ml 3D x2", "50 ml 3D x2"]) == [[2, 1, 3], [2, 1, 3]]


def test_a_repeated_word_counts_once_in_a_title():
    assert words_of(["spa spa Spa", "x"]) == [[], []]
    assert words_of(["spa spa", "spa", "b a b", "a b"]) == [[3], [3], [2, 1], [1, 2]]


def test_words_of_too_few_titles_are_left_out():
    titles = ["a b c", "a b", "a"]
    assert words_of(titles) == [[1, 2], [1, 2], [1]]


def test_titles_that_are_ids_have_no_words():
    codes = encode_titles(["", "B000A1", "B000B2", "17", "18"])
    assert codes.shape == (5, 0)
    assert codes.dtype == np.int64


def test_long_titles_keep_their_first_shared_words(monkeypatch):
    """A word that no other title has takes no position."""
    with monkeypatch.context() as patch:
        patch.setattr(title_words, "MAX_WORDS", 2)
        words = split_titles(["", "x d c b a", "a b c d"])
    assert words["word"].to_list() == ["d", "c", "a", "b"]
    assert words["position"].to_list() == [0, 1, 0, 1]
    long = " ".join(f"w{n:02d}" for n in range(30))
    assert encode_titles(["", long, long]).tolist() == [[0] * 24, *[[*range(1, 25)]] * 2]


WORDS = st.lists(st.sampled_from(["a", "B", "ç", "d-e", "7", "f7"]), max_size=6)


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_codes_equal_plain_python(titles):
    kept = [
        [w.lower() for w in dict.fromkeys(title) if re.match(r"[^\W\d]", w)] for title in titles
    ]
    shared = {w for title in kept for w in title if sum(w in t for t in kept) >= 2}
    numbers = {w: n for n, w in enumerate(sorted(shared), 1)}
    expected = [[numbers[w] for w in title if w in shared] for title in kept]
    assert words_of([" ".join(title) for title in titles]) == expected
