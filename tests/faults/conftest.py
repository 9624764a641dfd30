"""A project whose pipeline is disturbed."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbance import start_runner, write_project

from workbench.kernels import client


@pytest.fixture
def counting(project: Path) -> Path:
    """A project with the pipeline `small` of five steps."""
    write_project(project)
    return project


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose pipeline has run; tests disturb copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "workbench.toml").write_text('[kernels]\npreload = ["numpy"]\n')
    write_project(folder)
    assert start_runner(folder).wait(timeout=300) == 0
    return folder


@pytest.fixture
def done(finished_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own whose pipeline has run."""
    folder = tmp_path / "done"
    shutil.copytree(finished_project, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> int:
    """How many random kills there shall be: `--faults N`, else 20 where CI is set and 4 elsewhere."""
    return request.config.getoption("--faults") or (20 if os.environ.get("CI") else 4)


@pytest.fixture
def place(project: Path) -> client.Place:
    """Where the nursery of the project's kernels is reached."""
    return client.find_place([sys.executable], os.environ, project)


@pytest.fixture
def add_package(project: Path) -> Callable[..., dict[str, str]]:
    """Let the nursery import a package with this source first; returns the environment that has it."""

    def add(source: str, *others: str) -> dict[str, str]:
        preload = json.dumps(["added_package", *others])
        (project / "workbench.toml").write_text(f"[kernels]\npreload = {preload}\n")
        packages = project / "site-packages"
        packages.mkdir()
        (packages / "added_package.py").write_text(source)
        return os.environ | {"PYTHONPATH": str(packages)}

    return add
