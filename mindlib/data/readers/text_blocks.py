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

BLOCK_BYTES = 1 << 26
Schema = Mapping[str, Any]  # the polars type of each column
SHOWN = 80  # characters of a wrong line
NEWLINE = b"\n"
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


def read_blocks(path: str | Path, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield the file's lines in order, in blocks of about `size` bytes and of whole lines.

    Raises:
        FileNotFoundError, ValueError: the file does not exist, is empty, damaged or truncated, is a
            .zip that does not contain exactly one file, or has a lone carriage return or a line
            longer than `BLOCK_BYTES`.
    """
    path, number = check_file(path), 1
    with error_context(path), open_bytes(path) as file:
        while data := file.read(size) + file.readline(BLOCK_BYTES):
            if len(data) >= size + BLOCK_BYTES:
                raise ValueError(
                    f"{path}, line {number + data.count(NEWLINE)}, is longer than {BLOCK_BYTES:,} "
                    f"bytes; expected one event or item in each line"
                )
            if number == 1:
                data = data.removeprefix(b"\xef\xbb\xbf")
            check_text(path, data, number)
            if data.strip():
                yield Block(path, number, data)
            number += data.count(NEWLINE)


def first_line(path: str | Path) -> bytes:
    """Return the first line that is not blank; empty if the first `PROBED` bytes hold none.

    A longer line is cut there, so that the format of a large file is recognized quickly.

    Raises:
        FileNotFoundError, ValueError: as `read_blocks` raises them.
    """
    path = check_file(path)
    with error_context(path), open_bytes(path) as file:
        data = file.read(PROBED).removeprefix(b"\xef\xbb\xbf")
    return data.strip().split(b"\n", 1)[0].rstrip(b"\r")


def parse_csv(block: Block, schema: Schema, wanted: Sequence[str]) -> pl.DataFrame:
    """Parse comma-separated lines without header or quotes.

    Args:
        schema: all columns, in the file's order.
        wanted: the columns to keep; none of their values may be missing.

    Raises:
        ValueError: a line has another number of fields, a missing value, or one of another type;
            the message has its number.
    """

    def parse(data: bytes) -> pl.DataFrame:
        if not data.strip():
            return pl.DataFrame(schema=schema).select(wanted)
        data = data.lstrip(b"\r\n")
        rows = pl.read_csv(data, has_header=False, schema=schema, quote_char=None)
        rows = rows.filter(~pl.all_horizontal(pl.all().is_null())).select(wanted)  # blank lines
        return _check_values(rows, wanted)

    try:
        return parse(block.data)
    except (ValueError, pl.exceptions.PolarsError) as error:
        kinds = {pl.Int64: " (a whole number)", pl.Float64: " (a number)"}
        enums = [kind for kind in schema.values() if kind == pl.Enum]
        kinds |= {kind: f" ({' or '.join(kind.categories)})" for kind in enums}
        fields = [name + kinds.get(kind, "") for name, kind in schema.items()]
        expected = f"{len(schema)} fields, {', '.join(fields)}"
        raise block.line_error(expected, parse) from error


def parse_json_lines(block: Block, schema: Schema, wanted: Sequence[str]) -> pl.DataFrame:
    """Parse JSON lines; keys that are not in the schema are ignored.

    Args:
        wanted: the required keys.

    Raises:
        ValueError: a line is not a JSON object, or a wanted value is missing or has a NUL (polars
            reads half of a surrogate pair as NUL); the message has its number.
    """

    def parse(data: bytes) -> pl.DataFrame:
        return _check_values(pl.read_ndjson(data, schema=schema), wanted)

    try:
        return parse(block.data)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise block.line_error(f"a JSON object with {', '.join(wanted)}", parse) from error


def _check_values(rows: pl.DataFrame, wanted: Sequence[str]) -> pl.DataFrame:
    """Return the rows if no wanted value is missing or has a NUL."""
    for values in rows.select(wanted):
        is_text = values.dtype == pl.String
        if values.has_nulls() or (is_text and values.str.contains("\0", literal=True).any()):
            raise ValueError("a value is missing or has a NUL")
    return rows
