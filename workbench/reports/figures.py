"""Saved plotly figures, made ready to be drawn by the page when they come into view."""

import html
import json
import re
from dataclasses import dataclass
from typing import Any

from workbench.figures import build_template

DEFAULT_HEIGHT = 450  # pixels, what plotly takes when a figure does not say
_TOP_MARGIN = 16  # pixels, once the title stands above the figure as a heading
_LEGEND_MARGIN = 40
_INK = {"light": "#3d444d", "dark": "#c3cad1"}


@dataclass(frozen=True)
class PageFigure:
    """A figure without its title and its own look, which the page gives to all figures alike."""

    key: str  # the id of its element
    title: str
    width: int | None  # pixels; None for the width of the page
    height: int  # pixels
    json: str  # safe inside <script type="application/json">


def prepare_figure(text: str, name: str, key: str) -> PageFigure:
    """Make a saved figure ready for the page.

    Args:
        text: The figure as plotly JSON.
        name: What to call it if it has no title.
        key: An id that is unique in the page.
    """
    figure = json.loads(text)
    layout = figure.get("layout", {})
    title = _plain(layout.pop("title", "")) or name.replace("_", " ").capitalize()
    height = layout.pop("height", DEFAULT_HEIGHT)
    margin = layout.setdefault("margin", {})
    top = margin.get("t", build_template().layout.margin.t)
    margin["t"] = _LEGEND_MARGIN if "legend" in layout else _TOP_MARGIN
    layout.pop("template", None)
    height = max(120, round(height - top + margin["t"]))
    text = embed_json({"data": figure["data"], "layout": layout})
    return PageFigure(key, title, layout.get("width"), height, text)


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
