"""The pieces of which all widget dashboards are made alike."""

from typing import Any


def build_row(*controls: Any) -> Any:
    """Return controls side by side, on several lines where the page is narrow."""
    import ipywidgets

    return ipywidgets.HBox(controls, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))


def build_button(description: str, tooltip: str = "") -> Any:
    """Return a button as wide as its words."""
    import ipywidgets

    return ipywidgets.Button(description=description, tooltip=tooltip, layout=ipywidgets.Layout(width="auto"))


def field_options(most: str = "340px") -> dict[str, Any]:
    """Return what a field with a description takes so that its words are not cut and it shares a row.

    Args:
        most: Its largest width, CSS.
    """
    import ipywidgets

    layout = ipywidgets.Layout(flex="1 1 200px", max_width=most)
    return {"style": {"description_width": "initial"}, "layout": layout}
