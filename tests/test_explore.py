"""Explore data: what the widgets show after a click, and what stays in the notebook without a kernel."""

import base64
import html
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workbench.dashboards.cell import Dashboard
from workbench.dashboards.exploring import ExplorePanel, Survey, explore
from workbench.datasets import Dataset, Split
from workbench.datasets.duplicates import find_duplicates
from workbench.datasets.outliers import find_outliers
from workbench.errors import WorkbenchError

HOSTILE = '<script>alert(1)</script> & "it\'s" $x$'


def split_of(inputs: Any, labels: Any, prefix: str) -> Split:
    texts = isinstance(inputs[0], str)
    array = np.array(inputs, dtype=object) if texts else np.asarray(inputs, np.uint8)
    ids = np.array([f"{prefix}{number}" for number in range(len(labels))])
    return Split({"text" if texts else "image": array}, {"label": np.array(labels, np.int64)}, ids)


def dataset_of(
    train: Split, val: Split, test: Split, names: tuple[str, ...] = ("cat", "dog"), task: str = ""
) -> Dataset:
    kind = task or ("image" if "image" in train.inputs else "text") + "-classification"
    return Dataset("made", kind, train, val, test, names, "0" * 32, {}, {})


@pytest.fixture
def texts() -> Dataset:
    """Forty texts in train of which one in four names a fox, four each in val and test."""
    words = [f"the {'Fox' if n % 4 == 0 else 'hen'} runs home {n}" for n in range(40)]
    train = split_of(words, [n % 2 for n in range(40)], "a")
    val = split_of([f"a hen sleeps {n}" for n in range(4)], [0, 1, 0, 1], "b")
    test = split_of([f"a fox sleeps {n}" for n in range(4)], [0, 1, 0, 1], "c")
    return dataset_of(train, val, test)


@pytest.fixture
def images() -> Dataset:
    """Random grey images; the last one of train is white, and one of test is also in train."""
    random = np.random.default_rng(0)
    train, val, test = (random.integers(0, 60, (count, 8, 8, 1)) for count in (30, 6, 6))
    train[-1] = 255
    test[2] = train[4]
    labels = [[n % 2 for n in range(count)] for count in (30, 6, 6)]
    parts = [
        split_of(x, y, part) for x, y, part in zip((train, val, test), labels, ("a", "b", "c"), strict=True)
    ]
    return dataset_of(*parts)


def panel_of(dataset: Dataset) -> ExplorePanel:
    return ExplorePanel(dataset, Survey(dataset))


def shown_ids(panel: ExplorePanel) -> list[str]:
    return re.findall(r'workbench-where">\w+ ([abc]\d+)<', panel.samples.value)


class TestDuplicates:
    def test_are_found_across_splits(self, images: Dataset) -> None:
        (group,) = find_duplicates(images)
        assert group.places == (("train", 4), ("test", 2))
        assert group.crosses_splits
        assert not group.conflicts

    def test_that_do_harm_come_first(self) -> None:
        train = split_of(["a", "a", "a", "b", "b"], [0, 0, 0, 0, 1], "a")
        rest = split_of(["c"], [0], "b")
        groups = find_duplicates(dataset_of(train, rest, split_of(["d"], [1], "c")))
        assert [(len(group.places), group.conflicts) for group in groups] == [(2, True), (3, False)]

    def test_differ_by_a_single_pixel_or_capital_no_more(self) -> None:
        pair = np.zeros((2, 4, 4, 1), np.uint8)
        pair[1, 3, 3] = 1
        for inputs in (pair, ["word", "Word"]):
            lone = split_of(inputs[:1], [0], "b")
            found = find_duplicates(dataset_of(split_of(inputs, [0, 1], "a"), lone, lone))
            assert [len(group.places) for group in found] == [3]  # the first one, in each of the splits


class TestOutliers:
    def test_of_images_begin_with_the_one_unlike_all(self, images: Dataset) -> None:
        first, second = find_outliers(images, count=2)
        assert (first.part, first.row) == ("train", 29)
        assert first.distance > 2 > second.distance

    def test_have_the_distances_of_a_brute_force_search(self, images: Dataset) -> None:
        pixels = np.concatenate([split.x.reshape(len(split), -1) / 255 for split in images.splits().values()])
        distances = np.sort(np.linalg.norm(pixels[:, None] - pixels[None], axis=2))[:, 3]
        found = find_outliers(images, count=len(pixels), neighbours=3)
        expected = np.sort(distances / np.median(distances))[::-1]
        np.testing.assert_allclose([outlier.distance for outlier in found], expected, rtol=1e-4)

    def test_of_texts_begin_with_the_one_in_other_words(self) -> None:
        inputs = [*(f"the good film number {n % 3}" for n in range(20)), "zyzzyva quux"]
        one = split_of(["the good film"], [0], "b")
        found = find_outliers(dataset_of(split_of(inputs, [0] * 21, "a"), one, one), count=1)
        assert (found[0].part, found[0].row) == ("train", 20)

    def test_are_sought_in_a_part_of_a_large_dataset(self, images: Dataset) -> None:
        found = find_outliers(images, count=100, max_samples=10)
        assert 5 <= len(found) <= 10

    @pytest.mark.parametrize("inputs", [["", ""], [" ! ", "?"]])
    def test_of_texts_without_a_word_are_none(self, inputs: list[str]) -> None:
        split = split_of(inputs, [0, 1], "a")
        assert find_outliers(dataset_of(split, split, split)) == []

    def test_of_large_photographs_are_compared_in_small(self) -> None:
        pixels = np.full((5, 100, 70, 3), 100, np.uint8)
        pixels[3] = 0
        split, rest = split_of(pixels, [0, 1, 0, 1, 0], "a"), split_of(pixels[:2], [0, 1], "b")
        assert find_outliers(dataset_of(split, rest, rest), count=1, neighbours=2)[0].row == 3


class TestPanel:
    def test_shows_the_samples_of_a_split_and_class(self, texts: Dataset) -> None:
        panel = panel_of(texts)
        panel.split.value = "test"
        panel.label.value = 1
        assert shown_ids(panel) == ["c1", "c3"]
        assert "2 samples, page 1 of 1" in panel.pager.line.value

    def test_turns_pages_and_stops_at_both_ends(self, texts: Dataset) -> None:
        panel = panel_of(texts)
        seen = shown_ids(panel)
        assert panel.pager.back.disabled
        while not panel.pager.forward.disabled:
            panel.pager.forward.click()
            seen += shown_ids(panel)
        assert seen == [*(f"a{n}" for n in range(40)), *(f"{p}{n}" for p in "bc" for n in range(4))]
        panel.pager.back.click()
        assert shown_ids(panel) == seen[-16:-8]

    def test_finds_texts_whatever_the_case_and_marks_the_words(self, texts: Dataset) -> None:
        panel = panel_of(texts)
        panel.search.value = "FOX"
        assert "14 samples" in panel.pager.line.value
        assert panel.samples.value.count("<mark>Fox</mark>") == 8
        panel.search.value = "no such word"
        assert "no such sample" in panel.samples.value

    def test_finds_images_by_their_id(self, images: Dataset) -> None:
        panel = panel_of(images)
        panel.search.value = "b3"
        assert shown_ids(panel) == ["b3"]

    def test_begins_again_at_the_first_page_of_another_choice(self, texts: Dataset) -> None:
        panel = panel_of(texts)
        panel.pager.forward.click()
        panel.split.value = "train"
        assert panel.pager.page == 0

    def test_has_a_tab_for_everything(self, images: Dataset) -> None:
        panel = panel_of(images)
        assert list(panel.tabs.titles) == ["Samples", "Balance", "Duplicates (1)", "Outliers"]
        _, balance, duplicates, outliers = panel.tabs.children
        assert balance.value.count("50.0%") == 6
        assert "1 of them in several splits" in duplicates.value
        assert "train a4, test c2" in duplicates.value
        assert re.findall(r'workbench-where">train (a\d+)<', outliers.value)[0] == "a29"

    def test_draws_small_images_with_their_own_pixels(self, images: Dataset) -> None:
        source, width, height = re.search(
            r'src="data:image/png;base64,([^"]+)" width="(\d+)" height="(\d+)"',
            panel_of(images).samples.value,
        ).groups()
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
        assert (width, height) == ("96", "96")
        np.testing.assert_array_equal(pixels, images.train.x[0, ..., 0])

    def test_keeps_photographs_small(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (20, 200, 300, 3))
        split = split_of(noise, [n % 2 for n in range(20)], "a")
        assert len(panel_of(dataset_of(split, split, split)).samples.value) < 150_000


class TestStaticView:
    def test_has_samples_balance_duplicates_and_outliers(self, images: Dataset) -> None:
        page = explore(images).static_view()
        for heading in ("Samples", "Label balance", "Exact duplicates", "Outliers"):
            assert f"<h5>{heading}</h5>" in page
        assert "<script" not in page
        assert page.count("<img") == 20 + 1 + 10

    @pytest.mark.parametrize("size", [(32, 32), (200, 300)])
    def test_of_noise_stays_small(self, size: tuple[int, int]) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (60, *size, 3))
        split, rest = split_of(noise, [n % 2 for n in range(60)], "a"), split_of(noise[:2], [0, 1], "b")
        assert len(explore(dataset_of(split, rest, rest)).static_view()) < 200_000

    def test_of_an_empty_split_says_nothing_of_it(self, texts: Dataset) -> None:
        empty = Split(
            {"text": np.array([], dtype=object)}, {"label": np.array([], np.int64)}, np.array([], dtype=str)
        )
        page = explore(dataset_of(texts.train, empty, texts.test)).static_view()
        assert "share of test" in page
        assert "share of val" not in page


def test_text_of_data_is_never_markup() -> None:
    split = split_of([HOSTILE, "plain"], [0, 1], HOSTILE)
    dataset = dataset_of(split, split, split, names=(HOSTILE, "b"))
    panel = panel_of(dataset)
    panel.search.value = "<script>"
    drawn = [
        explore(dataset).static_view(),
        panel.samples.value,
        *(tab.value for tab in panel.tabs.children[1:]),
    ]
    for page in drawn:
        assert "<script>" not in page
    assert html.escape("<script>") in panel.samples.value
    assert "mathjax_ignore" in drawn[0]


class TestArguments:
    def test_may_be_a_name(self, project: Path) -> None:
        lines = [f"word {n} {label},{label}" for n in range(10) for label in ("+", "-")]
        (project / "data/texts.csv").write_text("\n".join(["text,label", *lines]) + "\n")
        shown = explore("csv:data/texts.csv")
        assert isinstance(shown, Dashboard)
        assert "20 texts of 2 classes" in shown.static_view()

    @pytest.mark.parametrize("value", [None, 3, np.zeros(3)])
    def test_that_are_no_dataset_are_refused(self, value: Any) -> None:
        with pytest.raises(WorkbenchError, match="which is no dataset"):
            explore(value)

    def test_of_an_unknown_task_are_refused(self, texts: Dataset) -> None:
        strange = dataset_of(texts.train, texts.val, texts.test, task="regression")
        with pytest.raises(WorkbenchError, match=r"(?s)made has the task 'regression'.*image-classification"):
            explore(strange)


def test_folder_of_images_is_explored(image_folder: Path, load_folder: Callable[..., Dataset]) -> None:
    page = explore(load_folder(image_folder)).static_view()
    assert "20 images of 2 classes" in page
    assert "cat" in page
