"""MovieLens-1M, from the Python package and from GroupLens's folder, with fabricated ratings."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mindlib.data import Interactions, load, movielens_1m
from mindlib.data.readers import movielens
from mindlib.data.readers.pypi_wheels import Wheel
from tests.reliability import refuses

REAL = movielens.WHEEL
IS_CACHED = REAL.path.is_file()
WHEEL = "films-0-py3-none-any.whl"
AREA = "Data files"
FILMS = [
    (1, "Toy Story (1995)", ["Animation", "Children's", "Comedy"]),
    (2, "Matrix, The (1999)", ["Action", "Sci-Fi"]),
    (3, "Star Maker, The (Uomo delle stelle, L') (1995)", ["Drama"]),
    (4, "Misérables, Les (1958)", ["Drama", "Musical"]),
    (5, "Good Morning, Vietnam (1987)", ["Comedy", "War"]),
]
USERS = [(1, "F", "1", "10"), (2, "M", "56", "0"), (3, "M", "25", "20")]
RATINGS = [
    *[(1, 1, 5, 300), (1, 2, 4, 200), (1, 3, 3, 100)],
    *[(2, 4, 4, 100), (2, 5, 5, 100), (2, 1, 4, 200), (2, 2, 1, 50)],
    *[(3, 1, 4, 7), (3, 2, 5, 8), (3, 4, 4, 9)],
]


def events(log: Interactions) -> list[tuple]:
    users, titles = log.user_ids[log.users].tolist(), map(log.label, log.items.tolist())
    return list(zip(users, titles, log.timestamps.tolist(), strict=True))


def write_folder(folder: Path, **files: str | bytes) -> Path:
    """Write GroupLens's files, except for the contents that are given."""
    texts: dict[str, str | bytes] = {
        "ratings": "".join(f"{u}::{i}::{r}::{t}\n" for u, i, r, t in RATINGS),
        "movies": "".join(f"{i}::{name}::{'|'.join(genres)}\n" for i, name, genres in FILMS),
        "users": "".join(f"{u}::{g}::{age}::{o}::55117\n" for u, g, age, o in USERS),
    } | files
    folder.mkdir()
    for name, text in texts.items():
        data = text.encode("latin-1") if isinstance(text, str) else text
        (folder / f"{name}.dat").write_bytes(data)
    return folder


def write_wheel(path: Path, *kinds: str) -> None:
    """Write a wheel with the members, in which lines end in CR LF."""
    names = {i: name for i, name, _ in FILMS}
    texts = {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
        + "".join(f"1m_{u}\t{names[i]}\t{r}\t{t}\r\n" for u, i, r, t in RATINGS),
        "item": "item_id:token\tmovie_title:token\trelease_year:float\tgenre:token\r\n"
        + "".join(
            f"{name}\t{name[:-7]}\t{name[-5:-1]}\t{' '.join(genres)}\r\n"
            for _, name, genres in FILMS
        ),
        "user": "user_id:token\tage:float\tgender:token\toccupation:float\tzip_code:token\r\n"
        + "".join(f"1m_{u}\t{age}\t{g}\t{o}\t01060\r\n" for u, g, age, o in USERS),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for kind in kinds:
            archive.writestr(f"{movielens.MEMBER}.{kind}", texts[kind].encode())


def use_wheel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setenv("MINDLIB_CACHE", str(path.parent))
    monkeypatch.setattr(movielens, "WHEEL", Wheel("films", "0", sha256))


@pytest.fixture(params=["wheel", "folder", "folder in UTF-8"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `load` takes."""
    if request.param == "wheel":
        write_wheel(tmp_path / WHEEL, "inter", "item", "user")
        use_wheel(tmp_path / WHEEL, monkeypatch)
        return "movielens-1m"
    folder = write_folder(tmp_path / "ml-1m")
    if "UTF-8" in request.param:
        films = folder / "movies.dat"
        films.write_bytes(films.read_bytes().decode("latin-1").encode())
    return str(folder)


def test_both_sources_give_the_same_log(source: str):
    log = load(source, k=1)
    assert events(log) == [
        *[(1, "The Matrix", 200), (1, "Toy Story", 300)],
        *[(2, "Les Misérables", 100), (2, "Good Morning, Vietnam", 100), (2, "Toy Story", 200)],
        *[(3, "Toy Story", 7), (3, "The Matrix", 8), (3, "Les Misérables", 9)],
    ]
    assert log.name == "movielens-1m"
    item = {log.label(number): number for number in range(1, log.num_items + 1)}
    table, profiles = log.item_features, log.profiles
    assert table is not None
    assert table.fields == ("genre", "genre", "genre", "decade")
    genres = np.array(table.vocabularies[0])[table.codes[:, table.columns["genre"]]]
    assert genres[item["Toy Story"]].tolist() == ["Animation", "Children's", "Comedy"]
    assert genres[item["Les Misérables"]].tolist() == ["Drama", "Musical", "unknown"]
    decades = table.names("decade")
    assert decades[item["The Matrix"]] == "1990s"
    assert decades[item["Les Misérables"]] == "1950s"
    assert profiles is not None
    assert profiles.fields == ("gender", "age", "occupation")
    assert [profiles.names(field)[1:] for field in profiles.fields] == [
        ["F", "M", "M"],
        ["under 18", "56 and over", "25-34"],
        ["K-12 student", "other or not specified", "writer"],
    ]


def test_ratings_and_the_core_are_options(source: str):
    assert len(load(source, k=1, min_rating=1)) == len(RATINGS)
    log = load(source, k=2)
    assert log.item_counts()[1:].min() >= 2
    titles = [log.label(item) for item in range(1, log.num_items + 1)]
    assert sorted(titles) == ["Les Misérables", "The Matrix", "Toy Story"]
    with pytest.raises(ValueError, match="has no rating >= 6; choose a smaller min_rating"):
        load(source, min_rating=6)
    with pytest.raises(ValueError, match=r"movielens-1m: of 8 interactions .* min_count=5"):
        load(source)


def test_films_have_the_ids_of_their_source(source: str):
    ids = load(source, k=1, min_rating=1).item_ids[1:].tolist()
    own = [name if source == "movielens-1m" else number for number, name, _ in FILMS]
    assert ids == sorted(own)


def test_articles_stand_in_front(tmp_path: Path):
    log = movielens_1m(write_folder(tmp_path / "ml-1m"), min_rating=1, k=1)
    assert log.label(3) == "The Star Maker (L'Uomo delle stelle)"
    assert log.label(5) == "Good Morning, Vietnam"


@pytest.mark.parametrize(
    ("fault", "files", "message"),
    [
        (
            "a rating of MovieLens that is no number",
            {"ratings": "1::1::good::5\n"},
            "'rating' has the value 'good'; expected a number in every row",
        ),
        (
            "a film of MovieLens without a row",
            {"movies": "1::Toy Story (1995)::Comedy\n"},
            r"4 of 5 item ids .* have no row in the item table, the first is 2; add their rows",
        ),
        (
            "a line of MovieLens with too few fields",
            {"users": "1::F::1::10::0\n2::M\n"},
            r"users.dat, line 2, has 2 fields; expected 5, separated by '::'",
        ),
        (
            "a time of MovieLens that is no number",
            {"ratings": "1::1::5::soon\n"},
            "'timestamp' has the value 'soon'; expected seconds",
        ),
        ("an empty file of MovieLens", {"movies": ""}, r"movies.dat is empty \(0 bytes\)"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, fault: str, files: dict[str, str], message: str):
    folder = write_folder(tmp_path / "ml-1m", **files)
    with refuses(AREA, fault, ValueError, match=message) as caught:
        load(folder, min_rating=1, k=1)
    assert len(str(caught.value).splitlines()) == 1


def test_a_film_without_a_row_may_be_unknown(tmp_path: Path):
    folder = write_folder(tmp_path / "ml-1m", movies="1::Toy Story (1995)::Comedy\n")
    log = load(folder, k=1, missing="unknown")
    assert log.item_features is not None
    assert log.item_features.names("genre") == ["unknown", "Comedy", *["unknown"] * 3]


def test_a_folder_without_a_file_is_refused(tmp_path: Path):
    folder = write_folder(tmp_path / "ml-1m")
    (folder / "users.dat").unlink()
    with refuses(
        AREA, "a folder of MovieLens without users.dat", FileNotFoundError, match="/users.dat; chec"
    ):
        load(folder)


def test_bad_options_are_refused_before_anything_is_fetched():
    with pytest.raises(ValueError, match="k=0: expected at least 1"):
        load("movielens-1m", k=0)


def test_a_failing_pip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / WHEEL
    write_wheel(path, "inter", "item", "user")
    use_wheel(path, monkeypatch)
    path.write_bytes(b"changed")  # pip is asked for another copy
    done = subprocess.CompletedProcess([], 1, "", "no network")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RuntimeError, match=r"could not download films==0 .*check the network and"):
        load("movielens-1m")


@pytest.mark.skipif(not IS_CACHED, reason="the wheel is not in the cache")
def test_the_real_films():
    log = load("movielens-1m")
    assert (log.num_users, log.num_items, len(log)) == (6034, 3125, 574376)
    table = log.item_features
    assert table is not None
    assert table.fields == ("genre",) * 6 + ("decade",)
    assert table.sizes == (19,) * 6 + (11,)
    assert (table.codes[1:, [0, -1]] > 0).all()
    assert log.profiles is not None
    assert log.profiles.sizes == (3, 8, 22)
    assert (log.profiles.codes[1:] > 0).all()
    titles = set(log.titles or ())
    assert {"The Matrix", "Les Misérables", "Hate (La Haine)", "Girl, Interrupted"} <= titles
