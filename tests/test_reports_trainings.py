"""What a report says of findings, of hands on a training, and of its end."""

from pathlib import Path
from typing import Any

import bs4
import pandas as pd
import pytest

import workbench as wb
from workbench.findings import Finding
from workbench.reports.rendering import anchor
from workbench.reports.trainings import read_training, shorten_evidence
from workbench.runs import write_json

MARK = "steered by hand: not the same experiment"
HOSTILE = "</script><script>window.ran = 1</script><img src=x onerror='window.ran=1'>猫 \"'&"

Event = dict[str, Any]

FIT = {"type": "fit", "time": 0.0, "epochs": 10, "batches": 40, "initial_epoch": 0}
CONTROL = {
    "type": "control", "time": 86400.0, "request": "a1", "action": "learning_rate",
    "value": 1e-4, "old": 1e-3, "by": "panel", "epoch": 3, "step": 32,
}  # fmt: skip


def finding(rule: str = "overfitting", severity: str = "warning", **fields: Any) -> Event:
    texts = {"message": f"Message of {rule}.", "advice": f"Advice of {rule}.", "source": f"Source of {rule}"}
    return {"type": "finding"} | Finding(rule, severity, **texts | fields).as_event()


def fit_end(**fields: Any) -> Event:
    return {"type": "fit_end", "time": 20.0, "epochs": 10, "stopped": False, "reason": ""} | fields


def write_run(path: str, *events: Event) -> str:
    """Write a finished run with these events and return its folder."""
    run = wb.start_run(path, name="train")
    run.log.write("epoch", epoch=0, metrics={"loss": 1.0}, seconds=1)
    for event in events:
        fields = {key: value for key, value in event.items() if key not in ("type", "time")}
        run.log.write(event["type"], **fields)
    run.finish(accuracy=0.9)
    return path


def write_evaluation(*runs: str) -> str:
    """Write a run that evaluated one model, trained in these runs, and a baseline."""
    run = wb.start_run("runs/small/evaluate", name="evaluate")
    table = pd.DataFrame({"dataset": "made", "model": "net", "kind": "model", "run": runs})
    table.loc[len(table)] = ["made", "majority class", "baseline", ""]
    table["seed"] = pd.array([*range(len(runs)), pd.NA], "Int64")
    run.save_table("summary", table.assign(accuracy=0.5, macro_f1=0.5, log_loss=0.25, test_samples=12))
    run.finish()
    return "runs/small/evaluate"


def build(**folders: str) -> bs4.BeautifulSoup:
    """Return the report of a pipeline with these steps and their run folders."""
    steps = {
        label: {"run": folder, "state": "done", "notebook": "n.ipynb", "step": label, "error": None}
        for label, folder in folders.items()
    }
    state = {"pipeline": "small", "title": "Small", "file": "pipelines/small.yaml", "steps": steps}
    write_json(Path("runs/small/state.json"), state)
    return bs4.BeautifulSoup(wb.build_report("runs/small").read_text(encoding="utf-8"), "html.parser")


def words(part: bs4.Tag | None) -> str:
    return " ".join(part.get_text(" ").split()) if part else ""


class TestTraining:
    def test_has_its_worst_findings_first(self) -> None:
        events = [finding("a", "info"), finding("b", "error"), finding("c"), finding("d", "error")]
        assert [each.rule for each in read_training(events).findings] == ["b", "d", "c", "a"]

    def test_has_a_finding_once_that_a_later_attempt_repeated_or_that_got_worse(self) -> None:
        events = [finding("a"), finding("b"), finding("b"), finding("a", message="Worse.")]
        assert [each.message for each in read_training(events).findings] == ["Message of b.", "Worse."]

    def test_tells_when_what_and_by_whom(self) -> None:
        (each,) = read_training([CONTROL]).interventions
        assert (each.time, each.moment, each.what, each.by, each.refusal) == (
            "1970-01-02 00:00:00 UTC", "epoch 4, step 32", "learning rate 0.001 → 0.0001", "panel", ""
        )  # fmt: skip

    def test_tells_how_every_fit_ended(self) -> None:
        early = fit_end(epochs=7, stopped=True, reason="early stopping")
        endings = read_training([FIT, fit_end(), FIT, early]).endings
        assert [(each.words, each.early) for each in endings] == [
            ("10 epochs", False), ("stopped (early stopping) after 7 of 10 epochs", True)
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("events", "remarkable", "steered"),
        [
            ([], False, False),
            ([FIT, fit_end()], False, False),
            ([FIT, fit_end(epochs=2, stopped=True)], True, False),
            ([finding()], True, False),
            ([CONTROL | {"action": "pause", "value": True}], True, False),
            ([CONTROL | {"refused": "no"}], True, False),
            ([CONTROL], True, True),
        ],
    )
    def test_is_steered_only_by_what_changed_its_course(
        self, events: list[Event], remarkable: bool, steered: bool
    ) -> None:
        training = read_training(events)
        assert (training.is_remarkable, training.steered) == (remarkable, steered)


def test_evidence_has_four_digits() -> None:
    evidence = {"gap": 0.351234, "epoch": 12345, "values": [1e-7 / 3, float("nan")], "of": {"layer": "d"}}
    assert shorten_evidence(evidence) == {
        "gap": "0.3512", "epoch": 12345, "values": ["3.333e-08", "nan"], "of": {"layer": "d"}
    }  # fmt: skip


@pytest.mark.usefixtures("project")
class TestPage:
    def test_shows_findings_with_advice_and_folded_evidence(self) -> None:
        page = build(
            train=write_run("runs/small/t", FIT, finding(evidence={"gap": 0.25}, epoch=4), fit_end())
        )
        (item,) = page.select(".findings li")
        assert "warning epoch 5 Message of overfitting. Advice of overfitting." in words(item)
        assert words(item.select_one("details")) == (
            "Evidence and source rule overfitting gap 0.25 Source of overfitting"
        )
        assert not item.select_one("details").has_attr("open")

    def test_shows_interventions_of_a_step_and_how_it_ended(self) -> None:
        stopped = fit_end(epochs=4, stopped=True, reason="by hand", restored=2)
        page = build(train=write_run("runs/small/t", FIT, CONTROL, stopped))
        section = words(page.select_one("#noticed"))
        assert "stopped by hand after 4 of 10 epochs, with the weights of epoch 3." in section
        assert "epoch 4, step 32 learning rate 0.001 → 0.0001 panel" in section

    def test_says_that_something_was_refused_and_marks_nothing(self) -> None:
        refused = CONTROL | {"refused": "No early stopping.\nHand it over."}
        page = build(train=write_run("runs/small/t", FIT, refused, fit_end()))
        assert "(refused: No early stopping.)" in words(page)
        assert not page.select(".mark, .notice")

    def test_marks_a_steered_run_wherever_its_numbers_stand(self) -> None:
        runs = [write_run("runs/small/a", FIT, CONTROL, fit_end()), write_run("runs/small/b", FIT, fit_end())]
        page = build(a=runs[0], b=runs[1], evaluate=write_evaluation(*runs))
        assert words(page.select_one(".notice")).startswith(
            "Steered by hand. Somebody changed the course of a "
        )
        assert f"1 of 2 runs {MARK}" in words(page.select_one("p.finding"))
        assert f"1 of 2 runs {MARK}" in words(page.select_one(".results tr.model"))
        assert MARK not in words(page.select_one(".results tr.baseline"))
        every = [words(row) for row in page.select("#results details tbody tr")]
        assert [MARK in row for row in every] == [True, False]
        assert MARK in words(page.select_one(f"#{anchor('a')} summary"))
        assert MARK not in words(page.select_one(f"#{anchor('b')} summary"))

    def test_marks_a_steered_run_of_another_pipeline(self) -> None:
        page = build(
            evaluate=write_evaluation(write_run("runs/other/a", FIT, CONTROL, fit_end()), "runs/gone")
        )
        assert words(page.select_one(".notice code")) == "runs/other/a"
        assert f"1 of 2 runs {MARK}" in words(page.select_one(".results tr.model"))

    def test_says_nothing_of_a_training_that_went_as_planned(self) -> None:
        page = build(train=write_run("runs/small/t", FIT, fit_end()))
        assert not page.select("#noticed, .notice, .mark")
        assert "training 10 epochs" in words(page.select_one(f"#{anchor('train')}"))

    def test_links_only_to_parts_that_exist(self) -> None:
        page = build(train=write_run("runs/small/t", FIT, CONTROL, finding(), fit_end()))
        inner = {link["href"][1:] for link in page.select('a[href^="#"]')}
        assert {f"noticed-{anchor('train')}", "noticed"} <= inner
        assert inner <= {part["id"] for part in page.select("[id]")}

    def test_never_runs_text_of_the_log(self) -> None:
        texts = dict.fromkeys(("message", "advice", "source"), HOSTILE)
        noted = finding(HOSTILE, evidence={HOSTILE: [HOSTILE]}, **texts)
        asked = CONTROL | {"by": HOSTILE, "refused": HOSTILE}
        page = build(
            train=write_run("runs/small/t", FIT, noted, asked, fit_end(stopped=True, reason=HOSTILE))
        )
        assert words(page.select_one("#noticed")).count(" ".join(HOSTILE.split())) >= 7
        assert not page.select("img, [onerror]")
        assert len(page.select("script:not([type])")) == 1
