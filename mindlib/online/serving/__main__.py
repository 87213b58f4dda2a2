"""Serve the platform over HTTP on this machine: `python -m mindlib.online.serving`."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from mindlib.online.artifacts import ArtifactError
from mindlib.online.serving.bundle import Bundle
from mindlib.online.serving.database import StoreError
from mindlib.online.serving.platform import PersonalityPlatform
from mindlib.online.serving.store import SqliteStore
from mindlib.retrieval import check_engine


def parse_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, and check it before any work."""
    parser = argparse.ArgumentParser(
        prog="python -m mindlib.online.serving",
        description="Serve recommendations over HTTP. Without --bundle, build a demonstration.",
    )
    parser.add_argument("--bundle", type=Path, help="folder that Bundle.write wrote")
    parser.add_argument(
        "--store", type=Path, help="existing file of the behavior store, with --bundle"
    )
    parser.add_argument(
        "--add-items",
        action="store_true",
        help="add the version's new items to the store, instead of refusing a store without them",
    )
    parser.add_argument(
        "--data",
        default="complete-journey",
        help='data of the demonstration: "complete-journey" (default), "planted", or a path',
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("build/serving"), help="its folder (%(default)s)"
    )
    parser.add_argument(
        "--index",
        help="engine of the demonstration's index: exact (default), faiss, milvus:items.db "
        "(embedded beside it) or milvus:http://HOST:PORT (credentials in MILVUS_TOKEN)",
    )
    parser.add_argument("--port", type=int, default=8000, help="(%(default)s)")
    options = parser.parse_args(given)
    if (options.bundle is None) != (options.store is None):
        parser.error("--bundle and --store go together: a version, and the behaviors it reads")
    if options.store is not None and not options.store.expanduser().is_file():
        parser.error(
            f"--store {options.store}: there is no such file; to make a store, run in Python: "
            f"SqliteStore({str(options.store)!r}).import_log(log)"
        )
    if options.bundle is not None and options.index is not None:
        parser.error("--index is for the demonstration: a bundle has its index already")
    options.index = options.index or "exact"
    try:
        check_engine(options.index)
    except (ImportError, ValueError) as error:
        parser.error(str(error))
    if not 1 <= options.port <= 65535:
        parser.error(f"--port {options.port}: expected 1 to 65535")
    return options


def format_examples(platform: PersonalityPlatform, user: str, address: str) -> str:
    """Format two commands to try: request a slate, and click on its first item."""
    slate = platform.recommend(user, 5)
    page = shlex.quote(f"{address}/recommendations/{quote(user, safe='')}?n=5")
    click = json.dumps({"user": user, "item": slate.items[0], "time": int(time.time())})
    return (
        f"\nserving version {slate.version!r} on {address}; try\n\n"
        f"  curl {page}\n"
        f"  curl -X POST {shlex.quote(f'{address}/clicks')} "
        f"-H 'Content-Type: application/json' -d {shlex.quote(click)}\n\n"
        f"then the first again: the clicked item is gone, and the scores have changed.\n"
    )


def main(given: Sequence[str] | None = None) -> None:
    """Build the demonstration if necessary, and serve until interrupted."""
    options = parse_arguments(given)
    try:
        import uvicorn

        from mindlib.online.serving.server import HOST, server_config
    except ImportError as error:
        sys.exit(f"the server needs {error.name}: pip install 'mindlib[app]'")
    try:
        folder, path = options.bundle, options.store
        if folder is None:
            from mindlib.online.serving.demo import build_demo

            # Every engine has its own demonstration, because a version never changes.
            name = options.data if options.index == "exact" else f"{options.data}-{options.index}"
            name = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-")
            folder, path = build_demo(options.data, options.folder / name, options.index)
        bundle, store = Bundle.load(folder), SqliteStore(path)
        ids = bundle.catalogue.item_ids
        if not options.add_items and (unknown := store.unknown_items(ids)):
            store.close()
            raise ValueError(
                f"{len(unknown):,} of the {len(ids):,} items of version {bundle.version!r} are not "
                f"in {path}, such as {unknown[0]!r}: name the store of the same shop, or pass "
                f"--add-items if these items are new"
            )
    except (ArtifactError, StoreError, ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    with closing(store):
        platform = PersonalityPlatform(store, bundle)
        with closing(platform):
            user = next(iter(store.users(1)), "nobody")
            print(format_examples(platform, user, f"http://{HOST}:{options.port}"), flush=True)
            uvicorn.Server(server_config(platform, options.port)).run()


if __name__ == "__main__":
    main()
