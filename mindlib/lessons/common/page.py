"""What the notebooks put on the page besides figures: mindlib's own source, and tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from IPython.display import Markdown, display

from mindlib.experiments.tables import markdown_table


def show_source(thing: Callable[..., Any]) -> None:
    """Show a function's or a class's source as it stands: it cannot drift from what runs.

    Shown as Markdown, so that the page's own theme, light or dark, colours it.
    """
    name = f"{inspect.getmodule(thing).__name__}.{thing.__qualname__}"  # pyright: ignore[reportOptionalMemberAccess]
    code = inspect.cleandoc("\n" + inspect.getsource(thing))
    display(Markdown(f"`{name}`\n```python\n{code}\n```"))


def show_table(
    header: Sequence[object], rows: Iterable[Sequence[object]], *, text_columns: int = 1
) -> None:
    """Show a Markdown table (see `markdown_table`)."""
    display(Markdown(markdown_table(header, rows, text_columns=text_columns)))


def spread(values: Sequence[float]) -> str:
    """Return the mean and the standard deviation over seeds, in percent."""
    percent = 100 * np.asarray(values, dtype=float)
    deviation = percent.std(ddof=1) if len(percent) > 1 else 0.0
    return f"{percent.mean():.1f} ± {deviation:.1f}"
