"""Explain predictions: what in a sample that is picked speaks for a class, and whether to believe it."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.dashboards.cards import Card, Pager, require_known_task, show_cards
from workbench.dashboards.cell import Dashboard, Publish
from workbench.dashboards.look import BLUE, ORANGE, bar, escape, table
from workbench.dashboards.mistakes import ANY, ORDERS, OTHER, Choice, Study
from workbench.dashboards.widgets import build_button, build_row, field_options
from workbench.errors import WorkbenchError
from workbench.evaluation.results import load_test_data, read_results
from workbench.figures import blend_maps
from workbench.runs import Run, RunRecord, open_run, show_path

if TYPE_CHECKING:
    import keras
    import pandas as pd

_IMAGES, _TEXTS = 12, 4  # on a page
_DEPTHS = 4  # at which the sanity check looks; each explains the sample anew
_SHOWN = {"mistakes": OTHER, "all samples": ANY}
_PREDICTED = -1  # instead of a class: the one that the network says

Method = Callable[["keras.Model", Sequence[Any], int], Sequence[np.ndarray]]


def explain(run: str | Path | Run | RunRecord) -> Dashboard:
    """Explain a network's predictions in a notebook: pick a test sample to see what speaks for its class.

    Images show Grad-CAM and integrated gradients, texts what each word adds by integrated gradients and by
    occlusion. Beside each stands its sanity check: how alike it stays when the weights become random.

    Args:
        run: The folder of a finished training run that kept its network and predictions.

    Raises:
        WorkbenchError: The run is unfinished, has no network, no predictions or another task, its data have
            changed, or Keras does not run on TensorFlow.

    Example:
        wb.explain("runs/quickstart/train_digits-seed=0-f2f4a99f")
    """
    from workbench.evaluation import explanation
    from workbench.evaluation.explanation.scores import require_tensorflow

    path = str(run.path if isinstance(run, Run | RunRecord) else run)
    task = (open_run(path).dataset or {}).get("task")
    if task is not None:
        require_known_task(task, f"The run {show_path(open_run(path).path)}")
    (result,) = read_results([path])
    dataset = load_test_data([result])
    require_tensorflow()
    network = explanation.load_network(path)
    is_text = dataset.task == "text-classification"
    methods = _explain_texts(path) if is_text else _explain_images()
    explainer = Explainer(Study(dataset, result.predictions), network, methods)
    return Dashboard(
        f"What {result.model} looks at in {dataset.name}",
        lambda: explainer.draw(explainer.first, _PREDICTED),
        lambda publish: ExplanationPanel(explainer, publish).children,
    )


class Explainer:
    """A network beside its test samples, and the methods that explain it.

    Args:
        study: The test samples and what the network said of them.
        network: As it was trained.
        methods: By name; each takes a network, samples and the class to explain.
    """

    def __init__(self, study: Study, network: "keras.Model", methods: dict[str, Method]) -> None:
        self.study, self.methods = study, methods
        self._network = network
        self._pages: dict[tuple[int, int], str] = {}

    @property
    def first(self) -> int | None:
        """The sample to begin with: the worst mistake, or where there is none the first sample."""
        found = [*self.study.find(Choice()), *range(len(self.study.predictions))]
        return int(found[0]) if found else None

    @cached_property
    def _randomized(self) -> list[tuple[str, "keras.Model"]]:
        """Networks with more and more random weights, kept because making one takes seconds."""
        from workbench.evaluation.explanation import keep_randomized

        return keep_randomized(self._network, _DEPTHS)

    def draw(self, sample: int | None, label: int) -> str:
        """Return a sample with all its explanations as HTML.

        Args:
            sample: Of the test set; None where it is empty.
            label: The class to explain, or -1 for the predicted one.
        """
        if sample is None:
            return '<p class="workbench-note">The test set has no sample.</p>'
        wanted = int(self.study.guesses[sample]) if label == _PREDICTED else label
        if (sample, wanted) not in self._pages:
            parts = [self._draw_method(name, sample, wanted) for name in self.methods]
            head = f"<h5>What speaks for {escape(self.study.names[wanted])}</h5>"
            own = show_cards([self.study.card(sample)])
            self._pages[sample, wanted] = f"{head}{own}{''.join(parts)}"
        return self._pages[sample, wanted]

    def _draw_method(self, name: str, sample: int, label: int) -> str:
        from workbench.evaluation.explanation import compare_explanations

        split, method = self.study.dataset.test, self.methods[name]
        one = split.x[sample : sample + 1]
        try:
            (found,) = method(self._network, one, label)
            checked = compare_explanations(
                lambda network, x: method(network, x, label), [found], one, self._randomized
            )
        except WorkbenchError as error:  # such as Grad-CAM of a network without a convolution
            return f'<h5>{escape(name)}</h5><p class="workbench-note">{escape(error)}</p>'
        drawn = draw_words(one[0], found) if self.study.is_text else draw_map(one, found, name)
        return f"<h5>{escape(name)}</h5>{drawn}{draw_check(checked)}"


class ExplanationPanel:
    """The widgets: which samples to choose from, the samples, the class to explain, and the explanation."""

    def __init__(self, explainer: Explainer, publish: Publish) -> None:
        import ipywidgets

        self._explainer, self._publish = explainer, publish
        study, plain = explainer.study, field_options()
        self._on_page: Sequence[int] = ()
        self.chosen = explainer.first
        classes = [(name, label) for label, name in enumerate(study.names)]
        self.shown = ipywidgets.Dropdown(options=list(_SHOWN.items()), description="Show", **plain)
        self.true = ipywidgets.Dropdown(
            options=[("any class", ANY), *classes], value=ANY, description="True", **plain
        )
        self.order = ipywidgets.Dropdown(options=list(ORDERS), description="Order", **plain)
        self.label = ipywidgets.Dropdown(
            options=[("the predicted class", _PREDICTED), *classes],
            value=_PREDICTED,
            description="Explain",
            **plain,
        )
        size = _TEXTS if study.is_text else _IMAGES
        self.cards = [ipywidgets.HTML() for _ in range(size)]
        self.buttons = [build_button("Explain") for _ in range(size)]
        self.tiles = [ipywidgets.VBox(pair) for pair in zip(self.cards, self.buttons, strict=True)]
        for place, button in enumerate(self.buttons):
            button.on_click(lambda _, place=place: self._choose(self._on_page[place]))
        self.explanation = ipywidgets.HTML()
        self.pager = Pager(size, "sample", self._show_page)
        for control in (self.shown, self.true, self.order):
            control.observe(lambda _: self._browse(), names="value")
        self.label.observe(lambda _: self._choose(self.chosen), names="value")
        self._browse()
        self.explanation.value = explainer.draw(self.chosen, self.label.value)
        self.children = self._arrange()

    def _arrange(self) -> list[Any]:
        import ipywidgets

        column = "1fr" if self._explainer.study.is_text else "repeat(auto-fill, minmax(124px, 1fr))"
        grid = ipywidgets.GridBox(
            self.tiles, layout=ipywidgets.Layout(grid_template_columns=column, grid_gap="8px")
        )
        controls = build_row(self.shown, self.true, self.order)
        return [controls, self.pager.root, grid, build_row(self.label), self.explanation]

    def _browse(self) -> None:
        choice = Choice(self.true.value, self.shown.value, self.order.value)
        self.pager.browse(self._explainer.study.find(choice))

    def _show_page(self, samples: Sequence[int]) -> None:
        self._on_page = [int(sample) for sample in samples]
        study = self._explainer.study
        for place, tile in enumerate(self.tiles):
            there = place < len(self._on_page)
            tile.layout.display = "" if there else "none"
            if there:
                sample = self._on_page[place]
                self.cards[place].value = show_cards([study.card(sample)], length=400)
                self.buttons[place].tooltip = f"Explain test {study.dataset.test.ids[sample]}"

    def _choose(self, sample: int | None) -> None:
        self.chosen = sample
        self.explanation.value = '<p class="workbench-note">Explaining…</p>'
        page = self._explainer.draw(sample, self.label.value)
        self.explanation.value = page
        self._publish(page)


def draw_map(image: np.ndarray, found: np.ndarray, name: str) -> str:
    """Return an image (1, height, width, channels) under its map as HTML, bright where that is large."""
    return show_cards([Card(blend_maps(image, found[None])[0], name, "bright: speaks for the class")])


def draw_words(text: str, found: np.ndarray) -> str:
    """Return the words of a text on a ground that says what each does: blue for the class, orange against it.

    Args:
        text: Split at blanks.
        found: (words,), NaN for a word that the network did not see.
    """
    most = np.nanmax(np.abs(found)) if np.isfinite(found).any() else 0.0
    words = "".join(_draw_word(*pair, most) for pair in zip(text.split(), found, strict=True))
    note = "Blue words speak for the class, orange ones against it; the network did not see those in italics."
    return f'<div class="workbench-text">{words}</div><p class="workbench-note">{note}</p>'


def _draw_word(word: str, value: float, most: float) -> str:
    if np.isnan(value):
        return f"<i>{escape(word)}</i> "
    red, green, blue = (int((BLUE if value > 0 else ORANGE)[at : at + 2], 16) for at in (1, 3, 5))
    strength = 0.6 * abs(value) / most if most else 0.0
    ground = f"background-color:rgba({red},{green},{blue},{strength:.2f});border-radius:2px;padding:0 1px"
    return f'<span style="{ground}" title="{value:.4g}">{escape(word)}</span> '


def draw_check(checked: "pd.DataFrame") -> str:
    """Return what `check_sanity` found as HTML, with the sentence that follows from it."""
    last = checked.iloc[-1]
    verdict = (
        "It depends on what was learned."
        if last["explains"]
        else "It shows the sample, not what was learned: do not rely on it."
    )
    rows = [
        (escape(row.layer), f"{bar(max(row.similarity, 0.0), BLUE)} {row.similarity:.2f}")
        for row in checked.itertuples()
    ]
    head = ("random from the output down to", "rank correlation with this map")
    mark = "" if last["explains"] else ' class="workbench-warn"'
    sentence = f"With all weights random it keeps a rank correlation of {last['similarity']:.2f}. {verdict}"
    return f"<p{mark}>Sanity check: {sentence}</p>{table(head, rows)}"


def _explain_images() -> dict[str, Method]:
    from workbench.evaluation.explanation import explain_gradcam, integrate_gradients

    return {"Grad-CAM": explain_gradcam, "integrated gradients": integrate_gradients}


def _explain_texts(run: str) -> dict[str, Method]:
    from workbench.evaluation.explanation import build_predict, explain_words, occlude_words

    def integrate(network: "keras.Model", texts: Sequence[str], label: int) -> list[np.ndarray]:
        return explain_words(network, run, texts, np.full(len(texts), label))

    def occlude(network: "keras.Model", texts: Sequence[str], label: int) -> list[np.ndarray]:
        predict = build_predict(network, run)
        return [np.array([fall for _, fall in occlude_words(predict, text, label)]) for text in texts]

    return {"integrated gradients": integrate, "occlusion": occlude}
