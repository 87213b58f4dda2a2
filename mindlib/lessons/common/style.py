"""One style for every figure: it reads on light and on dark pages."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from cycler import cycler
from IPython.core.getipython import get_ipython
from matplotlib_inline.backend_inline import set_matplotlib_formats

# Middle tones: at least 3:1 against white and against JupyterLab's dark #111111.
INK = "#7a7a7a"
COLORS = ("#3b82c4", "#d9722e", "#2f9e6e", "#b565c9", "#a8841a", "#d1495b", "#3a93a6", "#8a8f3c")
COLORMAP = "viridis"

STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.titlesize": "medium",
    "figure.dpi": 100,
    "font.size": 9,
    "svg.fonttype": "path",
}


def use_style() -> None:
    """Make the style the notebook's own."""
    mpl.rcParams.update(STYLE)
    if get_ipython() is not None:
        # IPython asks the page for a white box behind a transparent figure with our ink. So the
        # figure gets a face, and the face is left out when the figure is shown.
        mpl.rcParams["figure.facecolor"] = "white"
        set_matplotlib_formats("png", facecolor="none")
