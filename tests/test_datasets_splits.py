"""Stratified splits that follow from the seed and share no sample."""

import hashlib

import numpy as np
import pytest

from workbench.datasets.splits import choose_subset, rank, split_samples
from workbench.errors import WorkbenchError

CLASSES = ("a", "b")


def make(counts: dict[int, int], parts: str | list[str] = "") -> dict[str, np.ndarray]:
    """Arguments of split_samples for distinct samples, so many of each label."""
    labels = np.repeat(list(counts), list(counts.values()))
    ids = np.array([f"{number:04d}" for number in range(len(labels))])
    given = np.full(len(ids), parts) if isinstance(parts, str) else np.array(parts)
    return {"ids": ids, "labels": labels, "parts": given, "digests": digests_of(ids)}


def digests_of(names: np.ndarray) -> np.ndarray:
    return np.array([hashlib.md5(name.encode()).digest() for name in names.tolist()], "S16")


def count(assignment, labels, part):
    return np.bincount(labels[assignment.parts == part], minlength=2).tolist()


def test_each_split_has_the_proportions_of_the_classes():
    samples = make({0: 400, 1: 100})
    split = split_samples(**samples, class_names=CLASSES, val_fraction=0.1, test_fraction=0.2)
    assert count(split, samples["labels"], "train") == [280, 70]
    assert count(split, samples["labels"], "val") == [40, 10]
    assert count(split, samples["labels"], "test") == [80, 20]


def test_a_tenth_is_validation_and_a_tenth_is_test_by_default():
    split = split_samples(**make({0: 50, 1: 50}), class_names=CLASSES)
    assert [(split.parts == part).sum() for part in ("train", "val", "test")] == [80, 10, 10]


def test_the_split_is_the_same_whatever_the_order_of_the_samples():
    samples = make({0: 60, 1: 40})
    shuffled = np.random.default_rng(1).permutation(100)
    split = split_samples(**samples, class_names=CLASSES, split_seed=7)
    again = split_samples(
        **{key: array[shuffled] for key, array in samples.items()}, class_names=CLASSES, split_seed=7
    )
    np.testing.assert_array_equal(split.parts[shuffled], again.parts)


def test_another_seed_gives_another_split():
    samples = make({0: 60, 1: 40})
    first = split_samples(**samples, class_names=CLASSES, split_seed=0)
    second = split_samples(**samples, class_names=CLASSES, split_seed=1)
    assert (first.parts != second.parts).any()


def test_ranks_are_pinned_so_that_old_splits_can_be_made_again():
    expected = hashlib.blake2b(b"3\nimage.png", digest_size=16).hexdigest()
    assert rank(np.array(["image.png"]), 3)[0] == int(expected[:16], 16)


def test_equal_contents_fall_on_one_side():
    samples = make({0: 200, 1: 200})
    samples["digests"][100:200] = samples["digests"][:100]
    split = split_samples(**samples, class_names=CLASSES, test_fraction=0.3)
    np.testing.assert_array_equal(split.parts[100:200], split.parts[:100])
    assert split.copies == 100


def test_equal_contents_with_different_labels_fall_on_one_side_and_are_counted():
    samples = make({0: 50, 1: 50})
    samples["digests"][50:53] = samples["digests"][:3]
    split = split_samples(**samples, class_names=CLASSES)
    np.testing.assert_array_equal(split.parts[50:53], split.parts[:3])
    assert split.conflicts == 3


def test_a_content_with_many_copies_does_not_fill_the_test_set():
    samples = make({0: 300, 1: 300})
    samples["digests"][:100] = samples["digests"][0]
    for seed in range(20):
        split = split_samples(**samples, class_names=CLASSES, split_seed=seed)
        assert count(split, samples["labels"], "test") == [30, 30]


def test_a_given_test_set_stays_as_it_is_and_validation_comes_from_train():
    samples = make({0: 100, 1: 100}, ["train"] * 80 + ["test"] * 20 + ["train"] * 80 + ["test"] * 20)
    split = split_samples(**samples, class_names=CLASSES)
    np.testing.assert_array_equal(split.parts == "test", samples["parts"] == "test")
    assert count(split, samples["labels"], "val") == [8, 8]


def test_given_validation_and_test_sets_both_stay():
    samples = make({0: 30, 1: 30}, (["train"] * 20 + ["val"] * 5 + ["test"] * 5) * 2)
    split = split_samples(**samples, class_names=CLASSES)
    np.testing.assert_array_equal(split.parts, samples["parts"])


def test_a_training_copy_of_a_given_test_sample_is_left_out_and_counted():
    samples = make({0: 30, 1: 30}, (["train"] * 20 + ["test"] * 10) * 2)
    samples["digests"][0] = samples["digests"][25]
    split = split_samples(**samples, class_names=CLASSES)
    assert split.parts[0] == ""
    assert split.parts[25] == "test"
    assert split.left_out == 1


def test_a_fraction_of_a_given_test_set_is_refused():
    samples = make({0: 10, 1: 10}, (["train"] * 5 + ["test"] * 5) * 2)
    with pytest.raises(WorkbenchError, match="has its own test set"):
        split_samples(**samples, class_names=CLASSES, test_fraction=0.2)


def test_fewer_samples_than_splits_names_the_class():
    with pytest.raises(WorkbenchError, match=r"'b' has 2 distinct samples.*train, test, val need"):
        split_samples(**make({0: 20, 1: 2}), class_names=CLASSES)


def test_copies_do_not_make_up_for_too_few_distinct_samples():
    samples = make({0: 20, 1: 6})
    samples["digests"][20:] = samples["digests"][20]
    with pytest.raises(WorkbenchError, match="'b' has 1 distinct sample "):
        split_samples(**samples, class_names=CLASSES)


def test_three_samples_of_a_class_are_one_for_each_split():
    samples = make({0: 30, 1: 3})
    split = split_samples(**samples, class_names=CLASSES)
    assert sorted(split.parts[samples["labels"] == 1]) == ["test", "train", "val"]


@pytest.mark.parametrize("fraction", [0.1, 0.33, 0.49])
def test_every_split_gets_a_sample_and_every_sample_a_split(fraction):
    for size in range(3, 30):
        samples = make({0: size, 1: size})
        split = split_samples(**samples, class_names=CLASSES, val_fraction=fraction, test_fraction=fraction)
        assert set(split.parts[:size]) == {"train", "val", "test"}


def test_a_fraction_of_zero_leaves_the_split_empty():
    split = split_samples(**make({0: 9, 1: 9}), class_names=CLASSES, val_fraction=0, test_fraction=0)
    assert set(split.parts) == {"train"}


def test_a_subset_keeps_the_proportions():
    samples = make({0: 800, 1: 200})
    rows = choose_subset(samples["ids"], samples["labels"], samples["parts"], 100, 0)
    assert np.bincount(samples["labels"][rows]).tolist() == [80, 20]
    assert (np.diff(rows) > 0).all()


def test_a_subset_keeps_the_given_splits_and_three_samples_of_a_rare_class():
    samples = make({0: 500, 1: 10}, ["train"] * 400 + ["test"] * 100 + ["train"] * 5 + ["test"] * 5)
    rows = choose_subset(samples["ids"], samples["labels"], samples["parts"], 51, 0)
    kept = list(zip(samples["parts"][rows], samples["labels"][rows], strict=True))
    assert len(kept) == 51
    assert kept.count(("train", 1)) == kept.count(("test", 1)) == 3
    assert kept.count(("train", 0)) == pytest.approx(36, abs=1)


def test_a_larger_subset_contains_the_smaller_one():
    samples = make({0: 300, 1: 300})
    small, large = (
        choose_subset(samples["ids"], samples["labels"], samples["parts"], size, 0) for size in (50, 200)
    )
    assert set(small) <= set(large)


def test_a_subset_that_is_too_small_says_how_many_are_needed():
    samples = make({0: 300, 1: 300})
    with pytest.raises(WorkbenchError, match="Give at least 6"):
        choose_subset(samples["ids"], samples["labels"], samples["parts"], 5, 0)
