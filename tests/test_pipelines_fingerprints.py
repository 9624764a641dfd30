"""What makes a step stale, and what does not: code, imports, packages, data, results of earlier steps."""

import json
import os
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

import workbench as wb
from workbench.pipelines import load_pipeline, plan_pipeline, run_pipeline
from workbench.pipelines.contents import hash_content
from workbench.pipelines.environment import Environment
from workbench.pipelines.imports import PACKAGE, ImportGraph, read_references
from workbench.pipelines.memory import Memory
from workbench.pipelines.planning import Plan
from workbench.pipelines.source import parse_code

Writer = Callable[..., Path]
PARAMETERS = 'amount: int = 1\nsource: str = ""\nrun_dir: str = ""'
RECORD = """
import workbench as wb
with wb.start_run(run_dir, parameters=dict(amount=amount)) as run:
    (run.artifacts / "result.json").write_text(f'{{"result": {min(amount, 10)}}}')
"""


def reach(project: Path, code: str) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
    """Return what the code of a notebook reaches: modules, packages, imports that cannot be followed."""
    memory = Memory(project / "memory.json")
    graph = ImportGraph(memory, Environment(memory), project)
    tree, _ = parse_code(textwrap.dedent(code))
    found = read_references(tree)
    reached = graph.follow(project / "notebooks", found["names"])
    return reached.modules, reached.packages, tuple(found["dynamic"]) + reached.dynamic


def write_module(project: Path, name: str, code: str) -> Path:
    path = project / "notebooks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))
    return path


def test_imports_are_followed_through_modules_packages_and_relative_names(project: Path) -> None:
    write_module(project, "first.py", "import second\n")
    write_module(project, "second.py", "def late():\n    from tools.deep import thing\n")
    write_module(project, "tools/__init__.py", "")
    write_module(project, "tools/deep.py", "from . import near\nfrom .near import value\n")
    write_module(project, "tools/near.py", "import numpy\nvalue = 1\n")
    write_module(project, "tools/unused.py", "import pandas\n")
    modules, packages, dynamic = reach(project, "import first, json, os.path")
    names = ("first", "second", "tools/__init__", "tools/deep", "tools/near")
    assert modules.keys() == {f"notebooks/{name}.py" for name in names}
    assert packages.keys() == {"numpy"}
    assert dynamic == ()


def test_name_of_workbench_counts_as_the_module_that_defines_it(project: Path) -> None:
    modules, packages, _ = reach(project, "import workbench as wb\nwb.WorkbenchError\nwb.live(1)")
    assert modules.keys() == {"workbench/__init__.py", "workbench/errors.py"}  # live only looks on
    assert "tensorflow" not in packages
    assert reach(project, "from workbench import WorkbenchError")[0] == modules
    through = reach(project, "import workbench as wb\nwb.evaluation.find_worst_mistakes")[0]
    assert "workbench/evaluation/selection.py" in through
    assert "workbench/evaluation/baselines.py" not in through


def test_workbench_handed_on_whole_counts_as_all_that_it_offers(project: Path) -> None:
    modules, packages, _ = reach(project, "import workbench as wb\ngetattr(wb, 'start' + '_run')")
    assert {"workbench/runs.py", "workbench/models/cnn.py", "workbench/tables.py"} <= modules.keys()
    assert "keras" in packages
    assert not any(name.startswith(("workbench/dashboards", "workbench/reports")) for name in modules)


def test_modules_that_look_on_exist() -> None:
    for name in ("dashboards", "reports", "batch.py", "cli.py", "__main__.py"):
        assert (PACKAGE / name).exists()


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("import importlib\nimportlib.import_module(name)", "importlib.import_module(name)"),
        ("__import__(name)", "__import__(name)"),
        ("exec(open('other.py').read())", "exec(open('other.py').read())"),
    ],
)
def test_import_that_cannot_be_followed_is_named(project: Path, code: str, named: str) -> None:
    assert reach(project, code)[2] == (named,)


def test_import_by_a_literal_name_is_followed_and_one_for_type_checkers_is_not(project: Path) -> None:
    write_module(project, "helper.py", "")
    code = """
        import importlib
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import pandas
        importlib.import_module("helper")
        """
    assert reach(project, code) == (
        {"notebooks/helper.py": reach(project, "import helper")[0]["notebooks/helper.py"]},
        {},
        (),
    )


def test_packages_go_by_their_own_names_and_versions(project: Path) -> None:
    from importlib.metadata import version

    _, packages, _ = reach(project, "import sklearn, PIL, no_such_package")
    assert packages == {
        "scikit-learn": version("scikit-learn"),
        "pillow": version("pillow"),
        "no_such_package": "not installed",
    }


@pytest.fixture
def helped(project: Path, write_notebook: Writer, write_pipeline: Writer) -> Path:
    """Two steps that never ran, of which one uses a helper; returns the helper."""
    write_notebook("with.ipynb", PARAMETERS, "import helper")
    write_notebook("without.ipynb", PARAMETERS, "x = 1  # why")
    steps = {name: {"notebook": f"notebooks/{name}.ipynb"} for name in ("with", "without")}
    write_pipeline({"steps": steps})
    return write_module(project, "helper.py", "value = 1\n")


def fingerprints() -> dict[str, str]:
    return {step.label: step.fingerprint for step in plan_pipeline(load_pipeline("small")).steps}


def test_edited_helper_concerns_the_notebook_that_uses_it_and_no_other(helped: Path) -> None:
    before = fingerprints()
    helped.write_text("# a comment\nvalue  =  1\n")
    assert fingerprints() == before
    helped.write_text("value = 2\n")
    assert [name for name, mark in fingerprints().items() if mark != before[name]] == ["with"]


def test_markdown_comments_outputs_and_ids_do_not_count(helped: Path, project: Path) -> None:
    before = fingerprints()
    path = project / "notebooks/without.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = notebook.cells[1]
    code.source, code.id, code.execution_count = "# another\nx=1", "other-id", 7
    code.outputs = [nbformat.v4.new_output("stream", text="printed")]
    notebook.cells += [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("# nothing")]
    nbformat.write(notebook, path)
    assert fingerprints() == before
    code.source = "x = 2"
    nbformat.write(notebook, path)
    assert [name for name, mark in fingerprints().items() if mark != before[name]] == ["without"]


@pytest.mark.parametrize(
    "change", [{"threads": 1}, {"deterministic": False}, {"env": {"A": 1}}, {"parameters": {"amount": 2}}]
)
def test_threads_environment_and_parameters_count_and_timeout_and_retries_do_not(
    helped: Path, write_pipeline: Writer, change: dict[str, object]
) -> None:
    before = fingerprints()["with"]
    write_pipeline({"steps": {"with": {"notebook": "notebooks/with.ipynb", "timeout": 60, "retries": 3}}})
    assert fingerprints()["with"] == before
    write_pipeline({"steps": {"with": {"notebook": "notebooks/with.ipynb", **change}}})
    assert fingerprints()["with"] != before


def test_backend_counts(helped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.pipelines.fingerprints.keras_backend", lambda: "tensorflow")
    before = fingerprints()
    monkeypatch.setattr("workbench.pipelines.fingerprints.keras_backend", lambda: "jax")
    assert all(mark != before[name] for name, mark in fingerprints().items())


def test_content_of_a_dataset_counts(write_notebook: Writer, write_pipeline: Writer, project: Path) -> None:
    write_notebook("n.ipynb", 'dataset: str = ""', "pass")
    (project / "texts.csv").write_text("text,label\na,b\n")
    write_pipeline(
        {"steps": {"a": {"notebook": "notebooks/n.ipynb", "parameters": {"dataset": "csv:texts.csv"}}}}
    )
    before = fingerprints()
    os.utime(project / "texts.csv", (1, 1))
    assert fingerprints() == before
    (project / "texts.csv").write_text("text,label\na,c\n")
    assert fingerprints() != before


def test_content_of_a_run_folder_that_a_parameter_names_counts(
    write_notebook: Writer, write_pipeline: Writer
) -> None:
    write_notebook("n.ipynb", PARAMETERS, "pass")
    parameters = {"source": "runs/scratch/mine"}
    write_pipeline({"steps": {"a": {"notebook": "notebooks/n.ipynb", "parameters": parameters}}})
    run = wb.start_run("runs/scratch/mine")
    table = run.artifacts / "t.csv"
    table.write_text("a\n1\n")
    run.finish()
    before = fingerprints()
    os.utime(run.path / "run.json", (1, 1))
    assert fingerprints() == before
    table.write_text("a\n2\n")
    os.utime(run.path / "run.json", (2, 2))
    assert fingerprints() != before


def test_memory_reads_a_file_once_and_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("1")
    os.utime(file, (1, 1))
    calls: list[str] = []

    def read() -> str:
        calls.append(file.read_text())
        return calls[-1]

    memory = Memory(tmp_path / "memory.json")
    memory.recall("text", file, read)
    memory.recall("text", file, read)
    assert calls == ["1", "1"]  # as long as it may have changed within the tick in which it was read
    settled = Memory(tmp_path / "memory.json")
    time.sleep(2.1)
    assert [settled.recall("text", file, read) for _ in range(3)] == ["1"] * 3
    settled.save()
    assert Memory(tmp_path / "memory.json").recall("text", file, read) == "1"
    assert len(calls) == 3
    file.write_text("2")
    assert Memory(tmp_path / "memory.json").recall("text", file, read) == "2"


def test_logical_content_of_weights_tables_and_figures(tmp_path: Path) -> None:
    import keras
    import numpy as np
    import pandas as pd

    def digest(name: str, write: Callable[[Path], None]) -> str:
        path = tmp_path / name
        write(path)
        return hash_content(path, {})

    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
    first = digest("a.keras", model.save)
    time.sleep(1.1)  # the file holds the date, to the second
    assert digest("b.keras", model.save) == first
    assert (tmp_path / "a.keras").read_bytes() != (tmp_path / "b.keras").read_bytes()
    model.layers[0].bias.assign([0.0, 0.0, 1.0])
    assert digest("c.keras", model.save) != first
    frame = pd.DataFrame({"x": [1.0, 2.0], "texts": [["a"], ["b", "c"]]})
    parquet = digest("a.parquet", frame.to_parquet)
    assert digest("b.parquet", lambda path: frame.to_parquet(path, compression="gzip")) == parquet
    assert digest("c.parquet", lambda path: frame[::-1].to_parquet(path)) != parquet
    figure = digest("a.json", lambda path: path.write_text('{"a": 1, "b": [1, 2]}'))
    assert digest("b.json", lambda path: path.write_text('{"b":[1,2],"a":1}')) == figure
    assert digest("c.json", lambda path: path.write_text('{"b":[2,1],"a":1}')) != figure
    arrays = digest("a.npz", lambda path: np.savez(path, x=np.arange(3)))
    assert digest("b.npz", lambda path: np.savez_compressed(path, x=np.arange(4))) != arrays


def test_unchanged_result_of_a_step_leaves_the_steps_after_it_as_they_are(
    write_notebook: Writer, write_pipeline: Writer
) -> None:
    write_notebook("work.ipynb", PARAMETERS, RECORD)
    steps = {
        "prepare": {"notebook": "notebooks/work.ipynb", "parameters": {"amount": 20}},
        "train": {"notebook": "notebooks/work.ipynb", "parameters": {"source": "${prepare}"}},
    }
    write_pipeline({"steps": steps})
    first = run_pipeline("small")
    steps["prepare"]["parameters"]["amount"] = 30
    write_pipeline({"steps": steps})
    planned = plan_pipeline(load_pipeline("small"))
    assert [step.describe("stale") for step in planned.steps] == [
        "stale: parameter amount 20 → 30",
        "stale if prepare has a new result",
    ]
    second = run_pipeline("small")
    assert [step.state for step in second.steps] == ["done", "fresh"]
    assert second["train"].folder == first["train"].folder
    steps["prepare"]["parameters"]["amount"] = 5
    write_pipeline({"steps": steps})
    assert [step.state for step in run_pipeline("small").steps] == ["done", "done"]
    assert json.loads((first["train"].folder / "step.json").read_text())["state"] == "done"


def test_status_names_imports_that_cannot_be_followed(write_notebook: Writer, write_pipeline: Writer) -> None:
    write_notebook(
        "n.ipynb", PARAMETERS, "%run other.py", "import importlib\nimportlib.import_module(source)"
    )
    write_pipeline({"steps": {"a": {"notebook": "notebooks/n.ipynb"}}})
    assert Plan(load_pipeline("small")).dynamic_imports() == {
        "importlib.import_module(source) of n.ipynb": ["a"],
        "%run other.py of n.ipynb": ["a"],
    }
