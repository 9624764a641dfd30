"""The Markdown file beside a pipeline: who wrote the report, how it looks, and its text.

Settings stand at its top between two lines `---`, as YAML; reports/README.md lists them.
"""

import difflib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import WorkbenchError
from workbench.runs import resolve_path, show_path

STYLES = ("author-year", "numeric")


@dataclass(frozen=True)
class Settings:
    """What a researcher says about a report; everything has a default."""

    title: str = ""
    authors: tuple[str, ...] = ()
    abstract: str = ""
    lang: str = "en"  # BCP 47, such as zh or ar
    template: str = "paper"  # paper, brief, or a Jinja file beside this one
    bibliography: str = ""  # a BibTeX file, beside this one
    citations: str = "author-year"  # or numeric
    share_samples: bool = False  # show images and texts of folder: and csv: data
    diff: bool = False  # show what was not committed when the runs were made
    text: str = ""  # Markdown
    file: Path | None = None  # the Markdown file; others are looked for beside it

    @property
    def folder(self) -> Path | None:
        """Where the file lies."""
        return self.file.parent if self.file else None

    def beside(self, name: str) -> Path | None:
        """Return a file that a setting names; None where it names none."""
        return self.folder / name if self.folder and name else None

    @property
    def right_to_left(self) -> bool:
        """Whether the language is written from right to left."""
        return self.lang.partition("-")[0].lower() in ("ar", "fa", "he", "ur", "yi", "ps", "sd", "ug", "dv")


def read_settings(file: Path | None) -> Settings:
    """Read the settings and the text of a report; defaults where there is no file.

    Raises:
        WorkbenchError: A setting is unknown or of the wrong type.
    """
    if file is None or not file.is_file():
        return Settings()
    head, text = _split(file.read_text(encoding="utf-8"))
    try:
        values = yaml.safe_load(head) or {}
    except yaml.YAMLError as error:
        raise WorkbenchError(f"The head of {show_path(file)} is not valid YAML.\n{error}") from error
    if not isinstance(values, dict):
        raise WorkbenchError(
            f"The head of {show_path(file)} is not a mapping.\nWrite lines such as `lang: en` between `---`."
        )
    known = {field.name: field for field in fields(Settings) if field.name not in ("text", "file")}
    for name, value in values.items():
        _check(file, str(name), value, known)
    if "authors" in values:
        values["authors"] = tuple(map(str, values["authors"]))
    return Settings(**values, text=text, file=file)


def find_text(pipelines: list[str], given: str | None) -> Path | None:
    """Return the Markdown file of a report: the one that was given, else the one beside the only pipeline.

    Raises:
        WorkbenchError: The given one is not there.
    """
    if given is not None:
        path = resolve_path(given)
        if not path.is_file():
            raise WorkbenchError(f"There is no text {show_path(path)}.\nGive a Markdown file, or none.")
        return path
    if len(pipelines) != 1:
        return None
    return resolve_path(pipelines[0]).with_suffix(".md")


def _split(text: str) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].strip() != "---":
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.strip() == "---":
            return "".join(lines[1:number]), "".join(lines[number + 1 :])
    return "", text


def _check(file: Path, name: str, value: Any, known: dict[str, Any]) -> None:
    where = show_path(file)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Known settings: {', '.join(known)}."
        raise WorkbenchError(f"Unknown setting {name!r} in {where}.\n{hint}")
    wanted = list if name == "authors" else type(known[name].default)
    if not isinstance(value, wanted):
        raise WorkbenchError(
            f"The setting {name} of {where} is {value!r}, a {type(value).__name__}.\n"
            f"Give a {wanted.__name__}, as reports/README.md shows."
        )
    if name == "citations" and value not in STYLES:
        raise WorkbenchError(f"citations: {value} in {where} is no style.\nGive one of {', '.join(STYLES)}.")
