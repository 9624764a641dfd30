"""Tables: their columns, their numbers, and what they do with nothing."""

import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.datasets import Dataset, Split
from workbench.evaluation import Predictions, Result


def make_split(labels: Any, texts: Any = None) -> Split:
    texts = np.array(["text"] * len(labels) if texts is None else texts, dtype=object)
    ids = np.array([str(number) for number in range(len(labels))])
    return Split({"text": texts}, {"label": np.asarray(labels, np.int64)}, ids)


def make_dataset(train: Split, val: Split, test: Split, names: tuple[str, ...]) -> Dataset:
    return Dataset("made", "text-classification", train, val, test, names, "0" * 32, {}, {})


def make_result(model: str, guesses: list[int], kind: str = "model", seed: int | None = None) -> Result:
    """Return the result of a model that is 90 % sure of each guess; the true classes are 0, 0, 1, 1."""
    probabilities = (0.1 + 0.8 * np.eye(2)[guesses]).astype(np.float32)
    ids = np.array([str(number) for number in range(4)])
    return Result(model, kind, Predictions(ids, np.array([0, 0, 1, 1]), probabilities, ("a", "b")), seed)


def test_split_sizes_add_up() -> None:
    data = make_dataset(make_split([0, 1, 1]), make_split([]), make_split([0]), ("a", "b"))
    table = wb.tables.table_split_sizes(data)
    assert table.to_dict("list") == {
        "split": ["train", "val", "test"],
        "samples": [3, 0, 1],
        "share": [0.75, 0, 0.25],
        "classes": [2, 0, 1],
    }


def test_text_samples_take_the_classes_in_turn() -> None:
    split = make_split([0, 0, 1], ["first", "second", "<script>third"])
    table = wb.tables.table_text_samples(split, ("坏", "好"), count=2)
    assert table.to_dict("list") == {"class": ["坏", "好"], "text": ["first", "<script>third"]}


def test_text_samples_are_cut_to_one_short_line() -> None:
    table = wb.tables.table_text_samples(make_split([0], ["a\n\nb  " + "x" * 300]), ("a",), length=10)
    assert table["text"].tolist() == ["a b xxxxx…"]


def test_text_samples_of_an_empty_split_have_no_rows() -> None:
    table = wb.tables.table_text_samples(make_split([]), ("a", "b"))
    assert list(table) == ["class", "text"]
    assert table.empty


def test_summary_has_a_row_for_every_result() -> None:
    results = [make_result("net", [0, 0, 1, 0], seed=3), make_result("majority", [0] * 4, "baseline")]
    table = wb.tables.table_summary("made", results)
    assert list(table) == [
        "dataset", "model", "kind", "run", "seed", "accuracy", "macro_f1", "log_loss", "test_samples",
    ]  # fmt: skip
    assert table["accuracy"].tolist() == [0.75, 0.5]
    assert table["run"].tolist() == ["", ""]
    assert table["seed"].tolist() == [3, pd.NA]
    assert table["test_samples"].tolist() == [4, 4]


def test_means_are_those_of_each_model_best_first() -> None:
    guesses = {"poor": [[1, 1, 0, 0]], "good": [[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]]}
    results = [make_result(model, values) for model, runs in guesses.items() for values in runs]
    table = wb.tables.table_means(wb.tables.table_summary("made", results))
    assert table["model"].tolist() == ["good", "poor"]
    assert table["runs"].tolist() == [3, 1]
    assert table["accuracy"].tolist() == [pytest.approx(0.75), 0]
    assert table["accuracy_sd"][0] == pytest.approx(statistics.stdev([1, 0.75, 0.5]))
    assert np.isnan(table["accuracy_sd"][1])


def test_summary_and_means_of_nothing_have_their_columns() -> None:
    table = wb.tables.table_means(wb.tables.table_summary("made", []))
    assert table.empty
    assert {"model", "runs", "accuracy", "accuracy_sd"} <= set(table)


def test_class_measures_are_means_over_the_runs_of_a_model() -> None:
    results = [make_result("net", [0, 0, 1, 1]), make_result("net", [0, 0, 1, 0])]
    table = wb.tables.table_classes({"net": results})
    assert table["class"].tolist() == ["a", "b"]
    assert table["recall"].tolist() == [1, 0.75]
    assert table["support"].tolist() == [2, 2]


def test_confusions_name_their_classes() -> None:
    table = wb.tables.table_confusions(np.array([[1, 2], [3, 4]]), ("a", "b"))
    assert table.to_dict("list") == {"true class": ["a", "b"], "a": [1, 3], "b": [2, 4]}


def test_confusions_of_a_class_called_like_the_first_column_are_kept() -> None:
    table = wb.tables.table_confusions(np.array([[1]]), ("true class",))
    assert table.to_numpy().tolist() == [["true class", 1]]


def test_mistakes_show_the_text() -> None:
    split = make_split([0, 0, 1, 1], ["one", "two", "three", "four"])
    data = make_dataset(split, split, split, ("a", "b"))
    mistakes = wb.evaluation.find_worst_mistakes(make_result("net", [0, 0, 1, 0]).predictions, 5)
    table = wb.tables.table_mistakes("net", mistakes, data)
    assert list(table)[:4] == ["model", "id", "text", "true"]
    assert table["text"].tolist() == ["four"]
