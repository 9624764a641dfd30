"""An executed notebook as a reader of the report sees it: code, prose and outputs, none of which can run."""

import ast
import base64
import functools
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nh3
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from workbench.reports.figures import PageFigure
from workbench.reports.prose import render_markdown
from workbench.reports.rendering import strip_colors

_PLOTLY = "application/vnd.plotly.v1+json"
_PICTURES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "image/gif": b"GIF8", "image/webp": b"RIFF"}
_LONGEST = 20_000  # characters of one printed output; what is longer is cut in its middle
_STYLES = {
    "color",
    "background-color",
    "font-weight",
    "font-style",
    "text-align",
    "text-decoration",
    "white-space",
}
_TAGS = nh3.ALLOWED_TAGS - {
    "map",
    "area",
    "article",
    "aside",
    "nav",
    "header",
    "footer",
    "details",
    "summary",
}
_ATTRIBUTES = {
    "*": {"style"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_PICTURE_DATA = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")


@dataclass(frozen=True)
class Cell:
    """One cell; `source` and `outputs` are safe HTML."""

    number: int  # of the code cells, from 1; 0 for prose
    name: str  # its id in the notebook
    source: str
    lines: int
    outputs: list[str]


@dataclass(frozen=True)
class NotebookView:
    """An executed notebook, and where in it something was made."""

    cells: list[Cell]
    hidden: bool  # outputs are left out, since they could show samples
    _sources: list[tuple[int, str]]

    def find_cell(self, method: str, name: str = "") -> int:
        """Return the number of the code cell that calls `….method(name, …)`; 0 if none is seen to."""
        for number, source in self._sources:
            if any(_calls(source, method, name)):
                return number
        return 0


def read_view(
    path: Path, draw: Callable[[str], PageFigure | None], hide_outputs: bool
) -> NotebookView | None:
    """Read an executed notebook; None where there is none that can be read.

    Args:
        path: The notebook.
        draw: Makes a plotly figure ready for the page.
        hide_outputs: Whether to leave all outputs out.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return None
    shown, sources = [], []
    for cell in cells:
        source = "".join(cell.get("source", ""))
        if cell.get("cell_type") == "markdown":
            shown.append(Cell(0, "", render_markdown(source), source.count("\n") + 1, []))
        elif cell.get("cell_type") == "code":
            sources.append((len(sources) + 1, source))
            outputs = [] if hide_outputs else cell.get("outputs", [])
            rendered = [text for output in outputs for text in _render_output(output, draw)]
            lines = source.count("\n") + 1
            shown.append(Cell(len(sources), str(cell.get("id", "")), _highlight(source), lines, rendered))
    return NotebookView(shown, hide_outputs, sources)


def sanitize(text: str) -> str:
    """Return HTML of whoever wrote it with only what an allow-list holds: no script, no address, no class."""
    return nh3.clean(
        text,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_filter_attribute,
        filter_style_properties=_STYLES,
        url_schemes={"http", "https", "data"},
        url_relative="deny",
    )


def _filter_attribute(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        return value if _PICTURE_DATA.fullmatch(value) else None
    if name == "href":
        return value if value.startswith(("http://", "https://")) else None
    return value


def _render_output(output: Mapping[str, Any], draw: Callable[[str], PageFigure | None]) -> Iterator[str]:
    kind = output.get("output_type")
    if kind == "stream":
        yield _pre(_join(output.get("text", "")), "stderr" if output.get("name") == "stderr" else "")
    elif kind == "error":
        yield _pre("\n".join(map(str, output.get("traceback", []))), "stderr")
    elif kind in ("display_data", "execute_result"):
        yield _render_bundle(output.get("data", {}), draw)


def _render_bundle(data: Mapping[str, Any], draw: Callable[[str], PageFigure | None]) -> str:
    """Return the richest form of an output that is safe."""
    if _PLOTLY in data:
        figure = draw(json.dumps(data[_PLOTLY]))
        if figure:
            return figure.canvas
    for kind, beginning in _PICTURES.items():
        if kind in data and (picture := _decode(_join(data[kind]))).startswith(beginning):
            return f'<img alt="" src="data:{kind};base64,{base64.b64encode(picture).decode()}">'
    if "image/svg+xml" in data:  # as a picture, in which no script runs
        packed = base64.b64encode(_join(data["image/svg+xml"]).encode()).decode()
        return f'<img alt="" src="data:image/svg+xml;base64,{packed}">'
    if "text/html" in data:
        return f'<div class="output">{sanitize(_join(data["text/html"]))}</div>'
    if "text/markdown" in data:
        return f'<div class="output">{render_markdown(_join(data["text/markdown"]))}</div>'
    return _pre(_join(data.get("text/plain", "")), "")


def _decode(packed: str) -> bytes:
    """Return what base64 holds; nothing if it is none."""
    try:
        return base64.b64decode("".join(packed.split()), validate=True)
    except ValueError:
        return b""


def _pre(text: str, kind: str) -> str:
    text = strip_colors(text)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}\n[… {len(text) - _LONGEST:,} characters …]\n{text[-_LONGEST // 2 :]}"
    return f'<pre class="output {kind}">{html.escape(text)}</pre>'


@functools.lru_cache(maxsize=512)  # the runs of a matrix have their cells in common
def _highlight(source: str) -> str:
    return highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True))


def _join(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def _calls(source: str, method: str, name: str) -> Iterator[bool]:
    """Yield True for each call of a method whose first argument is, or may become, `name`."""
    tree = _parse(source)
    if tree is None:
        return
    assigned = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != method:
            continue
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Name):
            first = assigned.get(first.id)
        yield not name or (first is not None and bool(re.fullmatch(_pattern(first), name)))


@functools.lru_cache(maxsize=512)
def _parse(source: str) -> ast.Module | None:
    """Return the tree of a cell's code; None where it is no plain Python, such as magics."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def _pattern(node: ast.expr) -> str:
    """Return a pattern of the texts that an expression may give."""
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(part) for part in node.values)
    return ".*"
