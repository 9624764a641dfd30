"""Study errors: the confusion matrix as buttons, and the samples behind each of its cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.dashboards.cards import Card, Pager, make_card, require_known_task, show_cards
from workbench.dashboards.cell import Dashboard, Publish
from workbench.dashboards.look import BLUE, ORANGE, bar, count, escape
from workbench.dashboards.widgets import build_button, build_row, field_options
from workbench.errors import WorkbenchError
from workbench.evaluation.measures import count_confusions
from workbench.evaluation.results import average_predictions, group_by_model, load_test_data, read_results
from workbench.runs import Run, RunRecord, open_run, show_path

if TYPE_CHECKING:
    from workbench.datasets import Dataset
    from workbench.evaluation.predictions import Predictions

_IMAGES, _TEXTS = 18, 6  # on a page
_SAVED_IMAGES, _SAVED_TEXTS = 18, 6  # in the static view
_MOST_CLASSES = 12  # in the matrix; the lists above the samples name all
_SHADES = 8  # of a cell
_LIKELY = 3  # classes whose probability is shown
ANY, OTHER = -1, -2  # instead of a class: any, and any but the true one

ORDERS = {
    "highest loss first": lambda of_true, highest: np.argsort(of_true, kind="stable"),
    "most confident first": lambda of_true, highest: np.argsort(-highest, kind="stable"),
    "least confident first": lambda of_true, highest: np.argsort(highest, kind="stable"),
}


@dataclass(frozen=True)
class Choice:
    """Which samples are looked at."""

    true: int = ANY  # a class or ANY
    predicted: int = OTHER  # a class, ANY or OTHER
    order: str = next(iter(ORDERS))


def study_errors(run: str | Path | Run | RunRecord | Sequence[str | Path | Run | RunRecord]) -> Dashboard:
    """Study the mistakes of a model in a notebook: a cell of the confusion matrix shows its samples.

    Args:
        run: The folder of a training run that stored predictions, or several tested on the same samples; the
            probabilities of runs of one model are averaged.

    Raises:
        WorkbenchError: A run is unfinished, has no predictions or another task, or its data have changed.

    Example:
        wb.study_errors("runs/quickstart/train_digits-seed=0-f2f4a99f")
    """
    paths = _paths(run)
    for path in paths:
        task = (open_run(path).dataset or {}).get("task")
        if task is not None:
            require_known_task(task, f"The run {show_path(open_run(path).path)}")
    results = read_results(paths)
    dataset = load_test_data(results)
    models = {
        f"{name}, mean of {len(members)} runs" if len(members) > 1 else name: average_predictions(members)
        for name, members in group_by_model(results).items()
    }
    studies = {name: Study(dataset, predictions) for name, predictions in models.items()}
    first, study = next(iter(studies.items()))
    return Dashboard(
        f"Errors on the test set of {dataset.name}",
        lambda: study.draw(first, Choice()),
        lambda publish: MistakesPanel(studies, publish).children,
    )


class Study:
    """The predictions of one model beside the samples."""

    def __init__(self, dataset: "Dataset", predictions: "Predictions") -> None:
        self.dataset, self.predictions = dataset, predictions
        self.names = predictions.class_names
        self.counts = count_confusions(predictions)
        self.guesses = predictions.probabilities.argmax(axis=1)
        self._of_true = predictions.probabilities[np.arange(len(predictions)), predictions.labels]

    @property
    def is_text(self) -> bool:
        return self.dataset.task == "text-classification"

    @property
    def shown_classes(self) -> list[int]:
        """The classes of the matrix: all, or those that are confused most."""
        if len(self.names) <= _MOST_CLASSES:
            return list(range(len(self.names)))
        wrong = self.counts - np.diag(np.diag(self.counts))
        most = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:_MOST_CLASSES]
        return sorted(most.tolist())

    def find(self, choice: Choice) -> np.ndarray:
        """Return the samples of a choice, in its order."""
        fits = np.ones(len(self.predictions), bool)
        if choice.true != ANY:
            fits &= self.predictions.labels == choice.true
        if choice.predicted == OTHER:
            fits &= self.guesses != self.predictions.labels
        elif choice.predicted != ANY:
            fits &= self.guesses == choice.predicted
        found = np.flatnonzero(fits)
        highest = self.predictions.probabilities.max(axis=1)
        return found[ORDERS[choice.order](self._of_true[found], highest[found])]

    def describe(self, name: str) -> str:
        """Return the model and its accuracy as HTML."""
        wrong = int((self.guesses != self.predictions.labels).sum())
        total = len(self.predictions)
        share = 1 - wrong / max(total, 1)
        return (
            f"<b>{escape(name)}</b>: {wrong:,} of {count(total, 'test sample')} wrong, accuracy {share:.4f}"
        )

    def describe_choice(self, choice: Choice) -> str:
        """Return in words which samples are shown."""
        true = "any class" if choice.true == ANY else self.names[choice.true]
        guess = {ANY: "anything", OTHER: "another class"}.get(choice.predicted)
        return f"true: {true}, predicted: {self.names[choice.predicted] if guess is None else guess}"

    def card(self, sample: int) -> Card:
        """Return a test sample with its most probable classes as bars."""
        probabilities = self.predictions.probabilities[sample]
        true = int(self.predictions.labels[sample])
        likely = np.argsort(-probabilities, kind="stable")[:_LIKELY].tolist()
        shown = likely if true in likely else [*likely[:-1], true]
        lines = "".join(self._draw_probability(label, true, float(probabilities[label])) for label in shown)
        return make_card(self.dataset, "test", sample, f"<br>{lines}")

    def _draw_probability(self, label: int, true: int, probability: float) -> str:
        color, mark = (BLUE, "✓ ") if label == true else (ORANGE, "")
        line = f"{bar(probability, color, 26)} {probability:.1%} {mark}{escape(self.names[label])}"
        return line + (" &nbsp; " if self.is_text else "<br>")

    def shade(self, true: int, predicted: int) -> int:
        """Return how strong the colour of a cell is, from 0 to `_SHADES`, by its share of the true class.

        The square root makes rare confusions visible.
        """
        total = self.counts[true].sum()
        share = self.counts[true, predicted] / total if total else 0.0
        return int(np.ceil(np.sqrt(share) * _SHADES))

    def draw(self, name: str, choice: Choice) -> str:
        """Return the static view: the matrix and the samples of a choice."""
        saved = _SAVED_TEXTS if self.is_text else _SAVED_IMAGES
        found = self.find(choice)
        cards = [self.card(sample) for sample in found[:saved]]
        title = (
            f"{len(cards)} of {count(len(found), 'sample')}, {choice.order} ({self.describe_choice(choice)})"
        )
        samples = f"<h5>{escape(title)}</h5>{show_cards(cards, length=400)}"
        return f"<p>{self.describe(name)}</p>{self._draw_matrix()}{samples}"

    def _draw_matrix(self) -> str:
        classes = self.shown_classes
        head = "".join(f"<th>{escape(self.names[label])}</th>" for label in classes)
        rows = "".join(
            f"<tr><th>{escape(self.names[true])}</th>"
            + "".join(self._draw_cell(true, predicted) for predicted in classes)
            + "</tr>"
            for true in classes
        )
        matrix = f"<tr><th>true \\ predicted</th>{head}</tr>{rows}"
        note = f"<p>{self.describe_matrix()}</p>"
        return f'{note}<div class="workbench-scroll"><table class="workbench-matrix">{matrix}</table></div>'

    def _draw_cell(self, true: int, predicted: int) -> str:
        background, ink = cell_colors(self.shade(true, predicted), true == predicted)
        number = self.counts[true, predicted]
        return f'<td style="text-align:center;background-color:{background};color:{ink}">{number or ""}</td>'

    def describe_matrix(self) -> str:
        """Return how to read the matrix."""
        most = f" The {_MOST_CLASSES} classes with the most mistakes." * (len(self.names) > _MOST_CLASSES)
        return f"Rows are true classes, columns predicted ones; the number counts samples.{most}"


def cell_colors(shade: int, correct: bool) -> tuple[str, str]:
    """Return the CSS colours of the ground and the ink of a cell, for a light and a dark page."""
    red, green, blue = (int((BLUE if correct else ORANGE)[at : at + 2], 16) for at in (1, 3, 5))
    strength = shade / _SHADES
    ink = "#ffffff" if strength > 0.6 else "inherit"
    return f"rgba({red},{green},{blue},{strength:.2f})", ink


class Matrix:
    """A confusion matrix of buttons.

    Args:
        classes: How many rows and columns.
        choose: Called with the row and the column of a button that is pressed.
    """

    def __init__(self, classes: int, choose: Callable[[int, int], None]) -> None:
        import ipywidgets

        side = ipywidgets.Layout(width="auto", height="28px", margin="0")
        self._styles: dict[tuple[int, bool], Any] = {}
        self.buttons = [[ipywidgets.Button(layout=side) for _ in range(classes)] for _ in range(classes)]
        cut = ipywidgets.Layout(width="auto", height="28px", margin="0", min_width="0", overflow="hidden")
        self._heads = [ipywidgets.HTML(layout=cut) for _ in range(classes)]
        self._names = [ipywidgets.HTML(layout=cut) for _ in range(classes)]
        for row, line in enumerate(self.buttons):
            for column, button in enumerate(line):
                button.on_click(lambda _, row=row, column=column: choose(row, column))
        corner = ipywidgets.HTML('<span class="workbench-where">true \\ predicted</span>')
        children = [corner, *self._heads]
        for name, line in zip(self._names, self.buttons, strict=True):
            children += [name, *line]
        columns = f"minmax(70px, max-content) repeat({classes}, minmax(26px, 56px))"
        layout = ipywidgets.Layout(grid_template_columns=columns, grid_gap="2px", overflow="visible")
        self.root = ipywidgets.GridBox(children, layout=layout)
        self.root.add_class("workbench-grid")

    def show(self, study: Study) -> None:
        """Fill the buttons with the counts of a study."""
        classes = study.shown_classes
        for position, label in enumerate(classes):
            name = escape(study.names[label])
            self._heads[position].value = f'<div class="workbench-name" title="{name}">{name}</div>'
            self._names[
                position
            ].value = f'<div class="workbench-name workbench-row" title="{name}">{name}</div>'
        for row, true in enumerate(classes):
            for column, predicted in enumerate(classes):
                button, number = self.buttons[row][column], int(study.counts[true, predicted])
                button.description = str(number) if number else "·"
                button.tooltip = (
                    f"true {study.names[true]}, predicted {study.names[predicted]}: {count(number, 'sample')}"
                )
                button.style = self._style(study.shade(true, predicted), true == predicted)

    def mark(self, row: int | None, column: int | None) -> None:
        """Mark one button as the chosen one, and no other."""
        for y, line in enumerate(self.buttons):
            for x, button in enumerate(line):
                if (y, x) == (row, column):
                    button.add_class("workbench-chosen")
                elif "workbench-chosen" in button._dom_classes:
                    button.remove_class("workbench-chosen")

    def _style(self, shade: int, correct: bool) -> Any:
        """Return the style of a shade; buttons share it, since each style is an object of the browser."""
        import ipywidgets

        if (shade, correct) not in self._styles:
            ground, ink = cell_colors(shade, correct)
            style = ipywidgets.ButtonStyle(button_color=ground, text_color=ink)
            self._styles[shade, correct] = style
        return self._styles[shade, correct]


class MistakesPanel:
    """The widgets: the matrix, the choice of samples and their order, and the samples."""

    def __init__(self, studies: dict[str, Study], publish: Publish) -> None:
        import ipywidgets

        self._studies, self._publish = studies, publish
        self._changing = False  # while several controls change together
        study = next(iter(studies.values()))
        plain = field_options()
        classes = [(name, label) for label, name in enumerate(study.names)]
        self.model = ipywidgets.Dropdown(options=list(studies), description="Model", **plain)
        self.true = ipywidgets.Dropdown(
            options=[("any class", ANY), *classes], value=ANY, description="True", **plain
        )
        self.predicted = ipywidgets.Dropdown(
            options=[("any other class: mistakes", OTHER), ("any class", ANY), *classes],
            description="Predicted",
            **plain,
        )
        self.order = ipywidgets.Dropdown(options=list(ORDERS), description="Order", **plain)
        self.reset = build_button("All mistakes")
        self.about, self.samples = ipywidgets.HTML(), ipywidgets.HTML()
        self.matrix = Matrix(len(study.shown_classes), self._press)
        self.pager = Pager(_TEXTS if study.is_text else _IMAGES, "sample", self._show_page)
        for control in (self.true, self.predicted, self.order):
            control.observe(lambda _: self._show_choice(), names="value")
        self.model.observe(lambda _: self._show_model(), names="value")
        self.reset.on_click(lambda _: self._choose(ANY, OTHER))
        self._show_model(publish=False)
        self.children = self._arrange()

    @property
    def study(self) -> Study:
        """The study of the chosen model."""
        return self._studies[self.model.value]

    @property
    def choice(self) -> Choice:
        """Which samples the controls ask for."""
        return Choice(self.true.value, self.predicted.value, self.order.value)

    def _arrange(self) -> list[Any]:
        controls = build_row(self.true, self.predicted, self.order, self.reset)
        models = [build_row(self.model)] if len(self._studies) > 1 else []
        return [*models, self.about, self.matrix.root, controls, self.pager.root, self.samples]

    def _press(self, row: int, column: int) -> None:
        classes = self.study.shown_classes
        self._choose(classes[row], classes[column])

    def _choose(self, true: int, predicted: int) -> None:
        self._changing = True
        self.true.value, self.predicted.value = true, predicted
        self._changing = False
        self._show_choice()

    def _show_model(self, publish: bool = True) -> None:
        self.about.value = (
            f"<p>{self.study.describe(self.model.value)}</p>"
            f'<p class="workbench-note">{self.study.describe_matrix()} Press one to see its samples.</p>'
        )
        self.matrix.show(self.study)
        self._show_choice(publish)

    def _show_choice(self, publish: bool = True) -> None:
        if self._changing:
            return
        classes, choice = self.study.shown_classes, self.choice
        chosen = [classes.index(c) if c in classes else None for c in (choice.true, choice.predicted)]
        self.matrix.mark(*chosen)
        self.pager.browse(self.study.find(choice))
        if publish:
            self._publish(self.study.draw(self.model.value, choice))

    def _show_page(self, samples: Sequence[int]) -> None:
        self.samples.value = show_cards([self.study.card(sample) for sample in samples])


def _paths(runs: Any) -> list[str]:
    listed = [runs] if isinstance(runs, str | Path | Run | RunRecord) else list(runs)
    if not listed:
        raise WorkbenchError(
            "study_errors() was given an empty list, so there are no predictions to study.\n"
            'Give the folder of a training run: wb.study_errors("runs/…").'
        )
    return [str(run.path if isinstance(run, Run | RunRecord) else run) for run in listed]
