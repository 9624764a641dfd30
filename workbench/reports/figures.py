"""Saved plotly figures, made ready to be drawn by the page when they come into view."""

import base64
import functools
import gzip
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.offline

from workbench.figures import build_template

DEFAULT_HEIGHT = 450  # pixels, what plotly takes when a figure does not say
CARTESIAN_BUNDLE = Path(__file__).parent / "plotly" / "plotly-cartesian.min.js"
CARTESIAN_KINDS = frozenset(
    ("bar", "box", "contour", "heatmap", "histogram", "histogram2d", "histogram2dcontour", "image", "pie",
     "scatter", "scatterternary", "violin")
)  # fmt: skip
MOST_POINTS = 4000  # of a curve; a longer one is thinned for view
_TOP_MARGIN = 16  # pixels, once the title stands above the figure as a heading
_LEGEND_MARGIN = 40
_INK = {"light": "#3d444d", "dark": "#c3cad1"}
_LINK = re.compile(r"</?a\b[^<>]*>", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"<([a-z]+)\s[^<>]*>", re.IGNORECASE)  # with which a style could fetch something


@dataclass(frozen=True)
class PageFigure:
    """A figure without its title and its own look, which the page gives to all figures alike."""

    key: str  # the id of its data in the page
    title: str
    width: int | None  # pixels; None for the width of the page
    height: int  # pixels
    json: str  # safe inside <script type="application/json">
    kinds: frozenset[str]  # of its traces
    full: str = ""  # the data before they were thinned, gzip as base64; empty if they were not

    @property
    def canvas(self) -> str:
        """The element in which it is drawn."""
        width = f"; width:{self.width}px" if self.width else ""
        return f'<div class="canvas" data-figure="{self.key}" style="height:{self.height}px{width}"></div>'


class FigureStore:
    """The figures of a page, each of them once however often it is shown."""

    def __init__(self) -> None:
        self._by_content: dict[str, PageFigure] = {}

    def add(self, text: str, name: str) -> PageFigure:
        """Return a figure made ready, the same one for equal content.

        Args:
            text: The figure as plotly JSON.
            name: What to call it if it has no title.
        """
        figure = json.loads(text)
        figure.get("layout", {}).pop("template", None)
        mark = json.dumps({key: figure.get(key) for key in ("data", "layout")}, sort_keys=True)
        if mark not in self._by_content:
            key = f"figure-{len(self._by_content) + 1}"
            self._by_content[mark] = prepare_figure(text, name, key)
        return self._by_content[mark]

    @property
    def figures(self) -> list[PageFigure]:
        """All figures, in the order in which they were added."""
        return list(self._by_content.values())


@dataclass(frozen=True)
class PackedScript:
    """plotly.js as the page carries it: packed to a third, and unpacked by the page's own script."""

    source: str  # what runs, for the page's policy
    packed: str  # gzip, as base64


def pack_plotly(figures: Iterable[PageFigure]) -> PackedScript:
    """Return plotly.js, which a page holds once, in the smallest bundle that draws all its figures.

    A browser takes a third of the time to read the one for Cartesian axes. It comes with this package, so it
    serves only while the installed plotly is of the same version.
    """
    kinds = frozenset().union(*(figure.kinds for figure in figures))
    return _pack_bundle(kinds <= CARTESIAN_KINDS)


@functools.cache
def _pack_bundle(cartesian: bool) -> PackedScript:
    source = CARTESIAN_BUNDLE.read_text(encoding="utf-8") if cartesian else ""
    if f"v{plotly.offline.get_plotlyjs_version()}\n" not in source[:200]:
        source = plotly.offline.get_plotlyjs()
    return PackedScript(source, pack(source))


def prepare_figure(text: str, name: str, key: str) -> PageFigure:
    """Make a saved figure ready for the page.

    Args:
        text: The figure as plotly JSON.
        name: What to call it if it has no title.
        key: An id that is unique in the page.
    """
    figure = _disarm(json.loads(text))
    layout = figure.get("layout", {})
    title = _plain(layout.pop("title", "")) or name.replace("_", " ").capitalize()
    height = layout.pop("height", None) or DEFAULT_HEIGHT
    margin = layout.setdefault("margin", {})
    top = margin.get("t", _usual_top_margin())
    margin["t"] = _LEGEND_MARGIN if "legend" in layout else _TOP_MARGIN
    layout.pop("template", None)
    height = max(120, round(height - top + margin["t"]))
    shown = {"data": [thin_trace(trace) for trace in figure["data"]], "layout": layout}
    thinned = any(new is not old for new, old in zip(shown["data"], figure["data"], strict=True))
    full = pack(json.dumps({"data": figure["data"], "layout": layout})) if thinned else ""
    kinds = frozenset(trace.get("type", "scatter") for trace in figure["data"])
    return PageFigure(key, title, layout.get("width"), height, embed_json(shown), kinds, full)


@functools.cache
def _usual_top_margin() -> int:
    return build_template().layout.margin.t


def thin_trace(trace: dict[str, Any]) -> dict[str, Any]:
    """Return a curve of at most `MOST_POINTS` points that looks the same: of each stretch its extremes.

    A trace that is short, or no curve, is returned as it is.
    """
    if trace.get("type", "scatter") not in ("scatter", "scattergl"):
        return trace
    if "y" not in trace:
        return trace
    columns = {name: read_array(trace[name]) for name in ("x", "y") if name in trace}
    columns.setdefault("x", trace.get("x0", 0) + trace.get("dx", 1) * np.arange(len(columns["y"])))
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or max(lengths) <= MOST_POINTS or not np.issubdtype(columns["y"].dtype, np.number):
        return trace
    (length,) = lengths
    stretches = np.array_split(np.arange(length), MOST_POINTS // 2)
    heights = np.nan_to_num(columns["y"].astype(float))
    kept = {part[pick(heights[part])] for part in stretches for pick in (np.argmin, np.argmax)}
    chosen = sorted({0, length - 1, *kept})
    thinned = {name: values[chosen].tolist() for name, values in columns.items()}
    for name in ("text", "hovertext", "customdata", "ids"):
        if isinstance(trace.get(name), list) and len(trace[name]) == length:
            thinned[name] = [trace[name][number] for number in chosen]
    return trace | thinned


def read_array(values: Any) -> np.ndarray:
    """Return an array of a saved figure, which plotly writes as a list or as base64."""
    if isinstance(values, dict) and "bdata" in values:
        flat = np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"]))
        shape = [int(part) for part in str(values["shape"]).split(",")] if "shape" in values else [-1]
        return flat.reshape(shape)
    return np.asarray(values)


def pack(text: str) -> str:
    """Return a text as gzip in base64."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _disarm(value: Any) -> Any:
    """Return a figure without links, styles in its texts, and pictures that would have to be fetched."""
    if isinstance(value, dict):
        return {key: _disarm(item) for key, item in value.items() if not _is_foreign(key, item)}
    if isinstance(value, list):
        return [_disarm(item) for item in value]
    return _ATTRIBUTES.sub(r"<\1>", _LINK.sub("", value)) if isinstance(value, str) else value


def _is_foreign(key: str, value: Any) -> bool:
    return key in ("source", "src") and isinstance(value, str) and not value.startswith("data:image/")


def page_templates() -> str:
    """Return the look of figures on a light and on a dark page, as JSON for the page."""
    looks = {
        scheme: build_template(ink, dark=scheme == "dark").to_plotly_json() for scheme, ink in _INK.items()
    }
    return embed_json(looks)


def embed_json(value: Any) -> str:
    """Return JSON that no HTML parser takes for markup."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _plain(title: Any) -> str:
    """Return a plotly title as plain text: its tags removed, its entities resolved."""
    text = title.get("text", "") if isinstance(title, dict) else title
    return html.unescape(re.sub(r"<[^<>]*>", " ", text or "")).strip()
