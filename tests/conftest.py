"""A project of its own for every test that asks for one."""

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as the working directory."""
    (tmp_path / "workbench.toml").touch()
    for folder in ("notebooks", "pipelines", "data"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write_notebook(project: Path) -> Callable[..., Path]:
    """Write a notebook from its parameters cell and its further code cells."""

    def write(name: str, parameters: str, *cells: str) -> Path:
        notebook = nbformat.v4.new_notebook()
        tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        notebook.cells = [tagged, *map(nbformat.v4.new_code_cell, cells)]
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        path = project / "notebooks" / name
        nbformat.write(notebook, path)
        return path

    return write


@pytest.fixture
def write_pipeline(project: Path) -> Callable[..., Path]:
    """Write a pipeline file; JSON is YAML, so a plain value will do."""

    def write(value: object, name: str = "small") -> Path:
        path = project / "pipelines" / f"{name}.yaml"
        path.write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        return path

    return write
