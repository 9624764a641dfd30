"""The files that install the project agree with one another and with the documents."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from workbench.cli import commands

ROOT = Path(__file__).parents[1]
CHOSEN_PACKAGES = (
    "jupyterlab",
    "ipywidgets",
    "keras",
    "tensorflow",
    "pandas",
    "plotly",
    "papermill",
    "nbval",
)
CHOSEN_PLACES = ("notebooks", "workbench", "tests", "data", "reports", "README.md", "environment.yml")


@pytest.fixture(scope="module")
def metadata() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def locked() -> list[Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_lock_holds_exact_versions_and_no_address(locked: list[Requirement]) -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--" not in text
    assert all(re.fullmatch(r"==[\w.!+]+", str(item.specifier)) for item in locked)


def test_lock_satisfies_every_dependency(metadata: dict, locked: list[Requirement]) -> None:
    wanted = metadata["dependencies"] + metadata["optional-dependencies"]["dev"]
    for requirement in map(Requirement, wanted):
        versions = [str(item.specifier)[2:] for item in locked if item.name == requirement.name]
        assert versions, f"{requirement.name} is not locked"
        assert all(requirement.specifier.contains(version) for version in versions), requirement.name


def test_owners_packages_and_places_are_there(metadata: dict) -> None:
    names = {Requirement(item).name for item in metadata["dependencies"]}
    assert set(CHOSEN_PACKAGES) <= names
    assert all((ROOT / place).exists() for place in CHOSEN_PLACES)


def test_environment_takes_the_same_pythons_and_the_lock(metadata: dict) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, pip = environment["dependencies"]
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(metadata["requires-python"])
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_readme_names_every_command_and_make_target() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in commands.commands:
        assert f"workbench {name}" in readme, f"workbench {name}"
    for target in re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M):
        assert f"make {target}" in readme, f"make {target}"


def test_readme_names_only_commands_and_options_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    for line in re.findall(r"^\s*workbench .*$", readme, re.M):
        words = line.partition("#")[0].split()
        command = commands.commands[words[1]]
        known = {option for item in command.params for option in item.opts}
        given = {word.partition("=")[0] for word in words[2:] if word.startswith("-")}
        assert given <= known | {"--debug"}, line


def test_readme_names_only_files_that_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    others = ("runs/", "data/cache/", "reports/quickstart.html", ".venv", "train/", "val/", "test/")
    named = re.findall(r"`([\w./-]+/[\w./-]*|\w+\.(?:md|yml|yaml|ipynb))`", readme)
    assert named
    for name in named:
        assert name.startswith(others) or (ROOT / name).exists(), name


def test_readme_table_lists_every_notebook_and_pipeline() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "pipelines").glob("*.yaml")]:
        assert path.stem in readme, path.name
