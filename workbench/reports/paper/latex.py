"""Tables, numbers and references as LaTeX, CSV, Markdown and BibTeX."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from workbench.reports.exhibits import PageTable
from workbench.reports.numbers import Number
from workbench.reports.rendering import format_number
from workbench.reports.results import ResultTable

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"\ensuremath{\pm}",
    "<": r"\textless{}", ">": r"\textgreater{}", "…": r"\dots{}", "\u2212": r"\ensuremath{-}",
    "→": r"\ensuremath{\rightarrow}", "\u00d7": r"\ensuremath{\times}",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Return a text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def page_table_of(results: ResultTable) -> PageTable:
    """Return the results on one dataset as a table."""
    columns = ["model", *map(results.heading, results.measures), "runs"]
    rows = [
        [row.model, *(str(row.measures[name]) for name in results.measures), str(len(row.runs))]
        for row in results.rows
    ]
    numeric = [False, *[True] * len(results.measures), True]
    return PageTable(f"Results on {results.dataset}", columns, numeric, rows, folded=False)


def to_latex(table: PageTable) -> str:
    """Return a table for `\\input`, with the rules of the package booktabs."""
    kinds = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [f"\\begin{{tabular}}{{{kinds}}}", "\\toprule", _row(_heads(table)), "\\midrule"]
    lines += [_row(cells) for cells in _cells(table)]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def to_markdown(table: PageTable) -> str:
    """Return a table as Markdown."""
    rules = ["---:" if numeric else "---" for numeric in table.numeric]
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in _cells(table)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [_heads(table), rules, *rows]) + "\n"


def to_csv(table: PageTable) -> str:
    """Return a table as CSV with all digits."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([table.columns, *table.rows])
    return buffer.getvalue()


def write_macros(numbers: Iterable[Number], digest: str) -> str:
    """Return a LaTeX macro for every number and one for the digest of the report's manifest."""
    lines = [
        "% Numbers of the report whose manifest has the SHA-256 below; made by `workbench report --export`.",
        f"\\newcommand{{\\reportManifest}}{{{digest}}}",
    ]
    seen: set[str] = set()
    for number in numbers:
        name = number.macro
        while name in seen:
            name += "x"
        seen.add(name)
        lines.append(f"\\newcommand{{\\{name}}}{{{escape_latex(number.text)}}} % {number.what}".rstrip())
    return "\n".join(lines) + "\n"


def to_bibtex(key: str, fields: dict[str, str]) -> str:
    """Return a @misc entry."""
    inner = "".join(f",\n  {name} = {{{escape_latex(value)}}}" for name, value in fields.items() if value)
    return f"@misc{{{re.sub(r'[^A-Za-z0-9:.-]+', '-', key)}{inner}\n}}\n"


def _heads(table: PageTable) -> list[str]:
    return [column.replace("_", " ") for column in table.columns]


def _cells(table: PageTable) -> Iterable[list[str]]:
    for row in table.rows:
        yield [
            format_number(cell) if numeric and _is_plain(cell) else cell
            for cell, numeric in zip(row, table.numeric, strict=True)
        ]


def _is_plain(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", cell) is not None


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape_latex, cells)) + r" \\"
