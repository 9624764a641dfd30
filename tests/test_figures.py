"""Figures: what they show, that data cannot write markup into them, and that they stay small."""

import base64
import io
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

import workbench as wb
from workbench.datasets import Dataset, Split
from workbench.evaluation import Predictions

HOSTILE = ("<script>alert(1)</script>", 'a "quoted" & <b>bold</b> name', "猫", "$\\alpha$")
figures = wb.figures


def make_split(inputs: np.ndarray, labels: Any, name: str = "image") -> Split:
    ids = np.array([str(number) for number in range(len(labels))])
    return Split({name: inputs}, {"label": np.asarray(labels, np.int64)}, ids)


def make_dataset(split: Split, names: tuple[str, ...]) -> Dataset:
    return Dataset("made", "image-classification", split, split, split, names, "0" * 32, {}, {})


def epochs(**metrics: list[float]) -> list[dict[str, Any]]:
    """Return the events of a run with these values by epoch."""
    rows = [dict(zip(metrics, values, strict=True)) for values in zip(*metrics.values(), strict=True)]
    return [{"type": "fit"}] + [
        {"type": "epoch", "epoch": number, "metrics": row} for number, row in enumerate(rows)
    ]


def picture(figure: go.Figure) -> np.ndarray:
    """Return the pixels of the figure's image."""
    (trace,) = [trace for trace in figure.data if trace.type == "image"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(trace.source.partition(",")[2]))))


def captions(figure: go.Figure) -> list[str]:
    (trace,) = [trace for trace in figure.data if trace.type == "scatter"]
    return list(trace.text)


def lines(figure: go.Figure, axis: str) -> dict[str, list[float]]:
    return {
        trace.name: [round(float(value), 4) for value in trace.y]
        for trace in figure.data
        if trace.yaxis == axis and trace.x[0] is not None
    }


class TestLearningCurves:
    def test_give_every_metric_a_panel_with_training_and_validation(self) -> None:
        events = epochs(loss=[2, 1], accuracy=[0.5, 0.75], val_loss=[3, 2], val_accuracy=[0.25, 0.5])
        figure = figures.plot_learning_curves({"run": events})
        assert lines(figure, "y") == {"run, training": [2, 1], "run, validation": [3, 2]}
        assert lines(figure, "y2") == {"run, training": [0.5, 0.75], "run, validation": [0.25, 0.5]}
        assert figure.layout.yaxis.title.text == "loss"
        assert figure.layout.yaxis2.title.text == "accuracy"

    def test_count_epochs_from_one(self) -> None:
        figure = figures.plot_learning_curves({"run": epochs(loss=[2, 1, 0.5])})
        assert figure.data[0].x.tolist() == [1, 2, 3]
        assert figure.layout.xaxis.title.text == "epoch"

    def test_draw_a_training_of_one_epoch_by_its_steps(self) -> None:
        steps = [
            {"type": "step", "epoch": 0, "step": step, "metrics": {"loss": 1 / step}} for step in (5, 10, 15)
        ]
        events = [{"type": "fit", "batches": 20}, *steps, *epochs(loss=[0.05])[1:]]
        figure = figures.plot_learning_curves({"run": events})
        assert figure.data[0].x.tolist() == [0.25, 0.5, 0.75, 1]

    def test_of_one_run_have_one_colour_in_every_panel(self) -> None:
        events = epochs(loss=[2, 1], accuracy=[0.5, 0.75])
        figure = figures.plot_learning_curves({"a": events, "b": events})
        colors = {}
        for trace in figure.data:
            if trace.x[0] is not None:
                colors.setdefault(trace.name, set()).add(trace.line.color)
        assert [len(found) for found in colors.values()] == [1, 1]
        assert len(set.union(*colors.values())) == 2

    def test_panels_do_not_overlap(self) -> None:
        events = epochs(loss=[1], a=[1], b=[1], c=[1], d=[1])
        layout = figures.plot_learning_curves({"run": events}).layout
        boxes = [
            (*layout[f"xaxis{n or ''}"].domain, *layout[f"yaxis{n or ''}"].domain) for n in ("", 2, 3, 4, 5)
        ]
        for one in boxes:
            assert 0 <= min(one) < max(one) <= 1
            for two in boxes:
                apart = one[1] < two[0] or two[1] < one[0] or one[3] < two[2] or two[3] < one[2]
                assert one == two or apart

    def test_draw_a_diverged_run(self) -> None:
        figure = figures.plot_learning_curves({"run": epochs(loss=[1, math.nan, math.inf])})
        assert len(figure.data[0].y) == 3
        json.loads(figure.to_json())

    def test_without_an_epoch_say_so(self) -> None:
        for curves in ({}, {"run": []}, {"run": [{"type": "start"}]}):
            figure = figures.plot_learning_curves(curves)
            assert "No epoch" in figure.layout.annotations[0].text


class TestImages:
    def test_show_every_class_under_its_name(self) -> None:
        images = np.zeros((6, 4, 4, 1), np.uint8)
        figure = figures.plot_samples(make_split(images, [0, 0, 0, 0, 1, 2]), ("a", "b", "c"), count=3)
        assert captions(figure) == ["a", "b", "c"]

    @pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (200, 300, 3), (300, 20, 1)])
    def test_keep_colour_and_shape_of_the_samples(self, shape: tuple[int, ...]) -> None:
        color = np.array([200, 100, 50][: shape[-1]], np.uint8)
        images = np.broadcast_to(color, (1, *shape)).copy()
        pixels = picture(figures.plot_images(images, ["one"], "Title"))
        shown = pixels[pixels[..., 3] > 0]
        rows, columns = (np.flatnonzero(pixels[..., 3].any(axis=axis)) for axis in (1, 0))
        expected = color if shape[-1] == 3 else np.repeat(color, 3)
        assert (shown[:, :3] == expected).all()
        assert len(rows) / len(columns) == pytest.approx(shape[0] / shape[1], rel=0.1)

    def test_stand_in_the_order_of_their_captions(self) -> None:
        images = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8) * 20
        figure = figures.plot_images(images, [str(number) for number in range(9)], "Title")
        pixels = picture(figure)
        text = next(trace for trace in figure.data if trace.type == "scatter")
        for number, (x, y) in enumerate(zip(text.x, text.y, strict=True)):
            assert pixels[int(y) - 20, int(x), 0] == number * 20

    def test_of_mistakes_say_true_class_prediction_and_probability(self) -> None:
        predictions = Predictions(
            np.array(["x", "y"]),
            np.array([0, 1]),
            np.array([[0.75, 0.25], [0.9, 0.1]], np.float32),
            ("cat", "dog"),
        )
        mistakes = wb.evaluation.find_worst_mistakes(predictions, 5)
        figure = figures.plot_mistakes(np.zeros((2, 4, 4, 1), np.uint8), mistakes)
        assert captions(figure) == ["true dog<br>said cat<br>with 90%"]

    def test_without_a_mistake_say_so(self) -> None:
        predictions = Predictions(np.array(["x"]), np.array([0]), np.ones((1, 1), np.float32), ("cat",))
        mistakes = wb.evaluation.find_worst_mistakes(predictions, 5)
        figure = figures.plot_mistakes(np.zeros((1, 4, 4, 1), np.uint8), mistakes)
        assert "no mistake" in figure.layout.annotations[0].text

    def test_of_an_empty_split_say_so(self) -> None:
        figure = figures.plot_samples(make_split(np.zeros((0, 4, 4, 1), np.uint8), []), ("a", "b"))
        assert "no image" in figure.layout.annotations[0].text

    def test_stay_small(self) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (20, 256, 256, 3)).astype(np.uint8)
        figure = figures.plot_samples(make_split(noise, np.arange(20) % 2), ("a", "b"))
        assert len(figure.to_json()) < 1_000_000


class TestCounts:
    def test_of_classes_are_bars_for_every_split(self) -> None:
        split = make_split(np.zeros((4, 2, 2, 1), np.uint8), [0, 0, 2, 0])
        figure = figures.plot_class_balance(make_dataset(split, ("a", "b", "c")))
        assert [bar.name for bar in figure.data] == ["train", "val", "test"]
        assert figure.data[0].x.tolist() == [3, 0, 1]

    def test_of_words_are_shares_of_each_split(self) -> None:
        texts = np.array(["one", "one two", "one two", "one two three four"], dtype=object)
        figure = figures.plot_text_lengths(make_dataset(make_split(texts, [0, 1, 0, 1], "text"), ("a", "b")))
        shares = dict(zip(figure.data[0].x.tolist(), figure.data[0].y.tolist(), strict=True))
        assert {words: share for words, share in shares.items() if share} == {1: 0.25, 2: 0.5, 4: 0.25}

    def test_of_empty_texts_are_drawn(self) -> None:
        texts = np.array(["", ""], dtype=object)
        figure = figures.plot_text_lengths(make_dataset(make_split(texts, [0, 1], "text"), ("a", "b")))
        assert figure.data[0].y.sum() == 1


class TestConfusionMatrix:
    def test_colours_shares_of_the_true_class_and_writes_counts(self) -> None:
        figure = figures.plot_confusion_matrix(np.array([[3, 1], [0, 0]]), ("a", "b"))
        np.testing.assert_allclose(figure.data[0].z, [[0.75, 0.25], [0, 0]])
        assert [list(row) for row in figure.data[0].text] == [[3, 1], [0, 0]]
        assert figure.layout.yaxis.title.text == "true class"

    @pytest.mark.parametrize("classes", [2, 30, 100])
    def test_of_many_classes_names_as_many_as_fit(self, classes: int) -> None:
        names = [f"class {number}" for number in range(classes)]
        figure = figures.plot_confusion_matrix(np.eye(classes, dtype=int), names)
        assert min(classes, 30) <= len(figure.layout.xaxis.ticktext) <= 50
        assert list(figure.data[0].x) == names
        assert len(figure.to_json()) < 120_000


class TestText:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_of_data_is_never_markup(self, name: str) -> None:
        images = make_split(np.zeros((2, 4, 4, 1), np.uint8), [0, 1])
        names = (name, "other")
        drawn = [
            figures.plot_samples(images, names),
            figures.plot_class_balance(make_dataset(images, names)),
            figures.plot_confusion_matrix(np.eye(2, dtype=int), names, title=name),
            figures.plot_learning_curves({name: epochs(loss=[1], val_loss=[1])}),
        ]
        for figure in drawn:
            text = json.dumps(json.loads(figure.to_json()), ensure_ascii=False)
            assert "<script" not in text
            assert "<b>" not in text
            assert "$\\\\alpha" not in text
            assert "other" in text or "loss" in text

    def test_is_kept_as_it_is_but_for_escapes(self) -> None:
        figure = figures.plot_confusion_matrix(np.eye(2, dtype=int), ("猫", "a < b & c"))
        assert list(figure.data[0].y) == ["猫", "a &lt; b &amp; c"]

    def test_of_great_length_is_cut_beside_an_axis_and_whole_on_hover(self) -> None:
        names = ("x" * 100, "x" * 99)
        figure = figures.plot_confusion_matrix(np.eye(2, dtype=int), names)
        assert all(len(tick) < 30 for tick in figure.layout.xaxis.ticktext)
        assert list(figure.data[0].x) == list(names)


def test_every_figure_is_transparent_with_titles() -> None:
    split = make_split(np.zeros((2, 4, 4, 1), np.uint8), [0, 1])
    for figure in (
        figures.plot_samples(split, ("a", "b")),
        figures.plot_class_balance(make_dataset(split, ("a", "b"))),
        figures.plot_confusion_matrix(np.eye(2, dtype=int), ("a", "b")),
        figures.plot_learning_curves({"run": epochs(loss=[1])}),
    ):
        assert figure.layout.title.text
        assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert len(figure.to_json()) < 10_000


def contrast(one: str, two: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.1, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio)."""

    def luminance(color: str) -> float:
        parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#14181c"])
def test_ink_of_a_page_of_unknown_colour_is_readable(page: str) -> None:
    assert contrast(figures.build_template().layout.font.color, page) > 4


@pytest.mark.parametrize("page", ["#ffffff", "#14181c"])
def test_colours_of_lines_stand_out(page: str) -> None:
    assert all(contrast(color, page) > 2 for color in figures.PALETTE)


def test_importing_figures_needs_plotly_alone() -> None:
    script = (
        "import sys, workbench.figures\n"
        "print([n for n in ('pandas', 'sklearn', 'pyarrow', 'PIL.Image', 'tensorflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
