"""Explore data: samples by class and split, the balance of labels, exact duplicates, outliers."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.dashboards.cards import Card, Pager, make_card, require_known_task, show_cards
from workbench.dashboards.cell import Dashboard
from workbench.dashboards.look import BLUE, GREEN, ORANGE, bar, count, escape, table
from workbench.dashboards.widgets import build_row, field_options
from workbench.datasets import Dataset, load_dataset
from workbench.datasets.duplicates import find_duplicates
from workbench.datasets.outliers import MOST_SAMPLES, find_outliers
from workbench.errors import WorkbenchError
from workbench.evaluation.selection import spread_over_classes

if TYPE_CHECKING:
    from workbench.datasets.duplicates import Duplicates
    from workbench.datasets.outliers import Outlier

_IMAGES, _TEXTS = 24, 8  # on a page
_SAVED_IMAGES, _SAVED_TEXTS = 20, 6  # of each kind in the static view
_GROUPS = 40  # of duplicates to show
_NAMED = 6  # samples of such a group
_COLORS = {"train": BLUE, "val": ORANGE, "test": GREEN}
_ALL = ""  # of the splits or classes


def explore(dataset: Dataset | str) -> Dashboard:
    """Browse a dataset in a notebook: samples, label balance, exact duplicates and outliers.

    Args:
        dataset: A loaded dataset of images or texts, or what `load_dataset` takes: a name in the catalog,
            "folder:PATH", "csv:PATH" or "run:PATH".

    Raises:
        WorkbenchError: It is no dataset, or its samples have no class.

    Example:
        wb.explore("digits")
    """
    if isinstance(dataset, str):
        dataset = load_dataset(dataset)
    if not isinstance(dataset, Dataset):
        raise WorkbenchError(
            f"explore() was given {type(dataset).__name__}, which is no dataset.\n"
            'Give a loaded dataset, wb.explore(wb.load_dataset("digits")), or its name, wb.explore("digits").'
        )
    require_known_task(dataset.task, f"The dataset {dataset.name}")
    survey = Survey(dataset)
    return Dashboard(
        f"Explore {dataset.name}", survey.draw, lambda publish: ExplorePanel(dataset, survey).children
    )


class Survey:
    """What is said of a dataset as a whole; looked for when it is first asked for."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @functools.cached_property
    def duplicates(self) -> "list[Duplicates]":
        return find_duplicates(self.dataset)

    @functools.cached_property
    def outliers(self) -> "list[Outlier]":
        return find_outliers(self.dataset, _IMAGES)

    @property
    def is_text(self) -> bool:
        return self.dataset.task == "text-classification"

    def draw(self) -> str:
        """Return the static view: a few samples of every kind."""
        saved = _SAVED_TEXTS if self.is_text else _SAVED_IMAGES
        part = next((part for part, split in self.dataset.splits().items() if len(split)), "train")
        chosen = spread_over_classes(self.dataset.splits()[part].y, saved)
        cards = [make_card(self.dataset, part, row) for row in chosen]
        return (
            f"<p>{describe_dataset(self.dataset)}</p><h5>Samples</h5>{show_cards(cards, length=400)}"
            f"<h5>Label balance</h5>{self.draw_balance()}"
            f"<h5>Exact duplicates</h5>{self.draw_duplicates(saved // 2)}"
            f"<h5>Outliers</h5>{self.draw_outliers(saved // 2)}"
        )

    def draw_balance(self) -> str:
        """Return the counts of every class in each split as a table with bars."""
        splits = {part: split for part, split in self.dataset.splits().items() if len(split)}
        classes = len(self.dataset.class_names)
        counts = np.array([np.bincount(split.y, minlength=classes) for split in splits.values()])
        counts = counts.reshape(len(splits), classes)
        shares = counts / counts.sum(axis=1, keepdims=True)
        largest = max(float(shares.max(initial=0)), 1e-9)
        rows = [
            [escape(name)]
            + [
                cell
                for number, part in enumerate(splits)
                for cell in (
                    f"{counts[number, label]:,}",
                    f"{bar(shares[number, label] / largest, _COLORS[part])} {shares[number, label]:.1%}",
                )
            ]
            for label, name in enumerate(self.dataset.class_names)
        ]
        head = ["class", *(title for part in splits for title in (part, f"share of {part}"))]
        return f"<p>{self._describe_balance(shares, list(splits))}</p>" + table(
            head, rows, numbers=range(1, len(head), 2)
        )

    def _describe_balance(self, shares: np.ndarray, parts: Sequence[str]) -> str:
        if not shares.size:
            return "There is no sample."
        ratio = shares[0].max() / shares[0].min() if shares[0].min() > 0 else np.inf
        text = f"In {parts[0]}, the most frequent class has {ratio:.3g} times the samples of the rarest one."
        if np.isinf(ratio):
            text = f"A class has no sample in {parts[0]}."
        difference = np.ptp(shares, axis=0)
        name = escape(self.dataset.class_names[int(difference.argmax())])
        return f"{text} Shares differ most between splits for {name}: by {100 * difference.max():.2g} points."

    def draw_duplicates(self, groups: int = _GROUPS) -> str:
        """Return the samples that occur more than once, those that do harm first."""
        found = self.duplicates
        if not found:
            return "<p>No two samples are equal.</p>"
        crossing = sum(group.crosses_splits for group in found)
        conflicting = sum(group.conflicts for group in found)
        text = f"{count(len(found), 'content')} occur more than once; {crossing} of them in several splits, "
        text += f"{conflicting} with several labels."
        harm = ' class="workbench-warn"' if crossing or conflicting else ""
        return f"<p{harm}>{text}</p>" + show_cards(map(self._group_card, found[:groups]), length=300)

    def _group_card(self, group: "Duplicates") -> Card:
        notes = ["in several splits"] * group.crosses_splits + ["with several labels"] * group.conflicts
        first = make_card(self.dataset, *group.places[0])
        names = dict.fromkeys(self.dataset.class_names[label] for label in group.labels)
        ids = [make_card(self.dataset, *place).where for place in group.places[:_NAMED]]
        where = ", ".join(ids) + ", …" * (len(group.places) > _NAMED)
        notes = f"<br>{', '.join([f'{len(group.places)} equal samples', *notes])}"
        return Card(first.sample, ", ".join(names), where, notes)

    def draw_outliers(self, most: int = _IMAGES) -> str:
        """Return the samples that lie farthest from their neighbours."""
        total = sum(map(len, self.dataset.splits().values()))
        step = -(-total // MOST_SAMPLES)
        part = f", looked for in one sample of {step}" if step > 1 else ""
        how = "the TF-IDF weights of their words" if self.is_text else "their pixels"
        cards = [
            make_card(self.dataset, found.part, found.row, f"<br>distance {found.distance:.2f}")
            for found in self.outliers[:most]
        ]
        return (
            f"<p>Farthest from their fifth nearest neighbour by {how}{part}; the distance is given as a "
            "multiple of the median. They may be unreadable, wrongly labelled, or just rare. "
            '<span class="workbench-where">Method: Ramaswamy et al., doi:10.1145/342009.335437</span></p>'
            + show_cards(cards, length=400)
        )


class ExplorePanel:
    """The widgets: a tab for samples with its controls, and one for each part of the survey."""

    def __init__(self, dataset: Dataset, survey: Survey) -> None:
        import ipywidgets

        self._dataset, self._survey = dataset, survey
        splits = dataset.splits()
        self._parts = np.repeat(list(splits), [len(split) for split in splits.values()])
        self._rows = np.concatenate([np.arange(len(split)) for split in splits.values()])
        self._labels = np.concatenate([split.y for split in splits.values()])
        plain = field_options()
        self.split = ipywidgets.Dropdown(options=self._split_options(), description="Split", **plain)
        self.label = ipywidgets.Dropdown(options=self._class_options(), description="Class", **plain)
        hint = "words in the text" if survey.is_text else "part of an id"
        self.search = ipywidgets.Text(
            description="Search", placeholder=f"{hint}, then Enter", continuous_update=False, **plain
        )
        self.samples = ipywidgets.HTML()
        self.pager = Pager(_TEXTS if survey.is_text else _IMAGES, "sample", self._show)
        for control in (self.split, self.label, self.search):
            control.observe(lambda _: self.pager.browse(self._find()), names="value")
        self.pager.browse(self._find())
        self.tabs = self._build_tabs()
        self.children = [ipywidgets.HTML(f"<p>{describe_dataset(dataset)}</p>"), self.tabs]

    def _build_tabs(self) -> Any:
        import ipywidgets

        controls = build_row(self.split, self.label, self.search)
        browse = ipywidgets.VBox([controls, self.pager.root, self.samples])
        titles = ["Samples", "Balance", f"Duplicates ({len(self._survey.duplicates)})", "Outliers"]
        drawn = (
            self._survey.draw_balance(),
            self._survey.draw_duplicates(),
            self._survey.draw_outliers(),
        )
        return ipywidgets.Tab([browse, *map(ipywidgets.HTML, drawn)], titles=titles)

    def _split_options(self) -> list[tuple[str, str]]:
        splits = self._dataset.splits()
        named = [(f"{part} ({len(split):,})", part) for part, split in splits.items()]
        return [(f"all ({len(self._rows):,})", _ALL), *named]

    def _class_options(self) -> list[tuple[str, int | str]]:
        names = self._dataset.class_names
        counts = np.bincount(self._labels, minlength=len(names))
        named = [(f"{name} ({counts[label]:,})", label) for label, name in enumerate(names)]
        return [(f"all ({len(names):,} classes)", _ALL), *named]

    def _find(self) -> np.ndarray:
        """Return the places of the samples that fit the controls."""
        fits = np.ones(len(self._rows), bool)
        if self.split.value != _ALL:
            fits &= self._parts == self.split.value
        if self.label.value != _ALL:
            fits &= self._labels == self.label.value
        places = np.flatnonzero(fits)
        wanted = self.search.value.strip().lower()
        if not wanted:
            return places
        splits = self._dataset.splits()
        kept = [
            place
            for place in places
            if wanted in self._searched(splits[self._parts[place]], self._rows[place]).lower()
        ]
        return np.array(kept, dtype=np.int64)

    def _searched(self, split: Any, row: int) -> str:
        return " ".join(split.x[row].split()) if self._survey.is_text else str(split.ids[row])

    def _show(self, places: Sequence[int]) -> None:
        cards = [make_card(self._dataset, self._parts[place], self._rows[place]) for place in places]
        self.samples.value = show_cards(cards, self.search.value.strip())


def describe_dataset(dataset: Dataset) -> str:
    """Return the size of a dataset in one line of HTML."""
    sizes = ", ".join(f"{part} {len(split):,}" for part, split in dataset.splits().items())
    kind = dataset.task.partition("-")[0]
    total = sum(map(len, dataset.splits().values()))
    classes = f"{len(dataset.class_names)} class{'' if len(dataset.class_names) == 1 else 'es'}"
    licence = dataset.card.get("licence")
    about = f" · licence: {escape(licence)}" if licence else ""
    return f"{count(total, kind)} of {classes}: {sizes}{about}"
