"""Large data by name: fetched from their owner where he offers that, else found in the cache."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mindlib.data.downloads import download
from mindlib.data.interactions import Interactions
from mindlib.data.readers.amazon import amazon_reviews
from mindlib.data.readers.taobao import taobao_behaviors
from mindlib.data.readers.wheels import cache_directory

FORMS = ("amazon-2014-X", "amazon-2018-X", "amazon-2023-X", "taobao")
# For each edition the ratings, which are all reviews without their text, and the metadata.
ADDRESSES = {
    "2014": (
        "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/ratings_{}.csv",
        "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/meta_{}.json.gz",
    ),
    "2018": (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/categoryFilesSmall/{}.csv",
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/metaFiles2/meta_{}.json.gz",
    ),
    "2023": (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/benchmark/0core/"
        "rating_only/{}.csv.gz",
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/meta_categories/"
        "meta_{}.jsonl.gz",
    ),
}
PAGES = {
    "2014": "https://jmcauley.ucsd.edu/data/amazon/",
    "2018": "https://nijianmo.github.io/amazon/",
    "2023": "https://amazon-reviews-2023.github.io/",
}
TAOBAO_PAGE = "https://tianchi.aliyun.com/dataset/649"
TAOBAO_FILES = ("UserBehavior.csv", "UserBehavior.csv.zip", "UserBehavior.csv.gz")


def is_published(name: str) -> bool:
    """Whether `published` knows the name."""
    return name == "taobao" or _edition(name) is not None


def published(dataset: str, **options: Any) -> Interactions:
    """A large data set of the field by its name.

    "amazon-2014-Books" is a category of the edition of 2014, 2018 or 2023, spelled as its owner
    spells it ("CDs_and_Vinyl"): all ratings and the metadata, which together are gigabytes. They
    are fetched once, into mindlib's cache. **The addresses have not been tried** by those who
    wrote this, nor are checksums known: their owner publishes none. So what comes is checked for
    being whole, its sha256 is recorded beside it, and when an address has changed the error says
    where to look. The owner's pages ask that the data's paper be cited, and give the terms; before
    2018's metadata they once had a form to fill in, and as others tell now link to them openly.

    "taobao" is never fetched, since its owner gives it to those with an account only: the error
    says where to get it and where to put it.

    Args:
        dataset: one of `FORMS`, X being the category.
        options: passed to `amazon_reviews` or `taobao_behaviors`.

    Raises:
        FileNotFoundError: Taobao's file is not in the cache.
        OSError, RuntimeError, ValueError: as `download`, `amazon_reviews`, `taobao_behaviors`.
    """
    options.setdefault("name", dataset)
    if dataset == "taobao":
        return taobao_behaviors(_taobao_file(), **options)
    found = _edition(dataset)
    if found is None:
        raise ValueError(f"{dataset!r}: expected one of {', '.join(FORMS)}")
    edition, category = found
    folder = cache_directory() / f"amazon-{edition}"
    ratings, metadata = (address.format(category) for address in ADDRESSES[edition])
    log = _fetched(ratings, folder, edition)
    if "items" not in options:
        options["items"] = _fetched(metadata, folder, edition)
    return amazon_reviews(log, **options)


def _edition(name: str) -> tuple[str, str] | None:
    found = re.fullmatch(rf"amazon-({'|'.join(ADDRESSES)})-(\w+)", name)
    return (found[1], found[2]) if found else None


def _fetched(url: str, folder: Path, edition: str) -> Path:
    try:
        return download(url, folder / url.rsplit("/", 1)[1])
    except RuntimeError as error:
        raise RuntimeError(
            f"{error} (a category is spelled as at {PAGES[edition]}, which also says where the "
            f"files are now)"
        ) from error


def _taobao_file() -> Path:
    folder = cache_directory() / "taobao"
    for name in TAOBAO_FILES:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"Taobao's UserBehavior is given only to those with an account, so it is not fetched: "
        f"get {TAOBAO_FILES[1]} from {TAOBAO_PAGE} and put it into {folder}, or pass its path to "
        f"load()"
    )
