"""Compare runs: curves, the parameters that differ, final metrics, parallel coordinates, CSV."""

import base64
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.dashboards.cell import Dashboard, Publish
from workbench.dashboards.look import bar, count, escape, table
from workbench.dashboards.widgets import build_button, build_row, field_options
from workbench.errors import WorkbenchError
from workbench.evaluation.comparison import tabulate_runs
from workbench.figures import PALETTE, plot_learning_curves, plot_parallel_coordinates
from workbench.figures.svg import draw_learning_curves
from workbench.runs import Run, RunRecord, describe_status, find_runs, open_run, resolve_path, show_path

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.comparison import Comparison

_PLOTLY = "application/vnd.plotly.v1+json"
_CHOSEN_AT_FIRST = 7  # runs, as many as there are colours
_LOOKED_AT = 40  # of the newest runs, to find those; a long log takes a moment to read
_LISTED = 10  # rows of the list of runs that are visible at once
_AXES = 12  # of parallel coordinates, as many as can be told apart
_CELL_LENGTH = 60  # characters of a value in the table
_CSV = "runs.csv"


def compare_runs(folder: str | Path | Sequence[str | Path | Run | RunRecord] = "runs") -> Dashboard:
    """Compare runs in a notebook: curves, parameters that differ, final metrics, parallel coordinates.

    At first the newest training runs of one notebook are chosen; unfinished runs are listed too.

    Args:
        folder: A folder with run folders at any depth, or a list of run folders; relative paths start at the
            project root.

    Raises:
        WorkbenchError: There is no run.

    Example:
        wb.compare_runs("runs/quickstart")
    """
    search = _searcher(folder)
    records = search()
    title = f"Compare runs in {show_path(resolve_path(folder))}" if _is_path(folder) else "Compare runs"
    chosen = choose_at_first(records) if _is_path(folder) else records
    return Dashboard(
        title,
        lambda: draw_comparison(tabulate_runs(chosen)),
        lambda publish: ComparePanel(records, chosen, search, publish).children,
    )


def choose_at_first(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the newest training runs of one notebook; of several where none trained twice.

    Args:
        records: Runs, newest first.
    """
    looked_at = records[:_LOOKED_AT]
    trained = [r for r in looked_at if any(event["type"] == "epoch" for event in r.events())]
    names = [record.name for record in trained]
    repeated = next((name for name in names if names.count(name) > 1), None)
    siblings = [record for record in trained if repeated in (None, record.name)]
    return (siblings or list(records))[:_CHOSEN_AT_FIRST]


def draw_comparison(comparison: "Comparison") -> str:
    """Return the static view of runs: the table, and the curves as a picture."""
    if not comparison.events:
        return "<p>No run is chosen.</p>"
    return (
        f"<h5>Parameters that differ, and results</h5>{draw_table(comparison)}"
        f"<h5>Learning curves</h5>{_draw_curves(comparison.events)}"
    )


def draw_table(comparison: "Comparison") -> str:
    """Return the parameters that differ and the results of runs as an HTML table, one row a run."""
    columns = ["status", *comparison.parameters, *comparison.results]
    rows = [
        [
            f"{_swatch(number)} {escape(row['name'])}",
            *(_format(row[name]) for name in columns),
            f'<span class="workbench-where">{escape(row["run"])}</span>',
        ]
        for number, row in enumerate(comparison.table.to_dict("records"))
    ]
    numbers = range(2 + len(comparison.parameters), 2 + len(comparison.parameters) + len(comparison.results))
    same = "" if comparison.parameters else "<p>These runs have the same parameters.</p>"
    return same + table(["run", *columns, "folder"], rows, numbers)


class ComparePanel:
    """The widgets: a list of runs to choose from, and a tab for each way to look at the chosen ones."""

    def __init__(
        self,
        records: Sequence[RunRecord],
        chosen: Sequence[RunRecord],
        search_again: Callable[[], list[RunRecord]],
        publish: Publish,
    ) -> None:
        import ipywidgets

        self._search_again, self._publish = search_again, publish
        self._records = {record.path: record for record in records}
        self._chosen = {record.path for record in chosen}
        self._filling = False  # while the list is changed by this class, not by a person
        self.search = ipywidgets.Text(
            description="Search",
            placeholder="name, folder, status or parameter",
            **field_options("none"),
        )
        self.runs = ipywidgets.SelectMultiple(
            rows=_LISTED, description="", layout=ipywidgets.Layout(width="100%")
        )
        self.all = build_button("Choose all listed")
        self.none = build_button("Choose none")
        self.again = build_button("Look for new runs")
        self.line = ipywidgets.HTML()
        self.curves, self.coordinates = ipywidgets.Output(), ipywidgets.Output()
        self.table, self.export = ipywidgets.HTML(), ipywidgets.HTML()
        self._listen()
        self._list_runs()
        self._show()
        self.children = self._arrange()

    def _listen(self) -> None:
        self.search.observe(lambda _: self._list_runs(), names="value")
        self.runs.observe(lambda _: self._choose(self.runs.value), names="value")
        self.all.on_click(lambda _: self._choose([path for _, path in self.runs.options]))
        self.none.on_click(lambda _: self._choose(()))
        self.again.on_click(lambda _: self._look_again())

    def _arrange(self) -> list[Any]:
        import ipywidgets

        controls = build_row(self.search, self.all, self.none, self.again)
        titles = ["Curves", "Table", "Parallel coordinates", "Export"]
        self.tabs = ipywidgets.Tab([self.curves, self.table, self.coordinates, self.export], titles=titles)
        return [controls, self.runs, self.line, self.tabs]

    def _list_runs(self) -> None:
        """List the runs that fit the search; the chosen ones stay chosen, also those that do not fit."""
        words = self.search.value.lower().split()
        options = [
            (line, path)
            for path, record in self._records.items()
            if all(word in _searched(record) for word in words)
            for line in [_describe(record)]
        ]
        self._filling = True
        self.runs.options = options
        self.runs.value = [path for _, path in options if path in self._chosen]
        self._filling = False

    def _choose(self, paths: Sequence[Path]) -> None:
        """Take the listed runs in `paths` and no other listed one."""
        if self._filling:
            return
        self._chosen = (self._chosen - {path for _, path in self.runs.options}) | set(paths)
        self._list_runs()
        self._publish(draw_comparison(self._show()))

    def _look_again(self) -> None:
        with contextlib.suppress(WorkbenchError):  # the runs are gone; those that were read stay listed
            self._records = {record.path: record for record in self._search_again()}
        self._chosen &= set(self._records)
        self._list_runs()
        self._publish(draw_comparison(self._show()))

    def chosen(self) -> list[RunRecord]:
        """Return the chosen runs in the order of the list."""
        return [record for path, record in self._records.items() if path in self._chosen]

    def _show(self) -> "Comparison":
        comparison = tabulate_runs(self.chosen())
        chosen = comparison.events
        hidden = len(self._chosen) - len(self.runs.value)
        more = f", {hidden} of them not listed" if hidden else ""
        hint = "Ctrl or Shift with a click or an arrow key chooses several."
        self.line.value = (
            f'<p>{count(len(chosen), "run")} chosen{more}. <span class="workbench-where">{hint}</span></p>'
        )
        _show_figure(self.curves, plot_learning_curves(chosen))
        _show_figure(self.coordinates, plot_parallel_coordinates(_axes(comparison)))
        self.table.value = draw_table(comparison) if chosen else "<p>No run is chosen.</p>"
        self.export.value = draw_export(comparison.table)
        return comparison


def draw_export(runs: "pd.DataFrame") -> str:
    """Return a link by which the browser saves the table of runs as CSV."""
    data = base64.b64encode(runs.to_csv(index=False).encode()).decode()
    return (
        f'<p><a class="workbench-link" download="{_CSV}" href="data:text/csv;charset=utf-8;base64,{data}">'
        f"Save the table of {count(len(runs), 'run')} as {_CSV}</a></p>"
        "<p>The browser puts it into its folder for downloads. It holds the parameters that differ, the "
        "results and the folder of each chosen run.</p>"
    )


def _searcher(source: Any) -> Callable[[], list[RunRecord]]:
    """Return a function that reads the runs, newest first, and raises where there is none."""

    def search() -> list[RunRecord]:
        if _is_path(source):
            found = list(find_runs(source))[::-1]
            where = f"There is no run in {show_path(resolve_path(source))}"
        else:
            found = [open_run(run.path if isinstance(run, Run | RunRecord) else run) for run in source]
            where = "An empty list of runs was given"
        if not found:
            raise WorkbenchError(
                f"{where}, so there is nothing to compare.\n"
                'Run a notebook or `workbench run` first, or give another folder: wb.compare_runs("runs").'
            )
        return found

    return search


def _is_path(source: Any) -> bool:
    return isinstance(source, str | Path)


def _describe(record: RunRecord) -> str:
    """Return a run in one line of the list."""
    started = record.details["started"][:16].replace("T", " ")
    metrics = [f"{name} {value:.4g}" for name, value in record.metrics.items() if isinstance(value, float)]
    parts = [started, record.label, describe_status(record.details), *metrics[:2], record.path.parent.name]
    return " · ".join(parts)


def _searched(record: RunRecord) -> str:
    parameters = [f"{name}={value}" for name, value in record.parameters.items()]
    return " ".join([_describe(record), show_path(record.path), *parameters]).lower()


def _axes(comparison: "Comparison") -> dict[str, list[Any]]:
    """Return the columns for parallel coordinates: parameters, then results; the last ones colour."""
    names = [*comparison.parameters, *comparison.results]
    kept = names[: _AXES // 2] + names[max(_AXES // 2, len(names) - _AXES // 2) :]
    return {name: comparison.table[name].tolist() for name in kept}


def _show_figure(output: Any, figure: Any) -> None:
    """Put a figure into an output widget in the place of another one; the tab is its title.

    JupyterLab's renderer of plotly draws once and ignores a new value, so it is given another output first.
    """
    figure.update_layout(title_text="", margin_t=92)
    output.outputs = ()
    data = {_PLOTLY: json.loads(figure.to_json()), "text/plain": "Figure"}
    output.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)


def _draw_curves(events: Mapping[str, list[dict[str, Any]]]) -> str:
    picture = draw_learning_curves(events)
    if not picture:
        return "<p>No epoch has been logged.</p>"
    source = "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()
    legend = " ".join(f"{_swatch(number)} {escape(name)}" for number, name in enumerate(events))
    about = f"Learning curves of {count(len(events), 'run')}"
    return (
        f"<p>{legend} · solid validation, dotted training</p>"
        f'<img src="{source}" alt="{about}" style="max-width:100%">'
    )


def _swatch(number: int) -> str:
    return bar(1, PALETTE[number % len(PALETTE)], 14)


def _format(value: Any) -> str:
    if value is None or value != value:
        return "·"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return escape(text if len(text) <= _CELL_LENGTH else text[: _CELL_LENGTH - 1] + "…")
