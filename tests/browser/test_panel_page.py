"""The panel's scripts in a plain page, over a transport of strings: no JupyterLab, no server, no training."""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import workbench.dashboards

pytestmark = pytest.mark.browser

STATIC = Path(workbench.dashboards.__file__).parent / "static"
HOSTILE = "</script><img src=x onerror='window.ran = 1'>猫"
PAGE = """<!doctype html><meta charset="utf-8"><body style="margin: 0">
<div id="here"></div><div id="there"></div>
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
      return { offset: end, size: text.length, lines: text.slice(offset, end), status, attempt: 1 };
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


def event(type: str, attempt: int = 1, **fields: Any) -> dict[str, Any]:
    return {"v": 2, "time": 1_700_000_000.0, "attempt": attempt, "type": type, **fields}


def train(epochs: int, steps: int = 0, batches: int = 100, seed: int = 0, **fit: Any) -> list[dict[str, Any]]:
    """Return a log of epochs with falling losses, 0.01 higher with every seed."""
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
    return events


def lines(events: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in events)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page that has loaded the scripts; what goes wrong is in `page.problems`."""
    context = browser.new_context(viewport={"width": 1000, "height": 1600})
    opened = context.new_page()
    opened.problems = []
    opened.on("console", lambda message: opened.problems.append(message.text))
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.route("http://panel.test/**", _serve)
    opened.goto("http://panel.test/page.html")
    opened.wait_for_function("window.transport")
    yield opened
    context.close()
    assert opened.problems == []


def _serve(route: Any) -> None:
    file = STATIC / route.request.url.rpartition("/")[2]
    if file.suffix == ".js":
        route.fulfill(body=file.read_text(encoding="utf-8"), content_type="text/javascript")
    else:
        route.fulfill(body=PAGE, content_type="text/html")


@pytest.fixture
def show(page: Any) -> Callable[..., Any]:
    """Mount a panel over logs by run name and return the page."""

    def mount(logs: dict[str, list[dict[str, Any]]], status: str = "running", place: str = "here") -> Any:
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
        return page

    return mount


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


def test_follows_a_log_that_grows(show: Callable[..., Any]) -> None:
    page = show({"run": train(2)})
    wait_for_text(page, "3 / 10")
    wait_for_label(page, "loss", "epoch 2, training 0.5, validation 0.5")
    append(page, "run", train(3)[-1])
    wait_for_text(page, "4 / 10")
    wait_for_label(page, "loss", "epoch 3, training 0.3333, validation 0.3333, best 0.3333")


@pytest.mark.parametrize(
    ("more", "status", "word"),
    [
        ([], "running", "running"),
        ([event("start", 2, name="run")], "running", "waiting"),
        (
            [event("control", request="a", action="pause", value=True, by="panel", epoch=1, step=5)],
            "running",
            "paused",
        ),
        (
            [event("control", request="a", action="stop", value="now", by="panel", epoch=1, step=5)],
            "running",
            "stopping",
        ),
        (
            [event("fit_end", epochs=2, stopped=True, reason="by hand", seconds=4.0)],
            "running",
            "stopped by hand",
        ),
        ([event("fit_end", epochs=10, stopped=False, reason="", seconds=4.0)], "finished", "finished"),
        (
            [event("end", status="failed", error="ValueError: shapes differ")],
            "failed",
            "ValueError: shapes differ",
        ),
        ([], "dead", "killed"),
    ],
)
def test_says_how_the_run_stands(show: Callable[..., Any], more: list[Any], status: str, word: str) -> None:
    wait_for_text(show({"run": train(2) + more}, status), word, "#here header")


def test_damaged_lines_and_unknown_events_are_left_out(show: Callable[..., Any]) -> None:
    page = show(
        {"run": [*train(1), event("from the future", epoch=7), event("epoch"), event("step", epoch=1)]}
    )
    page.evaluate("""logs.run += '{"type": "epoch", "epo\\n[]\\nnull\\n42\\n'""")
    append(page, "run", event("epoch", epoch=1, metrics={"loss": "NaN", "val_loss": "Infinity"}, seconds=1.0))
    wait_for_label(page, "loss", "training NaN, validation ∞, best 1")


def test_resumed_attempt_replaces_what_it_replays(show: Callable[..., Any]) -> None:
    first = train(4, steps=10)
    again = [event("fit", 2, epochs=10, batches=100, initial_epoch=2, batch_size=32, monitor="val_loss")]
    page = show({"run": [*first, event("start", 2, name="run"), *again]})
    wait_for_label(page, "loss", "epoch 2, training 0.5")
    append(page, "run", event("epoch", 2, epoch=2, metrics={"loss": 0.9, "val_loss": 0.8}, seconds=1.0))
    wait_for_label(page, "loss", "epoch 3, training 0.9, validation 0.8, best 0.5")


def test_second_fit_goes_on_where_the_first_ended(show: Callable[..., Any]) -> None:
    ended = event("fit_end", epochs=2, stopped=False, reason="", seconds=4.0)
    page = show({"run": [*train(2), ended, *train(3)[1:]]})
    wait_for_label(page, "loss", "epoch 5, training 0.3333")
    page.get_by_role("button", name="By step").click()
    wait_for_label(page, "loss", "step 500, training 0.3333")


def test_hundred_thousand_steps_are_drawn_within_the_width(show: Callable[..., Any]) -> None:
    page = show({"run": train(10, steps=9_999, batches=10_000)})
    wait_for_label(page, "loss", "epoch 10")
    page.get_by_role("button", name="By step").click()
    wait_for_label(page, "loss", "step 99999")
    segments = page.locator("canvas[data-segments]").evaluate_all(
        "(all) => all.map((each) => each.dataset.segments)"
    )
    assert 400 < int(segments[0]) <= 2 * page.viewport_size["width"]
    page.locator("canvas[role=img]").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    wait_for_text(page, "step 11", "#here figure")
    print(f"longest task: {page.evaluate('longest'):.0f} ms")


def test_values_under_the_cursor_are_shown_by_pointer_and_by_keyboard(show: Callable[..., Any]) -> None:
    page = show({"run": train(4)})
    chart = page.locator("canvas[role=img]").first
    label(page, "loss")
    chart.focus()
    for key, place in (("End", "4"), ("ArrowLeft", "3"), ("Home", "1"), ("ArrowRight", "2")):
        page.keyboard.press(key)
        wait_for_text(page, f"epoch {place}", "#here .wb-place")
    wait_for_text(page, "0.5", "#here .wb-legend")
    assert "epoch 2, training 0.5" in page.locator("[aria-live=polite]").inner_text()
    page.keyboard.press("Escape")
    page.locator(".wb-place").first.wait_for(state="hidden")
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 15, box["y"] + 50)
    wait_for_text(page, "epoch 4", "#here .wb-place")


def test_view_changes_what_is_drawn(show: Callable[..., Any]) -> None:
    page = show({"run": train(4, steps=30)})
    label(page, "loss")
    picture = page.locator("canvas").first.screenshot
    drawn = [picture()]
    page.get_by_label("Log scale").check()
    page.wait_for_timeout(200)
    drawn.append(picture())
    page.get_by_label("Smoothing").fill("0.9")
    page.wait_for_timeout(200)
    drawn.append(picture())
    page.get_by_role("button", name="By step").press("Enter")
    page.wait_for_timeout(200)
    drawn.append(picture())
    assert len(set(drawn)) == 4


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
    show: Callable[..., Any], name: str, action: str, value: Any
) -> None:
    page = show({"run": train(2)})
    button = page.get_by_role("button", name=name)
    page.locator("button:enabled", has_text=name).wait_for()
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


def test_controls_are_off_when_nothing_runs(show: Callable[..., Any]) -> None:
    page = show(
        {"run": [*train(2), event("fit_end", epochs=2, stopped=False, reason="", seconds=4.0)]}, "finished"
    )
    wait_for_text(page, "finished")
    assert page.locator(".wb-controls button:enabled").count() == 0
    assert (
        page.get_by_role("button", name="Stop now").get_attribute("title")
        == "There is no training under way."
    )


def test_findings_and_layers_are_shown_as_text(show: Callable[..., Any]) -> None:
    finding = {
        "rule": HOSTILE,
        "severity": "warning",
        "message": HOSTILE,
        "advice": HOSTILE,
        "source": HOSTILE,
    }
    groups = [{"name": HOSTILE, "gradient_norm": 0.25, "weight_norm": 1.0, "update_ratio": 0.001}]
    odd = event("epoch", epoch=2, metrics={HOSTILE: 1.0, "__proto__": 2.0}, seconds=1.0)
    noticed = event("finding", **finding, evidence={HOSTILE: [1, 2]}, epoch=1)
    page = show({HOSTILE: [*train(2), odd, noticed, event("layers", epoch=2, step=9, groups=groups)]})
    wait_for_text(page, "Warning")
    wait_for_label(page, "gradient norm", "0.25")
    page.locator("summary").click()
    assert page.locator("li.wb-finding").inner_text().count(HOSTILE) == 5
    assert page.locator("img").count() == 0
    assert page.evaluate("window.ran") is None


def test_three_runs_become_a_mean_with_its_range(show: Callable[..., Any]) -> None:
    page = show({f"run {seed}": train(2, seed=seed) for seed in range(3)})
    wait_for_text(page, "0.51 (0.5 to 0.52, 3 runs)")
    picture = page.locator("canvas").first.screenshot()
    page.get_by_label("Single runs").check()
    page.wait_for_timeout(200)
    assert page.locator("canvas").first.screenshot() != picture


def test_server_that_is_away_is_named_and_waited_for(show: Callable[..., Any]) -> None:
    page = show({"run": train(2)})
    wait_for_text(page, "running")
    page.evaluate("down = true")
    wait_for_text(page, "The log cannot be read: the server does not answer.")
    page.evaluate("down = false")
    page.wait_for_function("!document.body.innerText.includes('cannot be read')")


def test_nothing_is_asked_while_out_of_sight_or_after_dispose(show: Callable[..., Any]) -> None:
    page = show({"run": train(2)})
    wait_for_text(page, "running")
    show({"other": train(1)}, place="there")
    wait_for_text(page, "2 / 10", "#there")
    page.evaluate("panel_there.dispose(); here.style.display = 'none'")
    page.wait_for_timeout(700)
    looks = page.evaluate("looks")
    page.wait_for_timeout(1500)
    assert page.evaluate("looks") == looks
    assert page.locator("#there > *").count() == 0
    page.evaluate("here.style.display = ''")
    page.wait_for_function(f"looks > {looks}")


@pytest.mark.parametrize("width", [320, 600, 1200])
def test_fits_any_width(show: Callable[..., Any], width: int) -> None:
    page = show({f"a run with a long name {number}": train(3, steps=9) for number in range(2)})
    page.set_viewport_size({"width": width, "height": 900})
    label(page, "loss")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    charts = [each.bounding_box() for each in page.locator("figure").all()[:2]]
    assert (charts[0]["y"] == charts[1]["y"]) is (width == 1200)


def test_saved_page_draws_its_snapshot_from_one_script(page: Any) -> None:
    order: list[str] = []
    for file in sorted(STATIC.glob("*.js")):
        _visit(file.name, order)
    script = "\n".join(
        re.sub(r"^(import .*\n|export )", "", (STATIC / name).read_text(), flags=re.M) for name in order
    )
    data = json.dumps({"runs": [{"path": "/r", "name": "saved"}], "snapshot": {"/r": train(3)}})
    page.evaluate(
        """(text) => {
            const script = document.createElement("script");
            document.body.append(Object.assign(script, { type: "module", text }));
        }""",
        f"{script}\nmountRuns(document.getElementById('here'), {data}, null);",
    )
    wait_for_label(page, "loss", "epoch 3, training 0.3333")
    wait_for_text(page, "unfinished")
    assert page.locator(".wb-controls").count() == 0


def _visit(name: str, order: list[str]) -> None:
    """Put a script and all that it imports into order, the imported ones first."""
    for imported in re.findall(r'^import .* from "\./(.+)";$', (STATIC / name).read_text(), re.M):
        _visit(imported, order)
    if name not in order:
        order.append(name)


def test_pipeline_shows_its_steps_and_the_chosen_runs(page: Any) -> None:
    steps = [{"label": "prepare", "state": "done", "run": "", "reason": "", "error": ""}]
    for seed, state in enumerate(("done", "running")):
        steps.append(
            {"label": f"train[seed={seed}]", "state": state, "run": f"/{seed}", "reason": "", "error": ""}
        )
    steps.append({"label": "evaluate", "state": "failed", "run": "", "reason": "", "error": HOSTILE})
    logs = {f"/{seed}": lines(train(2 + seed, seed=seed)) for seed in range(2)}
    page.evaluate(
        """([logs, pipeline]) => {
            Object.assign(window, { logs, pipeline });
            mountPipeline(here, { pipeline: { path: "/p", name: "p" } }, transport);
        }""",
        [logs, {"title": "The pipeline", "steps": steps, "alive": True}],
    )
    wait_for_text(page, "The pipeline")
    wait_for_text(page, HOSTILE)
    wait_for_text(page, "train[seed=1]", "#here .wb-panel .wb-panel header")
    page.get_by_role("button", name="train[seed=0]").press("Enter")
    wait_for_text(page, "train[seed=0]", "#here .wb-panel .wb-panel header")
    assert page.get_by_role("button", name="train[seed=0]").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Overlay the 2 runs of train").click()
    page.locator(".wb-panel .wb-panel header").nth(1).wait_for()
    assert page.locator("img").count() == 0
