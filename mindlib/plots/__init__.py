"""Every figure of the notebooks; one module for each notebook, one style for all."""

from mindlib.plots.case_study import CouplingPanel, Strip, coupling_heatmaps, item_strips
from mindlib.plots.report import (
    Panel,
    coupling_heatmap,
    data_at_a_glance,
    item_map,
    metric_points,
    training_curves,
)
from mindlib.plots.studies import (
    ablation,
    convergence,
    factor_curves,
    gains_by_categories,
    metric_by_n,
)
from mindlib.plots.style import COLORS, INK, STYLE, use_style

__all__ = [
    "COLORS",
    "INK",
    "STYLE",
    "CouplingPanel",
    "Panel",
    "Strip",
    "ablation",
    "convergence",
    "coupling_heatmap",
    "coupling_heatmaps",
    "data_at_a_glance",
    "factor_curves",
    "gains_by_categories",
    "item_map",
    "item_strips",
    "metric_by_n",
    "metric_points",
    "training_curves",
    "use_style",
]
