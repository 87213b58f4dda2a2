"""Files of cached runs, and the facts by which they are found.

    CACHE/<digest of configuration, seed, data and schema>/
        run                 the weights; configuration, training log, versions and commit as JSON
        test-<digest>       the value of each case, for given cutoffs and categories
        checkpoints/        only while the model is being trained

A file that turns out to be damaged causes a warning, and its content is computed again.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import subprocess
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mindlib.data.tensor_file import TensorFile, read_tensors

# Part of every key. Raise it when a change of the code changes the results of a configuration:
# runs that were cached before are then not used again.
SCHEMA = 1
FORM = "mindlib run 1"


def describe_config(value: Any) -> Any:
    """Convert a configuration to JSON: a dataclass becomes its class's bare name and its fields.

    Module paths are left out, so that moving a class to another module does not change a key.

    Raises:
        TypeError: a part has no representation that is the same in every process.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: describe_config(getattr(value, name)) for name in names}
        return {"class": type(value).__name__} | fields
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Mapping):
        return {str(name): describe_config(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [describe_config(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{value!r} is a {type(value).__name__}: a run's configuration may hold dataclasses, "
        f"classes, numbers, text, lists and mappings"
    )


@functools.cache
def code_version() -> str:
    """Return the git commit of the checkout that mindlib runs from, or else its version.

    The commit ends in "-dirty" if tracked files have been changed since. It is read once, so that a
    process keeps the commit of the code that it has imported.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    tracked = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
    commit = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        return subprocess.run(commit, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return version("mindlib")


def read_entry(path: Path) -> TensorFile | None:
    """Read a file of the cache; None if it is missing or, with a warning, damaged."""
    try:
        return read_tensors(path, FORM, "its content is computed again")
    except FileNotFoundError:
        return None
    except ValueError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
