"""A dashboard of widgets as the output of one notebook cell, with a static view beside it.

A widget lives in the kernel: when a notebook is opened again, JupyterLab writes "Error displaying widget"
or "Loading widget…" in its place, and nbconvert leaves it out. So the cell has two outputs: the widgets, and
plain HTML that needs neither kernel nor script. A style sheet inside the widgets hides the static view while
they are shown, and one in the static view hides what JupyterLab writes in place of dead widgets. Where nobody
can click (nbclient, papermill, nbconvert) there is only the static view.
"""

import html
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from workbench.dashboards.look import STYLE, style_elements
from workbench.front_end import somebody_can_click

_WIDGET = "application/vnd.jupyter.widget-view+json"
_LIVE = "workbench-live"  # class of a dashboard's root widget

Publish = Callable[[str], None]


class Dashboard:
    """What a dashboard function returns; a cell shows it when it is the cell's last expression.

    Args:
        title: What it shows, in a few words.
        draw: Returns the static view of its first state, HTML.
        build: Makes its widgets, and calls the function it is handed with a new static view when the
            widgets show something else.
    """

    def __init__(
        self, title: str, draw: Callable[[], str], build: Callable[[Publish], Sequence[Any]]
    ) -> None:
        self.title = title
        self._draw = draw
        self._build = build

    def __repr__(self) -> str:
        return f"{self.title} (shown in a notebook)"

    def static_view(self) -> str:
        """Return the first state as HTML that needs neither a kernel nor a script."""
        return wrap_static(self.title, self._draw(), "workbench-static")

    def _ipython_display_(self) -> None:
        """Show the widgets, where somebody can use them, and the static view."""
        from IPython.display import display

        key = f"workbench-{uuid.uuid4().hex[:12]}"

        def show(body: str, update: bool = False) -> None:
            page = wrap_static(self.title, body, key)
            display({"text/html": page, "text/plain": repr(self)}, raw=True, display_id=key, update=update)

        body = self._draw()
        if somebody_can_click():
            children = self._build(lambda changed: show(changed, update=True))
            display(_widget_bundle(key, self.title, children), raw=True)
        show(body)


def wrap_static(title: str, body: str, key: str) -> str:
    """Return a static view as one element with its style sheet; formulas in its texts are left alone.

    Args:
        title: Its heading.
        body: HTML.
        key: The id of the element.
    """
    dead = f".jp-OutputArea-child:has(+ .jp-OutputArea-child #{key}):not(:has(.{_LIVE}))"
    return (
        f"<style>{STYLE}{dead}{{display:none}}</style>"
        f'<div id="{key}" class="workbench-page tex2jax_ignore mathjax_ignore">'
        f"<h4>{html.escape(title)}</h4>{style_elements(body)}"
        '<p style="opacity:.75">This is a saved view. Run the cell to browse.</p></div>'
    )


def _widget_bundle(key: str, title: str, children: Sequence[Any]) -> dict[str, Any]:
    import ipywidgets

    hide = f".jp-OutputArea-child:has(#{key}){{display:none}}"
    heading = f"<style>{STYLE}{hide}</style><h4>{html.escape(title)}</h4>"
    root = ipywidgets.VBox([ipywidgets.HTML(heading), *children])
    root.add_class(_LIVE)
    root.add_class("workbench-page")
    return {_WIDGET: root._repr_mimebundle_()[_WIDGET], "text/html": "", "text/plain": title}
