"""What a pipeline costs beside its cells, against tools for the same.

    python benchmarks/pipelines.py [nothing] [scale] [parallel] [saving] [overhead] [--rounds N]

nothing   `workbench run` of five notebooks of which nothing changed, as a whole process: within 0.35 s, and
          at least 5 times faster than the fastest of `ploomber build`, `dvc repro` and `snakemake`
scale     `workbench run --dry-run` of 100, 1,000 and 10,000 finished steps, whose report is not built: 1,000
          under 2 s, and a further step costs what it did
parallel  eight independent notebooks that compute in one thread: at least 1.8 times faster than papermill,
          one after the other
saving    a notebook with 20 MB of outputs whose cell prints 20 lines a second: saving it takes at most 5 % of
          the time; papermill, which saves every 30 s, is timed beside it
overhead  what the runner adds to a step beside the kernel's start and the cells: under 50 ms, against
          nbclient

Without names all are measured. Both sides take turns; medians are printed beside the targets, and the script
exits with 1 if one is missed. The peers are installed into an environment of their own,
`benchmarks/.peers/`, the first time.
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
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
PACKAGES = ("dvc", "ipykernel", "ploomber", "snakemake")
WORKBENCH = Path(sys.executable).with_name("workbench")
SIZES = (100, 1_000, 10_000)
ITERATIONS = 40_000_000  # of a loop in Python: some seconds
PARALLEL = 8
SMALL = 6  # notebooks of the overhead
PARAMETERS = 'number: int = 0\nsource: str = ""\nrun_dir: str = ""'
# Finishes the steps of a project with the runner's own records, without ten thousand kernels.
FINISH = """
from workbench.pipelines import load_pipeline
from workbench.pipelines.planning import Plan
from workbench.runs import write_json
plan = Plan(load_pipeline("p"))
for step in plan.state.steps:
    step.folder.mkdir(parents=True)
    details = {"name": "n0", "status": "finished", "metrics": {"result": step.step.parameters["number"]}}
    write_json(step.folder / "run.json", details)
    (step.folder / "executed.ipynb").write_bytes(step.step.notebook.path.read_bytes())
    step.state = "done"
    plan.complete(step)
"""

Check = tuple[str, str, bool]  # what was measured, its target, whether it was met


def main() -> int:
    """Measure, print tables, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *MEASURES], help="what to measure; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="how often the sides take turns")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the peers were compiled when they were installed
    checks: list[Check] = []
    for part in arguments.parts or MEASURES:
        with tempfile.TemporaryDirectory() as temporary:
            checks += MEASURES[part](Path(temporary), arguments.rounds)
    for measured, target, met in checks:
        print(f"{'pass' if met else 'MISS'}  {target:<24}  {measured}")
    return 0 if all(met for *_, met in checks) else 1


def measure_nothing(folder: Path, rounds: int) -> list[Check]:
    """Time whole processes that find five notebooks unchanged."""
    sides = {
        "workbench run": prepare_workbench(folder / "workbench"),
        "ploomber build": prepare_ploomber(folder / "ploomber"),
        "dvc repro": prepare_dvc(folder / "dvc"),
        "snakemake": prepare_snakemake(folder / "snakemake"),
        "python -c 'import yaml, click'": lambda: call(folder, sys.executable, "-c", "import yaml, click"),
    }
    for name, run in sides.items():
        took = timed(run)
        print(f"{name}: {took:.1f} s the first time", flush=True)
        run()
    medians = take_turns(sides, rounds)
    own = medians.pop("workbench run")
    medians.pop("python -c 'import yaml, click'")
    peer = min(medians, key=lambda name: medians[name])
    ratio = medians[peer] / own
    return [
        (f"nothing to do, 5 steps: {own:.3f} s", "<= 0.35 s", own <= 0.35),
        (f"{ratio:.1f} x faster than {peer} ({medians[peer]:.3f} s)", ">= 5 x the fastest peer", ratio >= 5),
    ]


def measure_scale(folder: Path, rounds: int) -> list[Check]:
    """Time whole processes that find many finished steps unchanged."""
    sides = {}
    for size in SIZES:
        project = make_project(folder / str(size), ["pass"], {"steps": {"many": many_steps(size)}})
        call(project, sys.executable, "-c", FINISH)
        sides[f"{size:,} steps"] = lambda project=project: call(
            project, str(WORKBENCH), "run", "p", "--dry-run"
        )
        sides[f"{size:,} steps"]()
    medians = take_turns(sides, max(3, rounds))
    each = [medians[f"{size:,} steps"] for size in SIZES]
    slopes = [(each[i + 1] - each[i]) / (SIZES[i + 1] - SIZES[i]) * 1e3 for i in range(2)]
    growth = slopes[1] / slopes[0]
    return [
        (f"nothing to do, 1,000 steps: {each[1]:.2f} s", "< 2 s", each[1] < 2),
        (
            f"{slopes[0]:.2f} ms a step from 100 to 1,000, {slopes[1]:.2f} ms from 1,000 to 10,000",
            "linear: at most 1.5 x",
            growth <= 1.5,
        ),
    ]


def measure_parallel(folder: Path, rounds: int) -> list[Check]:
    """Run eight notebooks that compute, and time the whole process on both sides."""
    work = f"total = 0\nfor i in range({ITERATIONS}):\n    total += i\nprint(total + number)"
    steps = {"work": {"notebook": "notebooks/n0.ipynb", "matrix": {"number": list(range(PARALLEL))}}}
    project = make_project(folder, [work], {"threads": 1, "steps": steps}, run_dir=False)
    script = (
        "import papermill\nfor number in range(8):\n    papermill.execute_notebook('notebooks/n0.ipynb', "
        "f'out{number}.ipynb', {'number': number}, progress_bar=False)"
    )

    def own() -> None:
        shutil.rmtree(project / "runs", ignore_errors=True)
        call(project, sys.executable, "-c", "import workbench as wb; assert not wb.run_pipeline('p').failed")

    sides = {"workbench": own, "papermill": lambda: call(project, sys.executable, "-c", script)}
    medians = take_turns(sides, min(rounds, 3))
    ratio = medians["papermill"] / medians["workbench"]
    return [(f"eight notebooks: {ratio:.2f} x faster than papermill", ">= 1.8 x", ratio >= 1.8)]


def measure_saving(folder: Path, rounds: int) -> list[Check]:
    """Run a large notebook that prints for a while, and take what saving it takes from the runner."""
    steps = {"large": {"notebook": "notebooks/n0.ipynb"}}
    chatter = "import time\nfor line in range(300):\n    print(line, flush=True)\n    time.sleep(0.05)"
    project = make_project(folder, [f"print('x' * 20_000_000)\n{chatter}"], {"steps": steps}, run_dir=False)
    own = "import time\nimport workbench as wb\nfrom workbench.pipelines import saving\nsavers = []\n"
    own += "make = saving.NotebookSaver\n"
    own += "saving.NotebookSaver = lambda *given: savers.append(make(*given)) or savers[-1]\n"
    own += "state = wb.run_pipeline('p')\nassert not state.failed\n"
    own += "print(savers[0].spent, state['large'].seconds)"
    peer = "import time, papermill\nbegan = time.perf_counter()\n"
    peer += "papermill.execute_notebook('notebooks/n0.ipynb', 'out.ipynb', progress_bar=False)\n"
    peer += "print(time.perf_counter() - began)"
    shares, seconds, peers = [], [], []
    for _ in range(min(rounds, 3)):
        shutil.rmtree(project / "runs", ignore_errors=True)
        spent, took = map(float, call(project, sys.executable, "-c", own).split())
        shares.append(spent / took)
        seconds.append(took)
        peers.append(float(call(project, sys.executable, "-c", peer).split()[-1]))
        print(
            json.dumps({"share": round(shares[-1], 4), "seconds": took, "papermill": peers[-1]}), flush=True
        )
    share, took, other = map(statistics.median, (shares, seconds, peers))
    return [(f"saving: {share:.1%} of {took:.1f} s; papermill {other:.1f} s", "<= 5 %", share <= 0.05)]


def measure_overhead(folder: Path, rounds: int) -> list[Check]:
    """Run small notebooks one after the other, and compare with nbclient, which starts the same kernels.

    A first notebook on both sides is not counted: it bears what is done once, such as imports.
    """
    steps = {f"s{i}": {"notebook": f"notebooks/n{i}.ipynb"} for i in range(SMALL + 1)}
    project = make_project(folder, [f"print({i})" for i in range(SMALL + 1)], {"steps": steps}, run_dir=False)
    own = "import time\nimport workbench as wb\n"
    own += "assert not wb.run_pipeline('p', until=['s0'], jobs=1, cold=True).failed\n"
    own += "began = time.perf_counter()\nassert not wb.run_pipeline('p', jobs=1, cold=True).failed\n"
    own += "print(time.perf_counter() - began)"
    peer = "import time\nimport nbclient, nbformat\n"
    peer += f"for i in range({SMALL + 1}):\n    if i == 1:\n        began = time.perf_counter()\n"
    peer += "    notebook = nbformat.read(f'notebooks/n{i}.ipynb', 4)\n"
    peer += "    nbclient.NotebookClient(notebook, resources={'metadata': {'path': 'notebooks'}}).execute()\n"
    peer += "print(time.perf_counter() - began)"
    times: dict[str, list[float]] = {"workbench": [], "nbclient": []}
    for _ in range(max(3, rounds)):
        for name, script in (("nbclient", peer), ("workbench", own)):
            shutil.rmtree(project / "runs", ignore_errors=True)
            said = call(project, sys.executable, "-c", script, env=os.environ | {"OMP_NUM_THREADS": "2"})
            times[name].append(float(said.split()[-1]) / SMALL)
        print(json.dumps({name: round(values[-1], 3) for name, values in times.items()}), flush=True)
    added = statistics.median(
        own - peer for own, peer in zip(times["workbench"], times["nbclient"], strict=True)
    )
    return [
        (
            f"{added * 1e3:.0f} ms a step beyond nbclient's {statistics.median(times['nbclient']):.2f} s",
            "< 50 ms",
            added < 0.05,
        )
    ]


MEASURES: dict[str, Callable[[Path, int], list[Check]]] = {
    "nothing": measure_nothing,
    "scale": measure_scale,
    "parallel": measure_parallel,
    "saving": measure_saving,
    "overhead": measure_overhead,
}


def prepare_workbench(project: Path) -> Callable[[], None]:
    """Make five notebooks in a row for workbench; return what runs them."""
    steps: dict[str, dict[str, object]] = {"s0": {"notebook": "notebooks/n0.ipynb"}}
    for i in range(1, 5):
        steps[f"s{i}"] = {"notebook": f"notebooks/n{i}.ipynb", "parameters": {"source": f"${{s{i - 1}}}"}}
    make_project(project, [five(i) for i in range(5)], {"steps": steps}, run_dir=False)
    return lambda: run_workbench(project)


def prepare_ploomber(project: Path) -> Callable[[], None]:
    """Make the same for ploomber."""
    tasks = []
    for i in range(5):
        before = f"['s{i - 1}']" if i else "None"
        parameters = f"upstream = {before}\nproduct = None"
        write_notebook(project / f"n{i}.ipynb", parameters, five(i))
        tasks.append({"source": f"n{i}.ipynb", "name": f"s{i}", "product": f"out/n{i}.ipynb"})
    (project / "pipeline.yaml").write_text(json.dumps({"tasks": tasks}))
    return lambda: call(project, peer("ploomber"), "build")


def prepare_dvc(project: Path) -> Callable[[], None]:
    """Make the same for dvc."""
    project.mkdir(parents=True)
    stages = {}
    for i in range(5):
        write_notebook(project / f"n{i}.ipynb", PARAMETERS, five(i))
        deps = [f"n{i}.ipynb", *([f"out{i - 1}.ipynb"] if i else [])]
        stages[f"s{i}"] = {"cmd": papermill(i), "deps": deps, "outs": [f"out{i}.ipynb"]}
    (project / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    call(project, peer("dvc"), "init", "--no-scm", "--quiet")
    call(project, peer("dvc"), "config", "core.analytics", "false")
    return lambda: call(project, peer("dvc"), "repro")


def prepare_snakemake(project: Path) -> Callable[[], None]:
    """Make the same for snakemake."""
    rules = ["rule all:\n    input: 'out4.ipynb'\n"]
    for i in range(5):
        write_notebook(project / f"n{i}.ipynb", PARAMETERS, five(i))
        before = f", 'out{i - 1}.ipynb'" if i else ""
        rules.append(
            f"rule s{i}:\n    input: 'n{i}.ipynb'{before}\n    output: 'out{i}.ipynb'\n"
            f"    shell: {papermill(i)!r}\n"
        )
    (project / "Snakefile").write_text("\n".join(rules))
    return lambda: call(project, peer("snakemake"), "--cores", "1", "--quiet", "all")


def five(number: int) -> str:
    """Return the code of one of the five notebooks."""
    return f"import math\nprint(math.factorial({number}))"


def papermill(number: int) -> str:
    """Return the command that runs one of the five notebooks."""
    return f"{sys.executable} -m papermill n{number}.ipynb out{number}.ipynb --no-progress-bar"


def peer(name: str) -> str:
    """Return a peer's command, installed the first time."""
    command = PEERS / "bin" / name
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        pip = [PEERS / "bin/python", "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(pip, check=True)
    return str(command)


def make_project(
    project: Path, cells: Sequence[str], pipeline: dict[str, object], run_dir: bool = True
) -> Path:
    """Write notebooks and a pipeline `p`."""
    for place in ("notebooks", "pipelines"):
        (project / place).mkdir(parents=True)
    (project / "workbench.toml").touch()
    parameters = PARAMETERS if run_dir else PARAMETERS.replace('\nrun_dir: str = ""', "")
    for i, cell in enumerate(cells):
        write_notebook(project / f"notebooks/n{i}.ipynb", parameters, cell)
    (project / "pipelines/p.yaml").write_text(json.dumps(pipeline))
    return project


def many_steps(size: int) -> dict[str, object]:
    """Return a step with a matrix of `size` values."""
    return {"notebook": "notebooks/n0.ipynb", "matrix": {"number": list(range(size))}}


def write_notebook(path: Path, parameters: str, cell: str) -> None:
    """Write a notebook of two cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[tagged, nbformat.v4.new_code_cell(cell)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def run_workbench(project: Path) -> None:
    """Run the pipeline of a project."""
    call(project, str(WORKBENCH), "run", "p")


def call(folder: Path, *command: str, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed, and return what it said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def take_turns(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Let the sides take turns; return the median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            times[name].append(timed(run))
        print(json.dumps({name: round(values[-1], 3) for name, values in times.items()}), flush=True)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    sys.exit(main())
