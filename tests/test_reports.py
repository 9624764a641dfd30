"""The report: what it says of a pipeline's run folders, and that it is safe and complete in itself."""

import datetime
import json
import re
import statistics
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_page import Page, Pipeline

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.reports.figures import prepare_figure
from workbench.reports.rendering import anchor, format_duration, format_moment, format_number
from workbench.runs import write_json

HOSTILE = "</script><script>window.ran = 1</script><img src=x onerror='window.ran=1'>猫 \"'&"


@pytest.fixture
def pipeline(project: Path) -> Pipeline:
    return Pipeline()


@pytest.fixture
def evaluated(pipeline: Pipeline) -> Callable[..., Page]:
    """A report on three seeds of a model with the given accuracies, and a baseline."""

    def evaluate(*accuracies: float, baseline: float = 0.5) -> Page:
        rows = []
        for seed, accuracy in enumerate(accuracies):
            run = pipeline.add(f"train seed={seed}")
            for epoch in range(2):
                run.log.write("epoch", epoch=epoch, metrics={"loss": 1 / (epoch + 1)}, seconds=1)
            run.finish(accuracy=accuracy)
            rows.append(("net", "model", str(run.path.relative_to(Path.cwd())), accuracy))
        pipeline.add_evaluation("evaluate", [*rows, ("majority class", "baseline", "", baseline)]).finish()
        return pipeline.build()

    return evaluate


class TestResults:
    def test_show_mean_and_deviation_of_the_seeds(self, evaluated: Callable[..., Page]) -> None:
        values = [0.91, 0.94, 0.95]
        page = evaluated(*values)
        shown = f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"  # two digits of deviation
        assert f"net reaches an accuracy of {shown} on the 1,200 test samples of made" in page.text
        assert "more than the best baseline, majority class, with 0.5000" in page.text

    def test_show_every_seed_with_a_link_to_its_run(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91, 0.94)
        assert "net 0 0.9100 0.5000 0.2500 train seed=0 net 1 0.9400" in page.text
        assert f"#{anchor('train seed=1')}" in page.attributes("href")

    def test_of_one_run_have_no_deviation(self, evaluated: Callable[..., Page]) -> None:
        assert "net reaches an accuracy of 0.9100 on the" in evaluated(0.91).text

    @pytest.mark.parametrize(("baseline", "words"), [(0.9, "less than"), (0.8, "as much as")])
    def test_say_when_a_baseline_is_not_beaten(
        self, evaluated: Callable[..., Page], baseline: float, words: str
    ) -> None:
        assert f"{words} the best baseline" in evaluated(0.8, baseline=baseline).text

    def test_of_baselines_alone_say_that_no_model_was_evaluated(self, pipeline: Pipeline) -> None:
        pipeline.add_evaluation("evaluate", [("majority class", "baseline", "", 0.5)]).finish()
        assert "No model was evaluated; the best baseline" in pipeline.build().text

    def test_of_a_model_called_na_are_kept(self, pipeline: Pipeline) -> None:
        pipeline.add_evaluation("evaluate", [("NA", "model", "runs/x", 0.5)]).finish()
        assert "NA reaches an accuracy of 0.5000" in pipeline.build().text


class TestFigures:
    def test_of_learning_curves_come_from_the_event_logs(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91, 0.94)
        (curves,) = page.figures.values()
        names = [trace["name"] for trace in curves["data"]]
        assert {"train seed=0, training", "train seed=1, training"} <= set(names)

    def test_of_evaluations_are_shown_under_their_titles(self, pipeline: Pipeline) -> None:
        run = pipeline.add_evaluation("evaluate", [("net", "model", "runs/x", 0.5)])
        run.save_figure(
            "confusion_net", wb.figures.plot_confusion_matrix(np.eye(2, dtype=int), ("猫", "<b>"))
        )
        run.finish()
        page = pipeline.build()
        assert "Confusion matrix" in page.text
        (figure,) = page.figures.values()
        assert figure["data"][0]["y"] == ["猫", "&lt;b&gt;"]

    def test_all_have_a_place_to_be_drawn(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91, 0.94)
        assert sorted(page.attributes("data-figure")) == sorted(page.figures)

    def test_titles_become_plain_text(self) -> None:
        figure = wb.figures.plot_confusion_matrix(np.eye(2, dtype=int), ("a", "b"), title="1 < 2 <b>")
        found = prepare_figure(figure.to_json(), "name", "key")
        assert found.title == "1 < 2 <b>"
        assert "title" not in json.loads(found.json)["layout"]

    def test_without_a_title_are_called_by_their_name(self) -> None:
        assert prepare_figure('{"data": [], "layout": {}}', "my_figure", "key").title == "My figure"


class TestTables:
    def test_of_an_evaluation_are_shown_for_each_model(self, pipeline: Pipeline) -> None:
        run = pipeline.add_evaluation("evaluate", [("net", "model", "runs/x", 0.5)])
        models, f1 = ["net", "net", "other", "other"], [0.123456, 0.5, 1.0, 0.5]
        table = pd.DataFrame({"model": models, "class": ["a", "b", "a", "b"], "f1": f1})
        run.save_table("per_class", table)
        run.finish()
        text = pipeline.build().text
        assert "Per class: net class f1 a 0.1235" in text
        assert "Per class: other class f1 a 1.0000" in text

    def test_without_rows_say_so(self, pipeline: Pipeline) -> None:
        run = pipeline.add_evaluation("evaluate", [("net", "model", "runs/x", 0.5)])
        run.save_table("mistakes", pd.DataFrame({"id": [], "text": []}))
        run.save_table("nothing", pd.DataFrame())
        run.finish()
        assert pipeline.build().text.count("This table has no rows.") == 2

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("12", "12"),
            ("007", "007"),
            ("0.98765", "0.9877"),
            ("1.0", "1.0000"),
            ("1e-09", "1e-09"),
            ("猫", "猫"),
            (1259.0, "1,259"),
            (1.0, "1.0000"),
            (0.5, "0.5000"),
        ],
    )
    def test_numbers_have_four_decimals_and_whole_ones_none(self, value: Any, shown: str) -> None:
        assert format_number(value) == shown


class TestDataCards:
    def test_are_shown_with_figures(self, pipeline: Pipeline) -> None:
        run = pipeline.add("prepare")
        card = {
            "title": "Ten cats",
            "licence": "CC0",
            "citation": "https://example.org/cats",
            "samples": {"train": 7, "test": 3},
            "classes": {"猫": {"train": 7, "test": 3}},
            "unreadable": {},
        }
        write_json(run.artifacts / "data_card.json", card)
        run.save_figure(
            "samples", wb.figures.plot_images(np.zeros((1, 4, 4, 3), np.uint8), ["猫"], "Samples")
        )
        run.finish()
        page = pipeline.build()
        assert "Ten cats" in page.text
        assert "licence CC0" in page.text
        assert "samples train 7 test 3" in page.text
        assert "Classes table, 1 rows train test 猫 7 3" in page.text
        assert "unreadable none" in page.text
        assert "https://example.org/cats" in page.attributes("href")
        assert len(page.figures) == 1

    def test_link_to_nothing_that_runs(self, pipeline: Pipeline) -> None:
        run = pipeline.add("prepare")
        write_json(run.artifacts / "data_card.json", {"title": "x", "source": "javascript:alert(1)"})
        run.finish()
        page = pipeline.build()
        assert "javascript:alert(1)" in page.text
        assert not [link for link in page.attributes("href") if link.startswith("javascript")]


class TestRuns:
    def test_show_parameters_and_provenance(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91)
        provenance = wb.open_run("runs/small/train-seed-0-1234abcd").details["provenance"]
        assert "seed 0 note a note" in page.text
        assert f"Python {provenance['python']}, Keras on {provenance['backend']}" in page.text
        assert f"plotly {provenance['packages']['plotly']}" in page.text
        assert provenance["machine"]["processor"] in page.text

    def test_link_to_the_executed_notebooks(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91)
        links = [link for link in page.attributes("href") if link.endswith(".ipynb")]
        targets = {(page.path.parent / urllib.parse.unquote(link)).resolve() for link in links}
        assert targets == {path.resolve() for path in Path("runs").glob("*/*/executed.ipynb")}

    def test_link_to_notebooks_in_folders_of_any_name(self, project: Path) -> None:
        pipeline = Pipeline("猫 50% #1")
        pipeline.add("train").finish()
        page = pipeline.build()
        (link,) = [link for link in page.attributes("href") if link.endswith(".ipynb")]
        assert (page.path.parent / urllib.parse.unquote(link)).is_file()

    def test_that_failed_show_their_error_and_cell(self, pipeline: Pipeline) -> None:
        failure = {
            "error": "ValueError: \x1b[31mno <b>way</b>\x1b[0m", "cell": 3, "cells": 9,
            "source": "model.fit(x)", "output": "epoch 1",
        }  # fmt: skip
        pipeline.add("train", "failed", error=failure).fail("ValueError")
        pipeline.add("evaluate", "skipped", start=False, reason="train failed or was skipped")
        text = pipeline.build().text
        assert "This report is incomplete. train failed , evaluate skipped" in text
        assert "0 of 2 steps done" in text
        assert "ValueError: no <b>way</b> In code cell 3 of 9: model.fit(x)" in text
        assert "train failed or was skipped" in text

    def test_that_ended_before_they_began_are_shown(self, pipeline: Pipeline) -> None:
        (pipeline.folder / "train-1234abcd").mkdir()
        failure = {"error": "The kernel died", "cell": 0, "cells": 0, "source": "", "output": ""}
        folder = str(pipeline.folder / "train-1234abcd")
        pipeline.add("train", "failed", start=False, error=failure, run=folder)
        assert "The kernel died" in pipeline.build().text

    @pytest.mark.parametrize("state", ["pending", "running", "interrupted"])
    def test_that_have_not_ended_make_the_report_incomplete(self, pipeline: Pipeline, state: str) -> None:
        pipeline.add("train", state, start=False)
        assert f"incomplete. train {state}" in pipeline.build().text

    def test_all_done_make_it_complete(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91)
        assert "incomplete" not in page.text
        assert "2 of 2 steps done" in page.text


class TestPage:
    def test_lies_under_reports_or_where_it_is_asked_for(self, pipeline: Pipeline, project: Path) -> None:
        pipeline.add("train").finish()
        assert wb.build_report("runs/small") == project / "reports/small.html"
        assert (
            wb.build_report("runs/small/state.json", output="else/where.html") == project / "else/where.html"
        )

    def test_loads_nothing(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91)
        assert not page.attributes("src")
        assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "base", "form")]
        assert "default-src 'none'" in page.attributes("content")[0]

    def test_links_only_to_parts_that_exist(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91, 0.92)
        ids = page.attributes("id")
        inner = [link[1:] for link in page.attributes("href") if link.startswith("#")]
        assert set(inner) <= set(ids)
        assert len(ids) == len(set(ids))

    def test_holds_plotly_once(self, evaluated: Callable[..., Page]) -> None:
        page = evaluated(0.91)
        assert sum(len(script) > 400_000 for _, script in page.scripts) == 1

    def test_never_runs_text_of_data(self, project: Path) -> None:
        pipeline = Pipeline(title=HOSTILE)
        failure = {"error": HOSTILE, "cell": 1, "cells": 2, "source": HOSTILE, "output": HOSTILE}
        run = pipeline.add("train", "failed", error=failure)
        run.record(parameters={"note": HOSTILE, HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]})
        write_json(run.artifacts / "data_card.json", {"title": HOSTILE, HOSTILE: {HOSTILE: {HOSTILE: 1}}})
        run.save_figure("f", wb.figures.plot_learning_curves({HOSTILE: []}).update_layout(title_text=HOSTILE))
        run.save_table("t", pd.DataFrame({HOSTILE: [HOSTILE]}))
        run.fail(HOSTILE)
        run = pipeline.add_evaluation("evaluate", [(HOSTILE, "model", HOSTILE, 0.5)])
        run.save_table("t", pd.DataFrame({HOSTILE: [HOSTILE]}))
        run.finish()
        page = pipeline.build()
        assert page.text.count(HOSTILE) > 10
        assert len([attributes for attributes, _ in page.scripts if "type" not in attributes]) == 1
        assert not [tag for tag, _ in page.tags if tag == "img"]
        assert not page.attributes("onerror")

    def test_names_the_commit_and_uncommitted_changes(self, pipeline: Pipeline) -> None:
        run = pipeline.add("train")
        git = {"commit": "0123456789abcdef", "branch": "main", "dirty": True}
        run.record(provenance={"git": git})
        run.finish()
        assert "Code 0123456789 with uncommitted changes" in pipeline.build().text

    def test_says_how_to_run_it_again_with_the_parameters_of_the_call(self, pipeline: Pipeline) -> None:
        pipeline.state["overrides"] = {"epochs": "3", "note": "it's $HOME"}
        pipeline.add("train").finish()
        command = """workbench run pipelines/small.yaml -p epochs=3 -p 'note=it'"'"'s $HOME'"""
        assert command in pipeline.build().text

    def test_shows_uncommitted_changes_on_request_and_escaped(self, pipeline: Pipeline) -> None:
        git = {"commit": "0123456789abcdef", "branch": "main", "dirty": True}
        for seed in range(2):
            run = pipeline.add(f"train seed={seed}")
            run.record(provenance={"git": git})
            (run.path / "changes.diff").write_text(f"-old\n+{HOSTILE}")
            run.finish()
        page = pipeline.build()
        assert HOSTILE not in page.text
        assert "workbench report --diff shows them" in page.text
        page = Page(wb.build_report(pipeline.folder, diff=True))
        assert f"-old +{HOSTILE}" in page.text
        assert "Since commit 0123456789 train seed=0, train seed=1" in page.text
        assert not [tag for tag, _ in page.tags if tag == "img"]

    def test_without_a_state_is_refused(self, project: Path) -> None:
        with pytest.raises(WorkbenchError, match=r"(?s)runs/none.*Run the pipeline first"):
            wb.build_report("runs/none")

    def test_is_written_again_without_a_trace_of_the_old_one(self, pipeline: Pipeline) -> None:
        pipeline.add("train").finish()
        pipeline.build()
        pipeline.state["title"] = "Another title"
        write_json(pipeline.folder / "state.json", pipeline.state)
        page = pipeline.build()
        assert "Another title" in page.text
        assert "A small pipeline" not in page.text
        assert [path.name for path in page.path.parent.iterdir()] == ["small.html"]


def test_building_does_not_wait_for_pandas_or_a_backend() -> None:
    heavy = "{'pandas', 'keras', 'scipy', 'sklearn'}"
    code = f"import sys, workbench.reports.page; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_steps_of_similar_labels_have_different_anchors() -> None:
    labels = ["train seed=1", "train seed 1", "train-seed-1", "猫", "犬"]
    assert len({anchor(label) for label in labels}) == len(labels)
    assert all(re.fullmatch(r"[a-z0-9-]+", anchor(label)) for label in labels)


def test_durations_are_said_as_people_say_them() -> None:
    assert [format_duration(seconds) for seconds in (0.4, 42, 200, 3900)] == [
        "0 s", "42 s", "3 min 20 s", "1 h 05 min"
    ]  # fmt: skip


def test_times_are_shown_in_utc() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    moment = datetime.datetime(2025, 1, 31, 1, 30, tzinfo=zone)
    assert format_moment(moment.isoformat()) == "2025-01-30 23:30 UTC"
