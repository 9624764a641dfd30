"""What an evaluation found: intervals of models, reliability, robustness, maps of explanations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from workbench.figures.images import plot_images
from workbench.figures.style import INK, PALETTE, escape, new_figure, put_legend_on_top, shorten_label

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.verdicts import Verdict

_HEAT = ((0, 0, 4), (120, 28, 109), (237, 105, 37), (252, 255, 164))  # dark to bright, also without colour
_VEIL = 0.55  # of a map over its image


def plot_estimates(verdict: "Verdict") -> go.Figure:
    """Draw every model's measure with its 95 % interval and a dot for each run, the best on top."""
    from workbench.evaluation.measures import describe_measure  # loads scikit-learn

    measure = describe_measure(verdict.measure)
    shown = [estimate for estimate in verdict.estimates if np.isfinite(estimate.value)]
    title = f"{verdict.dataset}: {measure} with 95 % intervals"
    figure = new_figure(title, height=150 + 34 * len(shown), showlegend=False)
    for estimate in shown:
        name = shorten_label(estimate.model)
        color = PALETTE[0] if estimate.kind == "model" else INK
        figure.add_trace(
            go.Scatter(
                x=[estimate.value],
                y=[name],
                mode="markers",
                marker=dict(color=color, size=11, symbol="diamond"),
                error_x=dict(
                    type="data",
                    symmetric=False,
                    array=[np.nan_to_num(estimate.high - estimate.value)],
                    arrayminus=[np.nan_to_num(estimate.value - estimate.low)],
                    color=color,
                ),
                hovertext=f"{escape(estimate.model)}: {estimate}",
                hoverinfo="text",
            )
        )
        if len(estimate.values) > 1:
            dots = dict(color=color, size=6, opacity=0.45)
            runs = go.Scatter(
                x=estimate.values, y=[name] * len(estimate.values), mode="markers", marker=dots, hoverinfo="x"
            )
            figure.add_trace(runs)
    figure.update_xaxes(title=escape(measure))
    figure.update_yaxes(type="category", autorange="reversed")
    return figure


def plot_reliability(tables: Mapping[str, "pd.DataFrame"]) -> go.Figure:
    """Draw accuracy against confidence, with Wilson's intervals; on the diagonal probabilities deserve trust.

    Args:
        tables: From `workbench.evaluation.measure_reliability`, by the name to show.
    """
    figure = new_figure("Reliability", height=420)
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            name="calibrated",
            line=dict(color=INK, dash="dot"),
            hoverinfo="skip",
        )
    )
    for number, (name, table) in enumerate(tables.items()):
        figure.add_trace(
            go.Scatter(
                x=table["confidence"],
                y=table["accuracy"],
                name=shorten_label(name),
                mode="lines+markers",
                line_color=PALETTE[number % len(PALETTE)],
                error_y=dict(
                    type="data",
                    symmetric=False,
                    array=table["high"] - table["accuracy"],
                    arrayminus=table["accuracy"] - table["low"],
                    thickness=1,
                ),
                customdata=table["samples"],
                hovertemplate="confidence %{x:.3f}, accuracy %{y:.3f}, %{customdata} samples",
            )
        )
    figure.update_xaxes(title="mean probability of the predicted class", tickformat=".0%")
    figure.update_yaxes(title="accuracy", tickformat=".0%")
    return put_legend_on_top(figure)


def plot_robustness(table: "pd.DataFrame", title: str = "Robustness") -> go.Figure:
    """Draw accuracy against the strength of each corruption, with its interval as a band.

    Args:
        table: From `workbench.evaluation.measure_robustness`.
    """
    figure = new_figure(title, height=400)
    for number, (name, rows) in enumerate(table.groupby("corruption", sort=False)):
        color = PALETTE[number % len(PALETTE)]
        band = dict(mode="lines", line_width=0, showlegend=False, hoverinfo="skip")
        figure.add_trace(go.Scatter(x=rows["strength"], y=rows["high"], **band))
        figure.add_trace(
            go.Scatter(x=rows["strength"], y=rows["low"], fill="tonexty", fillcolor=_fade(color), **band)
        )
        figure.add_trace(
            go.Scatter(
                x=rows["strength"],
                y=rows["accuracy"],
                name=escape(str(name)),
                mode="lines+markers",
                line_color=color,
                hovertemplate="strength %{x}: %{y:.1%}",
            )
        )
    figure.update_xaxes(title="strength of the corruption; 0 is none", dtick=1)
    figure.update_yaxes(title="accuracy", tickformat=".0%")
    return put_legend_on_top(figure)


def plot_faithfulness(
    curves: Mapping[str, "pd.DataFrame"], unit: str = "pixels", title: str = "Deletion and insertion"
) -> go.Figure:
    """Draw the probability of the class while what is marked is taken away (solid) and put back (dotted).

    Args:
        curves: `Faithfulness.curves` of each kind of map, by the name to show; the first one's random order
            is drawn too.
        unit: What is taken away, in the plural.
        title: Of the figure.
    """
    figure = new_figure(title, height=400)
    lines = [(name, table, "") for name, table in curves.items()]
    lines.append(("random order", next(iter(curves.values())), "random_"))
    for number, (name, table, prefix) in enumerate(lines):
        color = INK if prefix else PALETTE[number % len(PALETTE)]
        for kind, dash in (("deletion", "solid"), ("insertion", "dot")):
            figure.add_trace(
                go.Scatter(
                    x=table["share"],
                    y=table[prefix + kind],
                    name=f"{shorten_label(name)}, {kind}",
                    mode="lines",
                    line=dict(color=color, dash=dash),
                    hovertemplate=f"%{{x:.0%}} of the {unit}: %{{y:.1%}}",
                )
            )
    figure.update_xaxes(title=f"share of the {unit}, the most marked first", tickformat=".0%")
    figure.update_yaxes(title="probability of the class", tickformat=".0%", rangemode="tozero")
    return put_legend_on_top(figure)


def plot_maps(images: np.ndarray, maps: np.ndarray, captions: Sequence[str], title: str) -> go.Figure:
    """Show images under their maps, bright where a map is large.

    Args:
        images: (n, height, width, channels) uint8 with 1 or 3 channels.
        maps: (n, height, width), or with channels, which are summed; negative values are shown as 0.
        captions: n texts.
        title: Of the figure.
    """
    return plot_images(blend_maps(images, maps), captions, title)


def blend_maps(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return images under their maps, (n, height, width, 3) uint8; each map's highest value is brightest.

    Args:
        images: (n, height, width, channels) uint8.
        maps: (n, height, width), or with channels, which are summed; negative values are shown as 0.
    """
    strengths = np.maximum(maps.sum(axis=-1) if maps.ndim == 4 else maps, 0)
    highest = strengths.max(axis=(1, 2), keepdims=True)
    shares = np.divide(strengths, highest, out=np.zeros_like(strengths), where=highest > 0)
    places = np.linspace(0, 1, len(_HEAT))
    heat = np.stack([np.interp(shares, places, channel) for channel in np.transpose(_HEAT)], axis=-1)
    color = np.broadcast_to(images.mean(axis=-1, keepdims=True), heat.shape)
    return ((1 - _VEIL) * color + _VEIL * heat).round().astype(np.uint8)


def _fade(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"
