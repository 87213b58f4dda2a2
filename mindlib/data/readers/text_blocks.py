"""Block-wise reading of large text files: plain, .gz, or the only file of a .zip.

Only one block of whole lines is in memory at a time. If a block cannot be parsed, it is searched
line by line, so that the error names the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mindlib.data.readers.files import check_file, error_context, open_bytes

BLOCK_BYTES = 1 << 26
Schema = Mapping[str, Any]  # the polars type of each column
SHOWN = 80  # characters of a wrong line


@dataclass(frozen=True)
class Block:
    """Whole lines of a file, and the number of the first of them, counted from 1."""

    path: Path
    first: int
    data: bytes

    def line_error(
        self, read_line: Callable[[bytes], object], expected: str, reason: str = ""
    ) -> ValueError:
        """Build the error that names the first line which `read_line` rejects."""
        lines = self.data.split(b"\n")
        for number, line in enumerate(lines, self.first):
            try:
                if line.strip():
                    read_line(line)
            except (ValueError, KeyError, TypeError, SyntaxError, AttributeError, RecursionError):
                shown = line[:SHOWN].decode(errors="replace").rstrip("\r")
                return ValueError(
                    f"{self.path}, line {number}, is {shown!r}; expected {expected}: "
                    f"correct it or remove it"
                )
        return ValueError(
            f"{self.path}, somewhere in lines {self.first} to {self.first + len(lines) - 1}, "
            f"cannot be read ({reason}); expected {expected}"
        )


def read_blocks(path: str | Path, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield the file's lines in order, in blocks of about `size` bytes and of whole lines.

    Raises:
        FileNotFoundError, ValueError: the file does not exist, is empty, damaged or truncated, or
            is a .zip that does not contain exactly one file.
    """
    path = check_file(path)
    number, rest = 1, b""
    with error_context(path), open_bytes(path) as file:
        while data := file.read(size):
            if number == 1 and not rest:
                data = data.removeprefix(b"\xef\xbb\xbf")
            data = rest + data
            end = data.rfind(b"\n") + 1
            whole, rest = data[:end], data[end:]
            if whole.strip():
                yield Block(path, number, whole)
            number += whole.count(b"\n")
        if rest.strip():
            yield Block(path, number, rest)


def first_line(path: str | Path) -> bytes:
    """Return the first line that is not blank; empty if there is none.

    Raises:
        FileNotFoundError, ValueError: as `read_blocks` raises them.
    """
    for block in read_blocks(path, 1 << 16):
        return block.data.strip().split(b"\n", 1)[0].rstrip(b"\r")
    return b""


def parse_csv(block: Block, schema: Schema, wanted: Sequence[str]) -> pl.DataFrame:
    """Parse comma-separated lines without header or quotes.

    Args:
        schema: all columns, in the file's order.
        wanted: the columns to keep; none of their values may be missing.

    Raises:
        ValueError: a line has another number of fields, a missing value, or one of another type;
            the message has its number.
    """
    kinds = {pl.Int64: " (a whole number)", pl.Float64: " (a number)"}
    fields = [name + kinds.get(kind, "") for name, kind in schema.items()]
    expected = f"{len(schema)} fields, {', '.join(fields)}"

    def read_line(line: bytes) -> None:
        fields = line.decode().rstrip("\r").split(",")
        for (name, kind), text in zip(schema.items(), fields, strict=True):
            if text == "" and name in wanted:
                raise ValueError(name)
            if text:
                {pl.Int64: int, pl.Float64: float}.get(kind, str)(text)

    try:
        rows = pl.read_csv(
            block.data.lstrip(b"\r\n"), has_header=False, schema=schema, quote_char=None
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise block.line_error(read_line, expected, reason) from error
    rows = rows.filter(~pl.all_horizontal(pl.all().is_null())).select(wanted)  # blank lines
    if rows.null_count().sum_horizontal().item():
        raise block.line_error(read_line, expected, "a value is missing")
    return rows


def parse_json_lines(
    block: Block, schema: Schema, wanted: Sequence[str], read_line: Callable[[bytes], object]
) -> pl.DataFrame:
    """Parse JSON lines; keys that are not in the schema are ignored.

    Args:
        wanted: the required keys.
        read_line: parses one line and raises if it is wrong, which finds the line to name.

    Raises:
        ValueError: a line is not a JSON object or has no wanted value; the message has its number.
    """
    expected = f"a JSON object with {', '.join(wanted)}"
    try:
        rows = pl.read_ndjson(block.data, schema=schema)
    except pl.exceptions.PolarsError as error:
        raise block.line_error(read_line, expected, str(error).splitlines()[0]) from error
    if rows.select(wanted).null_count().sum_horizontal().item():
        raise block.line_error(read_line, expected, "a value is missing")
    return rows
