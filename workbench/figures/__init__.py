"""Plotly figures of data and results: data in, `Figure` out, nothing read or written.

Every figure is transparent and uses colours that can be told apart by colour-blind readers (Okabe & Ito 2008,
https://jfly.uni-koeln.de/color/) on a light and on a dark page. Text that comes from data is escaped, because
plotly reads its labels as HTML.
"""

from workbench.figures.classes import plot_class_balance, plot_confusion_matrix, plot_text_lengths
from workbench.figures.comparison import plot_parallel_coordinates
from workbench.figures.curves import plot_learning_curves
from workbench.figures.evaluation import (
    blend_maps,
    plot_estimates,
    plot_faithfulness,
    plot_maps,
    plot_reliability,
    plot_robustness,
)
from workbench.figures.images import plot_images, plot_mistakes, plot_samples
from workbench.figures.style import PALETTE, build_template

__all__ = [
    "PALETTE",
    "blend_maps",
    "build_template",
    "plot_class_balance",
    "plot_confusion_matrix",
    "plot_estimates",
    "plot_faithfulness",
    "plot_images",
    "plot_learning_curves",
    "plot_maps",
    "plot_mistakes",
    "plot_parallel_coordinates",
    "plot_reliability",
    "plot_robustness",
    "plot_samples",
    "plot_text_lengths",
]
