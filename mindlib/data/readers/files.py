"""Tables in CSV, TSV, `::` or Parquet, plain or .gz, which are checked before they are parsed.

All values of text files are read as strings. The few columns that need a type are converted
afterwards, so that an error can name the wrong value and "007" is not changed.
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


def check_file(path: str | Path) -> Path:
    """Return the path if it is a file that is not empty.

    Raises:
        FileNotFoundError, ValueError: it is not.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it, or use load() for a folder")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; check the path (from {Path.cwd()})")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes); it needs at least one interaction or row")
    return path


def file_format(path: Path) -> str:
    """The suffix that determines how a file is read, without .gz."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def read_header(path: str | Path) -> list[str]:
    """Read only the column names of a file.

    Raises:
        FileNotFoundError, ValueError: the file does not exist, is empty, damaged or of an unknown
            format, or has two columns of one name.
    """
    path = check_file(path)
    with error_context(path):
        if file_format(path) == ".parquet":
            return list(pl.read_parquet_schema(path))
        separator = _separator(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline().decode("utf-8-sig").rstrip("\r\n")
    names = next(csv.reader([line]), []) if separator == "," else line.split(separator)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path} names the column {repeated[0]!r} more than once; rename one")
    return names


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a whole table: text files as strings (empty ones null), Parquet with its types.

    Args:
        columns: the names of the columns of a text file without a header.

    Raises:
        FileNotFoundError, ValueError: as `read_header` raises them; there are no rows; lines
            differ in their number of fields; the file is not UTF-8 or is truncated.
    """
    path = check_file(path)
    if file_format(path) == ".parquet":
        with error_context(path):
            frame = pl.read_parquet(path)
    else:
        names = list(columns) if columns else read_header(path)
        separator = _separator(path)
        data = read_text(path).encode()
        if len(separator) > 1:
            data = data.replace(separator.encode(), UNIT_SEPARATOR.encode())
            separator = UNIT_SEPARATOR
        _check_fields(path, data, separator, len(names))
        with error_context(path):
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
    """Read a whole text file, plain or .gz, without trailing line ends.

    Raises:
        FileNotFoundError, ValueError: the file does not exist, is empty, truncated or not UTF-8.
    """
    path = check_file(path)
    with error_context(path):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        text = data.decode("utf-8-sig").rstrip("\r\n")
    if not text:
        raise ValueError(f"{path} holds no text; it needs at least one line")
    return text


@contextmanager
def error_context(path: str | Path) -> Iterator[None]:
    """Convert the errors of the parsing libraries to a ValueError that names the file."""
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
    if file_format(path) not in SEPARATORS:
        raise ValueError(
            f"{path} ends in {file_format(path)!r}; expected one of {', '.join(SEPARATORS)} "
            f"(each also with .gz) or .parquet"
        )
    return SEPARATORS[file_format(path)]


def _check_fields(path: Path, data: bytes, separator: str, columns: int) -> None:
    """Check the number of fields of every line, because polars silently pads short lines."""
    if separator == "," and b'"' in data:
        with error_context(path):  # a quoted field may hold separators and line ends
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
