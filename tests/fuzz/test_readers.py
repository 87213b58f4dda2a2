"""Random and damaged files: load() reads a log, or names the file and the line that it refuses."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mindlib.data import Interactions, load

pytestmark = pytest.mark.slow

EXAMPLES = (settings.default or settings()).max_examples
SHORT = b"user,item,timestamp\nann,1,30\nann,2,10\nbob,1,20\n"
REVIEWS = "".join(
    json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": 1300000000})
    + "\n"
    for user, item in [("A1", "B000000001"), ("A2", "B000000002")]
).encode()
LITERALS = b"{'asin': 'B000000001', 'title': 'It\\'s', 'categories': [['Books', 'Food']]}\n"
META = b'{"asin": "B000000002", "title": "Tea", "category": ["Books", "Food"], "brand": "X"}\n'
# For each form of a file its name, its valid content, and the files beside it.
FILES: dict[str, tuple[str, bytes, dict[str, bytes]]] = {
    "csv": ("log.csv", SHORT, {}),
    "quoted csv": ("log.csv", b'user,item,timestamp,title\n1,"a ""b"", c",2,"d\ne"\n', {}),
    "dated csv": ("log.csv", b"user,item,timestamp\n1,2,2017-11-25 10:30:00\n1,3,2017-11-26\n", {}),
    "text": ("log.txt", b"1 30 10 20\n2 10 30\n", {}),
    "folder": (
        "items.tsv",
        b"item_id\tasin\tattributes\ttext_tags\n1\tB1\tX|Skin|Oil\tan oil\n2\tB2\t\t\n",
        {"sequences.txt": b"1 1 2\n"},
    ),
    "recbole": (
        "toy.inter",
        b"user_id:token\titem_id:token\ttimestamp:float\nu\t1\t20.5\nu\t2\t30\n",
        {"toy.item": b"item_id:token\ta:token_seq\n1\tx y\n2\t\n"},
    ),
    "recbole items": (
        "toy.item",
        b"item_id:token\ta:token_seq\n1\tx y\n2\t\n",
        {"toy.inter": b"user_id:token\titem_id:token\nu\t1\nu\t2\n"},
    ),
    "reviews": ("Books.json", REVIEWS, {"meta_Books.json": META}),
    "metadata": ("meta_Books.json", META, {"Books.json": REVIEWS}),
    "metadata of 2014": ("meta_Books.json", LITERALS, {"Books.json": REVIEWS}),
    "ratings": (
        "Books.csv",
        b"user_id,parent_asin,rating,timestamp\nA,B1,5.0,1300000000000\n",
        {"meta_Books.jsonl": b""},
    ),
    "bare ratings": ("ratings_X.csv", b"A1,B000000001,5.0,1300000000\n", {}),
    "taobao": ("UserBehavior.csv", b"1,2,3,pv,1511539201\n1,4,3,buy,1511539205\n", {}),
}
PACKED = ("", "", ".gz", ".zip")
TOKENS = [
    *(b",", b"\t", b"::", b"\n", b"\r", b"\r\n", b'"', b'""', b"'", b" ", b"\0", b"\xff", b"\\"),
    *(b"\xef\xbb\xbf", b"\\ud800", b"-", b"nan", b"inf", b"1e400", b"9" * 30, b"[" * 2000, b"{"),
    *(b"20170102", b"02/03/2017", b"\xc3\xa9", b"null", b"-1", b"0.5", b"1_0", b"user", b"item"),
    *(
        b"\xe2\x80\xa8",
        b"\x1f",
        b"\x85",
        b"#",
        b"pv",
        b"timestamp",
        b"item_id",
        b"title",
        b"-" * 999,
    ),
]


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes with a few pieces deleted, repeated, replaced or inserted."""
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        piece = draw(
            st.sampled_from(TOKENS) | st.binary(max_size=6) | st.just(content[start:end] * 2)
        )
        content = content[:start] + piece + content[end:]
    return content


def packed(path: Path, content: bytes, suffix: str) -> tuple[Path, bytes]:
    """The path and the bytes of a file that holds the content, packed or not."""
    if suffix == ".gz":
        return path.with_name(path.name + suffix), gzip.compress(content, mtime=0)
    if suffix == ".zip":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(zipfile.ZipInfo(path.name), content)
        return path.with_name(path.name + suffix), file.getvalue()
    return path, content


@contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Path(folder) / "toy"


def check_load(dataset: Path) -> None:
    """Check that the data are a log, or refused with an error that names the file and the line."""
    message = ""
    try:
        check_log(load(dataset))
    except (ValueError, FileNotFoundError) as error:
        if type(error) not in (ValueError, FileNotFoundError):
            raise
        message = f"{error}"
        folder = dataset.parent if dataset.is_file() else dataset
        if str(folder) not in message:
            raise
    if "correct it" in message or "complete it" in message:
        assert re.search(r", line \d+, ", message), message


def check_log(log: Interactions) -> None:
    assert len(log) > 0
    assert set(log.users) == set(range(1, log.num_users + 1))
    assert set(log.items) == set(range(1, log.num_items + 1))
    assert (log.timestamps >= 0).all()
    for ids in (log.user_ids[1:].tolist(), log.item_ids[1:].tolist()):
        assert len({type(value) for value in ids}) == 1
        assert all(-(2**63) <= value < 2**63 for value in ids if isinstance(value, int))
        assert all(value and "\0" not in value for value in ids if isinstance(value, str))


@pytest.mark.parametrize("form", FILES)
@settings(max_examples=max(1, EXAMPLES // 4))
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(form: str, data: st.DataObject):
    name, content, others = FILES[form]
    suffix = data.draw(st.sampled_from(PACKED))
    inside, outside = data.draw(damaged(content)), data.draw(st.booleans())
    with temporary_folder() as folder:
        folder.mkdir()
        for other, text in others.items():
            (folder / other).write_bytes(text)
        path, packed_content = packed(folder / name, inside, suffix)
        if suffix and outside:
            packed_content = data.draw(damaged(packed_content))
        path.write_bytes(packed_content)
        check_load(folder)
        if form not in ("folder", "recbole items", "metadata", "metadata of 2014"):
            check_load(path)


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=40), st.sampled_from([name for name, _, _ in FILES.values()]))
def test_arbitrary_bytes_are_read_or_refused(content: bytes, name: str):
    with temporary_folder() as folder:
        folder.mkdir()
        (folder / name).write_bytes(content)
        check_load(folder / name)
        check_load(folder)


IDS = st.text(min_size=1, max_size=6).filter(lambda text: not re.search("[\0\r]", text))
ROWS = st.lists(
    st.tuples(
        st.integers(-3, 10**12) | IDS,
        st.integers(-3, 10**12) | IDS,
        st.integers(0, 10**11 - 1),
    ),
    min_size=1,
    max_size=8,
)


def write_csv(path: Path, rows: list[tuple]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([("user", "item", "timestamp"), *rows])
    path.write_bytes(file.getvalue().encode())


def write_polars(path: Path, rows: list[tuple]) -> None:
    texts = [(str(user), str(item), at) for user, item, at in rows]
    frame = pl.DataFrame(texts, schema=["user", "item", "timestamp"], orient="row")
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)


def is_text(ids: list) -> bool:
    return any(not re.fullmatch(r"0|-?[1-9]\d*", str(value)) for value in ids)


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_csv, "log.csv"), (write_polars, "log.csv"), (write_polars, "log.parquet")],
)
@settings(max_examples=max(1, EXAMPLES // 2))
@given(rows=ROWS)
@example(rows=[('a"b', "1", 0), ('"', '""', 1), ("a\nb", "c,d", 2), ("'", " x ", 2)])
@example(rows=[(1, "#", 0), (2, "null", 1), (3, "\ufeff", 2), (4, "\u2028", 3), (5, "\x1f", 4)])
@example(rows=[("\ufeff", 1, 0), (" ", 1, 1)])
def test_a_log_that_is_written_and_read_is_the_same(
    write: Callable[[Path, list[tuple]], None], name: str, rows: list[tuple]
):
    with temporary_folder() as folder:
        folder.mkdir()
        write(folder / name, rows)
        log = load(folder / name)
        log.save(folder / "saved")
        saved = load(folder / "saved")
        for array in ("users", "items", "timestamps", "user_ids", "item_ids"):
            assert getattr(saved, array).tolist() == getattr(log, array).tolist()
    users, items, _ = zip(*rows, strict=True)
    kinds = [str if is_text(list(ids)) else int for ids in (users, items)]
    wanted = [(kinds[0](user), kinds[1](item), at) for user, item, at in rows]
    found = zip(
        log.user_ids[log.users].tolist(),
        log.item_ids[log.items].tolist(),
        log.timestamps.tolist(),
        strict=True,
    )
    assert list(found) == sorted(wanted, key=lambda row: (row[0], row[2]))


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_a_damaged_parquet_file_is_read_or_refused(data: st.DataObject):
    file = io.BytesIO()
    pl.read_csv(SHORT).write_parquet(file)
    with temporary_folder() as folder:
        folder.mkdir()
        (folder / "log.parquet").write_bytes(data.draw(damaged(file.getvalue())))
        check_load(folder / "log.parquet")


def seconds(path: Path) -> float:
    start = time.process_time()
    check_load(path)
    return time.process_time() - start


@pytest.mark.parametrize("name", ["log.csv", "log.txt", "toy.inter", "Books.json", "ratings_X.csv"])
@settings(max_examples=max(1, EXAMPLES // 20))
@given(st.sampled_from(TOKENS), st.sampled_from(list(FILES)))
def test_the_time_is_linear_in_the_size(name: str, token: bytes, form: str):
    """A long repetition takes less than the square of its length; the ratio is generous."""
    with temporary_folder() as folder:
        folder.mkdir()
        took = []
        for size in (1 << 16, 1 << 21):
            path = folder / name
            path.write_bytes(FILES[form][1] + token * (size // len(token)))
            took.append(min(seconds(path) for _ in range(2)))
    assert took[1] < 300 * max(took[0], 0.005), "32 times the bytes; quadratic work is 1,024 times"
