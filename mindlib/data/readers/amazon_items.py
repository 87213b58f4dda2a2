"""The metadata of Amazon's reviews: title, brand and categories of an item."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.readers.text_blocks import Block, read_blocks

LEVELS = 3
FIELDS = ("brand", *(f"category_{level}" for level in range(1, LEVELS + 1)))
BETWEEN_LEVELS = " > "
ID = re.compile(rb"""asin['"]\s*:\s*['"](\w+)['"]""")  # of asin or parent_asin
ENTITY = re.compile("&(quot|lt|gt|nbsp|amp|apos|#39|#x27);")  # others stay as they are
UNREADABLE = re.compile("[\0\ud800-\udfff]")  # NUL, and half of a surrogate pair


def read_items(path: Path, wanted: pl.Series) -> pl.DataFrame:
    """Read the columns item, title and `FIELDS` of the wanted items, null where unknown.

    Lines are JSON or, in 2014, Python literals, which `ast.literal_eval` parses without running
    code. If an item has several lines, the one with the fewest unknown values counts.

    Args:
        path: one line per item, plain or .gz.
        wanted: ids of items; lines of other items are not parsed.
    """
    ids = set(wanted.to_list())
    lines = (row for block in read_blocks(path) for row in _read_block(block, ids))
    schema = dict.fromkeys(("item", "title", *FIELDS), pl.String)
    rows = pl.DataFrame(lines, schema, orient="row")
    unknown = pl.sum_horizontal(pl.all().is_null()).alias("unknown")
    # Independent of the order of the lines.
    rows = rows.with_columns(unknown).sort("item", "unknown", *rows.columns[1:], nulls_last=True)
    return rows.unique("item", keep="first", maintain_order=True).drop("unknown")


def _read_block(block: Block, wanted: set[str]) -> Iterator[list[str | None]]:
    for number, line in enumerate(block.data.split(b"\n"), block.first):
        found = [item.decode() for item in ID.findall(line)]
        if not line.strip() or (found and wanted.isdisjoint(found)):
            continue
        try:
            row = _read_line(line)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            expected = "an object with asin (2014, 2018) or parent_asin (2023)"
            raise Block(block.path, number, line).line_error(expected, _read_line) from error
        if row[0] in wanted:
            yield row


def _read_line(line: bytes) -> list[str | None]:
    is_literal = line.lstrip().startswith(b"{'")
    values = ast.literal_eval(line.decode().strip()) if is_literal else json.loads(line)

    def find(*names: str) -> Any:
        """The value in the editions of 2014 and 2018, or that of 2023."""
        return next((values[name] for name in names if values.get(name)), None)

    if not isinstance(values, dict) or not isinstance(item := find("asin", "parent_asin"), str):
        raise TypeError(values)
    title, brand = clean_text(find("title")), clean_text(find("brand", "store"))
    path = find("categories", "category") or []
    path = path[0] if isinstance(path, list) and path and isinstance(path[0], list) else path
    path = [path] if isinstance(path, str) else path
    # If 2023 has no category, the shop's department is the first level.
    levels = [level for level in map(clean_text, path) if level]
    levels = levels or [level for level in [clean_text(find("main_category"))] if level]
    return [
        item,
        # Some titles of 2018 are a page's script; the owner recommends to drop these.
        title if title and "getTime" not in title else None,
        brand if brand and brand.lower() != "unknown" else None,
        *(
            BETWEEN_LEVELS.join(levels[:level]) if len(levels) >= level else None
            for level in range(1, LEVELS + 1)
        ),
    ]


def clean_text(value: object) -> str:
    """Replace HTML entities and what polars cannot hold, and strip white space; "" for None."""
    text = ENTITY.sub(lambda entity: html.unescape(entity[0]), "" if value is None else str(value))
    return UNREADABLE.sub("\ufffd", text).strip()
