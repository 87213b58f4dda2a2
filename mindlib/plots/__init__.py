"""Every figure of the notebooks; one module for each notebook, one style for all."""

from mindlib.plots.report import (
    Panel,
    coupling_heatmap,
    data_at_a_glance,
    item_map,
    metric_points,
    training_curves,
)
from mindlib.plots.style import COLORS, INK, STYLE, use_style

__all__ = [
    "COLORS",
    "INK",
    "STYLE",
    "Panel",
    "coupling_heatmap",
    "data_at_a_glance",
    "item_map",
    "metric_points",
    "training_curves",
    "use_style",
]
