"""A dashboard in a cell: widgets where somebody can click, and always a view that needs no kernel."""

from collections.abc import Iterator
from typing import Any

import nbclient
import nbconvert
import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from workbench.dashboards.cell import Dashboard

WIDGET = "application/vnd.jupyter.widget-view+json"
CODE = """
import ipywidgets
from workbench.dashboards.cell import Dashboard
pressed = []
def build(publish):
    button = ipywidgets.Button(description="Press")
    button.on_click(lambda _: publish("<p>after the click</p>"))
    pressed.append(button)
    return [button]
Dashboard("A <title>", lambda: "<p>at first</p>", build)
"""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client: Any, code: str) -> list[dict[str, Any]]:
    """Execute code as a front end with a person before it does; return the displayed data."""
    shown: list[dict[str, Any]] = []

    def note(message: dict[str, Any]) -> None:
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] in ("display_data", "update_display_data", "execute_result"):
            shown.append(message["content"])

    client.execute_interactive(code, allow_stdin=True, output_hook=note, timeout=60)
    return shown


def test_has_widgets_and_then_the_static_view(client: Any) -> None:
    widgets, static = run(client, CODE)
    assert WIDGET in widgets["data"]
    assert widgets["data"]["text/html"] == ""
    assert "at first" in static["data"]["text/html"]
    assert "A &lt;title&gt;" in static["data"]["text/html"]


def test_replaces_the_static_view_when_the_widgets_show_something_else(client: Any) -> None:
    _, static = run(client, CODE)
    (update,) = run(client, "pressed[-1].click()")
    assert "after the click" in update["data"]["text/html"]
    assert update["transient"]["display_id"] == static["transient"]["display_id"]


def test_is_shown_by_the_last_expression_alone(client: Any) -> None:
    assert run(client, CODE.strip() + ";") == []
    assert len(run(client, "shown = " + CODE.strip().splitlines()[-1])) == 0
    assert len(run(client, "shown")) == 2


def test_hides_the_view_that_is_not_wanted(client: Any) -> None:
    widgets, static = run(client, CODE)
    key = static["transient"]["display_id"]
    (root,) = run(
        client, f"ipywidgets.Widget.widgets[{widgets['data'][WIDGET]['model_id']!r}].children[0].value"
    )
    assert f":has(#{key}){{display:none}}" in root["data"]["text/plain"]
    assert f":has(+ .jp-OutputArea-child #{key})" in static["data"]["text/html"]


def test_leaves_neither_widgets_nor_their_state_in_an_executed_notebook() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert WIDGET not in output["data"]
    assert "at first" in output["data"]["text/html"]
    assert "widgets" not in notebook.metadata


def test_stays_readable_in_exported_html(client: Any) -> None:
    outputs = [
        nbformat.v4.new_output("display_data", data=shown["data"], metadata=shown["metadata"])
        for shown in run(client, CODE)
    ]
    cell = nbformat.v4.new_code_cell("", outputs=outputs)
    page, _ = nbconvert.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert "<p>at first</p>" in page
    assert "VBox" not in page


def test_says_outside_a_notebook_what_it_is() -> None:
    assert repr(Dashboard("Explore digits", str, list)) == "Explore digits (shown in a notebook)"
