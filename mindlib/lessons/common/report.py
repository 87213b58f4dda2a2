"""A notebook as a function: checked parameters in, metrics and figures out."""

from __future__ import annotations

import ast
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from mindlib.data.option_types import check_option
from mindlib.data.storage import atomic_file
from mindlib.evaluation import Estimate


@dataclass(frozen=True)
class Number:
    """A parameter that is a number from low to high; a whole one if `whole`."""

    low: int | float
    high: int | float
    whole: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError unless the value is of the kind and in the range."""
        check_option(name, value, int if self.whole else float, (self.low, self.high))


class Text:
    """A parameter that is a text, and not an empty one."""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError unless the value is a text with something in it."""
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{name}={value!r}: expected a text")


def check_parameters(namespace: Mapping[str, Any], rules: Mapping[str, Number | Text]) -> None:
    """Refuse a notebook's parameters before anything runs.

    papermill accepts a name that the notebook does not have, warns, and runs the defaults.

    Args:
        namespace: the notebook's `globals()`.
        rules: what each parameter may be.

    Raises:
        NameError: papermill has set a name that is no parameter; the message has the valid ones.
        ValueError: a parameter is of the wrong kind or out of range.
    """
    for name in _injected(namespace.get("In", ())):
        if name not in rules:
            raise NameError(f"{name!r} is no parameter of this notebook; it has {', '.join(rules)}")
    for name, rule in rules.items():
        rule.check(name, namespace[name])


def _injected(cells: Sequence[str]) -> list[str]:
    """The names that papermill's own cell assigns; there is none in an interactive session."""
    return [
        target.id
        for cell in cells
        if cell.startswith("# Parameters")
        for statement in ast.parse(cell).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]


def output_folder() -> Path:
    """Where this run leaves what it makes: beside the executed notebook, or else in build/.

    papermill does not tell a notebook its output's path; whoever starts it can, in MINDLIB_OUTPUT.
    """
    output = os.environ.get("MINDLIB_OUTPUT")
    folder = Path(output).parent if output else Path.cwd() / "build"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_metrics(name: str, metrics: Mapping[str, Any]) -> Path:
    """Write named numbers to NAME.metrics.json; an `Estimate` becomes [value, low, high].

    Raises:
        ValueError: a number is NaN or infinite; the message names it.
    """
    path = output_folder() / f"{name}.metrics.json"
    text = json.dumps(_plain(metrics), indent=1, allow_nan=False) + "\n"
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def _plain(value: Any, name: str = "") -> Any:
    """Convert metrics to JSON; the name of a part is its path."""
    if isinstance(value, Estimate):
        value = [value.value, value.low, value.high]
    if isinstance(value, Mapping):
        return {key: _plain(part, f"{name}/{key}".strip("/")) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, f"{name}/{n}") for n, part in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the metric {name} is {value}; a metric must be a finite number")
    return value


def save_figure(figure: Figure, name: str) -> Path:
    """Write a figure, its background transparent, to figures/NAME (.svg or .png)."""
    given = os.environ.get("MINDLIB_FIGURES")
    folder = Path(given) if given else output_folder() / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    metadata = {"Date": None} if path.suffix == ".svg" else {}  # the same picture, the same file
    with mpl.rc_context({"svg.hashsalt": "mindlib"}), atomic_file(path) as partial:
        figure.savefig(partial, transparent=True, bbox_inches="tight", metadata=metadata)
    return path
