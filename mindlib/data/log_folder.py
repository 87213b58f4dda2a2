"""A log as a folder: columns that are mapped into memory, and tables of ids, titles and values.

Opening a folder reads the tables only. A column is read where it is used, and the operating system
may drop those pages again; all processes that open the folder share them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mindlib.data.feature_table import FeatureTable
from mindlib.data.storage import atomic_folder, checksum, digest_of

FORMAT = "mindlib log 1"
MANIFEST = "log.json"
COLUMNS = ("users", "items", "timestamps")
FEATURES = ("item_features", "profiles")
REMEDY = "convert the source again, or restore the folder"


def write_log(folder: Path, log: Mapping[str, Any]) -> None:
    """Write the fields of an `Interactions`; see `Interactions.save`."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty; choose another, or delete it")
    tables = {name: log[name] for name in FEATURES if log[name] is not None}
    arrays = {name: log[name] for name in COLUMNS}
    arrays |= {name: table.codes for name, table in tables.items()}
    items = {"id": log["item_ids"][1:].tolist()}
    if log["titles"] is not None:
        items["title"] = list(log["titles"][1:])
    frames = {"user_ids": pl.DataFrame({"id": log["user_ids"][1:].tolist()})}
    frames["item_ids"] = pl.DataFrame(items)
    values = {name: [table.fields, table.vocabularies] for name, table in tables.items()}
    with atomic_folder(folder) as partial:
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        for name, frame in frames.items():
            frame.write_parquet(partial / f"{name}.parquet")
        manifest = {
            "format": FORMAT,
            "name": log["name"],
            "arrays": {n: [a.dtype.str, list(a.shape)] for n, a in arrays.items()},
            "frames": {name: checksum(partial / f"{name}.parquet") for name in frames},
            "values": values,
        }
        manifest["sha256"] = digest_of(manifest)
        (partial / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def read_log(folder: Path) -> dict[str, Any]:
    """Read the fields of an `Interactions`, with its arrays mapped into memory.

    A change of an array in memory (a private copy of its page) does not change the file.
    Their values are not checked, because that would read all of them.
    """
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"{folder} has no {MANIFEST}; write it with Interactions.save")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"the format is {manifest['format']!r}; expected {FORMAT!r}")
        if manifest.pop("sha256") != digest_of(manifest):
            raise ValueError(f"{MANIFEST} has another sha256 than when it was written")
        arrays = {
            name: _map_array(folder / f"{name}.npy", np.dtype(kind), tuple(shape))
            for name, (kind, shape) in manifest["arrays"].items()
        }
        frames = {}
        for name in ("user_ids", "item_ids"):
            if checksum(folder / f"{name}.parquet") != manifest["frames"][name]:
                raise ValueError(f"{name}.parquet has another sha256 than {MANIFEST} says")
            frames[name] = pl.read_parquet(folder / f"{name}.parquet")
        fields: dict[str, Any] = {name: arrays[name] for name in COLUMNS} | dict.fromkeys(FEATURES)
        for name, (names, vocabularies) in manifest["values"].items():
            vocabularies = tuple(map(tuple, vocabularies))
            fields[name] = FeatureTable(tuple(names), arrays[name], vocabularies)
        for name, frame in frames.items():
            fields[name] = np.array([None, *frame["id"].to_list()], dtype=object)
        has_titles = "title" in frames["item_ids"].columns
        titles = ("", *frames["item_ids"]["title"].to_list()) if has_titles else None
        return fields | {"titles": titles, "name": manifest["name"]}
    except Exception as error:  # numpy raises any error for some damaged file
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{folder} is damaged or no log ({kind}{error}); {REMEDY}") from error


def _map_array(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    # "c" makes the array writable for torch.from_numpy, which warns otherwise.
    array = np.asarray(np.load(path, mmap_mode="c"))
    if array.dtype != kind or array.shape != shape:
        raise ValueError(
            f"{path.name} has {array.dtype} {array.shape}; {MANIFEST} says {kind} {shape}"
        )
    return array
