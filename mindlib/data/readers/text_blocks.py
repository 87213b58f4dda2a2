"""Block-wise reading of large text files: plain, .gz, or the only file of a .zip.

Only one block of whole lines is in memory at a time. A block that cannot be parsed is halved until
one line is left, so that the error names the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.readers.files import check_file, check_text, error_context, open_bytes

BLOCK_BYTES = 1 << 26  # of text that is in memory at once
LINE_BYTES = 1 << 26  # of one line, at most
Schema = Mapping[str, Any]  # the polars type of each column
SHOWN = 80  # characters of a wrong line
PROBED = 1 << 20  # bytes in which the first line ends, if it shows the file's format


@dataclass(frozen=True)
class Block:
    """Whole lines of a file, and the number of the first of them, counted from 1."""

    path: Path
    first: int
    data: bytes

    def line_error(self, expected: str, parse: Callable[[bytes], object]) -> ValueError:
        """Build the error that names the first line which `parse` rejects.

        The lines are halved until one is left; `parse` must reject them together.
        """
        lines, start = self.data.split(b"\n"), 0
        while len(lines) > 1:
            half = len(lines) // 2
            try:
                parse(b"\n".join(lines[:half]))
            except (ValueError, pl.exceptions.PolarsError):
                lines = lines[:half]
            else:
                lines, start = lines[half:], start + half
        shown = lines[0][:SHOWN].decode(errors="replace").rstrip("\r")
        return ValueError(
            f"{self.path}, line {self.first + start}, is {shown!r}; expected {expected}: "
            f"correct it or remove it"
        )


def read_blocks(path: str | Path) -> Iterator[Block]:
    """Yield the file's lines in order, in blocks of about `BLOCK_BYTES` and of whole lines.

    Raises:
        FileNotFoundError, ValueError: the file does not exist, is empty, damaged or truncated, is a
            .zip that does not contain exactly one file, or has a lone carriage return or a line
            longer than `LINE_BYTES`.
    """
    path, number = check_file(path), 1
    with error_context(path), open_bytes(path) as file:
        while data := file.read(BLOCK_BYTES) + file.readline(LINE_BYTES):
            lines = data.count(b"\n")
            if len(data) >= BLOCK_BYTES + LINE_BYTES:
                raise ValueError(
                    f"{path}, line {number + lines}, is longer than {LINE_BYTES:,} bytes; "
                    f"expected one event or item in each line"
                )
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            check_text(path, data, number)
            if data.strip():
                yield Block(path, number, data)
            number += lines


def first_line(path: str | Path) -> bytes:
    """Return the first line that is not blank, of the first `PROBED` bytes alone."""
    path = check_file(path)
    with error_context(path), open_bytes(path) as file:
        data = file.read(PROBED).removeprefix(b"\xef\xbb\xbf")
    return data.strip().split(b"\n", 1)[0].rstrip(b"\r")


def parse_csv(block: Block, schema: Schema, wanted: Sequence[str]) -> pl.DataFrame:
    """Parse comma-separated lines without header or quotes.

    Args:
        schema: all columns, in the file's order.
        wanted: the columns to keep; none of their values may be missing.
    """

    def parse(data: bytes) -> pl.DataFrame:
        if not data.strip():
            return pl.DataFrame(schema=schema).select(wanted)
        data = data.lstrip(b"\r\n")
        rows = pl.read_csv(data, has_header=False, schema=schema, quote_char=None)
        return rows.filter(~pl.all_horizontal(pl.all().is_null())).select(wanted)  # blank lines

    fields = ", ".join(f"{name} ({kind})" for name, kind in schema.items())
    return _parse(block, parse, f"{len(schema)} fields, {fields}")


def parse_json_lines(block: Block, schema: Schema) -> pl.DataFrame:
    """Parse JSON lines, which must have the keys of the schema; others are ignored."""
    expected = f"a JSON object with {', '.join(schema)}"
    return _parse(block, lambda data: pl.read_ndjson(data, schema=schema), expected)


def _parse(block: Block, parse: Callable[[bytes], pl.DataFrame], expected: str) -> pl.DataFrame:
    """Parse a block; an error names the first line that has a missing value or is refused."""

    def parse_and_check(data: bytes) -> pl.DataFrame:
        rows = parse(data)
        for values in rows:
            # polars reads half of a surrogate pair as NUL
            is_text = values.dtype == pl.String
            if values.has_nulls() or (is_text and values.str.contains("\0", literal=True).any()):
                raise ValueError("a value is missing or has a NUL")
        return rows

    try:
        return parse_and_check(block.data)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise block.line_error(expected, parse_and_check) from error
