"""Published data sets by name: fetched once with pooch, or found in the cache."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch

from mindlib.data.interactions import Interactions
from mindlib.data.readers.amazon import amazon_reviews
from mindlib.data.readers.taobao import taobao_behaviors
from mindlib.data.storage import (
    atomic_file,
    cache_directory,
    checksum,
    make_cache_folder,
    read_object,
)

NAMES = ("amazon-2014-X", "amazon-2018-X", "amazon-2023-X", "taobao")
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
TAOBAO_PAGE = "https://tianchi.aliyun.com/dataset/649"
TAOBAO_FILES = ("UserBehavior.csv", "UserBehavior.csv.zip", "UserBehavior.csv.gz")
MAX_BYTES = 1 << 35  # 32 GiB: more than any of these files has
DIGESTS = "digests.json"
AMAZON = re.compile(rf"amazon-({'|'.join(EDITIONS)})-(\w+)")


def is_published(name: str) -> bool:
    """Whether `load_published` accepts the name."""
    return name == "taobao" or AMAZON.fullmatch(name) is not None


def load_published(dataset: str, **options: Any) -> Interactions:
    """Load a large public data set by its name.

    "amazon-2014-Books" is a category of the edition of 2014, 2018 or 2023, spelled as on the
    owner's page ("CDs_and_Vinyl"): all ratings and the metadata, together gigabytes. **The
    addresses have not been tried** by the authors of mindlib. The owner publishes no checksums;
    therefore `fetch` notes them. The owner's page states the terms and the paper to cite.

    "taobao" is never fetched, because its owner requires an account: the error says where to get
    the file and where to put it.

    Args:
        dataset: one of `NAMES`, where X is the category.
        options: passed to `amazon_reviews` or `taobao_behaviors`.

    Raises:
        FileNotFoundError: Taobao's file is not in the cache.
        OSError: a file cannot be fetched or the cache cannot be written.
        ValueError: a file has changed, or as `amazon_reviews` and `taobao_behaviors` raise it.
    """
    options.setdefault("name", dataset)
    if dataset == "taobao":
        folder = cache_directory() / "taobao"
        found = [folder / name for name in TAOBAO_FILES if (folder / name).is_file()]
        if not found:
            raise FileNotFoundError(
                f"Taobao's UserBehavior requires an account, so it is not downloaded: get "
                f"{TAOBAO_FILES[1]} from {TAOBAO_PAGE} and put it into {folder}, or pass its path "
                f"to load()"
            )
        return taobao_behaviors(found[0], **options)
    parsed = AMAZON.fullmatch(dataset)
    if parsed is None:
        raise ValueError(f"dataset={dataset!r}: expected one of {', '.join(NAMES)}")
    edition, category = parsed.groups()
    page, ratings, metadata = EDITIONS[edition]
    folder = cache_directory() / f"amazon-{edition}"
    log = fetch(ratings.format(category), folder, page)
    if "items" not in options:
        options["items"] = fetch(metadata.format(category), folder, page)
    return amazon_reviews(log, **options)


class _RefusedDownload(OSError):
    """A download is too long or not over https."""


class _LimitedFile(io.FileIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MAX_BYTES:
            raise _RefusedDownload(f"more than {MAX_BYTES:,} bytes")
        return super().write(data)


def _download(url: str, path: str, owner: object) -> None:
    def check_redirect(response: Any, **_: object) -> None:
        scheme = urlsplit(response.headers.get("location", "")).scheme
        if response.is_redirect and scheme not in ("", "https"):
            raise _RefusedDownload(f"redirected to {scheme}")

    downloader = pooch.HTTPDownloader(progressbar=True, hooks={"response": check_redirect})
    with _LimitedFile(path, "wb") as file:
        downloader(url, file, owner)


def fetch(url: str, folder: Path, page: str) -> Path:
    """Return the file of an https address in `folder`, downloaded if it is not there yet.

    Its sha256 is noted in `digests.json` beside it and compared at every later call.

    Raises:
        OSError: the download failed, is longer than `MAX_BYTES` or was redirected to another
            protocol (the message refers to `page`), or `folder` is not writable.
        ValueError: the address is not https, or the file is not the one that was noted.
    """
    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.hostname}{parts.path}"  # without credentials
    if parts.scheme != "https":
        raise ValueError(f"{address}: expected an address that starts with https://")
    path, notes = folder / parts.path.rsplit("/", 1)[1], folder / DIGESTS
    make_cache_folder(folder)
    if not path.is_file():
        try:
            pooch.get_logger().setLevel("WARNING")  # below, it logs the whole address
            pooch.retrieve(url, None, path.name, folder, None, _download)  # pyright: ignore
        except OSError as error:
            if error.errno is not None:  # of this machine, not of the network
                raise
            status = getattr(getattr(error, "response", None), "status_code", None)
            status = str(error) if isinstance(error, _RefusedDownload) else status
            raise OSError(
                f"{address} cannot be downloaded ({status or type(error).__name__}); download the "
                f"file by hand, see {page}, and pass its path to load(), or put it at {path}"
            ) from None  # the cause shows the whole address
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
