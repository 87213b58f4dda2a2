import json
import random
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindlib.data import Interactions, amazon_reviews, load
from mindlib.data.feature_table import FeatureTable
from mindlib.data.readers import text_blocks
from tests.data.logs import events, write

DAY = 86_400
START = 1_300_000_000 // DAY * DAY
Review = tuple[str, str, float, int]  # user, item, stars, seconds
REVIEWS: list[Review] = [
    ("A1YJEY40YUW4SE", "000100039X", 5.0, START + 2 * DAY),
    ("A1YJEY40YUW4SE", "B000000002", 1.0, START),
    ("A60XNB876KYML", "000100039X", 3.0, START),
    ("A60XNB876KYML", "B000000003", 4.0, START + DAY),
]
SORTED = [
    ("A1YJEY40YUW4SE", "B000000002", START),
    ("A1YJEY40YUW4SE", "000100039X", START + 2 * DAY),
    ("A60XNB876KYML", "000100039X", START),
    ("A60XNB876KYML", "B000000003", START + DAY),
]
# Metadata of three invented items.
ITEMS: list[dict[str, Any]] = [
    {
        "id": "000100039X",
        "title": "Bread &amp; Salt",
        "brand": " Acme ",
        "path": ["Books", "Food &amp; Wine", "Baking", "Rye"],
    },
    {"id": "B000000002", "title": 'It\'s "here"', "brand": "Unknown", "path": ["Books"]},
    {"id": "B000000009", "title": "Of nobody", "brand": "Zenith", "path": ["Toys", "Dolls"]},
]


def old_json(review: Review) -> str:
    user, item, stars, time = review
    values = {"reviewerID": user, "asin": item, "overall": stars, "unixReviewTime": time}
    return json.dumps({**values, "helpful": [0, 1], "reviewText": 'He said "no",\nthen é'})


def new_json(review: Review) -> str:
    user, item, stars, time = review
    values = {"rating": stars, "title": "t", "images": [], "asin": "B00OTHER00"}
    more = {"parent_asin": item, "user_id": user, "timestamp": time * 1000 + 123}
    return json.dumps({**values, **more, "verified_purchase": True})


def old_csv(review: Review) -> str:
    return "{},{},{},{}".format(*review)


def middle_csv(review: Review) -> str:
    return "{1},{0},{2},{3}".format(*review)


def new_csv(review: Review) -> str:
    return "{},{},{},{}".format(*review[:3], review[3] * 1000)


def literal(item: dict[str, Any]) -> str:
    paths = [item["path"], ["Another", "Path"]]
    values = {"asin": item["id"], "title": item["title"], "price": 5.2, "brand": item["brand"]}
    return repr({**values, "related": {"also_bought": ["B1"]}, "categories": paths})


def middle_meta(item: dict[str, Any]) -> str:
    values = {"category": item["path"], "tech1": "", "title": item["title"], "price": "$5"}
    return json.dumps({**values, "brand": item["brand"], "rank": ["1"], "asin": item["id"]})


def new_meta(item: dict[str, Any]) -> str:
    values = {"main_category": "Books", "title": item["title"], "store": item["brand"]}
    more = {"categories": item["path"], "details": {"x": "y"}, "parent_asin": item["id"]}
    return json.dumps({**values, "price": 5.2, **more})


HEADER = "user_id,parent_asin,rating,timestamp\n"
EDITIONS = {
    "2014": ("reviews_Books.json.gz", "", old_json, "meta_Books.json.gz", literal),
    "2014, 5-core": ("reviews_Books_5.json", "", old_json, "meta_Books.json", literal),
    "2014, ratings": ("ratings_Books.csv", "", old_csv, "meta_Books.json.gz", literal),
    "2018": ("Books.json.gz", "", old_json, "meta_Books.json.gz", middle_meta),
    "2018, ratings": ("Books.csv", "", middle_csv, "meta_Books.json.gz", middle_meta),
    "2023": ("Books.jsonl.gz", "", new_json, "meta_Books.jsonl.gz", new_meta),
    "2023, ratings": ("Books.csv.gz", HEADER, new_csv, "meta_Books.jsonl.gz", new_meta),
}


def edition(folder: Path, which: str, reviews: list[Review] = REVIEWS) -> Path:
    """The two files of an edition, in a folder; the path of the reviews."""
    name, header, line, meta, describe = EDITIONS[which]
    write(folder / meta, "\n".join(map(describe, ITEMS)) + "\n")
    return write(folder / name, header + "\n".join(map(line, reviews)) + "\n")


def features(log: Interactions) -> FeatureTable:
    assert log.item_features is not None
    return log.item_features


@pytest.mark.parametrize("which", EDITIONS)
def test_every_edition_gives_the_same_log(tmp_path: Path, which: str):
    path = edition(tmp_path / "folder", which)
    for log in (amazon_reviews(path), load(path), load(path.parent)):
        assert events(log) == SORTED
        assert log.item_ids.tolist() == [None, "000100039X", "B000000002", "B000000003"]
        assert log.titles == ("", "Bread & Salt", 'It\'s "here"', "B000000003")
        table = features(log)
        assert table.fields == ("brand", "category_1", "category_2", "category_3")
        assert table.names("brand")[1:] == ["Acme", "unknown", "unknown"]
        assert table.names("category_1")[1:] == ["Books", "Books", "unknown"]
        assert table.names("category_2")[1] == "Books > Food & Wine"
        assert table.names("category_3")[1:] == [
            "Books > Food & Wine > Baking",
            "unknown",
            "unknown",
        ]
        assert log.name == path.name.split(".")[0]


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["AUSER0000001", "AUSER0000002", "AUSER0000003"]),
            st.sampled_from([item["id"] for item in ITEMS]),
            st.sampled_from([1.0, 5.0]),
            st.integers(0, 2).map(lambda day: START + day * DAY),
        ),
        min_size=1,
        max_size=15,
    ),
    which=st.sampled_from(list(EDITIONS)),
    seed=st.integers(0, 99),
    block=st.integers(1, 600),
)
def test_the_log_does_not_depend_on_line_order_or_blocks(
    tmp_path_factory: pytest.TempPathFactory, rows: list, which: str, seed: int, block: int
):
    folder = tmp_path_factory.mktemp("amazon")
    one = amazon_reviews(edition(folder / "one", which, rows))
    mixed = edition(folder / "two", which, random.Random(seed).sample(rows, len(rows)))
    with patch.object(text_blocks, "BLOCK_BYTES", block):
        two = amazon_reviews(mixed)
    assert events(one) == events(two) == sorted(set(events(one)), key=lambda e: (e[0], e[2], e[1]))
    assert one.titles == two.titles
    assert (features(one).codes == features(two).codes).all()
    assert set(events(one)) == {(u, i, t) for u, i, _, t in rows}


@pytest.mark.parametrize("describe", [literal, middle_meta])
def test_the_more_complete_of_two_metadata_lines_counts(tmp_path: Path, describe):
    poor = ITEMS[0] | {"title": "", "brand": "A brand before the other"}
    lines = [describe(poor), describe(ITEMS[0])]
    for order in (1, -1):
        path = edition(tmp_path / str(order), "2018")
        meta = write(path.with_name("meta_Books.json.gz"), "\n".join(lines[::order]))
        log = amazon_reviews(path, meta)
        assert log.label(1) == "Bread & Salt"
        assert features(log).names("brand")[1] == "Acme"


def test_metadata_lines_of_another_type_are_read(tmp_path: Path):
    path = edition(tmp_path, "2018")
    rest = [middle_meta(ITEMS[1])]
    for paths in ('"Books"', '[["Books", "Food"], ["X"]]', "null", "[]"):
        odd = f'{{"asin": "000100039X", "category": {paths}, "title": "T"}}'
        write(tmp_path / "meta_Books.json.gz", "\n".join([odd, *rest]))
        log = amazon_reviews(path)
        assert log.label(1) == "T"
        known = "Books" if "Books" in paths else "unknown"
        assert features(log).names("category_1")[1:3] == [known, "Books"]


def test_uninformative_metadata_is_unknown(tmp_path: Path):
    path = edition(tmp_path, "2018")
    script = ITEMS[0] | {"title": "var aPageStart = (new Date()).getTime();", "path": [" ", ""]}
    write(tmp_path / "meta_Books.json.gz", middle_meta(script))
    log = amazon_reviews(path)
    assert log.titles is None  # the only title was none
    assert features(log).fields == ("brand",)


def test_without_a_category_the_shop_is_the_first_level(tmp_path: Path):
    path = edition(tmp_path, "2023")
    write(tmp_path / "meta_Books.jsonl.gz", new_meta(ITEMS[0] | {"path": []}))
    assert features(amazon_reviews(path)).names("category_1")[1:] == ["Books", *["unknown"] * 2]


def test_no_code_in_metadata_is_run(tmp_path: Path):
    path, witness = edition(tmp_path, "2014"), tmp_path / "ran"
    line = f"{{'asin': '000100039X', 'title': open({str(witness)!r}, 'w')}}"
    write(tmp_path / "meta_Books.json.gz", "\n".join([literal(ITEMS[1]), line]))
    with pytest.raises(ValueError, match=r"meta_Books.json.gz, line 2, is .*expected an object"):
        amazon_reviews(path)
    assert not witness.exists()


def test_without_metadata_a_warning_is_issued(tmp_path: Path):
    path = edition(tmp_path, "2014")
    (tmp_path / "meta_Books.json.gz").unlink()
    with pytest.warns(UserWarning, match=r"no metadata beside it \(meta_Books.json.gz\): items"):
        log = amazon_reviews(path)
    assert log.item_features is None
    assert log.titles is None
    assert len(log) == 4
    assert events(amazon_reviews(path, items=None)) == events(log)  # without a warning
    with pytest.raises(FileNotFoundError, match="no such file"):
        amazon_reviews(path, tmp_path / "meta_Books.json.gz")


def test_metadata_of_other_items_are_refused(tmp_path: Path):
    path = edition(tmp_path, "2018")
    write(tmp_path / "meta_Books.json.gz", middle_meta(ITEMS[2]))
    with pytest.raises(ValueError, match=r"meta_Books.json.gz has none of the 3 items of"):
        amazon_reviews(path)


def dense(reviews: int, seed: int) -> list[Review]:
    """Some users and items with many reviews, some with few."""
    draw = random.Random(seed)
    return [
        (
            f"AUSER{int(draw.random() ** 2 * 12):09d}",
            f"B{int(draw.random() ** 2 * 12):09d}",
            float(draw.randint(1, 5)),
            START + place * DAY,
        )
        for place in range(reviews)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_papers_filter_counts_once_and_the_k_core_repeatedly(tmp_path: Path, seed: int):
    reviews = dense(150, seed)
    path = edition(tmp_path, "2014, ratings", reviews)
    users, items = Counter(u for u, *_ in reviews), Counter(i for _, i, *_ in reviews)
    once = amazon_reviews(path, None, min_count=10, filtering="once")
    assert set(events(once)) == {
        (u, i, t) for u, i, _, t in reviews if users[u] >= 10 and items[i] >= 10
    }
    core = amazon_reviews(path, None, min_count=10, filtering="k-core")
    assert len(core) < len(once)
    assert Counter(core.users.tolist()).most_common()[-1][1] >= 10
    assert core.item_counts()[1:].min() >= 10
    assert events(core) == events(amazon_reviews(path, None).k_core(10))


WRONG = {
    "2014": ['{"reviewerID": "A1", "asin": "B1"}', "hello", '{"reviewerID"'],
    "2014, ratings": ["A1,B000000001,5.0", "A1,B000000001,5.0,soon", ",B000000001,5.0,1"],
    "2023": [
        '{"user_id": "A", "parent_asin": null, "timestamp": 1300000000000}',
        '{"user_id": "A", "parent_asin": "B", "timestamp": "now"}',
        '{"user_id": "A", "parent_asin": "B", "timestamp": 1.5}',
        "[1, 2]",
    ],
    "2023, ratings": [
        "A1,B1,5.0",
        "A1,B1,many,1300000000000",
        "A1,,5.0,1300000000000",
        "A,B,1,2,3",
    ],
}


@pytest.mark.parametrize(("which", "line"), [(w, line) for w in WRONG for line in WRONG[w]])
@pytest.mark.parametrize("block", [1, 300, 100_000])
def test_a_wrong_line_is_named(tmp_path: Path, which: str, line: str, block: int):
    name, header, write_line, _, _ = EDITIONS[which]
    lines = [*map(write_line, REVIEWS), line, write_line(REVIEWS[0])]
    path = write(tmp_path / name, header + "\n".join(lines))
    number = 5 + bool(header)
    with (
        patch.object(text_blocks, "BLOCK_BYTES", block),
        pytest.raises(ValueError, match=rf"{name}, line {number}, is .*; expected") as caught,
    ):
        amazon_reviews(path, None)
    assert line[:30] in str(caught.value)


@pytest.mark.parametrize("describe", [literal, middle_meta, new_meta])
def test_a_wrong_line_of_metadata_is_named(tmp_path: Path, describe):
    path = edition(tmp_path, "2018")
    lines = [describe(ITEMS[0]), describe(ITEMS[1]), describe(ITEMS[0])[:-9], describe(ITEMS[2])]
    write(tmp_path / "meta_Books.json.gz", "\n".join(lines))
    with pytest.raises(ValueError, match=r"meta_Books.json.gz, line 3, is .*expected an object"):
        amazon_reviews(path)


def test_wrong_files_are_refused(tmp_path: Path):
    path = write(tmp_path / "Books.json", '{"a": 1}\n')
    with pytest.raises(ValueError, match=r"line 1, is .*expected a JSON object with reviewerI"):
        amazon_reviews(path)
    with pytest.raises(ValueError, match=r"no column 'timestamp'; its columns are 'user_id', 'pa"):
        amazon_reviews(write(tmp_path / "Books.csv", "user_id,parent_asin,rating\nA,B,1\n"))
    with pytest.raises(ValueError, match="has no review; it needs at least one"):
        amazon_reviews(write(tmp_path / "Books.csv", HEADER))
    with pytest.raises(ValueError, match="is empty"):
        amazon_reviews(write(tmp_path / "Books.csv", ""))
    with pytest.raises(FileNotFoundError, match="no such file"):
        amazon_reviews(tmp_path / "Music.csv")
    with pytest.raises(ValueError, match=r"expected reviews in .json or .jsonl, or .csv"):
        amazon_reviews(write(tmp_path / "Books.txt", "x"))
    with pytest.raises(ValueError, match="users and items: both of the first two columns"):
        amazon_reviews(write(tmp_path / "Books.csv", "AUSER00001,B000000001,5.0,1300000000\n"))
    with pytest.raises(
        ValueError, match=r"Books.csv: .*131300000000, which as seconds lies beyond"
    ):
        amazon_reviews(write(tmp_path / "Books.csv", "A1,B000000001,5.0,131300000000\n"), None)
    with pytest.raises(ValueError, match="min_count=0"):
        amazon_reviews(path, min_count=0)


def test_a_cut_file_is_refused(tmp_path: Path):
    path = edition(tmp_path, "2014")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"reviews_Books.json.gz is damaged or cut short"):
        amazon_reviews(path)


def test_load_asks_which_of_several_reviews(tmp_path: Path):
    edition(tmp_path, "2014")
    edition(tmp_path, "2014, ratings")
    with pytest.raises(ValueError, match=r"2 files .*\(ratings_Books.csv, reviews_Books.json.gz\)"):
        load(tmp_path)


def test_load_leaves_other_tables_alone(tmp_path: Path):
    path = write(tmp_path / "log.csv", "user,item,timestamp\n1,2,3\n")
    assert events(load(path)) == [(1, 2, 3)]
    with pytest.raises(ValueError, match="has no column 'user', 'item', 'timestamp'"):
        load(write(tmp_path / "other.csv", "1,2,3,4\n"))


def test_seconds_in_a_file_of_2023_are_refused(tmp_path: Path):
    line = {"user_id": "A", "parent_asin": "B", "rating": 5.0, "timestamp": 1_300_000_000}
    path = write(tmp_path / "Books.jsonl", json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=r"milliseconds since 1970.*multiply seconds by 1000"):
        amazon_reviews(path)


def test_a_damaged_first_line_of_2023_names_the_columns_of_2023(tmp_path: Path):
    path = write(tmp_path / "Books.jsonl", '{"user_id": "A"}\n')
    with pytest.raises(ValueError, match="parent_asin"):
        amazon_reviews(path)
