"""The metadata of Amazon's reviews: title, brand and categories of an item."""

from __future__ import annotations

import ast
import html
import json
import re
from pathlib import Path

import polars as pl

from mindlib.data.readers.text_blocks import Block, first_line, read_blocks

LEVELS = 3
FIELDS = ("brand", *(f"category_{level}" for level in range(1, LEVELS + 1)))
BETWEEN_LEVELS = " > "
# The column names in the editions of 2014 and 2018, and of 2023.
NAMES = {
    "item": ("asin", "parent_asin"),
    "title": ("title",),
    "brand": ("brand", "store"),
    "path": ("categories", "category"),
    "shop": ("main_category",),
}
ASIN = re.compile(rb"""^\{['"]asin['"]: ['"](\w+)['"]""")
SURROGATE = re.compile("[\ud800-\udfff]")
Record = dict[str, str | list[str] | None]


def read_items(path: Path, wanted: pl.Series) -> pl.DataFrame:
    """Read the columns item, title and `FIELDS` of the wanted items, null where unknown.

    JSON lines are read by columns. Those of 2014 are Python literals instead of JSON: only those
    of wanted items are parsed, one by one, by `ast.literal_eval`, which runs no code. If an item
    has several lines, the one with the fewest unknown values counts. A NUL or half of a surrogate
    pair (polars reads it as NUL) becomes U+FFFD, the replacement character.

    Args:
        path: one line per item, plain or .gz.
        wanted: ids of items.

    Raises:
        FileNotFoundError, ValueError: the file is missing or damaged, or a line has another
            format; the message has its number.
    """
    literal = first_line(path).startswith(b"{'")
    ids = set(wanted.to_list()) if literal else set()
    parts = []
    for block in read_blocks(path):
        rows = _records(block, ids) if literal else _json(block)
        parts.append(rows.filter(pl.col("item").is_in(wanted.implode())))
    return _most_complete(_clean(pl.concat(parts)))


def _json(block: Block) -> pl.DataFrame:
    names = {name: pl.String for known in NAMES.values() for name in known}
    schema = names | dict.fromkeys(NAMES["path"], pl.List(pl.String))
    try:
        rows = pl.read_ndjson(block.data, schema=schema)
    except pl.exceptions.PolarsError:
        return _records(block)  # a string instead of a list, or an error
    rows = rows.select(pl.coalesce(known).alias(name) for name, known in NAMES.items())
    nested = pl.col("path").list.eval(pl.element().str.starts_with("[")).list.any()
    if rows["item"].null_count() or rows.select(nested.any()).item():
        return _records(block)  # several paths are text, not lists
    return rows


def _records(block: Block, wanted: set[str] | None = None) -> pl.DataFrame:
    """Parse a block line by line: JSON, or the Python literals of the wanted items."""

    def read_line(line: bytes) -> Record:
        is_json = wanted is None
        values = json.loads(line) if is_json else ast.literal_eval(line.decode().strip())
        if not isinstance(values, dict):
            raise TypeError(values)
        found = {
            name: next((values[key] for key in known if values.get(key)), None)
            for name, known in NAMES.items()
        }
        if not isinstance(found["item"], str):
            raise TypeError(found["item"])
        path = found["path"] or []
        if isinstance(path, list) and path and isinstance(path[0], list):
            path = path[0]  # 2014: several paths
        path = [path] if isinstance(path, str) else path
        text = {name: value and _replace(value) for name, value in found.items()}
        return text | {"path": [_replace(level) for level in path]}

    records = []
    for number, line in enumerate(block.data.split(b"\n"), block.first):
        asin = ASIN.match(line)
        is_unwanted = asin and wanted is not None and asin[1].decode() not in wanted
        if is_unwanted or not line.strip():
            continue
        try:
            records.append(read_line(line))
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            expected = "an object with asin (2014, 2018) or parent_asin (2023)"
            raise Block(block.path, number, line).line_error(expected, read_line) from error
    schema = dict.fromkeys(NAMES, pl.String) | {"path": pl.List(pl.String)}
    return pl.DataFrame(records, schema=schema, orient="row")


def _replace(value: object) -> str:
    return SURROGATE.sub("\ufffd", str(value))


def _clean(rows: pl.DataFrame) -> pl.DataFrame:
    """Clean titles, brands and category levels; uninformative values become null."""
    rows = rows.with_columns(clean_text(pl.col("title")), clean_text(pl.col("brand")))
    levels = pl.col("path").list.eval(clean_text(pl.element()).drop_nulls())
    # If 2023 has no category, the shop's department is the first level.
    fallback = pl.concat_list(clean_text(pl.col("shop"))).list.drop_nulls()
    rows = rows.with_columns(
        path=pl.when(levels.list.len() > 0).then(levels).otherwise(fallback),
        # Some titles of 2018 are a page's script; the owner recommends to drop these.
        title=pl.when(~pl.col("title").str.contains("getTime", literal=True)).then("title"),
        brand=pl.when(pl.col("brand").str.to_lowercase() != "unknown").then("brand"),
    )
    return rows.select(
        "item",
        "title",
        "brand",
        *(
            pl.when(pl.col("path").list.len() >= level)
            .then(pl.col("path").list.head(level).list.join(BETWEEN_LEVELS))
            .alias(f"category_{level}")
            for level in range(1, LEVELS + 1)
        ),
    )


def clean_text(values: pl.Expr) -> pl.Expr:
    """Replace HTML entities and NUL, and strip white space; null if nothing is left."""
    entities = {f"&{name};": html.unescape(f"&{name};") for name in ("quot", "lt", "gt", "nbsp")}
    entities |= {"&#39;": "'", "&apos;": "'", "&#x27;": "'", "&amp;": "&", "\0": "\ufffd"}
    plain = values.str.replace_many(list(entities), list(entities.values())).str.strip_chars()
    return pl.when(plain != "").then(plain)


def _most_complete(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep one row for each item, independent of the order of the lines."""
    order = pl.sum_horizontal(pl.all().is_null()).alias("unknown")
    rows = rows.with_columns(order).sort("item", "unknown", *rows.columns[1:], nulls_last=True)
    return rows.unique("item", keep="first", maintain_order=True).drop("unknown")
