"""The look of the dashboards of widgets and of their static views: one style sheet, and pieces of HTML.

Colours come from the palette of the figures and from JupyterLab's variables, so that a page is readable in a
light and in a dark theme. A notebook that JupyterLab does not trust, such as one that papermill executed,
loses style sheets but keeps styles of elements, so a static view has the most important rules twice.
"""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from workbench.figures import PALETTE

BLUE, ORANGE, GREEN = PALETTE[:3]

_EDGE = "border:1px solid rgba(128,128,128,.28);border-radius:6px"
_BAR = "display:inline-block;height:9px;border-radius:2px;vertical-align:middle"
_RULES = {  # by class; those that a static view needs even without a style sheet
    "cards": "display:grid;grid-template-columns:repeat(auto-fill,minmax(104px,1fr));gap:10px",
    "card": f"margin:0;padding:8px 6px;text-align:center;font-size:12px;line-height:1.35;{_EDGE}",
    "text": f"padding:8px 12px;margin:0 0 8px;max-height:16em;overflow-y:auto;{_EDGE}",
    "where": "opacity:.75;font-size:11.5px",
    "note": "opacity:.75;font-size:12px",
    "scroll": "overflow-x:auto;overflow-y:auto;max-height:32em",
    "word": "text-align:left",
    "number": "text-align:right",
}
STYLE = "".join(f".workbench-page .workbench-{name}{{{rule}}}\n" for name, rule in _RULES.items())
STYLE += f"""
.workbench-page :is(.workbench-card,.workbench-text){{overflow-wrap:anywhere}}
.workbench-page{{max-width:1100px;font-size:13px;line-height:1.45}}
.workbench-page h4{{margin:2px 0 8px;font-size:15px;font-weight:600}}
.workbench-page h5{{margin:14px 0 6px;font-size:13px;font-weight:600}}
.workbench-page .widget-html-content{{line-height:1.45}}
.workbench-page .widget-html,.workbench-page .jupyter-widget-html{{height:auto}}
.workbench-page .widget-tab-contents{{overflow:visible;padding:12px}}
.workbench-page .lm-TabBar-tab{{flex:0 1 auto!important;min-width:0!important;padding:0 14px!important}}
.workbench-page .parcoords text{{text-shadow:none!important}}
.workbench-page p{{margin:4px 0 8px}}
.workbench-page .workbench-card img{{margin:0 auto 4px;display:block;max-width:100%}}
.workbench-page mark{{background:{PALETTE[4]};color:#000;border-radius:2px;padding:0 1px}}
.workbench-warn{{color:inherit;border-left:3px solid {ORANGE};padding-left:8px}}
.workbench-page table{{border-collapse:collapse;font-size:12.5px;margin:4px 0;white-space:nowrap}}
.workbench-page .workbench-scroll :is(th,td){{padding:3px 10px 3px 0;white-space:nowrap;vertical-align:middle;
 border-bottom:1px solid rgba(128,128,128,.2)}}
.workbench-page .workbench-number{{font-variant-numeric:tabular-nums}}
.workbench-page table.workbench-matrix{{border-spacing:2px;border-collapse:separate}}
.workbench-page .workbench-scroll tr{{background:none}}
.workbench-page .workbench-scroll .workbench-matrix td{{padding:4px 6px;min-width:24px;border:0;
 border-radius:3px}}
.workbench-page .workbench-scroll .workbench-matrix th{{border:0;padding:2px 6px}}
.workbench-grid .jupyter-button{{padding:0;min-width:0;border-radius:3px}}
.workbench-grid .jupyter-button:focus-visible{{outline:2px solid {ORANGE};outline-offset:1px}}
.workbench-grid .workbench-chosen{{outline:3px solid {PALETTE[4]}!important;outline-offset:-1px;z-index:1}}
.workbench-grid{{margin-bottom:10px!important}}
.workbench-page .workbench-name{{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-size:12px;
 line-height:28px;text-align:center}}
.workbench-page .workbench-row{{text-align:right;padding-right:6px;max-width:150px}}
.workbench-page a.workbench-link{{color:var(--jp-content-link-color,{BLUE});text-decoration:underline}}
"""


def style_elements(page: str) -> str:
    """Return HTML whose elements carry the most important rules of the style sheet themselves."""
    for name, rule in _RULES.items():
        page = page.replace(f'class="workbench-{name}"', f'class="workbench-{name}" style="{rule}"')
    return page


def escape(text: Any) -> str:
    """Return `text` as it may stand in HTML, also in an attribute."""
    return html.escape(str(text), quote=True)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    """Return an HTML table.

    Args:
        head: Names of the columns, plain text.
        rows: Cells, HTML.
        numbers: Columns to align at the right.
    """

    def cell(tag: str, column: int, content: Any) -> str:
        side = "number" if column in numbers else "word"
        return f'<{tag} class="workbench-{side}">{content}</{tag}>'

    top = "".join(cell("th", column, escape(name)) for column, name in enumerate(head))
    body = "".join(
        "<tr>" + "".join(cell("td", column, content) for column, content in enumerate(row)) + "</tr>"
        for row in rows
    )
    inner = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="workbench-scroll"><table>{inner}</table></div>'


def bar(share: float, color: str, width: int = 60) -> str:
    """Return a horizontal bar for a share of 1; `width` is in pixels and that of the whole."""
    size = f"width:{max(1, round(share * width))}px;background:{color}"
    return f'<span style="{_BAR};{size}"></span>'


def count(number: int, noun: str) -> str:
    """Return "1 sample" or "2,000 samples"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
