"""References from BibTeX, in author-year or numeric style."""

import html
import re
from collections.abc import Iterable
from pathlib import Path

import nh3
from pybtex.database import BibliographyData, Entry, Person, parse_string
from pybtex.exceptions import PybtexError
from pybtex.plugin import find_plugin

from workbench.errors import WorkbenchError
from workbench.runs import show_path

_ALLOWED = {"em", "strong", "b", "i", "a", "sup", "sub", "tt", "code"}


class Bibliography:
    """The entries of a BibTeX file, and those that were cited, in the order of their first citation."""

    def __init__(self, data: BibliographyData, style: str, name: str) -> None:
        self._data = data
        self._style = style
        self._name = name
        self.cited: list[str] = []

    @property
    def is_numeric(self) -> bool:
        """Whether citations are numbers."""
        return self._style == "numeric"

    def cite(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """Return key and label of each citation.

        Raises:
            WorkbenchError: A key is in no entry.
        """
        found = []
        for key in keys:
            if key not in self._data.entries:
                known = ", ".join(list(self._data.entries)[:10]) or "none"
                raise WorkbenchError(
                    f"The text cites {key}, which {self._name} does not hold.\nIts keys: {known}."
                )
            if key not in self.cited:
                self.cited.append(key)
            found.append((key, self._label(key)))
        return found

    @property
    def references(self) -> list[tuple[str, str, str]]:
        """Key, label and formatted entry as safe HTML of everything that was cited."""
        keys = self.cited
        if self._style == "author-year":
            keys = sorted(keys, key=lambda key: self._label(key).casefold())
        return [(key, self._label(key), _format(self._data.entries[key])) for key in keys]

    def _label(self, key: str) -> str:
        if self._style == "numeric":
            return str(self.cited.index(key) + 1)
        entry = self._data.entries[key]
        people = [_family(person) for person in entry.persons.get("author", entry.persons.get("editor", []))]
        year = _text(entry.fields.get("year", "n.d."))
        if not people:
            return f"{_text(entry.fields.get('title', key))}, {year}"
        if len(people) > 2:
            return f"{people[0]} et al., {year}"
        return f"{' and '.join(people)}, {year}"


def read_bibliography(file: Path | None, style: str) -> Bibliography:
    """Read a BibTeX file; an empty bibliography where there is none.

    Raises:
        WorkbenchError: The file is missing or cannot be read.
    """
    if file is None:
        return Bibliography(BibliographyData(), style, "the missing bibliography (set `bibliography:`)")
    try:
        data = parse_string(file.read_text(encoding="utf-8"), "bibtex")
    except (OSError, PybtexError) as error:
        raise WorkbenchError(
            f"The bibliography {show_path(file)} cannot be read: {error}.\nGive a BibTeX file."
        ) from error
    return Bibliography(data, style, show_path(file))


def _format(entry: Entry) -> str:
    style = find_plugin("pybtex.style.formatting", "unsrt")()
    (formatted,) = style.format_entries([entry])
    text = formatted.text.render(find_plugin("pybtex.backends", "html")())
    return nh3.clean(text, tags=_ALLOWED, attributes={"a": {"href"}}, url_schemes={"http", "https"})


def _family(person: Person) -> str:
    return _text(" ".join([*person.prelast_names, *person.last_names])) or str(person)


def _text(latex: str) -> str:
    """Return LaTeX text as plain text."""
    from pybtex.richtext import Text

    return html.unescape(re.sub(r"<[^>]*>", "", Text.from_latex(latex).render_as("html")))
