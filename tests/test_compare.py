"""Compare runs: the table behind it, what the widgets show after a click, and the static view."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.dashboards.compare import ComparePanel, choose_at_first, compare_runs
from workbench.errors import WorkbenchError
from workbench.evaluation.comparison import name_runs, tabulate_runs
from workbench.figures import plot_parallel_coordinates
from workbench.figures.svg import draw_learning_curves
from workbench.runs import RunRecord, describe_status, write_json

pytestmark = pytest.mark.usefixtures("project")

HOSTILE = "<img src=x onerror=alert(1)>"
PLOTLY = "application/vnd.plotly.v1+json"


def make_run(
    folder: str, name: str = "train", epochs: int = 2, status: str = "finished", **parameters: Any
) -> RunRecord:
    """Write a run with `epochs` epochs; its `started` follows from the folder's name."""
    run = wb.start_run(folder, parameters=parameters, name=name)
    run.record(started=f"2026-01-01T00:00:{len(list(wb.find_runs())):02d}+00:00")
    for epoch in range(epochs):
        metrics = {"loss": 1 / (epoch + 1), "val_loss": 2 / (epoch + 1)}
        run.log.write("epoch", epoch=epoch, metrics=metrics, seconds=1.0)
    if status == "finished":
        run.finish(**({"accuracy": 0.25 * epochs} if epochs else {}))
    elif status == "failed":
        run.fail("ValueError: no")
    return wb.open_run(folder)


def panel_of(
    records: list[RunRecord], chosen: list[RunRecord] | None = None
) -> tuple[ComparePanel, list[str]]:
    """Return the widgets, and a list to which every published static view is added."""
    published: list[str] = []
    chosen = records if chosen is None else chosen
    panel = ComparePanel(records, chosen, lambda: list(wb.find_runs())[::-1], published.append)
    return panel, published


def figure_in(output: Any) -> dict[str, Any]:
    (shown,) = output.outputs
    return shown["data"][PLOTLY]


class TestTable:
    def test_has_the_parameters_that_differ_and_no_other(self) -> None:
        records = [make_run(f"runs/{n}", seed=n, batch_size=8, shape=[n, 1]) for n in range(2)]
        found = tabulate_runs(records)
        assert found.parameters == ("seed", "shape")
        assert found.table["shape"].tolist() == ["[0, 1]", "[1, 1]"]

    def test_has_final_metrics_and_the_validation_of_the_last_epoch(self) -> None:
        found = tabulate_runs([make_run("runs/a", epochs=4), make_run("runs/b", epochs=1, status="failed")])
        assert found.results == ("epochs done", "last val_loss", "accuracy")
        assert found.table["last val_loss"].tolist() == [0.5, 2.0]
        assert found.table["epochs done"].tolist() == [4, 1]
        assert found.table["accuracy"].tolist()[0] == 1.0
        assert pd.isna(found.table["accuracy"][1])

    def test_leaves_room_where_a_run_has_no_such_parameter(self) -> None:
        found = tabulate_runs([make_run("runs/a", depth=3), make_run("runs/b", width=4)])
        assert found.table["depth"].tolist() == [3, None]

    def test_keeps_a_parameter_and_a_result_of_one_name_apart(self) -> None:
        found = tabulate_runs([make_run("runs/a", accuracy=1, name="x"), make_run("runs/b", accuracy=2)])
        assert found.parameters == ("accuracy",)
        assert "accuracy (result)" in found.results

    def test_names_runs_of_one_label_by_their_folders(self) -> None:
        paths = ("runs/one/a", "runs/two/a", "runs/two/b")
        runs = [make_run(path).details | {"started": "2026-01-01T00:00:00+00:00"} for path in paths]
        for path, details in zip(paths, runs, strict=True):
            write_json(Path(path) / "run.json", details)
        records = [*map(wb.open_run, paths), make_run("runs/c", name="other")]
        assert name_runs(records) == ["train runs/one/a", "train runs/two/a", "train b", "other"]

    def test_names_runs_of_one_label_by_the_parameters_that_differ(self) -> None:
        records = [make_run(f"runs/{n}", seed=n % 2, depth=n // 2, width=8) for n in range(4)]
        assert name_runs(records) == [f"train seed={n % 2} depth={n // 2}" for n in range(4)]
        assert name_runs(records[:2]) == ["train seed=0", "train seed=1"]

    def test_names_runs_that_differ_in_nothing_by_their_start(self) -> None:
        records = [make_run(f"runs/{n}") for n in range(2)]
        assert name_runs(records) == ["train 2026-01-01 00:00:01", "train 2026-01-01 00:00:02"]

    def test_tells_a_killed_run_from_one_that_runs(self) -> None:
        alive = make_run("runs/a", status="running")
        assert describe_status(alive.details) == "running"
        write_json(
            alive.path / "run.json", alive.details | {"process": {"pid": 1, "started": "", "boot": ""}}
        )
        assert describe_status(wb.open_run("runs/a").details) == "killed"


class TestPanel:
    def test_lists_all_runs_newest_first_with_their_states(self) -> None:
        make_run("runs/a")
        make_run("runs/b", status="failed")
        make_run("runs/c", status="running")
        panel, _ = panel_of(list(wb.find_runs())[::-1])
        lines = [line for line, _ in panel.runs.options]
        assert [line.split(" · ")[2] for line in lines] == ["running", "failed", "finished"]

    def test_draws_the_chosen_runs(self) -> None:
        records = [make_run(f"runs/{n}", name=f"run {n}", seed=n) for n in range(3)]
        panel, published = panel_of(records, records[:1])
        assert "1 run chosen" in panel.line.value
        panel.runs.value = [records[0].path, records[2].path]
        names = {trace["name"].partition(",")[0] for trace in figure_in(panel.curves)["data"]}
        assert {"run 0", "run 2"} <= names
        assert "run 1" not in names
        assert "run 2" in panel.table.value
        assert "run 2" in published[-1]
        assert [axis["label"] for axis in figure_in(panel.coordinates)["data"][0]["dimensions"]] == [
            "seed", "epochs done", "last val_loss", "accuracy",
        ]  # fmt: skip

    def test_keeps_chosen_runs_that_a_search_hides(self) -> None:
        records = [make_run(f"runs/{n}", name=f"run {n}", seed=n) for n in range(3)]
        panel, _ = panel_of(records, records[:1])
        panel.search.value = "seed=2"
        assert [path.name for _, path in panel.runs.options] == ["2"]
        panel.all.click()
        assert [record.path.name for record in panel.chosen()] == ["0", "2"]
        assert "1 of them not listed" in panel.line.value
        panel.search.value = ""
        assert [path.name for path in panel.runs.value] == ["0", "2"]

    def test_chooses_none_and_says_so(self) -> None:
        panel, published = panel_of([make_run("runs/a")])
        panel.none.click()
        assert "No run is chosen" in panel.table.value
        assert "No run is chosen" in published[-1]
        assert figure_in(panel.curves)["layout"]["annotations"][0]["text"] == "No epoch has been logged yet"

    def test_finds_new_runs_and_keeps_the_choice(self) -> None:
        panel, _ = panel_of([make_run("runs/a")])
        make_run("runs/b")
        panel.again.click()
        assert [path.name for _, path in panel.runs.options] == ["b", "a"]
        assert [record.path.name for record in panel.chosen()] == ["a"]

    def test_exports_what_it_shows_as_csv(self) -> None:
        records = [make_run(f"runs/{n}", name="ä, b", seed=n) for n in range(2)]
        panel, _ = panel_of(records)
        link = re.search(
            r'download="runs.csv" href="data:text/csv;charset=utf-8;base64,([^"]+)"', panel.export.value
        )
        found = pd.read_csv(io.BytesIO(base64.b64decode(link.group(1))))
        assert found["seed"].tolist() == [0, 1]
        assert found["run"].tolist() == ["runs/0", "runs/1"]
        assert found["name"][0].startswith("ä, b")


class TestFirstChoice:
    def test_is_the_newest_trainings_of_one_notebook(self) -> None:
        make_run("runs/a", name="cnn")
        make_run("runs/b", name="cnn")
        make_run("runs/c", name="text")
        make_run("runs/d", name="prepare", epochs=0)
        chosen = choose_at_first(list(wb.find_runs())[::-1])
        assert [record.path.name for record in chosen] == ["b", "a"]

    def test_is_all_trainings_where_none_was_repeated(self) -> None:
        make_run("runs/a", name="cnn")
        make_run("runs/b", name="text")
        make_run("runs/c", name="prepare", epochs=0)
        assert [r.path.name for r in choose_at_first(list(wb.find_runs())[::-1])] == ["b", "a"]

    def test_is_any_run_where_none_trained(self) -> None:
        record = make_run("runs/a", epochs=0)
        assert choose_at_first([record]) == [record]

    def test_is_the_list_that_was_given(self) -> None:
        for folder, name in (("runs/a", "left out"), ("runs/b", "one"), ("runs/c", "two")):
            make_run(folder, name=name)
        page = compare_runs([wb.open_run("runs/b"), "runs/c"]).static_view()
        assert "one" in page
        assert "two" in page
        assert "left out" not in page


class TestStaticView:
    def test_has_the_table_and_the_curves(self) -> None:
        for seed in range(2):
            make_run(f"runs/{seed}", seed=seed)
        page = compare_runs().static_view()
        assert "seed" in page
        source = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page).group(1)
        picture = ElementTree.fromstring(base64.b64decode(source))
        assert len(picture.findall(".//{*}polyline")) == 4

    def test_of_many_long_trainings_stays_small(self) -> None:
        for seed in range(12):
            make_run(f"runs/{seed}", seed=seed, epochs=300)
        assert len(compare_runs().static_view()) < 200_000

    def test_never_lets_a_run_write_markup(self) -> None:
        records = [make_run(f"runs/{n}", name=HOSTILE, note=f"{HOSTILE}{n}") for n in range(2)]
        panel, _ = panel_of(records)
        for page in (compare_runs().static_view(), panel.table.value, panel.export.value):
            assert "<img src=x" not in page


class TestCurvesAsAPicture:
    def test_pass_through_the_values(self) -> None:
        events = [
            {"type": "epoch", "epoch": n, "metrics": {"loss": value}} for n, value in enumerate((4, 2, 0))
        ]
        picture = ElementTree.fromstring(draw_learning_curves({"a": events}))
        (line,) = picture.findall(".//{*}polyline")
        points = np.array([point.split(",") for point in line.get("points").split()], float)
        np.testing.assert_allclose(np.diff(points, axis=0), [points[1] - points[0]] * 2, atol=0.11)
        assert points[0, 1] < points[2, 1]  # a picture's y grows downwards

    def test_leave_out_what_is_no_number(self) -> None:
        values = (1.0, float("nan"), float("inf"), 0.5)
        events = [{"type": "epoch", "epoch": n, "metrics": {"loss": v}} for n, v in enumerate(values)]
        assert "nan" not in draw_learning_curves({"a": events})
        assert draw_learning_curves({"a": []}) == ""


class TestParallelCoordinates:
    def test_place_numbers_and_texts(self) -> None:
        columns = {"model": ["a", "b", "a"], "rate": [1e-4, 1e-2, 1e-3], "loss": [1.0, 2.0, None]}
        model, rate, loss = plot_parallel_coordinates(columns).data[0].dimensions
        assert list(model["values"]) == [0, 1, 0]
        np.testing.assert_allclose(rate["values"], [-4, -2, -3])
        assert list(rate["ticktext"]) == ["0.0001", "0.001", "0.01"]
        assert loss["values"][2] < 1.0
        assert loss["ticktext"][0] == "none"

    def test_of_one_run_say_what_they_need(self) -> None:
        for columns in ({}, {"loss": [1.0]}, {"loss": [None, None]}):
            assert "at least two" in plot_parallel_coordinates(columns).layout.annotations[0].text

    def test_write_no_markup(self) -> None:
        figure = plot_parallel_coordinates({HOSTILE: [HOSTILE, "b"], "loss": [1, 2]})
        assert "<img" not in json.dumps(json.loads(figure.to_json()))

    def test_keep_ticks_apart(self) -> None:
        (axis,) = plot_parallel_coordinates({"loss": [1.0, 1.001, 2.0]}).data[0].dimensions
        assert np.diff(axis["tickvals"]).min() > 0.05


class TestArguments:
    def test_without_a_run_say_so(self, project: Path) -> None:
        with pytest.raises(WorkbenchError, match=r"There is no run in runs"):
            compare_runs()
        with pytest.raises(WorkbenchError, match=r"empty list"):
            compare_runs([])
        with pytest.raises(WorkbenchError, match=r"No run in nowhere"):
            compare_runs(["nowhere"])
