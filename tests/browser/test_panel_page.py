"""What the panel shows of logs: it follows them, draws them and names what they say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from panel_driver import CONTRAST, append, event, label, lines, train, wait_for_label, wait_for_text

import workbench as wb
from workbench.dashboards.panel import RunsPanel, full_bundle

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror='window.ran = 1'>猫"


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
        ([], "killed", "killed"),
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
    page = show({"run": [*train(2), ended, *train(3, number=2)[1:]]})
    wait_for_label(page, "loss", "epoch 5, training 0.3333")
    page.get_by_role("button", name="By step").click()
    wait_for_label(page, "loss", "step 500, training 0.3333")


def test_best_is_that_of_the_present_fit_in_the_direction_that_the_log_names(
    show: Callable[..., Any],
) -> None:
    monitored = [each | {"mode": "max"} for each in train(3, number=2, monitor="accuracy")[1:]]
    page = show(
        {"run": [*train(9), event("fit_end", epochs=9, stopped=True, reason="", seconds=9.0), *monitored]}
    )
    wait_for_text(page, "0.6 in epoch 3")


def test_fit_that_goes_on_in_the_same_attempt_replaces_what_it_repeats(show: Callable[..., Any]) -> None:
    again = event("fit", fit=1, epochs=10, batches=100, initial_epoch=2, batch_size=32, monitor="val_loss")
    page = show({"run": [*train(2), *train(3, steps=2)[-3:-1], again]})
    append(page, "run", event("epoch", fit=1, epoch=2, metrics={"loss": 0.9, "val_loss": 0.8}, seconds=1.0))
    wait_for_label(page, "loss", "epoch 3, training 0.9, validation 0.8, best 0.5")


def test_epoch_that_was_cut_short_lies_where_it_ended_and_its_pace_is_right(show: Callable[..., Any]) -> None:
    cut = event("epoch", fit=1, epoch=2, step=10, batches=10, metrics={"loss": 0.3}, seconds=1.0)
    end = event("fit_end", fit=1, epochs=2, stopped=True, reason="by hand", seconds=5.0, restored=1)
    page = show({"run": [*train(2), cut, end]}, "finished")
    wait_for_label(page, "loss", "epoch 2.1, training 0.3")
    wait_for_text(page, "The model has the weights of epoch 2.")
    wait_for_text(page, "1,340")  # samples/s: 210 batches of 32 in 5 s


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


def test_finding_that_gets_worse_is_shown_once(show: Callable[..., Any]) -> None:
    def finding(severity: str) -> dict[str, Any]:
        words = {"message": f"This is a matter of {severity}.", "advice": "Wait.", "source": ""}
        return event("finding", fit=1, rule="overfitting", severity=severity, evidence={}, epoch=1, **words)

    page = show({"run": [*train(2), finding("info"), finding("warning")]})
    wait_for_text(page, "This is a matter of warning.")
    assert page.locator("li.wb-finding").count() == 1


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark(show: Callable[..., Any], page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    finding = {"rule": "overfitting", "advice": "Stop.", "evidence": {"gap": 0.3}, "source": "", "epoch": 1}
    told = [
        event("finding", **finding | {"rule": severity}, severity=severity, message=f"A told {severity}.")
        for severity in ("info", "warning", "error")
    ]
    show({"run": [*train(3, steps=9), *told]})
    wait_for_text(page, "A told error.")
    label(page, "loss")
    contrast, text = page.evaluate(CONTRAST)
    background = page.evaluate("getComputedStyle(document.querySelector('.wb-panel')).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]
    assert contrast >= 4.5, text


def test_saved_page_draws_its_snapshot_from_one_script(page: Any, project: Path) -> None:
    run = wb.start_run("runs/saved", name="saved")
    for each in train(3)[1:]:
        run.log.write(**{name: value for name, value in each.items() if name not in ("v", "time", "attempt")})
    panel = RunsPanel({"saved": run.path})
    panel.read()
    html = full_bundle(panel)["text/html"]
    page.evaluate(
        "(html) => document.body.append(document.createRange().createContextualFragment(html))", html
    )
    wait_for_label(page, "loss", "epoch 3, training 0.3333")
    assert page.locator(".wb-controls").count() == 0


def test_pipeline_that_ended_shows_the_step_that_trained_last(page: Any) -> None:
    labels = ["prepare", "train[seed=0]", "train[seed=1]", "evaluate"]
    steps = [
        {"label": label, "state": "done", "run": f"/{label}", "reason": "", "error": ""} for label in labels
    ]
    logs = {f"/{label}": lines(train(2) if "train" in label else [event("start")]) for label in labels}
    page.evaluate(
        """([logs, pipeline, statuses]) => {
            Object.assign(window, { logs, pipeline, statuses });
            mountPipeline(here, { pipeline: { path: "/p", name: "p" } }, transport);
        }""",
        [logs, {"title": "The pipeline", "steps": steps, "alive": False}, dict.fromkeys(logs, "finished")],
    )
    wait_for_text(page, "train[seed=1]", "#here .wb-panel .wb-panel header")
    pressed = page.locator("button[aria-pressed=true]")
    assert [button.inner_text() for button in pressed.all()][:1] == ["train[seed=1]"]


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
