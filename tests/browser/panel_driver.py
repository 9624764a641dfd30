"""The panel's scripts in a plain page, over a transport of strings: no JupyterLab, no server, no training."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import workbench.dashboards

STATIC = Path(workbench.dashboards.__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css"}
PAGE = """<!doctype html><meta charset="utf-8"><body style="margin: 0">
<link rel="stylesheet" href="./panel.css"><div id="here"></div><div id="there"></div>
<script type="module">
import { mountRuns } from "./panel.js";
import { mountPipeline } from "./pipeline.js";
const encoder = new TextEncoder();
Object.assign(window, {
  mountRuns, mountPipeline, logs: {}, statuses: {}, asked: [], looks: 0, longest: 0, refusal: "", down: false,
  transport: {
    async events(path, offset) {
      window.looks += 1;
      if (window.down) throw new Error("the server does not answer.");
      const text = window.logs[path] ?? "";
      const end = text.lastIndexOf("\\n", Math.min(text.length, offset + 256000)) + 1;
      const status = window.statuses[path] ?? "running";
      return { offset: end, size: text.length, lines: text.slice(offset, end), status };
    },
    async control(path, action, value) {
      if (window.refusal) throw new Error(window.refusal);
      window.asked.push([path, action, value]);
      return { id: `request-${window.asked.length}`, action, value };
    },
    async pipeline() {
      return window.pipeline;
    },
  },
});
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask" });
</script>"""


# The lowest contrast between a text and what lies behind it (WCAG 2.2, "contrast ratio"), and that text.
CONTRAST = """() => {
  const read = (color) => (color.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const page = read(getComputedStyle(document.querySelector(".wb-panel")).backgroundColor);
  const shown = [...document.querySelectorAll(".wb-panel *")].filter((each) => each.checkVisibility()
    && !each.disabled && [...each.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  const found = shown.map((each) => {
    const [one, other] = [light(read(getComputedStyle(each).color)), light(page)].sort((a, b) => b - a);
    return [(one + 0.05) / (other + 0.05), each.textContent];
  });
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@contextmanager
def open_panel_page(browser: Any) -> Iterator[Any]:
    """Open an empty page that has loaded the scripts; nothing may go wrong in it until it is closed."""
    context = browser.new_context(viewport={"width": 1000, "height": 1600})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.route("http://panel.test/**", _serve)
    page.goto("http://panel.test/page.html")
    page.wait_for_function("window.transport")
    yield page
    context.close()
    assert problems == []


def event(type: str, attempt: int = 1, **fields: Any) -> dict[str, Any]:
    return {"v": 2, "time": 1_700_000_000.0, "attempt": attempt, "type": type, **fields}


def train(
    epochs: int, steps: int = 0, batches: int = 100, seed: int = 0, number: int = 1, **fit: Any
) -> list[dict[str, Any]]:
    """Return the log of the run's training with this number: falling losses, 0.01 higher with every seed."""
    planned = {"epochs": 10, "batches": batches, "initial_epoch": 0, "batch_size": 32}
    events = [
        event("start", name="run"),
        event("fit", **planned | {"patience": 3, "monitor": "val_loss"} | fit),
    ]
    for epoch in range(epochs):
        for step in range(1, steps + 1):
            place = {"epoch": epoch, "step": step * batches // (steps + 1) if steps < batches else step}
            metrics = {"loss": 2 / (1 + epoch + step / (steps + 1)) + math.sin(step) / 20, "accuracy": 0.5}
            events.append(event("step", **place, metrics=metrics, learning_rate=1e-3, memory=10**9))
        metrics = {
            "loss": 1 / (epoch + 1),
            "val_loss": 1 / (epoch + 1) + seed / 100,
            "accuracy": 0.5 + epoch / 20,
        }
        events.append(event("epoch", epoch=epoch, metrics=metrics, seconds=2.0, learning_rate=1e-3))
    return [each | {"fit": number} for each in events]


def lines(events: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in events)


def show(
    page: Any, logs: dict[str, list[dict[str, Any]]], status: str = "running", place: str = "here"
) -> None:
    """Mount a panel over logs by run name."""
    texts = {name: lines(events) for name, events in logs.items()}
    page.evaluate(
        """([texts, status, place]) => {
            Object.assign(logs, texts);
            for (const name of Object.keys(texts)) statuses[name] = status;
            const runs = Object.keys(texts).map((name) => ({ path: name, name }));
            window[`panel_${place}`] = mountRuns(document.getElementById(place), { runs }, transport);
        }""",
        [texts, status, place],
    )


def append(page: Any, name: str, *events: dict[str, Any]) -> None:
    page.evaluate("([name, text]) => { logs[name] += text; }", [name, lines(list(events))])


def wait_for_text(page: Any, text: str, selector: str = "#here") -> None:
    condition = "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)"
    try:
        page.wait_for_function(condition, arg=[selector, text], timeout=15000)
    except Exception:
        pytest.fail(f"{text!r} never appeared in {selector}:\n{page.inner_text('#here')}")


def label(page: Any, title: str) -> str:
    """Return what a screen reader says of a chart, once it has been drawn."""
    canvas = page.locator(f"figure:has(strong:text-is('{title}')) canvas[role=img]")
    canvas.and_(page.locator("[aria-label]")).wait_for()
    return canvas.get_attribute("aria-label")


def wait_for_label(page: Any, title: str, text: str) -> None:
    page.locator(f"figure:has(strong:text-is('{title}')) canvas[aria-label*='{text}']").wait_for(
        timeout=15000
    )


def _serve(route: Any) -> None:
    file = STATIC / route.request.url.rpartition("/")[2]
    if file.suffix in TYPES:
        route.fulfill(body=file.read_text(encoding="utf-8"), content_type=TYPES[file.suffix])
    else:
        route.fulfill(body=PAGE, content_type="text/html")
