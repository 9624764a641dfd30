"""Size and speed of a report with 20 runs and 50 figures, beside nbconvert on the same notebooks.

Both sides are timed as whole processes, in turn. The report also holds what nbconvert has not: figures that
can be zoomed, tables, results, a manifest. Chromium opens the finished report without a network.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd

import workbench as wb
from workbench.runs import write_json

TRAININGS, FIGURES, LONG = 18, 50, 50_000  # LONG: points of the longest curve
CLASSES = tuple(f"class {number}" for number in range(10))
MOST_MEGABYTES, MOST_SECONDS, MOST_OPENING = 8.0, 5.0, 2.0
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def main() -> None:
    """Build the runs, measure, print the table, exit with 1 on a miss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each side")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_project()
        ours = [sys.executable, "-c", "import workbench as wb; wb.build_report('runs/big')"]
        notebooks = sorted(str(path) for path in Path("runs").glob("*/*/executed.ipynb"))
        peer = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", "--output-dir", "peer"]
        times: dict[str, list[float]] = {"report": [], "nbconvert": []}
        copies = copy_notebooks(notebooks)
        for _ in range(repeat):
            times["report"].append(time_process(ours))
            times["nbconvert"].append(time_process([*peer, *copies]))
        report = Path("reports/big.html")
        sizes = {"report": report.stat().st_size, "nbconvert": size_of("peer")}
        opening = [open_report(report) for _ in range(repeat)]
        sys.exit(print_results(times, sizes, opening))


def make_project() -> None:
    """Write 20 finished runs with 50 figures and their executed notebooks, as the shipped notebooks would."""
    Path("workbench.toml").touch()
    random = np.random.default_rng(0)
    steps: dict[str, dict[str, str]] = {}
    runs = [make_training(seed, random) for seed in range(TRAININGS)]
    runs += [make_evaluation(name, runs, random) for name in ("evaluate", "evaluate_again")]
    for run, notebook in runs:
        label = run.path.name
        state = {"state": "done", "notebook": notebook, "step": label.partition("-")[0]}
        steps[label] = {"run": str(run.path.relative_to(Path.cwd())), **state}
    state = {"pipeline": "big", "title": "A large report", "file": "pipelines/big.yaml", "steps": steps}
    write_json(Path("runs/big/state.json"), state)


def make_training(seed: int, random: np.random.Generator) -> tuple[wb.Run, str]:
    """Write a training of 60 epochs with two figures."""
    run = wb.start_run(f"runs/big/train-{seed}", parameters={"seed": seed, "epochs": 60}, name="02_train_cnn")
    loss = np.exp(-np.arange(60) / 15) + random.normal(scale=0.02, size=(4, 60))
    run.log.write("fit", epochs=60, batches=100, initial_epoch=0)
    for epoch, values in enumerate(loss.T):
        names = ("loss", "val_loss", "accuracy", "val_accuracy")
        run.log.write(
            "epoch", epoch=epoch, metrics=dict(zip(names, values.tolist(), strict=True)), seconds=1.0
        )
    events = [event for event in wb.runs.read_events(run.path / "events.jsonl")]
    curves = wb.figures.plot_learning_curves({"train": events})
    counts = random.integers(0, 50, (10, 10))
    confusions = wb.figures.plot_confusion_matrix(counts, CLASSES, f"Confusions of seed {seed}")
    run.save_figure("curves", curves)
    run.save_figure("confusions", confusions)
    write_executed(run, "02_train_cnn.ipynb", [curves, confusions])
    run.finish(accuracy=0.9 + seed / 1000)
    return run, "notebooks/02_train_cnn.ipynb"


def make_evaluation(
    name: str, runs: list[tuple[wb.Run, str]], random: np.random.Generator
) -> tuple[wb.Run, str]:
    """Write an evaluation with seven figures, one of them of 50,000 points, and its tables."""
    run = wb.start_run(f"runs/big/{name}", parameters={"runs": len(runs)}, name="04_evaluate")
    rows = [
        ("data", "cnn", "model", str(made.path), seed, 0.9, 0.9, 0.3, 10_000)
        for seed, (made, _) in enumerate(runs)
    ]
    columns = ["dataset", "model", "kind", "run", "seed", "accuracy", "macro_f1", "log_loss", "test_samples"]
    run.save_table("summary", pd.DataFrame(rows, columns=columns))
    run.save_table("mistakes", pd.DataFrame({"id": np.arange(500), "loss": random.normal(size=500)}))
    pictures = random.integers(0, 255, (20, 32, 32, 3)).astype(np.uint8)
    figures = [wb.figures.plot_images(pictures, ["a caption"] * 20, "Mistakes")]
    figures += [
        wb.figures.plot_confusion_matrix(
            random.integers(0, 50, (60, 60)), [f"c{n}" for n in range(60)], f"Confusions {n}"
        )
        for n in range((FIGURES - 2 * TRAININGS) // 2 - 2)
    ]
    import plotly.graph_objects as go

    figures.append(
        go.Figure(go.Scatter(y=random.normal(size=LONG).cumsum())).update_layout(title="A long curve")
    )
    for number, figure in enumerate(figures):
        run.save_figure(f"figure_{number}", figure)
    write_executed(run, "04_evaluate.ipynb", figures)
    run.finish(accuracy=0.9)
    return run, "notebooks/04_evaluate.ipynb"


def write_executed(run: wb.Run, name: str, figures: list) -> None:
    """Write a shipped notebook with these figures, a table and printed lines as outputs."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    table = pd.DataFrame(np.arange(40).reshape(10, 4)).to_html()
    for number, cell in enumerate(code):
        cell.execution_count = number + 1
        cell.outputs = [nbformat.v4.new_output("stream", text="a printed line\n" * 20)]
        cell.outputs.append(
            nbformat.v4.new_output("display_data", {"text/html": table, "text/plain": "table"})
        )
    for cell, figure in zip(code[::-1], figures, strict=False):
        bundle = {
            "application/vnd.plotly.v1+json": json.loads(figure.to_json()),
            "text/html": figure.to_html(full_html=False, include_plotlyjs=False),
        }
        cell.outputs.append(nbformat.v4.new_output("display_data", bundle))
    nbformat.write(notebook, run.path / "executed.ipynb")


def copy_notebooks(notebooks: list[str]) -> list[str]:
    """Give each notebook a name of its own, since nbconvert writes all pages into one folder."""
    Path("copies").mkdir()
    return [shutil.copy(path, f"copies/{Path(path).parent.name}.ipynb") for path in notebooks]


def time_process(command: list[str]) -> float:
    """Return the seconds that a whole process takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def size_of(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).iterdir())


def open_report(path: Path) -> float:
    """Return the seconds from opening the page in Chromium until its first figure reacts."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_context(offline=True).new_page()
        start = time.perf_counter()
        page.goto(path.absolute().as_uri())
        while not page.evaluate("document.querySelector('.canvas .main-svg .bglayer') !== null"):
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        browser.close()
    return seconds


def print_results(times: dict[str, list[float]], sizes: dict[str, int], opening: list[float]) -> int:
    """Print medians, ratios and verdicts; return 1 if a target was missed."""
    built, peer = (statistics.median(times[name]) for name in ("report", "nbconvert"))
    opened = statistics.median(opening)
    megabytes = {name: size / 1e6 for name, size in sizes.items()}
    checks = [
        ("size, MB", megabytes["report"], MOST_MEGABYTES, megabytes["nbconvert"]),
        ("built, s", built, MOST_SECONDS, peer),
        ("first figure in Chromium, s", opened, MOST_OPENING, float("nan")),
    ]
    print(f"{'':<28}{'report':>9}{'target':>9}{'nbconvert':>11}{'ratio':>8}")
    for name, value, target, other in checks:
        verdict = "pass" if value <= target else "MISS"
        print(f"{name:<28}{value:>9.2f}{target:>9.2f}{other:>11.2f}{other / value:>8.2f}  {verdict}")
    return int(any(value > target for _, value, target, _ in checks))


if __name__ == "__main__":
    main()
