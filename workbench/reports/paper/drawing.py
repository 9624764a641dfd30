"""Saved figures drawn by matplotlib, for print: from the same data as on the page, without a browser.

It knows the kinds of figure that `workbench.figures` makes: curves, bars, heatmaps, pictures with captions,
and parallel coordinates.
"""

import base64
import html
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from workbench.figures.style import PALETTE
from workbench.reports.figures import read_array

WIDTHS = {"column": 3.35, "page": 6.9}  # inches
STYLES = {
    "serif": ["STIXGeneral", "DejaVu Serif"],
    "sans": ["DejaVu Sans"],
}
_SCRIPTS = ["Noto Sans CJK SC", "Noto Sans Arabic", "Noto Sans", "WenQuanYi Zen Hei", "DejaVu Sans"]
_DASHES = {"solid": "-", "dot": ":", "dash": "--", "dashdot": "-.", "longdash": "--"}
_SHARES = LinearSegmentedColormap.from_list("shares", ["#f4f8fb", "#d3e5f2", "#82b8da", "#0072B2"])


@dataclass(frozen=True)
class Look:
    """How a figure is drawn."""

    width: float  # inches
    style: str  # a key of STYLES

    @property
    def settings(self) -> dict[str, Any]:
        """matplotlib's settings: fonts embedded as TrueType, sizes for print."""
        small = 7 if self.width < 5 else 8
        fonts = _available([*STYLES[self.style], *_SCRIPTS])
        return {
            "font.family": fonts,
            "font.size": small,
            "axes.titlesize": small,
            "axes.labelsize": small,
            "legend.fontsize": small - 0.5,
            "xtick.labelsize": small - 0.5,
            "ytick.labelsize": small - 0.5,
            "mathtext.fontset": "stix" if self.style == "serif" else "dejavusans",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.6,
            "axes.grid": True,
            "grid.linewidth": 0.4,
            "grid.color": "#dddddd",
            "axes.axisbelow": True,
            "pdf.fonttype": 42,
            "svg.fonttype": "path",
            "svg.hashsalt": "workbench",
            "text.parse_math": False,
        }


def draw_figure(figure: Mapping[str, Any], look: Look) -> Figure:
    """Draw a saved figure.

    Args:
        figure: Plotly's `data` and `layout`.
        look: Width and style.
    """
    layout = figure.get("layout", {})
    panels = list(_panels(figure["data"]))
    handles = _legend_handles(figure["data"], layout)
    columns = _legend_columns(handles, look.width)
    legend = 0.17 * math.ceil(len(handles) / columns)
    drawn = Figure(figsize=(look.width, _height(panels, look.width) + legend))
    drawn.set_layout_engine("constrained")
    across = min(2, len(panels))
    for number, (suffix, traces) in enumerate(panels):
        axes = drawn.add_subplot(math.ceil(len(panels) / 2), across, number + 1)
        _draw_panel(axes, traces, layout, suffix)
    if handles:
        drawn.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False)
    if not panels:
        _say_why_empty(drawn, layout)
    return drawn


def _height(panels: list[tuple[str, list[Mapping[str, Any]]]], width: float) -> float:
    """Return the height in inches that suits what is drawn."""
    if not panels:
        return 0.8
    trace = panels[0][1][0]
    kind = trace.get("type", "scatter")
    if kind == "image":
        high, wide = _read_picture(trace).shape[:2]
        return width * high / wide
    if kind == "bar" and trace.get("orientation") == "h":
        return 0.5 + 0.14 * len(read_array(trace["y"]))
    if kind == "heatmap":
        return min(width, 0.7 + max(0.25 * len(trace["z"]), 1.2))
    across = min(2, len(panels))
    return math.ceil(len(panels) / 2) * min(0.85 if across == 2 else 0.62, 1) * width / across


def save_figure(figure: Mapping[str, Any], look: Look, stem: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of a figure as SVG, PDF and PNG, the same bytes for the same data."""
    with matplotlib.rc_context(look.settings):
        drawn = draw_figure(figure, look)
        for kind, metadata in (("svg", {"Date": None}), ("pdf", {"CreationDate": None}), ("png", {})):
            buffer = io.BytesIO()
            drawn.savefig(buffer, format=kind, dpi=300, metadata=metadata)
            yield f"{stem}.{kind}", buffer.getvalue()


def _panels(traces: list[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield the traces of each pair of axes, with its number; what draws nothing is left out."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for trace in traces:
        if trace.get("type") == "parcoords" or not _is_empty(trace):
            groups.setdefault(str(trace.get("xaxis", "x"))[1:], []).append(trace)
    yield from groups.items()


def _is_empty(trace: Mapping[str, Any]) -> bool:
    """Tell whether a trace only stands for an entry of the legend."""
    if trace.get("type", "scatter") != "scatter":
        return False
    values = read_array(trace.get("y", []))
    return len(values) == 0 or all(value is None for value in values.tolist())


def _draw_panel(axes: Axes, traces: list[Mapping[str, Any]], layout: Mapping[str, Any], suffix: str) -> None:
    kinds = {trace.get("type", "scatter") for trace in traces}
    x_axis, y_axis = layout.get(f"xaxis{suffix}", {}), layout.get(f"yaxis{suffix}", {})
    if "image" in kinds:
        _draw_pictures(axes, traces)
        return
    if "parcoords" in kinds:
        _draw_parallel(axes, traces[0])
        return
    for number, trace in enumerate(traces):
        _DRAW[trace.get("type", "scatter")](axes, trace, number, traces[:number])
    axes.set_xlabel(_title(x_axis))
    axes.set_ylabel(_title(y_axis))
    _set_ticks(axes, x_axis, y_axis, "heatmap" in kinds)
    if y_axis.get("autorange") == "reversed":
        axes.invert_yaxis()
    if isinstance(x_axis.get("range"), list):
        axes.set_xlim(*x_axis["range"])
    if y_axis.get("tickformat", "").endswith("%"):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _draw_curve(axes: Axes, trace: Mapping[str, Any], number: int, before: list[Any]) -> None:
    line = trace.get("line", {})
    mode = trace.get("mode", "lines")
    axes.plot(
        read_array(trace.get("x", [])),
        read_array(trace["y"]).astype(float),
        color=line.get("color", PALETTE[number % len(PALETTE)]),
        linestyle=_DASHES.get(line.get("dash", "solid"), "-") if "lines" in mode else "",
        linewidth=1,
        marker="o" if "markers" in mode else "",
        markersize=2,
        drawstyle="steps-post" if line.get("shape") == "hv" else "default",
    )


def _draw_bars(axes: Axes, trace: Mapping[str, Any], number: int, before: list[Mapping[str, Any]]) -> None:
    flat = trace.get("orientation") == "h"
    values = read_array(trace["x" if flat else "y"]).astype(float)
    base = sum(
        (read_array(other["x" if flat else "y"]).astype(float) for other in before), np.zeros(len(values))
    )
    color = trace.get("marker", {}).get("color", PALETTE[number % len(PALETTE)])
    places = np.arange(len(values))
    draw = axes.barh if flat else axes.bar
    draw(places, values, 0.8, base, color=color)
    axes.grid(visible=False, axis="y" if flat else "x")
    names = [_plain(name) for name in read_array(trace["y" if flat else "x"]).tolist()]
    (axes.set_yticks if flat else axes.set_xticks)(places, names)


def _draw_heatmap(axes: Axes, trace: Mapping[str, Any], number: int, before: list[Any]) -> None:
    shares = read_array(trace["z"]).astype(float)
    image = axes.imshow(shares, cmap=_SHARES, vmin=trace.get("zmin"), vmax=trace.get("zmax"))
    axes.grid(visible=False)
    if trace.get("texttemplate"):
        texts = trace.get("text") or shares.tolist()
        for row, cells in enumerate(texts):
            for column, text in enumerate(cells):
                ink = "white" if shares[row, column] > 0.6 else "#222222"
                axes.text(column, row, _plain(text), ha="center", va="center", color=ink)
    else:
        axes.figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1))
    for set_ticks, names in ((axes.set_xticks, trace.get("x")), (axes.set_yticks, trace.get("y"))):
        set_ticks(range(len(names)), [_plain(name) for name in read_array(names).tolist()])
    axes.invert_yaxis()  # plotly's first row lies at the bottom until its axis is reversed


def _draw_pictures(axes: Axes, traces: list[Mapping[str, Any]]) -> None:
    for trace in traces:
        if trace.get("type") == "image":
            picture = _read_picture(trace)
            axes.imshow(picture, interpolation="nearest")
            scale = axes.figure.get_figwidth() * 72 / picture.shape[1]  # points a pixel
        elif trace.get("text"):
            texts = zip(read_array(trace["x"]), read_array(trace["y"]), trace["text"], strict=True)
            for x, y, text in texts:
                axes.text(x, y, _plain(text), ha="center", va="top", fontsize=10 * scale, linespacing=1.15)
    axes.set_axis_off()


def _read_picture(trace: Mapping[str, Any]) -> np.ndarray:
    """Return the (height, width, 4) pixels of a trace."""
    from PIL import Image

    data = base64.b64decode(trace["source"].partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def _draw_parallel(axes: Axes, trace: Mapping[str, Any]) -> None:
    dimensions = trace["dimensions"]
    columns = [read_array(dimension["values"]).astype(float) for dimension in dimensions]
    spans = [(values.min(), np.ptp(values) or 1.0) for values in columns]
    scaled = np.array([(values - low) / span for values, (low, span) in zip(columns, spans, strict=True)])
    for run in scaled.T:
        axes.plot(range(len(run)), run, color=matplotlib.colormaps["cividis"](run[-1]), linewidth=0.8)
    for place, (dimension, (low, span)) in enumerate(zip(dimensions, spans, strict=True)):
        axes.axvline(place, color="#888888", linewidth=0.6)
        for at, text in zip(dimension.get("tickvals", ()), dimension.get("ticktext", ()), strict=False):
            axes.text(place + 0.03, (at - low) / span, _plain(text), va="center", fontsize="small")
    axes.set_xticks(range(len(dimensions)), [_plain(dimension["label"]) for dimension in dimensions])
    axes.set_yticks([])
    axes.grid(visible=False)


_DRAW = {"scatter": _draw_curve, "scattergl": _draw_curve, "bar": _draw_bars, "heatmap": _draw_heatmap}


def _set_ticks(axes: Axes, x_axis: Mapping[str, Any], y_axis: Mapping[str, Any], upright: bool) -> None:
    for axis, set_ticks in ((x_axis, axes.set_xticks), (y_axis, axes.set_yticks)):
        if axis.get("ticktext") and axis.get("tickvals"):
            set_ticks(read_array(axis["tickvals"]), [_plain(text) for text in axis["ticktext"]])
    longest = max((len(tick.get_text()) for tick in axes.get_xticklabels()), default=0)
    if upright and longest > 3:
        axes.tick_params(axis="x", rotation=90)


def _legend_handles(traces: list[Mapping[str, Any]], layout: Mapping[str, Any]) -> list[Line2D]:
    """Return what the legend shows: one line or bar a named trace; nothing for a single one."""
    named = [trace for trace in traces if trace.get("name") and trace.get("showlegend") is not False]
    named = [trace for trace in named if trace.get("type", "scatter") in ("scatter", "scattergl", "bar")]
    if len(named) < 2 or layout.get("showlegend") is False:
        return []
    handles = []
    for number, trace in enumerate(named):
        style = trace.get("line") or trace.get("marker") or {}
        is_bar = trace.get("type") == "bar"
        handles.append(
            Line2D(
                [],
                [],
                color=style.get("color", PALETTE[number % len(PALETTE)]),
                linestyle=_DASHES.get(style.get("dash", "solid"), "-"),
                linewidth=5 if is_bar else 1,
                label=_plain(trace["name"]),
            )
        )
    return handles


def _legend_columns(handles: list[Line2D], width: float) -> int:
    """Return how many entries stand side by side."""
    longest = max((len(handle.get_label()) for handle in handles), default=0)
    return max(1, min(len(handles), int(width / (0.06 * longest + 0.5))))


def _say_why_empty(drawn: Figure, layout: Mapping[str, Any]) -> None:
    notes = [_plain(note.get("text", "")) for note in layout.get("annotations", ())]
    drawn.text(0.5, 0.5, "\n".join(notes), ha="center", va="center")


def _title(axis: Mapping[str, Any]) -> str:
    title = axis.get("title", "")
    return _plain(title.get("text", "") if isinstance(title, Mapping) else title)


def _plain(text: Any) -> str:
    """Return plotly's text as plain text: line breaks kept, other tags dropped, entities resolved."""
    lines = re.sub(r"<br\s*/?>", "\n", str(text))
    return html.unescape(re.sub(r"<[^<>]*>", "", lines))


def _available(names: list[str]) -> list[str]:
    from matplotlib.font_manager import get_font_names

    known = set(get_font_names())
    return [name for name in dict.fromkeys(names) if name in known]
