"""Tables in files, checked before they are parsed: CSV, TSV, `::`, Parquet; plain or .gz.

Text is read as text, every value a string: types are given afterwards, to the few columns that
need one, so that a wrong value can be named and "007" stays what it is.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

SEPARATORS = {
    ".csv": ",",
    ".tsv": "\t",
    ".txt": "\t",
    ".dat": "::",
    ".inter": "\t",
    ".item": "\t",
    ".user": "\t",
}
UNIT_SEPARATOR = "\x1f"  # stands in for `::`, which polars cannot split by


def existing(path: str | Path) -> Path:
    """The path, which must be a file that is not empty."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it, or use load() for a folder")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; check the path (from {Path.cwd()})")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes); it needs at least one interaction or row")
    return path


def form(path: Path) -> str:
    """The suffix that says how a file is read, without .gz."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def column_names(path: str | Path) -> list[str]:
    """The names in a file's header: all that is read of it.

    Raises:
        FileNotFoundError, ValueError: no such file; it is empty, damaged, of an unknown form, or
            names a column twice.
    """
    path = existing(path)
    with naming(path):
        if form(path) == ".parquet":
            return list(pl.read_parquet_schema(path))
        separator = _separator(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline().decode("utf-8-sig").rstrip("\r\n")
    names = next(csv.reader([line]), []) if separator == "," else line.split(separator)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{path} names the column {doubled[0]!r} more than once; rename one")
    return names


def require_columns(path: str | Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    """
    Raises:
        ValueError: a wanted column is not among those found; the message names all of these.
    """
    absent = [name for name in wanted if name not in found]
    if absent:
        raise ValueError(
            f"{path} has no column {', '.join(map(repr, absent))}; "
            f"its columns are {', '.join(map(repr, found))}"
        )


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A whole table: of text every value a string (empty ones null), of Parquet as it is typed.

    Args:
        columns: the names of the columns of a text file that has no header.

    Raises:
        FileNotFoundError, ValueError: as `column_names`; no rows; a line with more or fewer
            fields than the first; not UTF-8; cut short.
    """
    path = existing(path)
    if form(path) == ".parquet":
        with naming(path):
            frame = pl.read_parquet(path)
    else:
        names = list(columns) if columns else column_names(path)
        separator = _separator(path)
        data = read_text(path).encode()
        if len(separator) > 1:
            data = data.replace(separator.encode(), UNIT_SEPARATOR.encode())
            separator = UNIT_SEPARATOR
        _check_fields(path, data, separator, len(names))
        with naming(path):
            frame = pl.read_csv(
                data,
                separator=separator,
                has_header=columns is None,
                new_columns=names,
                infer_schema=False,
                quote_char='"' if separator == "," else None,
            )
    if frame.is_empty():
        raise ValueError(f"{path} has a header and no rows; it needs at least one")
    return frame


def read_text(path: str | Path) -> str:
    """A whole text file, plain or .gz, without the line ends after its last line.

    Raises:
        FileNotFoundError, ValueError: no such file; it is empty, cut short or not UTF-8.
    """
    path = existing(path)
    with naming(path):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        text = data.decode("utf-8-sig").rstrip("\r\n")
    if not text:
        raise ValueError(f"{path} holds no text; it needs at least one line")
    return text


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Say which file it was, when one of the libraries that read it complains."""
    try:
        yield
    except UnicodeDecodeError as error:
        line = bytes(error.object[: error.start]).count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}, is not UTF-8 (byte 0x{error.object[error.start]:02x}); "
            f"convert the file, for instance with iconv -f latin1 -t utf-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    except (pl.exceptions.PolarsError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read: {reason}") from error


def _separator(path: Path) -> str:
    if form(path) not in SEPARATORS:
        raise ValueError(
            f"{path} ends in {form(path)!r}; expected one of {', '.join(SEPARATORS)} "
            f"(each also with .gz) or .parquet"
        )
    return SEPARATORS[form(path)]


def _check_fields(path: Path, data: bytes, separator: str, columns: int) -> None:
    """polars fills short lines up in silence; a line that is cut must not pass for a row."""
    if separator == "," and b'"' in data:
        with naming(path):  # a quoted field may hold separators and line ends
            reader = csv.reader(io.StringIO(data.decode()), strict=True)
            wrong = next(((reader.line_num, len(row)) for row in reader if len(row) != columns), ())
    else:
        flat = np.frombuffer(data, np.uint8)
        ends = np.append(np.flatnonzero(flat == ord("\n")), len(flat))
        separators = np.flatnonzero(flat == ord(separator))
        counts = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
        rows = np.flatnonzero(counts != columns)
        wrong = (int(rows[0]) + 1, int(counts[rows[0]])) if len(rows) else ()
    if wrong:
        raise ValueError(
            f"{path}, line {wrong[0]}, has {wrong[1]} fields; expected {columns}, separated by "
            f"{'::' if separator == UNIT_SEPARATOR else separator!r}: complete it or remove it"
        )
