"""Data files that load() refuses, and those that it reads in a documented way."""

import gzip
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mindlib.data import Interactions, amazon_reviews, load, recbole, sequences, table
from mindlib.data.readers import text_blocks
from mindlib.data.readers.text_blocks import first_line
from tests.data.logs import write
from tests.reliability import behaves, refuses

AREA = "Data files"
HEADER = "user,item,timestamp\n"
ATOMIC = "user_id:token\titem_id:token\trating:float\nu\t1\t4\n"
RATINGS = "AUSER0000001,B000000001,5.0,1300000000\n"
REVIEW = '{{"reviewerID": "{}", "asin": "B000000001", "unixReviewTime": 1300000000}}\n'


OPTIONS = [
    ("missing", "eror"),
    *(("min_rating", value) for value in ("4", float("nan"), True)),
    *(("min_count", value) for value in ("2", 1.5, True, 0)),
]


def times(log: Interactions) -> list[int]:
    return log.timestamps.tolist()


@pytest.mark.parametrize(
    ("fault", "name", "text", "message"),
    [
        (
            "a CSV file with lone carriage returns",
            "log.csv",
            "user,item,timestamp\r1,2,3\r",
            "line 1, has a carriage return without a line feed",
        ),
        (
            "a text of sequences with lone carriage returns",
            "log.txt",
            "1 2 3\n4 5\r6 7\n",
            "line 2, has a carriage return without a line feed",
        ),
        (
            "ratings of Amazon with lone carriage returns",
            "ratings_X.csv",
            RATINGS + "A\r" + RATINGS,
            "line 2, has a carriage return without a line feed",
        ),
        ("a NUL in a table", "log.csv", HEADER + "1,a\0b,3\n", "line 2, has a NUL"),
        (
            "half of a surrogate pair in an id of a review",
            "Books.json",
            REVIEW.format("A") + REVIEW.format(r"A\ud800"),
            "line 2, is .*expected a JSON object with reviewerID",
        ),
        (
            "a review that nests a million brackets",
            "Books.json",
            REVIEW.format("A") + "[" * 1_000_000,
            r"line 2, is '\[\[\[.*expected a JSON object",
        ),
        (
            "an unclosed quote",
            "log.csv",
            HEADER + '1,"a",3\n2,"b,4\n3,c,5\n',
            "line 3, cannot be read: unexpected end of data",
        ),
        (
            "a line with too few fields",
            "log.csv",
            HEADER + "1,2,3\n1,2\n",
            "line 3, has 2 fields; expected 3",
        ),
        (
            "a file in Latin-1",
            "log.csv",
            HEADER.encode() + b"1,caf\xe9,3\n",
            "line 2, is not UTF-8 .byte 0xe9.; convert the file",
        ),
        ("a header of 64 KiB", "log.csv", "x" * 70_000, "line 1, exceeds 65,536 bytes"),
        (
            "two columns with one name",
            "log.csv",
            "user,user,item,timestamp\n1,1,2,3\n",
            "names the column 'user' more than once; rename one",
        ),
        (
            "two fields of RecBole with one name and two types",
            "log.inter",
            "user_id:token\titem_id:token\titem_id:float\nu\t1\t2\n",
            "names the column 'item_id' more than once; rename one",
        ),
        (
            "a date written as a number",
            "log.csv",
            HEADER + "1,2,20170102\n1,3,20171231\n",
            "like 20170102, a date written as a number; expected seconds",
        ),
        (
            "a date with the day or the month first",
            "log.csv",
            HEADER + "1,2,02/03/2017\n",
            "'02/03/2017'; expected seconds .* the year first",
        ),
        (
            "fractions of seconds that tell two events of a user apart",
            "log.csv",
            HEADER + "1,2,10.1\n1,3,10.5\n1,3,10.9\n",
            "has 10.1 and 10.5 for user 1, which would be one step",
        ),
        (
            "timestamps in milliseconds",
            "log.csv",
            HEADER + "1,2,1500000000000\n",
            "divide milliseconds by 1000",
        ),
        ("an empty id", "log.csv", HEADER + "1,,3\n", "'item' of the log has 1 empty values"),
        (
            "a gzip file cut short",
            "log.csv.gz",
            gzip.compress(HEADER.encode() + b"1,2,3\n", mtime=0)[:-12],
            "damaged or cut short",
        ),
    ],
)
def test_a_bad_file_is_refused(
    tmp_path: Path, fault: str, name: str, text: str | bytes, message: str
):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    options = {"items": None} if name.startswith(("Books", "ratings")) else {}
    with refuses(AREA, fault, ValueError, match=message) as caught:
        load(path, **options)
    assert name in str(caught.value)


@pytest.mark.parametrize("times", [[20170102, 20170132], [20171301], [5, 20170102]])
def test_numbers_that_are_not_all_dates_are_seconds(tmp_path: Path, times: list[int]):
    rows = "".join(f"1,2,{time}\n" for time in times)
    assert load(write(tmp_path / "log.csv", HEADER + rows)).timestamps.tolist() == sorted(times)


@pytest.mark.parametrize("date", ["2017-03-02", "2017/03/02", "2017-03-02T00:00:00Z"])
def test_dates_with_the_year_first_are_read(tmp_path: Path, date: str):
    assert times(load(write(tmp_path / "log.csv", f"{HEADER}1,2,{date}\n"))) == [1488412800]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_fractions_of_seconds_are_dropped_unless_they_separate_events(tmp_path: Path, unit: Any):
    path = tmp_path / "log.parquet"
    start = pl.datetime(2017, 1, 1, time_unit=unit)
    frame = pl.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "after": [100, 1100, 300]})
    frame = frame.select("user", "item", timestamp=start + pl.duration(milliseconds="after"))
    frame.write_parquet(path)
    log = load(path)
    assert times(log) == [1483228800, 1483228801, 1483228800]
    behaves(
        AREA,
        "fractions of seconds that separate no events of a user",
        "they are dropped, because the timestamps of a log are whole seconds",
    )
    frame.with_columns(pl.lit(1).alias("user")).write_parquet(path)
    with pytest.raises(ValueError, match="for user 1, which would be one step"):
        load(path)


def test_quotes_within_a_field_are_kept(tmp_path: Path):
    path = write(tmp_path / "log.csv", HEADER + '1,a"b,3\n1,"c""d, e\nf",4\n1,"g"h,5\n')
    with pytest.raises(ValueError, match="line 5, cannot be read: ',' expected after '\"'"):
        load(path)
    path.write_text(HEADER + '1,a"b,3\n1,"c""d, e\nf",4\n')
    assert load(path).item_ids.tolist() == [None, 'a"b', 'c"d, e\nf']


def test_ids_beyond_64_bits_are_refused(tmp_path: Path):
    ids = pl.Series([1, 2**63], dtype=pl.UInt64)
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1, 1], "item": ids, "timestamp": [1, 2]}).write_parquet(path)
    with refuses(AREA, "an item id of 2^63", ValueError, match=r"9223372036854775808; .*to 2\^63"):
        load(path)
    text = write(tmp_path / "log.csv", HEADER + f"1,{2**63},3\n1,5,4\n")
    assert load(text).item_ids.tolist() == [None, "5", str(2**63)]
    behaves(AREA, "an item id of 2^63 in a text file", "all item ids of the file are text")


@pytest.mark.slow
def test_a_misspelt_option_is_refused(tmp_path: Path):
    """In a process without the type checks that precede the library's own in tests."""
    atomic = write(tmp_path / "log.inter", ATOMIC)
    ratings = write(tmp_path / "ratings_X.csv", RATINGS)
    calls = [
        *((str(atomic), {option: value}) for option, value in OPTIONS[:4]),
        *((str(ratings), {"items": None, option: value}) for option, value in OPTIONS[4:]),
    ]
    code = f"""
from mindlib.data import load
nan = float("nan")
for path, options in {calls!r}:
    try:
        load(path, **options)
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    messages = done.stdout.splitlines()
    assert len(messages) == len(calls)
    missing, rating, *others = messages
    assert missing.endswith("log.inter: missing='eror': expected 'error' or 'unknown'")
    behaves(AREA, 'missing="eror"', f"ValueError: {missing}")
    assert rating == "min_rating='4': expected a number or None"
    behaves(AREA, 'min_rating="4"', f"ValueError: {rating}")
    for (_, options), message in zip(calls[2:], others, strict=True):
        name = next(name for name in options if name != "items")
        assert message.startswith(f"{name}={options[name]!r}: expected a")


@pytest.mark.parametrize("read", [load, table, sequences, recbole, amazon_reviews])
@pytest.mark.parametrize("path", ["~nobody-here/log", "x" * 5000, "a\0b"])
def test_an_impossible_path_is_not_found(read: Callable, path: str):
    with pytest.raises(FileNotFoundError, match=r"no such file|no data set"):
        read(path)


def test_a_path_that_does_not_exist(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")
    with refuses(AREA, "the home of an unknown user", FileNotFoundError, match="~nobody-here/"):
        load("~nobody-here/log.csv")


def test_a_table_with_the_name_of_the_id_column_twice(tmp_path: Path):
    write(tmp_path / "log.inter", ATOMIC)
    write(tmp_path / "log.item", "item_id:token\titem:token\n1\tx\n")
    with refuses(
        AREA, "a column item beside item_id", ValueError, match="'item_id' and 'item'; rename 'it"
    ):
        load(tmp_path)
    path = write(tmp_path / "log.csv", "user,item_id,item,timestamp\n1,2,3,4\n")
    with pytest.raises(ValueError, match=r"log.csv has the columns 'item_id' and 'item'; rename"):
        table(path, item="item_id", item_fields=["item"])
    write(tmp_path / "s" / "sequences.txt", "1 2\n")
    write(tmp_path / "s" / "items.csv", "id,item,brand\n2,x,y\n")
    with pytest.raises(ValueError, match=r"items.csv has the columns 'id' and 'item'; rename"):
        load(tmp_path / "s")


def test_an_encrypted_zip_is_refused(tmp_path: Path):
    path = tmp_path / "UserBehavior.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("UserBehavior.csv", "1,2,3,pv,1511539201\n")
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + flags] |= 1
    path.write_bytes(data)
    with refuses(AREA, "an encrypted zip", ValueError, match="is encrypted; unpack it"):
        load(path)


def test_metadata_of_odd_literals(tmp_path: Path):
    reviews = write(tmp_path / "Books.json", REVIEW.format("A"))
    meta = tmp_path / "meta_Books.json"
    for depth in (100, 5_000, 1_000_000):
        write(meta, f"{{'asin': 'B000000001', 'title': {'-' * depth}1}}\n")
        with pytest.raises(ValueError, match=r"meta_Books.json, line 1, is .*expected an object"):
            load(reviews)
    with refuses(AREA, "a million minus signs in metadata of 2014", ValueError, match="line 1, is"):
        load(reviews)
    for text in ("{'asin': 'B000000001', 'title': %s}", '{"asin": "B000000001", "title": %s}'):
        for title in (r'"T\ud800é"', r'"T\u0000é"'):
            write(meta, text % title)
            assert load(reviews).titles == ("", "T\ufffdé")
    behaves(
        AREA, "half of a surrogate pair in a title", "it becomes U+FFFD, the replacement character"
    )


def test_a_line_longer_than_a_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text_blocks, "LINE_BYTES", 1 << 16)
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    path = write(tmp_path / "ratings_X.csv.gz", RATINGS + "1" * (1 << 20))
    with refuses(AREA, "a line longer than a block", ValueError, match="line 2, is longer than 65"):
        load(path, items=None)


def test_the_format_of_a_file_is_recognized_by_its_first_mebibyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sizes: list[int] = []
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: sizes.append(size) or b"")
    write(tmp_path / "a.json.gz", b"[" * (1 << 22))
    assert first_line(tmp_path / "a.json.gz") == b""
    with pytest.raises(ValueError, match=r"holds a.json.gz; expected"):
        load(tmp_path)
    assert set(sizes) == {1 << 20}
