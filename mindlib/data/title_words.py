"""The words of titles, as codes that an embedding can look up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Int

# A word has a letter; sizes and model numbers say little that is shared.
WORD = r"[\p{L}][\p{L}\p{N}'&-]*"


def encode_titles(
    titles: Sequence[str], *, min_items: int = 2, most: int = 24
) -> Int[np.ndarray, "items words"]:
    """For each title the codes of its words: 1, 2, ... by the alphabet, 0 where there is none.

    In lower case and one form of Unicode, each word of a title once, and only words that stand in
    several titles: one that a single item has is another id of it.

    Args:
        titles: entry 0 is the padding's.
        min_items: in how many titles a word must stand.
        most: words of one title that count, the first ones.
    """
    frame = pl.DataFrame({"row": np.arange(len(titles)), "title": list(titles)})
    # An accent of its own, or a typographer's apostrophe, would cut a word in two.
    plain = pl.col("title").str.normalize("NFKC").str.replace_all("’", "'").str.to_lowercase()
    words = (
        frame.select("row", word=plain.str.extract_all(WORD))
        .explode("word", empty_as_null=True, keep_nulls=True)
        .drop_nulls()
        .unique(maintain_order=True)
        .filter(pl.len().over("word") >= min_items)
        .with_columns(
            code=pl.col("word").rank("dense").cast(pl.Int64),
            place=pl.int_range(pl.len()).over("row"),
        )
        .filter(pl.col("place") < most)
    )
    places = words["place"].to_numpy()
    codes = np.zeros((len(titles), int(places.max(initial=-1)) + 1), np.int64)
    codes[words["row"].to_numpy(), places] = words["code"].to_numpy()
    return codes
