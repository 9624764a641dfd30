"""The look that all figures share: colours, template, and text of data made safe for plotly."""

import html
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/, its blue lighter so that it is seen on black, too
PALETTE = ("#1F88D0", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
INK = "#7a7a7a"  # readable on white and on near-black
_SHARES = ((0, "#f4f8fb"), (0.05, "#d3e5f2"), (0.3, "#82b8da"), (1, "#0072B2"))
_SHARES_ON_DARK = ((0, "#1d2329"), (0.05, "#23435a"), (0.3, "#2f7fb0"), (1, "#8fd0ff"))
_GRID = "rgba(128,128,128,0.22)"
_LABEL_LENGTH = 28  # characters of a class or run name that fit beside an axis


def build_template(ink: str = INK, dark: bool = False) -> go.layout.Template:
    """Return the look of all figures; the default suits a page whose colour is not known.

    Args:
        ink: The colour of text.
        dark: Whether shares are coloured for a dark page.
    """
    axis = dict(
        gridcolor=_GRID,
        linecolor=_GRID,
        zeroline=False,
        automargin=True,
        title=dict(standoff=8, font_size=13),
    )
    return go.layout.Template(
        layout=dict(
            colorway=PALETTE,
            colorscale_sequential=_SHARES_ON_DARK if dark else _SHARES,
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font=dict(family="system-ui, sans-serif", size=13, color=ink),
            title=dict(x=0, xanchor="left", xref="container", pad_l=12, font_size=16),
            margin=dict(l=56, r=16, t=56, b=48),
            xaxis=axis,
            yaxis=axis,
            hoverlabel=dict(font_family="system-ui, sans-serif"),
        )
    )


def new_figure(title: str, **layout: Any) -> go.Figure:
    """Return an empty figure of the common look; `layout` holds further settings."""
    return go.Figure(layout=dict(template=build_template(), title_text=escape(title), **layout))


def empty_figure(title: str, message: str) -> go.Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = new_figure(title, height=180)
    figure.add_annotation(text=message, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def put_legend_on_top(figure: go.Figure) -> go.Figure:
    """Place the legend in a row above the axes, at the right."""
    return figure.update_layout(
        legend=dict(orientation="h", x=1, xanchor="right", y=1, yanchor="bottom", traceorder="normal")
    )


def escape(text: str) -> str:
    """Return `text` so that plotly shows it as it is: no tag, no entity, no formula."""
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def shorten_label(text: str, length: int = _LABEL_LENGTH) -> str:
    """Return an escaped label, cut to what fits beside an axis."""
    text = " ".join(str(text).split())
    return escape(text if len(text) <= length else text[: length - 1] + "…")
