"""Parameters and results of several runs beside one another."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from workbench.figures.style import empty_figure, new_figure, shorten_label

_SCALE = ((0, "#E69F00"), (1, "#0072B2"))  # two of the palette, apart in hue and in lightness
_MOST_TICKS = 12  # of an axis, as many as fit
_WIDE_SPAN = 50  # largest by smallest value from which an axis is logarithmic


def plot_parallel_coordinates(
    columns: Mapping[str, Sequence[Any]], title: str = "Parameters and results"
) -> go.Figure:
    """Draw every run as a line through its values, one vertical axis a column; the last one gives the colour.

    Numbers that span orders of magnitude stand on a logarithmic axis, texts at equal distances; a run
    without a value passes below the axis, at "none".

    Args:
        columns: The values of all runs by the column's name, None or NaN where a run has none.
    """
    used = {name: values for name, values in columns.items() if not all(map(_is_missing, values))}
    if not used or len(next(iter(used.values()))) < 2:
        return empty_figure(title, "Parallel coordinates need at least two runs")
    dimensions = [_dimension(name, list(values)) for name, values in used.items()]
    last = dimensions[-1]
    figure = new_figure(title, height=420, margin=dict(l=70, r=40, t=110, b=32))
    line = dict(color=last["values"], colorscale=_SCALE, showscale=False)
    figure.add_trace(
        go.Parcoords(dimensions=dimensions, line=line, labelangle=-20 if len(dimensions) > 4 else 0)
    )
    return figure


def _dimension(name: str, values: list[Any]) -> dict[str, Any]:
    known = [value for value in values if not _is_missing(value)]
    if all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in known):
        positions, ticks = _place_numbers(values, known)
    else:
        positions, ticks = _place_texts(values, known)
    lowest = min(positions[number] for number, value in enumerate(values) if not _is_missing(value))
    if len(known) < len(values):
        span = max(positions[~np.isnan(positions)]) - lowest or 1.0
        below = lowest - 0.15 * span
        positions = np.where(np.isnan(positions), below, positions)
        ticks = {below: "none", **ticks}
    shown = dict(sorted(ticks.items()))
    return dict(
        label=shorten_label(name, 18),
        values=positions,
        tickvals=list(shown),
        ticktext=[shorten_label(text, 16) for text in shown.values()],
    )


def _place_numbers(values: list[Any], known: list[Any]) -> tuple[np.ndarray, dict[float, str]]:
    logarithmic = min(known) > 0 and max(known) / min(known) >= _WIDE_SPAN
    place = math.log10 if logarithmic else float
    positions = np.array([math.nan if _is_missing(value) else place(value) for value in values])
    marks = np.unique([place(value) for value in known])
    if len(marks) > 1 and np.diff(marks).min() < (marks[-1] - marks[0]) / _MOST_TICKS:  # they would overlap
        marks = np.linspace(marks[0], marks[-1], 5)
    return positions, {float(at): f"{10**at if logarithmic else at:.4g}" for at in marks}


def _place_texts(values: list[Any], known: list[Any]) -> tuple[np.ndarray, dict[float, str]]:
    places = {text: float(number) for number, text in enumerate(dict.fromkeys(map(str, known)))}
    positions = [math.nan if _is_missing(value) else places[str(value)] for value in values]
    step = math.ceil(len(places) / _MOST_TICKS)
    return np.array(positions), {at: text for text, at in list(places.items())[::step]}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and not math.isfinite(value))
