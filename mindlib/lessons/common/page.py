"""What the notebooks put on the page besides figures: mindlib's own source, and tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from IPython.display import Markdown, display


def show_source(thing: Callable[..., Any]) -> None:
    """Show a function's or a class's source as it stands: it cannot drift from what runs.

    Shown as Markdown, so that the page's own theme, light or dark, colours it.
    """
    name = f"{inspect.getmodule(thing).__name__}.{thing.__qualname__}"  # pyright: ignore[reportOptionalMemberAccess]
    code = inspect.cleandoc("\n" + inspect.getsource(thing))
    display(Markdown(f"`{name}`\n```python\n{code}\n```"))


def show_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Show a table whose first column is text and whose others are numbers, set to the right.

    A bar inside a cell does not end the cell.
    """
    head, *body = ([str(cell).replace("|", "\\|") for cell in row] for row in (head, *rows))
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    display(Markdown("\n".join(lines)))


def spread(values: Sequence[float] | np.ndarray, digits: int = 1, factor: int = 100) -> str:
    """Mean and standard deviation over seeds, in percent unless told otherwise."""
    scaled = factor * np.asarray(values, dtype=float)
    deviation = scaled.std(ddof=1) if len(scaled) > 1 else 0.0
    return f"{scaled.mean():.{digits}f} ± {deviation:.{digits}f}"
