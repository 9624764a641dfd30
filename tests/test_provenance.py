"""What is recorded of the code that a run was made with."""

import subprocess
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
