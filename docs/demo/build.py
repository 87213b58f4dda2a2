"""Write what the live demo needs into a folder: a trained MIND, its items, and ONNX Runtime Web.

    python docs/demo/build.py FOLDER [--data movielens-1m]

B2I routing with farthest-point initialization has no parameter that depends on K or r. Therefore
one training run serves all values that the page offers, each as a graph of its own. All graphs
read the same item vectors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mindlib
from mindlib.data import Interactions, leave_last_out, load
from mindlib.data.storage import atomic_folder
from mindlib.online.export import export
from mindlib.online.exported import GRAPH, ITEMS

INTERESTS, ITERATIONS = (1, 2, 4, 8), (1, 2, 3)
RUNTIME = "onnxruntime-web@1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
RUNTIME_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
NOTICES = {
    "movielens-1m": "The titles, genres and ratings are from MovieLens-1M (GroupLens, University "
    "of Minnesota), which may be used for research and may not be redistributed.",
}
# Films with which the page starts, if the data have them.
START = (
    *("Double Indemnity", "The Big Sleep", "The Maltese Falcon", "Laura"),
    *("Toy Story", "A Bug's Life", "The Lion King", "Mulan"),
    *("The Longest Day", "Patton", "Platoon", "Full Metal Jacket"),
)


def fetch_runtime(folder: Path) -> None:
    """Download ONNX Runtime Web by npm, check it, and unpack the files that the page loads.

    Raises:
        RuntimeError: npm is missing or cannot fetch the package, or the package has changed.
    """
    with tempfile.TemporaryDirectory() as place:
        command = ["npm", "pack", RUNTIME, "--silent", "--pack-destination", place]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise RuntimeError("npm is not installed; the live demo needs it once") from error
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"npm cannot fetch {RUNTIME}: {error.stderr.strip()}") from error
        (archive,) = Path(place).glob("*.tgz")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise RuntimeError(f"{RUNTIME} has sha256 {found}; expected {SHA256}")
        with tarfile.open(archive) as tar:
            for name in RUNTIME_FILES:
                source = tar.extractfile(f"package/dist/{name}")
                assert source is not None
                (folder / name).write_bytes(source.read())


def train(log: Interactions) -> mindlib.MIND:
    """Train MIND with the library's defaults for about half a minute."""
    model = mindlib.MIND(log, generator=torch.Generator().manual_seed(0))
    config = mindlib.TrainingConfig(
        epochs=3, pairs_per_user=20, schedule="cosine", learning_rate=8e-3
    )
    mindlib.fit(model, leave_last_out(log), config)
    return model


def describe(log: Interactions) -> dict[str, Any]:
    """Describe the films, and the profile that the demo assumes: each field's commonest value."""
    features, profiles = log.item_features, log.profiles
    assert features is not None
    field = next(iter(features.columns))
    columns = features.columns[field]
    names = features.vocabularies[columns.start]
    counts = log.item_counts()
    films = [
        {
            "title": log.label(item),
            "genres": [names[code] for code in features.codes[item, columns] if code],
            "count": int(counts[item]),
        }
        for item in range(1, log.num_items + 1)
    ]
    profile = []
    if profiles is not None:
        for column, field_name in enumerate(profiles.fields):
            code = int(np.bincount(profiles.codes[1:, column]).argmax())
            profile.append((field_name, code, profiles.vocabularies[column][code]))
    titles = {film["title"]: item for item, film in enumerate(films, start=1)}
    start = [titles[title] for title in START if title in titles]
    return {
        "data": log.name,
        "notice": NOTICES.get(log.name, ""),
        "films": films,
        "profile": profile,
        "start": start or popular_items(counts, features.codes[:, columns.start]),
    }


def popular_items(counts: np.ndarray, kinds: np.ndarray) -> list[int]:
    """Return the three most popular items of each of the three most frequent kinds."""
    chosen = np.bincount(kinds[1:]).argsort()[::-1][:3]
    order = counts.argsort(kind="stable")[::-1]
    return [int(item) for kind in chosen for item in order[kinds[order] == kind][:3]]


def build(folder: Path, data: str) -> None:
    """Train, export and write the folder, completely or not at all."""
    log = load(data)
    with atomic_folder(folder) as partial:
        fetch_runtime(partial)
        model = train(log)
        for interests in INTERESTS:
            for iterations in ITERATIONS:
                routing = replace(
                    model.config.routing, max_interests=interests, iterations=iterations
                )
                variant = mindlib.MIND(
                    log, replace(model.config, routing=routing), generator=torch.Generator()
                )
                variant.load_state_dict(model.state_dict())
                place = export(variant, log, partial / f"k{interests}-r{iterations}")
                (place / GRAPH).rename(partial / f"k{interests}-r{iterations}.onnx")
                (place / ITEMS).replace(partial / ITEMS)
                shutil.rmtree(place)
        facts = describe(log) | {
            "interests": INTERESTS,
            "iterations": ITERATIONS,
            "length": model.history_length,
        }
        (partial / "films.json").write_text(json.dumps(facts), encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--data", default="movielens-1m", help="a name or path (%(default)s)")
    given = parser.parse_args()
    try:
        build(given.folder, given.data)
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
