"""What a project says about warm kernels: `[tool.workbench.kernels]`, or `[kernels]` in workbench.toml."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.runs import project_root


@dataclass(frozen=True)
class Settings:
    """How the nursery of a project behaves."""

    preload: tuple[str, ...] | None = None  # modules to import beforehand; None: see preload.py
    idle_children: int = 1  # forked in advance
    idle_minutes: float = 30  # without a kernel, after which the nursery ends


def read_settings(folder: Path) -> Settings:
    """Read the settings of the project that `folder` lies in.

    Raises:
        WorkbenchError: A setting is unknown or has the wrong type.
    """
    root = project_root(folder)
    for file, keys in ((root / "workbench.toml", ()), (root / "pyproject.toml", ("tool", "workbench"))):
        table = _read_table(file, keys)
        if table is not None:
            return _check(table, file)
    return Settings()


def _read_table(file: Path, keys: tuple[str, ...]) -> Any:
    try:
        table: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"{file} cannot be read: {error}\nMend it, or remove it.") from error
    for key in (*keys, "kernels"):
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _check(table: Any, file: Path) -> Settings:
    known = [field.name for field in fields(Settings)]
    for name in table if isinstance(table, dict) else [str(table)]:
        if name not in known:
            raise WorkbenchError(
                f"Unknown setting {name!r} for kernels in {file}.\nKnown are: {', '.join(known)}."
            )
    preload = table.get("preload", [])
    if not isinstance(preload, list) or not all(isinstance(name, str) for name in preload):
        raise WorkbenchError(f"`preload` in {file} must be a list of module names.")
    settings = Settings(**table | ({"preload": tuple(preload)} if "preload" in table else {}))
    if type(settings.idle_children) is not int or settings.idle_children < 0:
        raise WorkbenchError(f"`idle_children` in {file} must be a whole number from 0 up.")
    if type(settings.idle_minutes) not in (int, float) or settings.idle_minutes <= 0:
        raise WorkbenchError(f"`idle_minutes` in {file} must be a number above 0.")
    return settings
