import gzip
import zipfile
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data.readers import text_blocks
from mindlib.data.readers.text_blocks import Block, first_line, parse_csv, read_blocks

SCHEMA = {"user": pl.Int64, "name": pl.String}


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.csv", data)
    else:
        path.write_bytes(data)
    return path


@given(
    lines=st.lists(
        st.binary(max_size=12).map(lambda line: line.translate(None, b"\0\r\n")), max_size=12
    ),
    size=st.integers(1, 40),
    suffix=st.sampled_from(["", ".gz", ".zip"]),
    ended=st.booleans(),
)
def test_blocks_are_the_file_in_whole_lines_with_their_numbers(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], size: int, suffix: str, ended
):
    data = b"\n".join([b"x", *lines]) + b"\n" * ended
    path = written(tmp_path_factory.mktemp("blocks"), f"data.csv{suffix}", data)
    all_lines = data.split(b"\n")
    found = {}
    with patch.object(text_blocks, "BLOCK_BYTES", size):
        blocks = list(read_blocks(path))
    for block in blocks:
        here = block.data.removesuffix(b"\n").split(b"\n")
        found |= {block.first + place: line for place, line in enumerate(here)}
    wanted = {number: line for number, line in enumerate(all_lines, 1) if line.strip()}
    assert {number: line for number, line in found.items() if line.strip()} == wanted
    assert first_line(path) == b"x"


def test_a_block_has_at_most_its_size_and_the_rest_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 1000)
    path = written(tmp_path, "data.csv.gz", b"1,a\n" * 10_000)
    assert max(len(block.data) for block in read_blocks(path)) <= 1004


def test_a_byte_order_mark_is_removed(tmp_path: Path):
    path = written(tmp_path, "data.csv", b"\xef\xbb\xbf1,a\n")
    assert first_line(path) == b"1,a"


@pytest.mark.parametrize("line", [b"1", b"1,a,2", b"x,a", b",a", b"1,", b"1.5,a", b"1,\xff"])
@pytest.mark.parametrize("size", [1, 8, 1000])
def test_a_wrong_line_of_csv_is_named(
    tmp_path: Path, line: bytes, size: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", size)
    path = written(tmp_path, "data.csv", b"1,a\n\n2,b\n" + line + b"\n3,c\n")
    shown = line.decode(errors="replace")
    read = (parse_csv(block, SCHEMA, ["user", "name"]) for block in read_blocks(path))
    with pytest.raises(ValueError, match=r"data.csv, line 4, is .*; expected 2 fields, user \(I"):
        list(read)
    with pytest.raises(ValueError, match=f"is {shown!r}"):
        parse_csv(Block(path, 1, line), SCHEMA, ["user", "name"])


def test_csv_ignores_blank_lines_and_unwanted_columns(tmp_path: Path):
    rows = parse_csv(Block(tmp_path, 1, b"\n1,a\r\n\n2,\n"), SCHEMA, ["user"])
    assert rows.to_dict(as_series=False) == {"user": [1, 2]}


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_cut_archive_is_refused(tmp_path: Path, suffix: str, keep: float):
    path = written(tmp_path, f"data.csv{suffix}", bytes(range(256)) * 40)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ValueError, match=rf"data.csv{suffix} is damaged or cut short"):
        list(read_blocks(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_changed_byte_of_a_zip_is_refused_or_harmless(tmp_path: Path, method: int):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("data.csv"), b"1,a\n2,b\n", method)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 128]) + whole[place + 1 :])
        try:
            assert [block.data for block in read_blocks(path)] == [b"1,a\n2,b\n"]
        except ValueError as error:
            if "data.zip" not in str(error):
                raise


def test_a_zip_must_hold_one_file(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "1")
    with pytest.raises(ValueError, match=r"two.zip holds 2 files \(a.csv, b.csv\); expected one"):
        list(read_blocks(tmp_path / "two.zip"))
