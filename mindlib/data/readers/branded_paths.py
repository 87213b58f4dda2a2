"""Texts such as `OPI|Makeup|Nails|Nail Polish`: a brand followed by a category path."""

from __future__ import annotations

import polars as pl

from mindlib.data.readers.amazon_items import BETWEEN_LEVELS, clean_text

BRANDED = ("brand", "department", "category")


def parse_branded_paths(texts: pl.Series, separator: str = "|") -> pl.DataFrame:
    """Split each `brand|department|...|leaf`, where the brand may be missing.

    Without a brand, a text begins with the department: in S3-Rec's Beauty four in ten items do.
    A single text does not tell the two apart, but the table does: a first part that is never a
    second part is a brand (or "Unknown"), and any second part behind a brand is a department. An
    item that begins with a department has no brand. A department that never follows a brand is
    mistaken for one.

    The department is the first level of the path. The category is the whole path ("Skin Care >
    Body > Moisturizers > Oils"), because leaves of different paths share their names.

    Args:
        texts: one text per item; null and "" are unknown.
        separator: the separator of the parts.

    Returns:
        The columns `BRANDED` in the order of the texts, null where unknown.
    """
    parts = texts.cast(pl.String).str.split(separator)
    parts = parts.list.eval(clean_text(pl.element()).drop_nulls())
    frame = pl.DataFrame({"parts": parts})
    first, second = (pl.col("parts").list.get(n, null_on_oob=True) for n in (0, 1))
    pairs = frame.select(first=first, second=second)
    brands = pairs.filter(~pl.col("first").is_in(pairs["second"].drop_nulls().implode()))
    departments = brands["second"].drop_nulls().unique().implode()
    unbranded = first.is_in(departments)
    # A few items have a department as their brand: then both parts are departments.
    start = pl.when(unbranded & ~second.is_in(departments).fill_null(False)).then(0).otherwise(1)
    return (
        frame.with_columns(
            brand=pl.when(~unbranded & (first.str.to_lowercase() != "unknown")).then(first),
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
