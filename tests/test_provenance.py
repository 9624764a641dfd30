"""What is recorded of the code that a run was made with."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import workbench as wb
from workbench.provenance import MOST_OF_DIFF, collect_diff, git_state


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


class TestDiff:
    def test_of_a_clean_tree_is_empty(self, repository: Path) -> None:
        assert collect_diff(repository) == ""

    def test_shows_what_changed_in_code_and_in_the_cells_of_notebooks(self, repository: Path) -> None:
        (repository / "module.py").write_text("y = 2\n", encoding="utf-8")
        write_notebook(repository / "my notebooks/a.ipynb", "x = 2", output="a private text")
        lines = collect_diff(repository).splitlines()
        assert {"-y = 1", "+y = 2", "+++ b/module.py", "-x = 1", "+x = 2"} <= set(lines)
        assert "+++ b/my notebooks/a.ipynb" in lines
        assert not any("private" in line for line in lines)

    def test_shows_no_tables_and_nothing_that_is_untracked(self, repository: Path) -> None:
        (repository / "people.csv").write_text("name\nAda\n")
        subprocess.run(["git", "add", "people.csv"], cwd=repository, check=True)
        (repository / "secret.py").write_text("token = 'Bob'\n")
        (repository / "module.py").unlink()
        (repository / "module.py").symlink_to("/etc/hostname")
        diff = collect_diff(repository)
        assert "# changed, and not shown: people.csv" in diff
        assert "# changed, and not shown: module.py" in diff
        assert "# untracked, and not shown: 1 files" in diff
        assert not any(word in diff for word in ("Ada", "Bob", "hostname", "secret"))

    def test_stays_inside_the_project(self, repository: Path) -> None:
        (repository / "module.py").write_text("y = 2\n")
        write_notebook(repository / "my notebooks/a.ipynb", "x = 2")
        diff = collect_diff(repository / "my notebooks")
        assert "+++ b/a.ipynb" in diff
        assert "module" not in diff

    def test_of_what_no_notebook_can_be_read_from_names_it(self, repository: Path) -> None:
        (repository / "my notebooks/a.ipynb").write_text("{}")
        assert collect_diff(repository) == "# changed, and no notebook that can be read: my notebooks/a.ipynb"

    def test_is_cut_where_it_is_long(self, repository: Path) -> None:
        (repository / "module.py").write_bytes(b"y = '\xff'\n" * 50_000)
        diff = collect_diff(repository)
        assert "# cut: " in diff[MOST_OF_DIFF:]
        assert len(diff) < MOST_OF_DIFF + 100

    def test_is_kept_by_a_run_as_it_was_when_it_started(
        self, repository: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(repository)
        (repository / ".git/info/exclude").write_text("runs\n")
        wb.start_run("runs/clean").finish()
        (repository / "module.py").write_text("y = 2\n")
        wb.start_run("runs/dirty").finish()
        (repository / "module.py").write_text("y = 3\n")
        assert not (repository / "runs/clean/changes.diff").exists()
        assert "+y = 2" in (repository / "runs/dirty/changes.diff").read_text()
