"""Amazon's reviews by the name of edition and category: fetched once with pooch, then cached."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch

from mindlib.data.interactions import Interactions
from mindlib.data.readers.amazon import amazon_reviews
from mindlib.data.storage import (
    atomic_file,
    cache_directory,
    checksum,
    make_cache_folder,
    read_object,
)

NAMES = ("amazon-2014-X", "amazon-2018-X", "amazon-2023-X")
SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data/"
# For each edition its page, the ratings (all reviews without their text), and the metadata.
EDITIONS = {
    "2014": (
        "https://jmcauley.ucsd.edu/data/amazon/",
        SNAP + "ratings_{}.csv",
        SNAP + "meta_{}.json.gz",
    ),
    "2018": (
        "https://nijianmo.github.io/amazon/",
        UCSD + "amazon_v2/categoryFilesSmall/{}.csv",
        UCSD + "amazon_v2/metaFiles2/meta_{}.json.gz",
    ),
    "2023": (
        "https://amazon-reviews-2023.github.io/",
        UCSD + "amazon_2023/benchmark/0core/rating_only/{}.csv.gz",
        UCSD + "amazon_2023/raw/meta_categories/meta_{}.jsonl.gz",
    ),
}
DIGESTS = "digests.json"
AMAZON = re.compile(rf"amazon-({'|'.join(EDITIONS)})-(\w+)")


def load_published(edition: str, category: str, **options: Any) -> Interactions:
    """Load the ratings and the metadata of a category of Amazon, together gigabytes.

    **The addresses have not been tried** by the authors of mindlib. The owner publishes no
    checksums; therefore `fetch` notes them. The owner's page states the terms and the paper to
    cite.

    Args:
        edition: one of `EDITIONS`.
        category: spelled as on the owner's page ("CDs_and_Vinyl").
        options: passed to `amazon_reviews`.

    Raises:
        OSError: a file cannot be fetched or the cache cannot be written.
        ValueError: a file has changed, or as `amazon_reviews` raises it.
    """
    page, ratings, metadata = EDITIONS[edition]
    folder = cache_directory() / f"amazon-{edition}"
    log = fetch(ratings.format(category), folder, page)
    if "items" not in options:
        options["items"] = fetch(metadata.format(category), folder, page)
    return amazon_reviews(log, **{"name": f"amazon-{edition}-{category}", **options})


def fetch(url: str, folder: Path, page: str) -> Path:
    """Return the file of an https address in `folder`, downloaded if it is not there yet.

    Its sha256 is noted in `digests.json` beside it and compared at every later call.
    """
    path, notes = folder / url.rsplit("/", 1)[1], folder / DIGESTS
    make_cache_folder(folder)
    if not path.is_file():
        pooch.get_logger().setLevel("WARNING")  # its advice to note the sha256 is followed below
        downloader = pooch.HTTPDownloader(progressbar=True, hooks={"response": _check_redirect})
        try:
            pooch.retrieve(url, None, path.name, folder, None, downloader)  # pyright: ignore
        except OSError as error:
            if error.errno is not None:  # of this machine, not of the network
                raise
            raise OSError(
                f"{url} cannot be downloaded ({error}); download the file by hand, see {page}, "
                f"and pass its path to load(), or put it at {path}"
            ) from error
    noted = read_object(notes, "; delete it") if notes.is_file() else {}
    found = checksum(path)["sha256"]
    expected = noted.get(path.name, found)
    if found != expected:
        raise ValueError(
            f"{path} has the sha256 {found}, expected {expected} as noted in {notes.name}: delete "
            f"the file to download it again; if its owner published a new version, delete the note"
        )
    if path.name not in noted:
        with atomic_file(notes) as partial:
            partial.write_text(json.dumps(noted | {path.name: found}, indent=1), encoding="utf-8")
    return path


def _check_redirect(response: Any, **_: object) -> None:
    scheme = urlsplit(response.headers.get("location", "")).scheme
    if response.is_redirect and scheme not in ("", "https"):
        raise OSError(f"redirected to {scheme}")
