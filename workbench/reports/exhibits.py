"""Figures and tables of a page, with their numbers and where they come from."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from workbench.errors import WorkbenchError
from workbench.reports.collect import ReportedStep
from workbench.reports.figures import PageFigure


@dataclass(frozen=True)
class Origin:
    """Where something comes from."""

    steps: list[ReportedStep]
    cell: int  # code cell of the executed notebook; 0 if it is not known
    file: str  # in the run folder


@dataclass(frozen=True)
class Exhibit:
    """A figure or a table with its number in the page."""

    kind: str  # "figure" or "table"
    name: str  # what texts call it: step/name
    number: int
    title: str
    origin: Origin
    figure: PageFigure | None = None
    table: "PageTable | None" = None

    @property
    def full_name(self) -> str:
        """Its kind and name: a figure and a table may have the same name."""
        return f"{self.kind}:{self.name}"

    @property
    def key(self) -> str:
        """Its id in the page."""
        return f"{self.kind}-no-{self.number}"

    @property
    def label(self) -> str:
        """What it is called: Figure 3."""
        return f"{self.kind.capitalize()} {self.number}"


@dataclass(frozen=True)
class PageTable:
    """A saved table as text, with its columns of numbers known."""

    title: str
    columns: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    folded: bool  # because it is long, or says what a figure shows


class Exhibits:
    """All figures and tables of a page by name, numbered in the order in which it shows them."""

    def __init__(self, all_of_them: Iterable[Exhibit], shown: Iterable[tuple[str, str]], where: str) -> None:
        """Number the exhibits.

        Args:
            all_of_them: In the order of the page.
            shown: Kind and name of those that the text shows; they come first, if they are there.
            where: The text's file, for errors.
        """
        self._known = {exhibit.full_name: exhibit for exhibit in all_of_them}
        self._where = where
        found = [self._fitting(kind, name) for kind, name in shown]
        self.placed = list(dict.fromkeys(items[0].full_name for items in found if len(items) == 1))
        counts: Counter[str] = Counter()
        for name in dict.fromkeys([*self.placed, *self._known]):
            kind = self._known[name].kind
            counts[kind] += 1
            self._known[name] = replace(self._known[name], number=counts[kind])

    def number(self, exhibit: Exhibit) -> Exhibit:
        """Return an exhibit with its number."""
        return self._known[exhibit.full_name]

    def find(self, kind: str, name: str) -> Exhibit:
        """Return a figure or table by its name, which may leave out the step where that is plain.

        Raises:
            WorkbenchError: There is none, or more than one.
        """
        fitting = self._fitting(kind, name)
        if len(fitting) == 1:
            return fitting[0]
        names = [exhibit.name for exhibit in fitting or self._known.values() if exhibit.kind == kind]
        problem = f"could mean {len(fitting)} of them" if fitting else "no run has it"
        raise WorkbenchError(
            f"{self._where} names the {kind} {name}, and {problem}.\nThere are: {', '.join(names) or 'none'}."
        )

    def _fitting(self, kind: str, name: str) -> list[Exhibit]:
        return [
            exhibit
            for exhibit in self._known.values()
            if exhibit.kind == kind and name in (exhibit.name, exhibit.name.partition("/")[2])
        ]
