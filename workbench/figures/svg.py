"""Curves as an SVG picture: for places where no script draws a plotly figure."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workbench.figures.curves import epoch_metrics, metric_names
from workbench.figures.style import INK, PALETTE

_WIDTH, _HEIGHT = 340, 200  # pixels of a panel with its axes
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 8, 24, 34  # room around the curves
_MOST_POINTS = 200  # of a curve; more cannot be told apart at this size
_MOST_PANELS = 6


def draw_learning_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return an SVG picture of training (dotted) and validation (solid) metrics by epoch, two panels a row.

    Runs have the colours of `plot_learning_curves`. The picture is empty text where no epoch was logged.

    Args:
        curves: The events of each run, by its name.
    """
    histories = [epoch_metrics(events) for events in curves.values()]
    panels = metric_names({str(number): history for number, history in enumerate(histories)})[:_MOST_PANELS]
    if not panels:
        return ""
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    body = [
        f'<g transform="translate({number % columns * _WIDTH},{number // columns * _HEIGHT})">'
        f"{_draw_panel(histories, metric)}</g>"
        for number, metric in enumerate(panels)
    ]
    width, height = columns * _WIDTH, rows * _HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="11" fill="{INK}">'
        f"{''.join(body)}</svg>"
    )


def _draw_panel(histories: Sequence[Mapping[str, list[tuple[int, float]]]], metric: str) -> str:
    lines = [
        (_thin(points), PALETTE[number % len(PALETTE)], dash)
        for number, history in enumerate(histories)
        for name, dash in ((metric, "2 3"), (f"val_{metric}", ""))
        if (points := [point for point in history.get(name, ()) if math.isfinite(point[1])])
    ]
    title = f'<text x="{_LEFT}" y="14" font-size="12" font-weight="600">{_safe(metric)}</text>'
    if not lines:
        return title
    last = max(points[-1][0] for points, *_ in lines)
    values = [value for points, *_ in lines for _, value in points]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    x = _scale(1, max(last, 2), _LEFT + 4, _WIDTH - _RIGHT - 4)
    y = _scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    drawn = [title, *_draw_axes(low, high, last, x, y)]
    for points, color, dash in lines:
        path = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in points)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8" '
            f'stroke-dasharray="{dash}" stroke-linejoin="round"/>'
        )
        if len(points) == 1:
            drawn.append(
                f'<circle cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}" r="3" fill="{color}"/>'
            )
    return "".join(drawn)


def _draw_axes(low: float, high: float, last: int, x: Any, y: Any) -> Iterable[str]:
    for value in (low, (low + high) / 2, high):
        yield (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="{INK}" stroke-opacity="0.25"/>'
            f'<text x="{_LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for epoch in sorted({1, math.ceil(last / 2), last}):
        yield f'<text x="{x(epoch):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{epoch}</text>'
    yield f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">epoch</text>'


def _scale(low: float, high: float, start: float, end: float) -> Any:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    step = math.ceil(len(points) / _MOST_POINTS)
    return points[::step] if (len(points) - 1) % step == 0 else [*points[::step], points[-1]]


def _safe(text: str) -> str:
    return html.escape(text.replace("_", " "))
