"""Two tables beside one another, cell by cell, with the spread that the seeds give to every number."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.reports.figure_data import take_numbers
from workbench.reports.manifest import hash_text, read_rows
from workbench.verification.spread import Numbers, Pair, Spread, find_spread, judge_numbers
from workbench.verification.verdicts import DRIFTED, IDENTICAL, VERDICTS, Line, Noise, measure_noise

MODEL = ("dataset", "model", "kind")  # columns that name the rows of one model
_MOST_LINES = 20  # of one table; what is left shares a line
Row = Mapping[str, str]


@dataclass(frozen=True)
class _Rows:
    """The rows of a table by what names them."""

    names: tuple[str, ...]  # the leading columns that both tables have in common; none: rows go by position
    rows: Sequence[Row]

    def by_name(self) -> dict[Any, Row]:
        return {self.name(place, row): row for place, row in enumerate(self.rows)}

    def name(self, place: int, row: Row) -> Any:
        return tuple(row.get(column) for column in self.names) if self.names else place


def compare_table(pair: Pair, name: str, old: Mapping[str, str]) -> Iterator[Line]:
    """Yield one line for a table that is the same, else one for each cell that is not, the worst first.

    Args:
        pair: The runs that made it.
        name: Of the table.
        old: Its description in the old run.
    """
    what, new = f"table {name}", pair.new["tables"].get(name)
    if new is None:
        yield Line(DRIFTED, what, "", note="the new run has no such table")
    elif "sha256" in old:  # the report shows no single samples
        same = hash_text(new["csv"]) == old["sha256"]
        yield Line(IDENTICAL if same else DRIFTED, what, "", note="" if same else "its rows differ")
    else:
        yield from _compare_rows(pair, name, read_rows(old["csv"]), read_rows(new["csv"]))


def compare_sentence(pair: Pair, number: int) -> Line:
    """Compare one of the sentences that a run ends with; its numbers may have moved as far as noise goes."""
    what = f"sentence {number + 1}"
    was, now = (_sentence(run, number) for run in (pair.old, pair.new))
    (template, before), (found, after) = take_numbers(was), take_numbers(now)
    if template != found:
        return Line(DRIFTED, what, "", was, now, "it says something else")
    spread = find_spread(pair, lambda run: _numbers_like(was, _sentence(run, number)))
    verdict, note = judge_numbers(before, after, spread)
    return Line(verdict, what, "", was, now, note)


def _sentence(run: Mapping[str, Any], number: int) -> str:
    return run["verdicts"][number] if number < len(run["verdicts"]) else ""


def _compare_rows(pair: Pair, name: str, before: Sequence[Row], after: Sequence[Row]) -> Iterator[Line]:
    what = f"table {name}"
    if before == after:
        yield Line(IDENTICAL, what, "", f"{len(before)} rows")
        return
    names = _naming_columns(before, after)
    old, new = _Rows(names, before).by_name(), _Rows(names, after).by_name()
    columns = [list(rows[0]) if rows else [] for rows in (before, after)]
    if columns[0] != columns[1] or old.keys() != new.keys() or len(before) != len(after):
        yield Line(DRIFTED, what, "", f"{len(before)} rows", f"{len(after)} rows", "rows or columns differ")
        return
    others = {
        id(run): _Rows(names, read_rows(run["tables"].get(name, {}).get("csv", ""))).by_name()
        for run in (*pair.siblings, *pair.left_out)
    }
    lines = [
        _compare_cell(pair, f"{what}, row {number + 1}, {column}", column, key, (old, new), others)
        for number, key in enumerate(old)
        for column in columns[0]
        if old[key][column] != new[key][column]
    ]
    if not lines:
        yield Line(DRIFTED, what, "", note="its rows stand in another order")
    lines.sort(key=lambda line: VERDICTS.index(line.verdict))
    yield from lines[:_MOST_LINES]
    rest = [line.verdict for line in lines[_MOST_LINES:]]
    for verdict in dict.fromkeys(rest):
        yield Line(verdict, what, "", note=f"{rest.count(verdict):,} more of its cells")


def _naming_columns(before: Sequence[Row], after: Sequence[Row]) -> tuple[str, ...]:
    """Return the leading columns that hold the same in both tables, if they tell all rows apart."""
    names: list[str] = []
    for column in before[0] if before else ():
        if Counter(row[column] for row in before) != Counter(row.get(column) for row in after):
            break
        names.append(column)
    told = {tuple(row[column] for column in names) for row in before}
    return tuple(names) if names and len(told) == len(before) else ()


def _compare_cell(
    pair: Pair,
    what: str,
    column: str,
    key: Any,
    tables: tuple[Mapping[Any, Row], Mapping[Any, Row]],
    others: Mapping[int, Mapping[Any, Row]],
) -> Line:
    was, now = (table[key][column] for table in tables)
    (template, before), (found, after) = take_numbers(was), take_numbers(now)
    if template != found:
        return Line(DRIFTED, what, "", was, now, "the texts differ")
    own = _noise_in_table(list(tables[0].values()), tables[0][key], column)
    cells = {number: rows.get(key, {}).get(column) for number, rows in others.items()}
    own = own or _noise_of_list(template, before, [cells[id(run)] for run in pair.left_out])
    spread = Spread(known=own) if own else find_spread(pair, lambda run: _numbers_like(was, cells[id(run)]))
    verdict, note = judge_numbers(before, after, spread)
    return Line(verdict, what, "", was, now, note)


def _noise_in_table(rows: Sequence[Row], row: Row, column: str) -> Noise | None:
    """Return the spread of a column over the seeds of one model, where a table has one row a seed."""
    if not row.get("seed"):
        return None
    same = [other for other in rows if all(other.get(key) == row.get(key) for key in MODEL)]
    try:
        return measure_noise([float(other[column]) for other in same])
    except ValueError:
        return None


def _noise_of_list(template: str, values: Sequence[float], left_out: Sequence[str | None]) -> Noise | None:
    """Return the spread within a cell that lists one number a seed: without a seed it has one fewer."""
    shorter = " ".join(["#"] * (len(values) - 1))
    is_list = template == f"{shorter} #" and len(left_out) == len(values)
    if is_list and all(cell is not None and take_numbers(cell)[0] == shorter for cell in left_out):
        return measure_noise(values)
    return None


def _numbers_like(text: str, other: str | None) -> Numbers:
    """Return the numbers of another run's text, as many as `text` has; None where it is not made alike."""
    template, numbers = take_numbers(text)
    found, others = take_numbers(other or "")
    return others if found == template else [None] * len(numbers)
