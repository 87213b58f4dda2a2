"""Texts such as `OPI|Makeup|Nails|Nail Polish`: an item's brand before its path of categories."""

from __future__ import annotations

import polars as pl

from mindlib.data.readers.amazon_items import BETWEEN_LEVELS, plain_text

BRANDED = ("brand", "department", "category")


def branded_paths(texts: pl.Series, separator: str = "|") -> pl.DataFrame:
    """Brand, department and category of each `brand|department|...|leaf`; the brand may lack.

    Where an item has no brand, its text begins with the department: in S3-Rec's Beauty this is
    so for four items in ten. Nothing in the text says which it is, but the table does: a first
    part that never stands second is a brand (or "Unknown"), and what stands behind such a one
    anywhere is a department. An item that begins with a department has no brand.

    The department is the first level of the path. The category is all of it ("Skin Care > Body >
    Moisturizers > Oils"), since different things have leaves of one name. A department that no
    item has behind a brand is taken for one.

    Args:
        texts: a text for each item; null and "" say nothing of it.
        separator: what stands between the parts.

    Returns:
        The columns `BRANDED` in the order of the texts, null where nothing is known.
    """
    parts = texts.cast(pl.String).str.split(separator)
    parts = parts.list.eval(plain_text(pl.element()).drop_nulls())
    frame = pl.DataFrame({"parts": parts})
    place = [pl.col("parts").list.get(n, null_on_oob=True) for n in (0, 1)]
    pairs = frame.select(first=place[0], second=place[1])
    brands = pairs.filter(~pl.col("first").is_in(pairs["second"].drop_nulls().implode()))
    departments = brands["second"].drop_nulls().unique().implode()
    unbranded = place[0].is_in(departments)
    # Now and then a department's name stands in the brand's place: then it is there twice.
    start = pl.when(unbranded & ~place[1].is_in(departments).fill_null(False)).then(0).otherwise(1)
    return (
        frame.with_columns(
            brand=pl.when(~unbranded & (place[0].str.to_lowercase() != "unknown")).then(place[0]),
            path=pl.col("parts").list.slice(start),
        )
        .with_columns(department=pl.col("path").list.first())
        .with_columns(
            category=pl.when(pl.col("department").is_not_null()).then(
                pl.col("path").list.join(BETWEEN_LEVELS)
            )
        )
        .select(BRANDED)
    )
