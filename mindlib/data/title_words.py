"""The words of item titles as integer codes for an embedding table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Int

# A word begins with a letter, because sizes and model numbers are rarely shared between items.
WORD = r"[\p{L}][\p{L}\p{N}'&-]*"
MAX_WORDS = 24  # of a title; the first ones are kept
MIN_TITLES = 2  # that a word must occur in: a word of a single item would be a second id of it


def split_titles(titles: Sequence[str]) -> pl.DataFrame:
    """Split titles into words: the columns row, position in the title, word and code.

    Codes are 1, 2, ... in alphabetical order. Words are in lower case and normalized Unicode
    (NFKC). Each word counts once per title, and only words of several titles count.

    Args:
        titles: entry 0 is the padding's.
    """
    frame = pl.DataFrame({"row": np.arange(len(titles)), "title": list(titles)})
    # A combining accent or a typographic apostrophe would split a word.
    plain = pl.col("title").str.normalize("NFKC").str.replace_all("’", "'").str.to_lowercase()
    return (
        frame.select("row", word=plain.str.extract_all(WORD))
        .explode("word", empty_as_null=True, keep_nulls=True)
        .drop_nulls()
        .unique(maintain_order=True)
        .filter(pl.len().over("word") >= MIN_TITLES)
        .with_columns(
            code=pl.col("word").rank("dense").cast(pl.Int64),
            position=pl.int_range(pl.len()).over("row"),
        )
        .filter(pl.col("position") < MAX_WORDS)
    )


def encode_titles(titles: Sequence[str]) -> Int[np.ndarray, "items words"]:
    """Return the codes of the words of each title, 0 for padding; see `split_titles`."""
    words = split_titles(titles)
    positions = words["position"].to_numpy()
    codes = np.zeros((len(titles), int(positions.max(initial=-1)) + 1), np.int64)
    codes[words["row"].to_numpy(), positions] = words["code"].to_numpy()
    return codes
