"""A folder of runs, each found by what decides it: configuration, data, seed and code.

    CACHE/<model, training, seed and data>/<code>/
        run.json            the configuration in words, the log of training, versions
        weights.npz         of what was trained
        test-<how>.npz      the values of each case; how: cutoffs and categories
        checkpoints/        while it is being trained

Each file is written beside its final name and then renamed. One that is damaged is not believed:
there is a warning, and what it held is computed again.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
import math
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mindlib.data.splits import Split

# The files of mindlib that decide a run's numbers. Readers of logs are not among them: what they
# have read is part of the data's digest.
DECIDING = (
    "data/histories.py",
    "data/interactions.py",
    "data/splits.py",
    "data/words.py",
    "evaluation/*.py",
    "layers/*.py",
    "models/*.py",
    "retrieval/recommender.py",
    "retrieval/scores.py",
    "training/config.py",
    "training/fitting.py",
    "training/losses.py",
    "training/negatives.py",
    "training/optimizers.py",
    "training/step.py",
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


# What a run is


def digest_of(facts: object) -> str:
    """The sha256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A configuration as JSON can hold it: a dataclass is its class and its fields.

    Raises:
        TypeError: it has a part of which nothing says that it is the same the next time.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: plain(getattr(value, field.name)) for field in _fields(value)}
        return {"class": plain(type(value))} | fields
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{value!r} is a {type(value).__name__}: a run's configuration may hold dataclasses, "
        f"classes, numbers, text, lists and mappings"
    )


def data_digest(split: Split) -> str:
    """The sha256 of all that a model can learn from and is judged on."""
    digest = hashlib.sha256()
    _feed(digest, split)
    return digest.hexdigest()


@functools.cache
def code_digest(package: Path | None = None) -> str:
    """The sha256 of the code that decides a run's numbers; comments and docstrings do not.

    Of the running package it is taken once, so that a process which goes on while its files
    change keeps the name of the code that it runs.

    Args:
        package: a folder with mindlib's files; the one this module lies in if it is not given.

    Raises:
        FileNotFoundError: one of `DECIDING` is not there.
    """
    package = package or Path(__file__).parent.parent
    digest = hashlib.sha256()
    for pattern in DECIDING:
        files = sorted(package.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{package} has no {pattern}, which decides a run's numbers")
        for file in files:
            code = ast.dump(_bare(ast.parse(file.read_text(encoding="utf-8"))))
            digest.update(f"{file.relative_to(package).as_posix()}\0{code}\0".encode())
    return digest.hexdigest()


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings. (Comments and layout are not in it.)"""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


def _fields(value: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(value)


def _feed(digest: Any, value: Any) -> None:
    """Every part of a value, each with its type and size, so that no two values look alike."""
    if isinstance(value, torch.Tensor):
        value = value.cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif isinstance(value, np.ndarray | list | tuple):
        digest.update(f"{len(value)} parts {json.dumps([str(x) for x in value])}".encode())
    elif dataclasses.is_dataclass(value):
        for field in _fields(value):
            digest.update(f"\0{field.name}\0".encode())
            _feed(digest, getattr(value, field.name))
    else:
        digest.update(repr(value).encode())


# Files


class Stored(NamedTuple):
    """What a file holds: arrays by name, and what JSON can hold."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def write(path: Path, stored: Stored) -> None:
    """Write a file, whole or not at all: .json for facts alone, .npz for arrays too.

    Only one process at a time may write it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            if path.suffix == ".json":
                whole = {"facts": stored.facts, "sha256": digest_of(stored.facts)}
                file.write((json.dumps(whole, indent=1) + "\n").encode())
            else:
                arrays = stored.arrays | {"facts": np.array(json.dumps(stored.facts))}
                np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path, facts: Mapping[str, Any]) -> Stored | None:
    """What `write` wrote; None if it is not there, or (with a warning) not to be believed.

    Args:
        facts: what the file must say of itself.
    """
    if not path.is_file():
        return None
    try:
        if path.suffix == ".json":
            whole = json.loads(path.read_bytes())
            stored = Stored({}, whole["facts"])
            if digest_of(stored.facts) != whole["sha256"]:
                raise ValueError("its sha256 is another one")
        else:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}  # zip has a checksum of each
            stored = Stored(arrays, json.loads(str(arrays.pop("facts"))))
        for name, value in facts.items():
            if stored.facts[name] != value:
                raise ValueError(f"its {name} is another one")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}); what it held is computed again", stacklevel=2)
        return None
    return stored
