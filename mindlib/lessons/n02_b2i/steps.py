"""Differences between two versions of a function, and the comparison with mindlib."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from IPython.display import Markdown, display
from torch import Tensor


def show_diff(before: Callable[..., Any], after: Callable[..., Any]) -> None:
    """Show the lines that distinguish `after` from `before`, as the cells define them now."""
    old, new = (inspect.getsource(version).splitlines() for version in (before, after))
    lines = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
    display(Markdown("\n".join(["```diff", *lines, "```"])))


def report_equality(name: str, pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Print whether the tensors of a cell equal those of mindlib, up to rounding.

    It does not raise an error, so that a reader can edit the cell and run the page again.
    """
    equal = all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in pairs)
    print(f"{name}: {'equal to' if equal else 'DIFFERENT FROM'} mindlib on random input.")
    return equal
