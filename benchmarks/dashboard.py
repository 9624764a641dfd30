"""What the live panel costs a training, beside livelossplot and a plotly FigureWidget.

    python benchmarks/dashboard.py [--rounds N]

A JupyterLab of its own runs real trainings in a real kernel, and Chromium shows them. The two sides of a
comparison take turns in one kernel; medians are printed beside the targets: our callbacks take less than
30 microseconds a batch without a probe, at most 1 % of `fit` also with one, and a hundredth of what either
peer takes for an update; an update is at most 2 kB, at most 10 come in a second; 100,000 logged steps are
drawn without a task of over 50 ms; all scripts of the panel have at most 60 kB; a click on Stop reaches the
training within 0.5 s.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/browser"))

from dashboard import page, report  # noqa: E402  (the folder beside this file)
from lab_driver import Lab, Notebook, find_chromium, open_browser, start_lab  # noqa: E402

BATCHES = 1407  # of an epoch, as CIFAR-10 has of 32 images
PAIR = (2, 200)  # epochs and batches where the two sides take turns
POINTS = (500, 5000)  # of history that the views beside one another show; the last one is judged, a third
# of what they would draw at the end of the article's training, 10 epochs of CIFAR-10 batch by batch
STOPS = 9
METRICS = ("loss", "accuracy", "top_2", "top_3", "top_5")
LONG = (100, 1000)  # epochs and steps of the long history
MORE_STEPS = 12  # logged while somebody looks at it
SETTLING = 2.0  # seconds until JupyterLab has come to rest
PATIENCE = 900.0  # seconds that a training may take on a slow machine


def main() -> int:
    """Measure, print a table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often the two sides take turns")
    rounds = parser.parse_args().rounds
    if not find_chromium():
        sys.exit("Nothing was measured: this needs Chromium, such as `apt-get install chromium` brings.")
    with (
        tempfile.TemporaryDirectory() as temporary,
        open_browser() as browser,
        start_lab(browser, Path(temporary)) as lab,
    ):
        (lab.project / "data").mkdir()
        shutil.copy(ROOT / "data/catalog.yaml", lab.project / "data")
        os.chdir(lab.project)  # the root of the runs that this process writes
        figures = measure_fits(lab, rounds) | {
            "updates": measure_updates(lab),
            "clicks": measure_clicks(lab),
            "drawing": measure_drawing(lab),
            "scripts": measure_scripts(),
        }
        os.chdir(ROOT)
    return report.print_checks(figures)


def measure_fits(lab: Lab, rounds: int) -> dict[str, Any]:
    """Train with the panel open, and with and without our callbacks in turn; print all and return costs."""
    costs, pairs = lab.project / "costs.json", lab.project / "pairs.json"
    notebook = open_notebook(
        lab,
        "fits",
        f"kernel.measure_costs({str(costs)!r}, {BATCHES})",
        f"kernel.compare_fits({str(pairs)!r}, {rounds}, {PAIR[0]}, {PAIR[1]})",
    )
    traffic = page.Traffic(notebook.page)
    notebook.run_all()
    figures = {"costs": page.read_answer(costs, notebook, PATIENCE)}
    report.print_costs(figures["costs"])
    report.print_pairs(page.read_answer(pairs, notebook, PATIENCE))
    figures["training"] = traffic.summarize(history=1)  # every answer but the first ones
    print(f"updates while these trained: {figures['training']}", flush=True)
    notebook.shut_down()
    return figures


def measure_updates(lab: Lab) -> dict[int, dict[str, list[float]]]:
    """Return the seconds of the updates of each view, by how much history it shows."""
    answers = {points: lab.project / f"updates-{points}.json" for points in POINTS}
    cells = []
    for points, answer in answers.items():
        cells += [f"views = kernel.Views({points})", "views.show()", f"views.train({str(answer)!r})"]
    notebook = open_notebook(lab, "updates", *cells)
    notebook.run_all()
    figures = {points: page.read_answer(answer, notebook, PATIENCE) for points, answer in answers.items()}
    report.print_updates(figures)
    notebook.shut_down()
    return figures


def measure_clicks(lab: Lab) -> dict[str, list[float]]:
    """Return the seconds from real clicks on buttons until a training that blocks the kernel obeyed."""
    answer = lab.project / "clicks.json"
    notebook = open_notebook(lab, "clicks", f"kernel.train_until_stopped({str(answer)!r}, {STOPS})")
    notebook.page.evaluate(page.NOTE_CLICKS)
    notebook.run_all()
    figures: dict[str, list[float]] = {"Pause": [], "Resume": [], "Stop now": []}
    for number in range(STOPS):
        run = lab.project / f"runs/stop-{number}"
        page.wait_for(lambda run=run: page.logged(run, "epoch"), notebook, "the first epoch")
        for count, (label, seconds) in enumerate(figures.items()):
            page.pause(notebook.page, random.uniform(0.3, 1.0))  # the click falls anywhere between two looks
            seconds.append(page.click(notebook, run, label, count))
    page.read_answer(answer, notebook, PATIENCE)
    notebook.shut_down()
    return figures


def measure_drawing(lab: Lab, rounds: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Open an empty run and one of 100,000 logged steps in turn; return what the browser did."""
    figures: dict[str, list[dict[str, Any]]] = {"empty": [], "long": []}
    for number in range(rounds):
        for kind, size in (("empty", (0, LONG[1])), ("long", LONG)):
            figures[kind].append(open_history(lab, f"{kind}-{number}", *size))
            report.print_drawing(kind, figures[kind][-1])
    return figures


def open_history(lab: Lab, name: str, epochs: int, steps: int) -> dict[str, Any]:
    """Show a run that has such a history and goes on in this process."""
    run, history = page.write_history(lab.project / "runs" / name, epochs, steps, METRICS)
    notebook = open_notebook(lab, name, f"wb.watch({str(run.path)!r})")
    page.pause(notebook.page, SETTLING)
    traffic = page.Traffic(notebook.page)
    tasks = page.Tasks(notebook.page)
    notebook.run_all()
    page.wait_for(lambda: traffic.caught_up(history), notebook, "the whole history", PATIENCE)
    panel = notebook.page.locator(".wb-panel")
    panel.get_by_role("button", name="By step").click()
    for step in range(1, MORE_STEPS + 1):
        value = 0.5 + step / 1000
        page.log_step(run, epochs, step, dict.fromkeys(METRICS, value))
        if step > 2:  # a single point makes no curve
            page.wait_for(
                lambda value=value: panel.get_by_text(str(value)).count() >= len(METRICS),
                notebook,
                f"step {step} in all charts",
            )
    figures = {
        "history": history,
        "load": traffic.loading(history),
        "tasks": tasks.read(traffic.opened),
        "traffic": traffic.summarize(history),
        "lasting": max(traffic.lasting, default=0),
    }
    run.finish()
    notebook.shut_down()
    return figures


def measure_scripts() -> int:
    """Return the bytes of all scripts that the panel may load."""
    folder = ROOT / "workbench/dashboards"
    scripts = [*(folder / "static").glob("*.js"), folder / "labextension/static/remoteEntry.js"]
    return sum(script.stat().st_size for script in scripts if script.is_file())


def open_notebook(lab: Lab, name: str, *cells: str) -> Notebook:
    """Open a notebook of these cells, after one that imports what they need."""
    imports = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\nimport workbench as wb"
    if any("kernel." in cell for cell in cells):
        imports += "\nfrom dashboard import kernel"
    notebook = lab.open(lab.write(name, imports, *cells))
    notebook.wait_for_kernel()
    return notebook


if __name__ == "__main__":
    sys.exit(main())
