"""The words of random Unicode titles: those of a model and those that warm start names."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mindlib.data import Interactions
from mindlib.data.title_words import encode_titles, split_titles
from mindlib.models import YouTubeDNN, YouTubeDNNConfig
from mindlib.online.refresh.warm import WarmState, warm_start
from tests.online.refresh.test_warm import log_of

pytestmark = pytest.mark.slow

# Words that normalization, lower case or the pattern of a word could cut or merge.
ODD = [
    "men’s",
    "men's",
    "ﬁne",
    "fine",
    "ＷＩＤＥ",
    "wide",
    "cafe\u0301",
    "café",
    "İstanbul",
    "I\u0307stanbul",
    "ẞ",
    "straße",
    "K",  # the Kelvin sign
    "Å",  # the Angstrom sign
    "ŉ",
    "ﷺ",
    "हिन्दी",
    "ไทย",
    "한국어",
    "❤\ufe0f",
    "👩\u200d🚀",
    "x\x00y",
    "a\u00adb",
    "\ufeff",
    "\u202eabc",
    "ǅ",
    "B&W",
    "roll-on",
    "2nd",
]
WORDS = st.sampled_from(ODD) | st.text(max_size=4)
TITLES = st.lists(
    st.lists(WORDS, max_size=6).map(" ".join) | st.text(max_size=12), min_size=2, max_size=8
)


def log_with(titles: list[str]) -> Interactions:
    log = log_of(dict.fromkeys(range(len(titles)), ("A", "tea")), ["x"])
    return replace(log, titles=("", *titles))


def build_model(log: Interactions) -> YouTubeDNN:
    return YouTubeDNN(log, YouTubeDNNConfig(dim=2, hidden=(2,)), generator=torch.Generator())


@settings(max_examples=max(1, (settings.default or settings()).max_examples // 2))
@given(TITLES)
@example(["men’s ﬁne ＷＩＤＥ", "men's fine wide", "ŉ x", "ŉ x"])
@example(["", ""])
def test_a_models_words_are_those_that_warm_start_names(titles: list[str]):
    log = log_with([*titles, titles[0]])
    model = build_model(log)
    state = WarmState.from_model(model, log)
    names = state.names["items"]
    words: dict[int, list[str]] = defaultdict(list)
    split = split_titles(log.titles or ()).sort("row", "position")
    for row, word in split.select("row", "word").iter_rows():
        words[row].append(word)
    codes = model.items.codes.numpy(force=True)
    longest = max(map(len, words.values()), default=0)
    assert codes.shape[1] == 2 + longest, "the first two are the id and the brand"
    for row in range(1, len(codes)):
        found = [names[code] for code in codes[row, 2:] if code]
        assert found == [("title word", word) for word in words[row]]
    # Another model of the same log has the rows of all words.
    copied = warm_start(build_model(log), log, state)
    assert copied == {"copied": sum(name is not None for name in names), "new": 0}


@given(TITLES)
def test_composed_and_decomposed_titles_have_the_same_words(titles: list[str]):
    forms = [
        [unicodedata.normalize(form, title) for title in titles]
        for form in ("NFC", "NFD", "NFKC", "NFKD")
    ]
    wanted = encode_titles(["", *titles, *titles])
    for form in forms:
        assert (encode_titles(["", *form, *titles]) == wanted).all()


@given(st.text(max_size=12))
def test_a_word_is_the_same_when_it_is_read_again(title: str):
    """Otherwise the words of a title would depend on how often it was processed."""
    words = split_titles(["", title, title]).filter(row=1)["word"].to_list()
    again = split_titles(["", *[" ".join(words)] * 2]).filter(row=1)["word"].to_list()
    assert again == words


def test_half_of_a_surrogate_pair_is_refused():
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        split_titles(["", "a\ud800"])
