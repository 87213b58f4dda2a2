"""Convert a data set to a folder whose columns are read where needed: see `Interactions.save`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mindlib.data.sources import load


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of the source or of the folder end it with a message."""
    parser = argparse.ArgumentParser(prog="python -m mindlib.data", description=__doc__)
    convert = parser.add_subparsers(required=True).add_parser(
        "convert", help="read SOURCE, as mindlib.data.load does, and write it to the new FOLDER"
    )
    convert.add_argument("source", help="a data set's name or path")
    convert.add_argument("folder", type=Path, help="a folder that does not exist yet")
    options = parser.parse_args(arguments)
    try:
        print(f"reading {options.source}", flush=True)
        log = load(options.source)
        print(f"writing {options.folder}", flush=True)
        log.save(options.folder)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    print(
        f"{options.folder}: {len(log):,} events, {log.num_users:,} users, {log.num_items:,} items"
    )


if __name__ == "__main__":
    main()
