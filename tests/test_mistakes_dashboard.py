"""Study errors: which samples a cell shows, in which order, and with which probabilities."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.dashboards.mistakes import ANY, OTHER, Choice, MistakesPanel, Study, study_errors
from workbench.datasets import Dataset, Split
from workbench.errors import WorkbenchError
from workbench.evaluation import Predictions

HOSTILE = "<script>alert(1)</script>"
#   sample        0    1    2    3    4    5
LABELS = np.array([0, 0, 1, 1, 1, 2])
ROWS = np.array(
    [
        [0.9, 0.1, 0.0],  # right
        [0.3, 0.7, 0.0],  # 0 taken for 1
        [0.6, 0.4, 0.0],  # 1 taken for 0
        [0.95, 0.05, 0.0],  # 1 taken for 0, surest
        [0.1, 0.8, 0.1],  # right
        [0.5, 0.1, 0.4],  # 2 taken for 0
    ],
    np.float32,
)


def study_of(rows: np.ndarray, labels: np.ndarray, text: bool = False, names: tuple[str, ...] = ()) -> Study:
    count, classes = rows.shape
    names = names or tuple(f"class {number}" for number in range(classes))
    ids = np.array([f"s{number}" for number in range(count)])
    inputs = (
        {"text": np.array([f"text {n} {HOSTILE}" for n in range(count)], dtype=object)}
        if text
        else {"image": np.zeros((count, 4, 4, 1), np.uint8)}
    )
    split = Split(inputs, {"label": labels}, ids)
    task = f"{'text' if text else 'image'}-classification"
    data = Dataset("made", task, split, split, split, names, "0" * 32, {}, {})
    return Study(data, Predictions(ids, labels, rows, names))


@pytest.fixture
def study() -> Study:
    return study_of(ROWS, LABELS)


def panel_of(*studies: Study) -> tuple[MistakesPanel, list[str]]:
    published: list[str] = []
    return MistakesPanel({f"m{n}": each for n, each in enumerate(studies)}, published.append), published


def shown_ids(html: str) -> list[str]:
    return re.findall(r'workbench-where">test (s\d+)<', html)


class TestChoice:
    def test_of_mistakes_has_the_highest_loss_first(self, study: Study) -> None:
        assert study.find(Choice()).tolist() == [3, 1, 2, 5]

    @pytest.mark.parametrize(
        ("order", "samples"),
        [("most confident first", [3, 1, 2, 5]), ("least confident first", [5, 2, 1, 3])],
    )
    def test_is_sorted_by_confidence(self, study: Study, order: str, samples: list[int]) -> None:
        assert study.find(Choice(order=order)).tolist() == samples

    @pytest.mark.parametrize(
        ("true", "predicted", "samples"),
        [(1, 0, {2, 3}), (1, OTHER, {2, 3}), (1, ANY, {2, 3, 4}), (ANY, 0, {0, 2, 3, 5}), (2, 2, set())],
    )
    def test_of_classes_takes_their_samples(
        self, study: Study, true: int, predicted: int, samples: set[int]
    ) -> None:
        assert set(study.find(Choice(true, predicted)).tolist()) == samples


class TestPanel:
    def test_shows_the_mistakes_at_first(self, study: Study) -> None:
        panel, _ = panel_of(study)
        assert shown_ids(panel.samples.value) == ["s3", "s1", "s2", "s5"]
        assert "4 of 6 test samples wrong, accuracy 0.3333" in panel.about.value

    def test_shows_the_samples_of_a_cell_that_is_pressed(self, study: Study) -> None:
        panel, published = panel_of(study)
        panel.matrix.buttons[1][0].click()
        assert shown_ids(panel.samples.value) == ["s3", "s2"]
        assert (panel.true.value, panel.predicted.value) == (1, 0)
        assert shown_ids(published[-1]) == ["s3", "s2"]
        panel.reset.click()
        assert len(shown_ids(panel.samples.value)) == 4

    def test_marks_the_chosen_cell_only(self, study: Study) -> None:
        panel, _ = panel_of(study)
        for row, column in ((1, 0), (2, 2)):
            panel.matrix.buttons[row][column].click()
            marked = [
                (y, x)
                for y, line in enumerate(panel.matrix.buttons)
                for x, button in enumerate(line)
                if "workbench-chosen" in button._dom_classes
            ]
            assert marked == [(row, column)]

    def test_publishes_one_static_view_a_click(self, study: Study) -> None:
        panel, published = panel_of(study)
        panel.matrix.buttons[1][0].click()
        assert len(published) == 1

    def test_writes_counts_and_tells_them_in_words(self, study: Study) -> None:
        panel, _ = panel_of(study)
        texts = [[button.description for button in line] for line in panel.matrix.buttons]
        assert texts == [["1", "1", "·"], ["2", "1", "·"], ["1", "·", "·"]]
        assert panel.matrix.buttons[1][0].tooltip == "true class 1, predicted class 0: 2 samples"

    def test_says_the_probability_of_the_likely_classes_and_the_true_one(self) -> None:
        rows = np.array([[0.5, 0.3, 0.15, 0.05]], np.float32)
        panel, _ = panel_of(study_of(rows, np.array([3])))
        found = re.findall(r"([\d.]+%) (✓ )?(class \d)", panel.samples.value)
        assert found == [("50.0%", "", "class 0"), ("30.0%", "", "class 1"), ("5.0%", "✓ ", "class 3")]

    def test_of_several_models_changes_between_them(self, study: Study) -> None:
        panel, _ = panel_of(study, study_of(np.eye(3, dtype=np.float32)[LABELS], LABELS))
        panel.model.value = "m1"
        assert "accuracy 1.0000" in panel.about.value
        assert "no such sample" in panel.samples.value
        assert panel.matrix.buttons[0][0].description == "2"

    def test_of_many_classes_draws_those_that_are_confused(self) -> None:
        labels = np.arange(100)
        guesses = np.where(labels >= 94, labels - 6, labels)  # 94 to 99 are taken for 88 to 93
        big = study_of(np.eye(100, dtype=np.float32)[guesses], labels)
        panel, _ = panel_of(big)
        assert len(panel.matrix.buttons) == 12
        assert big.shown_classes == list(range(88, 100))
        panel.true.value = 5
        panel.predicted.value = ANY
        assert shown_ids(panel.samples.value) == ["s5"]

    def test_of_texts_shows_them_escaped(self) -> None:
        panel, _ = panel_of(study_of(ROWS, LABELS, text=True, names=(HOSTILE, "b", "c")))
        drawn = [
            panel.samples.value,
            panel.matrix.root.children[1].value,
            panel.study.draw(HOSTILE, Choice()),
        ]
        assert "text 3 &lt;script&gt;" in drawn[0]
        assert not any("<script" in page for page in drawn)


class TestShades:
    def test_follow_the_share_of_the_true_class(self, study: Study) -> None:
        assert study.shade(2, 0) > study.shade(1, 0) > study.shade(1, 1) > study.shade(1, 2) == 0

    def test_of_a_class_without_samples_are_none(self) -> None:
        assert study_of(ROWS[:1], LABELS[:1]).shade(2, 2) == 0


@pytest.fixture
def train(project: Path) -> Callable[..., wb.Run]:
    """Make a finished run whose model takes every second test text for the other class."""
    lines = [
        f"{word} film number {n},{label}" for n in range(30) for word, label in (("good", "+"), ("bad", "-"))
    ]
    (project / "data/texts.csv").write_text("\n".join(["text,label", *lines]) + "\n")

    def make(folder: str, share: float = 0.8, predict: bool = True, **details: Any) -> wb.Run:
        data = wb.load_dataset("csv:data/texts.csv")
        with wb.start_run(folder, name="train", parameters={"seed": len(folder)}) as run:
            run.record(**({"dataset": data.reference(), "model": "guess"} | details))
            if predict:
                guesses = data.test.y ^ (np.arange(len(data.test)) % 2)
                rows = (1 - share) + (2 * share - 1) * np.eye(2)[guesses]
                wb.write_predictions(run, data.test, rows, data.class_names)
        return run

    return make


class TestRuns:
    def test_are_studied_by_path_or_object(self, train: Callable[..., wb.Run]) -> None:
        run = train("runs/a")
        pages = [
            study_errors(each).static_view() for each in ("runs/a", run.path, run, wb.open_run("runs/a"))
        ]
        assert all("3 of 6 test samples wrong" in page for page in pages)

    def test_of_one_model_are_averaged(self, train: Callable[..., wb.Run]) -> None:
        runs = [train("runs/a", share=0.8), train("runs/bb", share=0.6)]
        page = study_errors(runs).static_view()
        assert "guess, mean of 2 runs" in page
        assert "70.0%" in page

    def test_have_a_static_view_with_matrix_and_samples(self, train: Callable[..., wb.Run]) -> None:
        train("runs/a")
        page = study_errors("runs/a").static_view()
        assert page.count("<td style=") == 4
        assert page.count("film number") == 3
        assert len(page) < 20_000

    def test_without_predictions_are_refused(self, train: Callable[..., wb.Run]) -> None:
        train("runs/a", predict=False)
        with pytest.raises(WorkbenchError, match=r"(?s)runs/a holds no .*predictions.*wb.write_predictions"):
            study_errors("runs/a")

    def test_on_data_that_changed_are_refused(self, train: Callable[..., wb.Run], project: Path) -> None:
        train("runs/a")
        file = project / "data/texts.csv"
        file.write_text(file.read_text().replace("number 7", "number seven"))
        with pytest.raises(WorkbenchError, match="have changed"):
            study_errors("runs/a")

    def test_of_an_unknown_task_are_refused(self, train: Callable[..., wb.Run]) -> None:
        train("runs/a", dataset={"name": "prices", "task": "regression"}, predict=False)
        with pytest.raises(
            WorkbenchError, match=r"(?s)runs/a has the task 'regression'.*text-classification"
        ):
            study_errors("runs/a")

    def test_must_be_given(self, project: Path) -> None:
        with pytest.raises(WorkbenchError, match="empty list"):
            study_errors([])
        with pytest.raises(WorkbenchError, match="No run in nowhere"):
            study_errors("nowhere")
