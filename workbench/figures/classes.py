"""Counts: samples of a class, words of a text, confusions of classes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from workbench.figures.style import PALETTE, escape, new_figure, put_legend_on_top, shorten_label

if TYPE_CHECKING:
    from workbench.datasets import Dataset

_MOST_ANNOTATED_CLASSES = 12  # with numbers in the cells of a confusion matrix
_MOST_NAMED_CLASSES = 50


def plot_class_balance(dataset: "Dataset") -> go.Figure:
    """Draw the number of samples of every class in each split."""
    figure = new_figure("Samples per class", barmode="stack", height=_bars_height(dataset.class_names))
    names = [escape(name) for name in dataset.class_names]
    for number, (name, split) in enumerate(dataset.splits().items()):
        counts = np.bincount(split.y, minlength=len(names)).astype(np.int32)
        figure.add_trace(go.Bar(y=names, x=counts, name=name, orientation="h", marker_color=PALETTE[number]))
    figure.update_xaxes(title="samples")
    figure.update_yaxes(_class_ticks(dataset.class_names), title="class", autorange="reversed")
    return put_legend_on_top(figure)


def plot_text_lengths(dataset: "Dataset") -> go.Figure:
    """Draw the distribution of text lengths in words for each split."""
    figure = new_figure("Text lengths", barmode="group", height=340)
    lengths = {name: _word_counts(split.x) for name, split in dataset.splits().items()}
    longest = max(counts.max(initial=0) for counts in lengths.values())
    width = math.ceil((longest + 1) / 40)
    edges = np.arange(0, longest + 1 + width, width)
    for number, (name, counts) in enumerate(lengths.items()):
        share = np.histogram(counts, edges)[0] / max(len(counts), 1)
        figure.add_trace(
            go.Scatter(
                x=edges[:-1],
                y=share.astype(np.float32),
                name=name,
                mode="lines",
                line=dict(shape="hv", color=PALETTE[number]),
                hovertemplate="from %{x} words: %{y:.1%}",
            )
        )
    figure.update_xaxes(title="words in a text")
    figure.update_yaxes(title="share of the split", tickformat=".0%", rangemode="tozero")
    return put_legend_on_top(figure)


def plot_confusion_matrix(
    counts: np.ndarray, class_names: Sequence[str], title: str = "Confusion matrix"
) -> go.Figure:
    """Draw a confusion matrix: colour is the share of the true class, text and hover say the counts.

    Args:
        counts: (k, k) numbers of samples by true class (rows) and predicted class (columns).
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    names = [escape(name) for name in class_names]
    annotated = len(names) <= _MOST_ANNOTATED_CLASSES
    size = int(np.clip(40 * len(names), 240, 640))
    figure = new_figure(title, height=size + 130)
    figure.add_trace(
        go.Heatmap(
            x=names,
            y=names,
            z=shares.astype(np.float32),
            text=counts.tolist(),
            autocolorscale=True,
            zmin=0,
            zmax=1,
            xgap=1 if annotated else 0,
            ygap=1 if annotated else 0,
            texttemplate="%{text}" if annotated else None,
            showscale=not annotated,
            colorbar=dict(tickformat=".0%", thickness=10, outlinewidth=0),
            hovertemplate="true %{y}<br>predicted %{x}<br>%{text} samples, %{z:.1%}<extra></extra>",
        )
    )
    ticks = _class_ticks(class_names)
    figure.update_xaxes(
        ticks,
        title_text="predicted class",
        showgrid=False,
        constrain="domain",
        constraintoward="left",
    )
    figure.update_yaxes(ticks, title="true class", showgrid=False, autorange="reversed", scaleanchor="x")
    return figure


def _bars_height(class_names: Sequence[str]) -> int:
    return int(np.clip(22 * len(class_names), 160, 1000)) + 110


def _class_ticks(class_names: Sequence[str]) -> dict[str, Any]:
    """Return the settings of an axis of classes; of very many, every second or third is named."""
    shown = range(0, len(class_names), math.ceil(len(class_names) / _MOST_NAMED_CLASSES))
    return dict(
        type="category",
        tickvals=list(shown),
        ticktext=[shorten_label(class_names[number]) for number in shown],
        tickfont_size=12 if len(class_names) <= 20 else 9,
    )


def _word_counts(texts: np.ndarray) -> np.ndarray:
    """Return the number of words of each text; an ideograph of a text without spaces counts as one."""
    return np.array([len(text.split()) for text in texts], dtype=np.int64)
