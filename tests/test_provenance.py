"""What is recorded of the code that a run was made with."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from workbench.provenance import git_state


def write_notebook(path: Path, code: str, output: str = "") -> None:
    cell = nbformat.v4.new_code_cell(code, id="one")
    cell.outputs = [nbformat.v4.new_output("stream", text=output)] if output else []
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a committed module and a committed notebook in a folder with a blank in its name."""
    (tmp_path / "my notebooks").mkdir()
    write_notebook(tmp_path / "my notebooks/a.ipynb", "x = 1")
    (tmp_path / "module.py").write_text("y = 1\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "First"]):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_clean_tree_is_not_dirty(repository: Path) -> None:
    assert git_state(repository)["dirty"] is False


def test_outputs_that_jupyterlab_saved_are_no_change(repository: Path) -> None:
    write_notebook(repository / "my notebooks/a.ipynb", "x = 1", output="1")
    assert git_state(repository)["dirty"] is False
    assert git_state(repository / "my notebooks")["dirty"] is False


@pytest.mark.parametrize("name", ["my notebooks/a.ipynb", "module.py", "new.py"])
def test_changed_code_is_one(repository: Path, name: str) -> None:
    if name.endswith(".ipynb"):
        write_notebook(repository / name, "x = 2")
    else:
        (repository / name).write_text("y = 2\n")
    assert git_state(repository)["dirty"] is True


def test_no_repository_has_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


@pytest.mark.parametrize(
    ("setting", "code", "expected"),
    [
        ("1", "", True),
        ("0", "", False),
        ("1", "import tensorflow", True),
        ("0", "import tensorflow as tf; tf.config.experimental.enable_op_determinism()", True),
    ],
)
def test_determinism_is_known_however_tensorflow_was_told(setting: str, code: str, expected: bool) -> None:
    script = f"{code}\nfrom workbench.provenance import is_deterministic\nprint(is_deterministic())"
    environment = os.environ | {"TF_DETERMINISTIC_OPS": setting}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == str(expected)
