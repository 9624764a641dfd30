"""Verification: runs again what a report claims, and finds whatever does not hold."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

import workbench as wb
from workbench.cli import main
from workbench.errors import WorkbenchError
from workbench.pipelines import load_pipeline, run_pipeline
from workbench.reports.seal import DIGEST_SLOT, open_sealed, seal_page
from workbench.verification import Verification, verify
from workbench.verification.replay import copy_for_replay
from workbench.verification.state import check_files, check_page
from workbench.verification.subject import open_subject
from workbench.verification.verdicts import (
    ALTERED,
    DRIFTED,
    IDENTICAL,
    NOT_COMPARABLE,
    WITHIN,
    measure_noise,
)

TRAIN = """
import os
import numpy as np
import workbench as wb
from workbench.datasets import Split
run = wb.start_run(run_dir, parameters=dict(seed=seed), name="train")
truth = np.arange(200) % 2
hidden = int(os.environ.get("HIDDEN", 0))  # what no fingerprint sees
sure = np.clip(0.8 - hidden // 100 + 0.3 * np.random.default_rng(seed + hidden).normal(size=200), 0.01, 0.99)
guesses = np.where(truth == 1, sure, 1 - sure)
probabilities = np.stack([1 - guesses, guesses], 1)
ids = np.array([f"s{n}" for n in range(200)])
split = Split({"image": np.zeros((200, 1))}, {"label": truth}, ids)
run.log.write("fit", epochs=2, batches=1, initial_epoch=0)
for epoch in range(2):
    run.log.write("epoch", epoch=epoch, metrics={"loss": float(seed + 1) / (epoch + 1)}, seconds=0)
wb.write_predictions(run, split, probabilities, ("a", "b"))
accuracy = float((probabilities.argmax(1) == truth).mean())
print("accuracy", accuracy, run.path)
run.finish(accuracy=accuracy)
"""
EVALUATE = """
import pandas as pd
import plotly.graph_objects as go
import workbench as wb
run = wb.start_run(run_dir, parameters=dict(runs=runs), name="evaluate")
rows = []
for path in runs:
    predictions = wb.read_predictions(path)
    accuracy = float((predictions.probabilities.argmax(1) == predictions.labels).mean())
    rows.append(("made", "net", "model", path, wb.open_run(path).parameters["seed"], accuracy, 200))
rows.append(("made", "majority class", "baseline", "", None, 0.5, 200))
table = pd.DataFrame(rows, columns=["dataset", "model", "kind", "run", "seed", "accuracy", "test_samples"])
run.save_table("summary", table.astype({"seed": "Int64"}))
run.save_figure("balance", wb.figures.plot_learning_curves({}))
found = table.accuracy[:-1]
means = {"model": ["net"], "mean": found.mean(), "right": [round(200 * found.sum())]}
means |= {"reported": f"{found.mean():.5f} of 1", "every_run": " ".join(f"{value:.4f}" for value in found)}
run.save_table("means", pd.DataFrame(means))
run.save_figure("means", go.Figure(go.Bar(x=["net", "coin"], y=[found.mean(), 0.5])))
run.record(verdicts=[f"net reaches {found.mean():.5f}"])
run.finish(accuracy=float(found.mean()))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the runner made three seeds, their evaluation and the report."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "workbench.toml").touch()
    write_step(folder / "notebooks/train.ipynb", "seed: int = 0", TRAIN)
    write_step(folder / "notebooks/evaluate.ipynb", "runs: list = []", EVALUATE)
    train = {"notebook": "notebooks/train.ipynb", "matrix": {"seed": [0, 1, 2]}}
    evaluate = {"notebook": "notebooks/evaluate.ipynb", "parameters": {"runs": "${train}"}}
    (folder / "pipelines").mkdir()
    steps = {"train": train, "evaluate": evaluate}
    (folder / "pipelines/small.yaml").write_text(json.dumps({"title": "Made", "steps": steps}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_pipeline(load_pipeline("small"))
        wb.build_report("runs/small")
    return folder


@pytest.fixture
def report(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report in a copy of that project."""
    copy = tmp_path / "project"
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    return copy / "reports/small.html"


def write_step(path: Path, parameter: str, source: str) -> None:
    parameters = nbformat.v4.new_code_cell(
        f'{parameter}\nrun_dir: str = ""', metadata={"tags": ["parameters"]}
    )
    notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def lines(done: Verification, verdict: str) -> str:
    return "\n".join(f"{line.step} {line.what} {line.note}" for line in done.lines if line.verdict == verdict)


def folder_of(label: str) -> Path:
    return Path(json.loads(Path("runs/small/state.json").read_text())["steps"][label]["run"])


class TestFull:
    def test_rerun_of_unchanged_code_is_identical(self, report: Path) -> None:
        done = verify(str(report))
        assert done.holds, lines(done, DRIFTED)
        assert set(done.counts) == {IDENTICAL}
        compared = lines(done, IDENTICAL)
        for what in (
            "accuracy",
            "curve of loss",
            "predictions of 200 samples",
            "table summary",
            "figure balance",
        ):
            assert what in compared
        assert compared.count("nbval") == 2
        assert done.folder.name.startswith("verify-small-")

    def test_numbers_outside_the_seeds_spread_have_drifted(
        self, report: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HIDDEN", "100")
        done = verify(str(report))
        drifted = lines(done, DRIFTED)
        assert re.search(r"train\[seed=0\] accuracy by -0\.\d+; noise reaches from", drifted)
        assert re.search(r"evaluate accuracy by -0\.\d+; noise reaches from", drifted)
        assert re.search(r"evaluate table summary, row 1, accuracy by", drifted)
        assert re.search(r"predictions of 200 samples \d+ samples are classified differently", drifted)
        assert "outputs of the notebook's cells (nbval) Cell 2" in drifted

    def test_means_and_figures_over_other_seeds_are_within_noise(
        self, report: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HIDDEN", "1")
        done = verify(str(report), nbval=False)
        found = {line.what: line for line in done.lines if line.step == "evaluate"}
        summary = pd.read_csv(folder_of("evaluate") / "artifacts/tables/summary.csv")
        noise = measure_noise(summary.accuracy[:3].tolist(), of_mean=True)
        assert not lines(done, DRIFTED)
        for cell in ("mean", "right", "reported", "every_run"):
            assert found[f"table means, row 1, {cell}"].verdict == WITHIN
        assert found["figure means"].verdict == WITHIN
        assert "1 of 2 numbers differ, 0 of them by more than noise" in found["figure means"].note
        assert found["sentence 1"].verdict == WITHIN
        stated = re.search(r"noise reaches from (\S+) to (\S+), from 3 seeds", found["figure means"].note)
        fresh = pd.read_csv(Path(found["figure means"].new_run) / "artifacts/tables/summary.csv")
        width = measure_noise(fresh.accuracy[:3].tolist(), of_mean=True)
        half = (width.high - width.low) / 2
        middle = (noise.low + noise.high) / 2
        assert [float(end) for end in stated.groups()] == pytest.approx(
            [middle - half, middle + half], rel=1e-4
        )
        assert all(
            line.old_run and line.new_run for line in done.lines if line.step == "evaluate" and line.note
        )

    def test_changed_code_is_not_comparable_and_a_report_alone_is_enough(self, report: Path) -> None:
        Path("runs").rename("elsewhere")
        changed = TRAIN.replace("0.3 *", "0.9 *")
        write_step(Path("notebooks/train.ipynb"), "seed: int = 0", changed)
        done = verify(str(report))
        told = lines(done, NOT_COMPARABLE)
        assert "train[seed=1] accuracy code changed: the code of notebooks/train.ipynb" in told
        assert "evaluate accuracy code changed" in told
        assert "train[seed=1] curve of loss" in lines(done, IDENTICAL)
        assert not lines(done, DRIFTED)

    def test_step_that_fails_now_is_not_comparable(self, report: Path) -> None:
        write_step(Path("notebooks/evaluate.ipynb"), "runs: list = []", "raise ValueError('no way')")
        done = verify(str(report), quick=True)
        assert "evaluate all of it ValueError: no way" in lines(done, NOT_COMPARABLE)

    def test_other_seeds_are_asked_for_the_conclusion_alone(
        self, report: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HIDDEN", "100")  # a model that is worse than chance
        done = verify(str(report), new_seeds=True)
        (asked,) = [line for line in done.lines if "beside" in line.what]
        assert asked.what == "made: accuracy of net beside the best baseline"
        assert (asked.verdict, asked.before, asked.after) == (DRIFTED, "more than", "less than")
        seeds = {wb.open_run(path).parameters["seed"] for path in done.folder.glob("train*")}
        assert seeds == {done.shift, done.shift + 1, done.shift + 2}


class TestAlterations:
    def test_number_edited_in_the_report_is_named(self, report: Path) -> None:
        page = report.read_text()
        shown = re.search(r"accuracy of <strong>(.*?)</strong>", page)[1]
        report.write_text(page.replace(f"accuracy of <strong>{shown}", "accuracy of <strong>0.9999", 1))
        assert any("finding on made" in edit for edit in open_subject(str(report)).edits)

    def test_text_edited_in_the_report_is_found(self, report: Path) -> None:
        report.write_text(report.read_text().replace(">Made</h1>", ">Faked</h1>"))
        (edit,) = open_subject(str(report)).edits
        assert "edited outside of its numbers" in edit

    def test_manifest_edited_along_has_another_digest(self, report: Path) -> None:
        before = open_subject(str(report))
        accuracy = repr(before.manifest["runs"][0]["metrics"]["accuracy"])
        report.write_text(report.read_text().replace(accuracy, "0.9999"))
        assert open_subject(str(report)).digest != before.digest

    def test_page_as_built_is_unaltered(self, report: Path) -> None:
        subject = open_subject(str(report))
        assert subject.edits == []
        assert subject.digest in report.read_text()
        assert {line.verdict for line in check_files(subject.finished)} == {IDENTICAL}

    def test_report_that_was_forged_with_its_manifest_is_not_what_the_runs_give(self, report: Path) -> None:
        Path(".gitignore").write_text("runs\nreports\n")
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "a"]):
            subprocess.run(["git", *command], check=True)
        wb.build_report("runs/small")
        (line,) = check_page(open_subject(str(report)))
        assert line.verdict == IDENTICAL
        sealed = open_sealed(report.read_text(), "")
        page = re.sub(r'(id="manifest">).*?(</script>)', r"\1\2", report.read_text())
        shown = re.search(r'data-checked="value made.net.accuracy">(.*?)<', page)[1]
        page = page.replace(sealed.digest, DIGEST_SLOT).replace(f">{shown}<", ">0.9999<")
        claims = {name: value for name, value in sealed.manifest.items() if name not in ("page", "elements")}
        report.write_text(seal_page(page, claims)[0])
        forged = open_subject(str(report))
        assert forged.edits == []
        found = {line.what: line.verdict for line in check_page(forged)}
        assert found["value made.net.accuracy"] == ALTERED

    @pytest.mark.parametrize("file", ["artifacts/predictions.parquet", "run.json", "executed.ipynb"])
    def test_file_replaced_in_a_run_folder_is_named(self, report: Path, file: str) -> None:
        shutil.copy(folder_of("train[seed=0]") / file, folder_of("train[seed=1]") / file)
        (found,) = [f for f in check_files(open_subject(str(report)).finished) if f.verdict == ALTERED]
        assert (found.step, found.note) == ("train[seed=1]", f"{file} was replaced")

    def test_file_deleted_or_added_is_named(self, report: Path) -> None:
        tables = folder_of("evaluate") / "artifacts/tables"
        (tables / "summary.csv").rename(tables / "other.csv")
        (found,) = [f for f in check_files(open_subject(str(report)).finished) if f.verdict == ALTERED]
        assert found.note == "artifacts/tables/summary.csv is gone; artifacts/tables/other.csv was added"

    def test_evaluation_whose_stored_runs_are_gone_is_not_verified_quickly(self, report: Path) -> None:
        folder_of("evaluate").rename("elsewhere")
        with pytest.raises(WorkbenchError, match="Verify without --quick"):
            verify(str(report), quick=True)


class TestSubjects:
    def test_run_is_verified_with_the_inputs_that_it_had(self, report: Path) -> None:
        done = verify(str(folder_of("evaluate")), nbval=False)
        assert done.holds
        assert {line.step for line in done.lines} == {"evaluate"}

    def test_pipeline_makes_the_claims_of_its_report(self, report: Path) -> None:
        claims = open_subject(str(report)).manifest
        assert open_subject("small").manifest["runs"] == claims["runs"]
        assert open_subject("runs/small").manifest["runs"] == claims["runs"]

    def test_page_without_a_manifest_is_refused(self, project: Path) -> None:
        Path("other.html").write_text("<p>hello</p>")
        with pytest.raises(WorkbenchError, match=r"other\.html holds no readable manifest"):
            verify("other.html")

    def test_nothing_is_refused(self, project: Path) -> None:
        with pytest.raises(WorkbenchError, match="no report, no run folder and no pipeline"):
            verify("none")


class TestCommand:
    def test_ends_with_a_page_and_a_status(
        self, report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["workbench", "verify", str(report), "--quick"])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().out
        total = re.search(r"Verified: (\d+) of \1 identical\. Page: reports/small\.verified\.html", said)
        assert ended.value.code == 0
        assert f"{total[1]} of {total[1]} identical" in Path("reports/small.verified.html").read_text()
        new = [path.name[:8] for path in Path("runs").glob("verify-*/*") if path.is_dir()]
        assert new == ["evaluate"]

    def test_fails_where_something_was_altered_and_names_other_versions_first(
        self, report: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = folder_of("evaluate") / "run.json"
        details = json.loads(path.read_text())
        details["provenance"]["packages"]["numpy"] = "1.0"
        path.write_text(json.dumps(details))
        wb.build_report("runs/small")
        path.write_text(path.read_text() + " ")
        monkeypatch.setattr(sys, "argv", ["workbench", "verify", str(report), "--quick"])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().out
        page = Path("reports/small.verified.html").read_text()
        assert ended.value.code == 1
        assert said.startswith("numpy 1.0 → ")
        assert "altered  evaluate" in said
        assert page.index("numpy 1.0 →") < page.index("table summary")


def test_replay_ignores_outputs_that_are_written_over(project: Path, write_notebook: Any) -> None:
    path = write_notebook("n.ipynb", 'run_dir: str = ""', "wb.live(run)", "print(1)")
    cells = copy_for_replay(path, "runs/x").cells
    assert [cell.metadata.get("tags") for cell in cells] == [["parameters"], ["nbval-ignore-output"], []]
