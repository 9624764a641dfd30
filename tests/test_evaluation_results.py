"""The results of several runs side by side, and the notebook that shows them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import papermill
import pytest

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.evaluation import Predictions

ROOT = Path(__file__).parents[1]


@pytest.fixture
def table(project: Path) -> Path:
    """A table of texts in a project."""
    lines = [
        f"{word} film number {n},{label}" for n in range(30) for word, label in (("good", "+"), ("bad", "-"))
    ]
    path = project / "data/texts.csv"
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


@pytest.fixture
def train_model(table: Path) -> Callable[..., wb.Run]:
    """Make a finished run whose model says the class with a probability of 0.9."""

    def train(run_dir: str, *, model: str = "guess", finish: bool = True, **parameters: Any) -> wb.Run:
        options = {"split_seed": parameters.get("split_seed", 0)}
        data = wb.load_dataset("csv:data/texts.csv", **options)
        run = wb.start_run(run_dir, parameters=parameters, name="03_train")
        run.record(dataset=data.reference(), model=model)
        probabilities = 0.1 + 0.8 * np.eye(2)[data.test.y]
        wb.write_predictions(run, data.test, probabilities, data.class_names)
        if finish:
            run.finish()
        return run

    return train


class TestResults:
    def test_of_several_seeds_are_one_model(self, train_model: Callable[..., wb.Run]) -> None:
        for seed in (0, 1):
            train_model(f"runs/{seed}", seed=seed, epochs=3)
        results = wb.evaluation.read_results(["runs/0", "runs/1"])
        assert [(result.model, result.seed) for result in results] == [("guess", 0), ("guess", 1)]

    def test_that_differ_in_more_than_the_seed_carry_it_in_their_name(
        self, train_model: Callable[..., wb.Run]
    ) -> None:
        train_model("runs/a", seed=0, epochs=3)
        train_model("runs/b", seed=0, epochs=9)
        train_model("runs/c", seed=0, epochs=9, model="other")
        results = wb.evaluation.read_results(["runs/a", "runs/b", "runs/c"])
        assert [result.model for result in results] == ["guess (epochs=3)", "guess (epochs=9)", "other"]

    def test_come_with_the_data_of_their_runs(self, train_model: Callable[..., wb.Run]) -> None:
        train_model("runs/a")
        data = wb.evaluation.load_test_data(wb.evaluation.read_results(["runs/a"]))
        assert data.fingerprint == wb.open_run("runs/a").dataset["fingerprint"]

    def test_on_data_that_changed_are_refused(self, train_model: Callable[..., wb.Run], table: Path) -> None:
        train_model("runs/a")
        table.write_text(table.read_text().replace("number 7", "number seven"))
        with pytest.raises(WorkbenchError, match=r"(?s)runs/a used the dataset .* have changed"):
            wb.evaluation.load_test_data(wb.evaluation.read_results(["runs/a"]))

    def test_on_different_test_sets_are_refused_and_named(self, train_model: Callable[..., wb.Run]) -> None:
        train_model("runs/a", split_seed=0)
        train_model("runs/b", split_seed=1)
        with pytest.raises(WorkbenchError, match=r"(?s)2 different test sets.*runs/a.*runs/b"):
            wb.evaluation.read_results(["runs/a", "runs/b"])

    def test_of_an_unfinished_run_are_refused(self, train_model: Callable[..., wb.Run]) -> None:
        train_model("runs/a", finish=False)
        with pytest.raises(WorkbenchError, match="runs/a is running, not finished"):
            wb.evaluation.read_results(["runs/a"])

    def test_of_a_run_without_predictions_are_refused(self, train_model: Callable[..., wb.Run]) -> None:
        train_model("runs/a")
        (Path("runs/a") / "artifacts/predictions.parquet").unlink()
        with pytest.raises(WorkbenchError, match="holds no"):
            wb.evaluation.read_results(["runs/a"])

    def test_of_a_run_that_names_no_data_are_refused(self, project: Path) -> None:
        wb.start_run("runs/a").finish()
        with pytest.raises(WorkbenchError, match="which data"):
            wb.evaluation.read_results(["runs/a"])

    def test_of_seeds_are_averaged_sample_by_sample(self) -> None:
        one, two = (
            Predictions(np.array(["0"]), np.array([0]), np.array([row], np.float32), ("a", "b"))
            for row in ([0.8, 0.2], [0.4, 0.6])
        )
        results = [wb.evaluation.Result("m", "model", values) for values in (one, two)]
        found = wb.evaluation.average_predictions(results)
        np.testing.assert_allclose(found.probabilities, [[0.6, 0.4]], rtol=1e-6)

    def test_have_file_names_that_stay_different(self) -> None:
        names = ["cnn", "cnn (epochs=3)", "cnn/epochs=3", "../cnn", "猫", "a" * 300]
        files = [wb.evaluation.file_name(name) for name in names]
        assert len(set(files)) == len(names)
        assert not any("/" in file or len(file) > 80 for file in files)
        assert files[0] == "cnn"


def test_notebook_compares_seeds_with_baselines(train_model: Callable[..., wb.Run], project: Path) -> None:
    for seed in (0, 1):
        train_model(f"runs/{seed}", seed=seed)
    papermill.execute_notebook(
        str(ROOT / "notebooks/04_evaluate.ipynb"),
        str(project / "executed.ipynb"),
        {"runs": ["runs/0", "runs/1"], "run_dir": "runs/evaluation"},
        cwd=str(project),
        progress_bar=False,
    )
    run = wb.open_run("runs/evaluation")
    lines = run.tables()["summary"].read_text().splitlines()
    assert lines[0] == "dataset,model,kind,run,seed,accuracy,macro_f1,log_loss,test_samples"
    assert [line.split(",")[1:5] for line in lines[1:]] == [
        ["guess", "model", "runs/0", "0"],
        ["guess", "model", "runs/1", "1"],
        ["majority class", "baseline", "", ""],
        ["logistic regression on TF-IDF", "baseline", "", ""],
    ]
    assert run.metrics["accuracy"] == 1
    assert set(run.tables()) >= {"summary", "estimates", "pairs", "per_class", "confusion_guess", "slices"}
    assert set(run.tables()) >= {"all_measures", "calibration", "worst_mistakes", "doubtful_labels"}
    (sentence,) = run.details["verdicts"]
    assert sentence.startswith("These data do not separate guess")
    rules = {event["rule"] for event in run.events() if event["type"] == "finding"}
    assert {"baseline_within_interval", "few_test_samples"} <= rules
