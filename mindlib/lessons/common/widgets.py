"""Figures with controls: live in JupyterLab, and a plain picture where there is no kernel."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import ipywidgets
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def explore(draw: Callable[..., Figure], **controls: ipywidgets.ValueWidget) -> ipywidgets.VBox:
    """Show `draw(**values)`, and draw it again whenever a control moves.

    One output carries both forms: a page with a kernel shows the live view, any other page (the
    committed notebook on the web, papermill's output) the picture at the controls' first values.

    Args:
        draw: makes a figure from the controls' values, by name.
        controls: an ipywidgets control for each argument of `draw`.
    """
    first = _png(draw, controls)
    picture = ipywidgets.Image(value=first, format="png")
    picture.layout.max_width = "100%"

    def update(_: Any) -> None:
        picture.value = _png(draw, controls)

    labelled: list[Any] = list(controls.values())
    label = f"{max((len(control.description) for control in labelled), default=0)}ch"
    for control in labelled:
        # Every label whole, and the controls in one line, as wide as beside a short label.
        control.style.description_width = label
        control.layout.width = f"calc({label} + 220px)"
        control.observe(update, names="value")
    view = ipywidgets.VBox([*controls.values(), picture])
    live: Any = view._repr_mimebundle_()
    display({**live, "image/png": first}, raw=True)
    return view


def _png(draw: Callable[..., Figure], controls: dict[str, ipywidgets.ValueWidget]) -> bytes:
    figure = draw(**{name: control.value for name, control in controls.items()})
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True, bbox_inches="tight", dpi=100)
    plt.close(figure)
    return buffer.getvalue()
