"""The panel's buttons and fields: what they ask, and what is shown until the log confirms it."""

from collections.abc import Callable
from typing import Any

import pytest
from panel_driver import append, event, train, wait_for_text

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("by", ["click", "key"])
@pytest.mark.parametrize(
    ("name", "action", "value"),
    [
        ("Stop now", "stop", "now"),
        ("Stop after this epoch", "stop", "epoch"),
        ("Pause", "pause", True),
        ("Save a checkpoint", "checkpoint", None),
        ("Measure layers", "measure_layers", None),
    ],
)
def test_button_asks_until_the_log_confirms(
    show: Callable[..., Any], name: str, action: str, value: Any, by: str
) -> None:
    page = show({"run": train(2)})
    button = page.get_by_role("button", name=name)
    page.locator("button:enabled", has_text=name).wait_for()
    if by == "click":
        button.click()
    else:
        button.press("Enter")
    wait_for_text(page, "Asked to")
    assert page.evaluate("asked") == [["run", action, value]]
    place = {"by": "panel", "epoch": 2, "step": 7}
    append(page, "run", event("control", request="request-1", action=action, value=value, **place))
    wait_for_text(page, "epoch 3, from the panel")
    page.wait_for_function("!document.body.innerText.includes('Asked to')")


def test_learning_rate_is_doubled_and_applied_with_enter(show: Callable[..., Any]) -> None:
    page = show({"run": train(2)})
    field = page.get_by_label("Learning rate", exact=True)
    page.wait_for_function("document.querySelector('[name=learning_rate]').value === '0.001'")
    page.get_by_role("button", name="Double the learning rate").click()
    assert field.input_value() == "0.002"
    field.press("Enter")
    wait_for_text(page, "Asked to set the learning rate to 0.002")
    place = {"by": "panel", "epoch": 2, "step": 7}
    change = event("control", request="request-1", action="learning_rate", value=0.002, old=0.001, **place)
    append(page, "run", change)
    wait_for_text(page, "learning rate 0.001 → 0.002, epoch 3, from the panel")
    assert field.input_value() == "0.002"
    assert page.evaluate("asked") == [["run", "learning_rate", 0.002]]


def test_refused_request_is_explained(show: Callable[..., Any]) -> None:
    page = show({"run": train(2)})
    page.evaluate("refusal = 'patience must be a whole number.'")
    field = page.get_by_label("Patience")
    field.fill("a few")
    field.press("Enter")
    wait_for_text(page, "patience must be a whole number.")
    assert "Asked to" not in page.inner_text("#here")


def test_request_that_the_training_refused_is_not_shown_as_done(show: Callable[..., Any]) -> None:
    refused = {
        "action": "patience",
        "value": 7,
        "by": "panel",
        "epoch": 1,
        "step": 3,
        "refused": "There is none.",
    }
    page = show({"run": [*train(2, patience=None), event("control", request="x", **refused)]})
    wait_for_text(page, "refused: patience 7, epoch 2, from the panel. There is none.")
    assert not page.get_by_role("textbox", name="Patience").is_visible()


def test_controls_are_gone_when_the_training_has_ended(show: Callable[..., Any]) -> None:
    page = show(
        {"run": [*train(2), event("fit_end", epochs=2, stopped=False, reason="", seconds=4.0)]}, "finished"
    )
    wait_for_text(page, "finished")
    assert not page.get_by_role("button", name="Stop now").is_visible()


@pytest.mark.parametrize(
    ("events", "word"),
    [([event("start", name="run")], "waiting"), ([*train(2), event("broken", error="E")], "interrupted")],
)
def test_controls_are_off_until_the_next_fit(
    show: Callable[..., Any], events: list[dict[str, Any]], word: str
) -> None:
    page = show({"run": events})
    wait_for_text(page, word)
    assert page.locator(".wb-controls button:enabled").count() == 0
    assert (
        page.get_by_role("button", name="Stop now").get_attribute("title")
        == "There is no training under way."
    )
