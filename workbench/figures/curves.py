"""Metrics by epoch, and by step where epochs are too few to make a curve."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from workbench.figures.style import INK, PALETTE, empty_figure, escape, new_figure, shorten_label

_FEW_EPOCHS = 3


def plot_learning_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Draw training and validation metrics by epoch, one panel a metric, several runs overlaid.

    A training of fewer than three epochs is drawn step by step, as far as its steps were logged.

    Args:
        curves: The events of each run (`RunRecord.events()`), by the name to show.
    """
    histories = {name: epoch_metrics(events) for name, events in curves.items()}
    panels = metric_names(histories)
    if not panels:
        return empty_figure("Learning curves", "No epoch has been logged yet")
    figure = new_figure("Learning curves", hovermode="x unified")
    for column, metric in enumerate(panels):
        for number, (name, history) in enumerate(histories.items()):
            for trace in _curve_traces(history, metric, name, PALETTE[number % len(PALETTE)]):
                trace.update(xaxis=f"x{column + 1}", yaxis=f"y{column + 1}", showlegend=False)
                figure.add_trace(trace)
    _lay_out_panels(figure, panels)
    _add_curve_legend(figure, list(histories))
    return figure


def epoch_metrics(events: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return (completed epochs, value) by metric; epochs count from 1 as a reader does."""
    history: dict[str, list[tuple[float, float]]] = {}
    by_step = sum(event["type"] == "epoch" for event in events) < _FEW_EPOCHS
    batches = None  # in an epoch
    trained: dict[int, float] = {}  # epochs by training; one after another goes on to the right of it
    for event in events:
        if event["type"] == "fit":
            batches = event.get("batches")
        elif event["type"] == "epoch" or (event["type"] == "step" and by_step and batches):
            share = event["step"] / batches if "step" in event and batches else 1  # of the epoch
            number = event.get("fit", 1)
            trained[number] = max(trained.get(number, 0), event["epoch"] + share)
            offset = math.ceil(sum(epochs for other, epochs in trained.items() if other < number))
            for metric, value in event["metrics"].items():
                history.setdefault(metric, []).append((offset + event["epoch"] + share, value))
    return {metric: sorted(points, key=lambda point: point[0]) for metric, points in history.items()}


def metric_names(histories: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the metrics without their `val_` twins, the loss first."""
    names = {name.removeprefix("val_"): None for history in histories.values() for name in history}
    return sorted(names, key=lambda name: name != "loss")


def _curve_traces(
    history: Mapping[str, list[tuple[int, float]]], metric: str, name: str, color: str
) -> list[go.Scatter]:
    traces = []
    for key, kind, dash in ((metric, "training", "dot"), (f"val_{metric}", "validation", "solid")):
        points = np.array(history.get(key, ()), dtype=np.float64).reshape(-1, 2)
        if len(points):
            traces.append(
                go.Scatter(
                    x=points[:, 0].astype(np.float32),
                    y=points[:, 1].astype(np.float32),
                    name=f"{shorten_label(name)}, {kind}",
                    mode="lines+markers" if len(points) < 30 else "lines",
                    line=dict(color=color, dash=dash, width=2),
                    marker_size=5,
                    hovertemplate="%{y:.4g}",
                )
            )
    return traces


def _lay_out_panels(figure: go.Figure, metrics: Sequence[str]) -> None:
    """Give every metric a panel with its own axes, two panels a row."""
    rows = math.ceil(len(metrics) / 2)
    width, height = (1, 1 / rows) if len(metrics) == 1 else (0.45, 1 / rows)
    for number, metric in enumerate(metrics):
        row, column = divmod(number, 2)
        top = 1 - row * height
        suffix = str(number + 1) if number else ""
        x_axis = dict(domain=[column * 0.55, column * 0.55 + width], anchor=f"y{suffix}", title="epoch")
        y_axis = dict(domain=[top - height * (0.78 if rows > 1 else 1), top], anchor=f"x{suffix}")
        y_axis["title"] = escape(metric.replace("_", " "))
        figure.update_layout({f"xaxis{suffix}": x_axis | _epoch_ticks(figure), f"yaxis{suffix}": y_axis})
    figure.update_layout(height=120 + 260 * rows)


def _epoch_ticks(figure: go.Figure) -> dict[str, Any]:
    first = min(float(trace.x.min()) for trace in figure.data)
    last = math.ceil(max(float(trace.x.max()) for trace in figure.data))
    start = 0.7 if first >= 1 else 0
    return dict(tick0=0, dtick=max(1, math.ceil(last / 8)), range=[start, last + 0.3])


def _add_curve_legend(figure: go.Figure, names: Sequence[str]) -> None:
    """Explain colours (runs) and dashes (training, validation) without a line for every pair."""
    entries = [(shorten_label(name), PALETTE[n % len(PALETTE)], "solid") for n, name in enumerate(names)]
    entries += [("validation", INK, "solid"), ("training", INK, "dot")]
    for name, color, dash in entries:
        figure.add_trace(
            go.Scatter(x=[None], y=[None], name=name, mode="lines", line=dict(color=color, dash=dash))
        )
    figure.update_layout(
        legend=dict(orientation="h", x=0, y=1.02, yanchor="bottom", itemclick=False),
        margin_t=100,
    )
