"""Tables in CSV, TSV, `::` or Parquet, plain or .gz, which are checked before they are parsed.

All values of text files are read as strings. Ids and timestamps are converted afterwards, so that
an error can name the wrong value and "007" is not changed.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import polars as pl

from mindlib.data.interactions import Interactions

SEPARATORS = {".csv": ",", ".dat": "::"}
SEPARATORS |= dict.fromkeys((".tsv", ".txt", ".inter", ".item", ".user"), "\t")
HEADER_BYTES = 1 << 16
DAMAGED = (zlib.error, lzma.LZMAError, zipfile.BadZipFile)
ENCRYPTED = 1  # a flag of the files in a .zip


def check_file(path: str | Path) -> Path:
    """Return the path; raise FileNotFoundError or ValueError if it is no file or empty."""
    path = Path(os.path.expanduser(path))  # which leaves ~name as it is without such a user
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; name a file in it, or use load() for a folder")
    if not os.path.isfile(path):
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
        with open_bytes(path) as file:
            data = file.readline(HEADER_BYTES)
        check_text(path, data)
        line = data.decode("utf-8-sig").rstrip("\r\n")
        names = next(csv.reader([line]), []) if separator == "," else line.split(separator)
    if len(data) == HEADER_BYTES:
        raise ValueError(f"{path}, line 1, exceeds {len(data):,} bytes; expected a header")
    repeated = [name for name, count in Counter(names).items() if count > 1]
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
        names = columns or read_header(path)
        frame = parse_table(path, read_text(path), names, has_header=columns is None)
    if frame.is_empty():
        raise ValueError(f"{path} has a header and no rows; it needs at least one")
    return frame


def parse_table(path: Path, text: str, columns: Sequence[str], *, has_header: bool) -> pl.DataFrame:
    """Parse the text of a table, whose separator depends on the suffix of `path`."""
    separator = _separator(path)
    if separator == "," and '"' in text:
        rows, lines = _split_quoted(path, text)
    else:
        rows = pl.Series(text.replace("\r\n", "\n").split("\n")).str.split(separator)
        lines = range(1, len(rows) + 1)
    counts = rows.list.len()
    wrong = (counts != len(columns)).arg_true()
    if len(wrong):
        raise ValueError(
            f"{path}, line {lines[wrong[0]]}, has {counts[wrong[0]]} fields; expected "
            f"{len(columns)}, separated by {separator!r}: complete it or remove it"
        )
    fields = pl.DataFrame({name: rows.list.get(place) for place, name in enumerate(columns)})
    return fields[has_header:].with_columns(pl.all().replace("", None))


def build_interactions(path: Path, log: pl.DataFrame, **arguments: Any) -> Interactions:
    """Convert the columns read from `path` and build the log; error messages name the file.

    Ids become integers if all of them are written as integers ("12", but not "012").
    """
    try:
        columns = _to_integers(log["user"]), _to_integers(log["item"]), _to_time(log["timestamp"])
        return Interactions.from_frames(log.with_columns(columns), **arguments)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_text(path: str | Path) -> str:
    """Read a whole text file, plain or .gz, without trailing line ends.

    GroupLens writes .dat files in Latin-1, all others must be UTF-8.
    """
    path = check_file(path)
    with error_context(path), open_bytes(path) as file:
        data = file.read()
        check_text(path, data)
        try:
            text = data.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            if file_format(path) != ".dat":
                raise
            text = data.decode("latin-1").rstrip("\r\n")
    if not text:
        raise ValueError(f"{path} holds no text; it needs at least one line")
    return text


def check_text(path: Path, data: bytes, first: int = 1) -> None:
    """Raise ValueError if the text from line `first` on has a NUL or a CR without an LF."""
    if b"\0" not in data and data.count(b"\r") == data.count(b"\r\n"):
        return
    if wrong := re.search(rb"\0|\r(?!\n|\Z)", data):
        number = first + data.count(b"\n", 0, wrong.start())
        name = "a NUL" if wrong[0] == b"\0" else "a carriage return without a line feed"
        raise ValueError(
            f"{path}, line {number}, has {name}; expected UTF-8 text whose lines end in LF or "
            f"CR LF: convert the file"
        )


def rename_key(path: Path, frame: pl.DataFrame, column: str, key: str) -> pl.DataFrame:
    """Rename the column with the ids to `key`; raise ValueError if another one has this name."""
    if column != key and key in frame.columns:
        raise ValueError(
            f"{path} has the columns {column!r} and {key!r}; rename {key!r}, because the ids in "
            f"{column!r} take this name"
        )
    return frame.rename({column: key})


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file for reading: plain, .gz, or the only file of a .zip."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if not name.endswith("/")]
            if len(members) != 1:
                raise ValueError(
                    f"{path} holds {len(members)} files ({', '.join(members[:5]) or 'none'}); "
                    f"expected one: unpack it and name the one to read"
                )
            if archive.getinfo(members[0]).flag_bits & ENCRYPTED:
                raise ValueError(f"{path} is encrypted; unpack it and name the file to read")
            with archive.open(members[0]) as file:
                yield file
    else:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file


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
    except (EOFError, OSError, NotImplementedError, *DAMAGED) as error:
        if isinstance(error, OSError) and error.filename:
            raise  # the file cannot be opened
        raise ValueError(f"{path} is damaged or cut short ({error}); fetch it again") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read: {reason}") from error


def _separator(path: Path) -> str:
    if file_format(path) not in SEPARATORS:
        raise ValueError(
            f"{path} ends in {file_format(path)!r}; expected one of {', '.join(SEPARATORS)} "
            f"(each also with .gz) or .parquet"
        )
    return SEPARATORS[file_format(path)]


def _to_integers(ids: pl.Series) -> pl.Series:
    if ids.dtype != pl.String:
        return ids
    numbers = ids.cast(pl.Int64, strict=False)
    return numbers if numbers.cast(pl.String).eq_missing(ids).all() else ids


def _to_time(values: pl.Series) -> pl.Series:
    """Convert text to numbers, dates or datetimes; other types are unchanged."""
    if values.dtype != pl.String:
        return values
    conversions = [lambda: values.cast(pl.Int64), lambda: values.cast(pl.Float64)]
    if values.str.contains(r"^\d{4}\D").all():  # 02/03/2017 is February or March
        conversions += [values.str.to_datetime, values.str.to_date]
    for convert in conversions:
        with suppress(pl.exceptions.PolarsError):
            return convert()
    wrong = values.filter(values.is_not_null() & values.cast(pl.Float64, strict=False).is_null())
    raise ValueError(
        f"column {values.name!r} has the value {wrong[0]!r}; expected seconds since 1970, or a "
        f"date (2017-11-25), or a datetime (2017-11-25 10:30:00), the year first, the same in all "
        f"rows"
    )


def _split_quoted(path: Path, text: str) -> tuple[pl.Series, list[int]]:
    """Split CSV with quotes, whose fields may hold line ends; return the line of each row too."""
    rows, lines = [], [1]
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            rows.append(row)
            lines.append(reader.line_num + 1)
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {lines[-1]}, cannot be read: {error}; correct it"
        ) from error
    return pl.Series(rows, dtype=pl.List(pl.String)), lines
