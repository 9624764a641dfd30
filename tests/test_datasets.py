"""Datasets on disk and in the cache: saved, opened again, shared between processes, noticed when damaged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.datasets import Dataset, Split, load_dataset, open_dataset, source_stamp
from workbench.datasets.cache import build_folder
from workbench.datasets.storage import ArrayWriter, DamagedError, open_array, write_array
from workbench.errors import WorkbenchError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def table(project: Path) -> Path:
    """A table of forty texts in a project of its own."""
    path = project / "texts.csv"
    texts = [f"text {row}" for row in range(40)]
    pd.DataFrame({"text": texts, "label": ["a", "b"] * 20}).to_csv(path, index=False)
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Dataset:
    return load_dataset("digits", max_samples=100, cache_dir=tmp_path / "cache")


def assert_equal(one: Dataset, other: Dataset) -> None:
    assert one.fingerprint == other.fingerprint
    for part, split in one.splits().items():
        for name, array in split.arrays().items():
            np.testing.assert_array_equal(array, other.splits()[part].arrays()[name])


# A dataset


def test_splits_of_different_lengths_are_refused():
    with pytest.raises(WorkbenchError, match=r"'image': 3, 'label': 2"):
        Split({"image": np.zeros((3, 2, 2, 1))}, {"label": np.zeros(2)}, np.array(["a", "b", "c"]))


def test_the_only_input_has_a_short_name_and_several_have_none():
    one = Split({"text": np.array(["a"], object)}, {"label": np.array([1])}, np.array(["1"]))
    assert one.x[0] == "a"
    assert one.y[0] == 1
    two = Split({"text": one.x, "image": one.y}, one.targets, one.ids)
    with pytest.raises(WorkbenchError, match=r"2 inputs \(text, image\)"):
        two.x  # noqa: B018  the access itself fails


def test_the_users_own_array_stays_writeable():
    mine = np.zeros((2, 1))
    split = Split({"image": mine}, {"label": np.zeros(2)}, np.array(["1", "2"]))
    mine[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        split.x[0] = 2


def test_the_reference_is_what_a_run_records(digits):
    reference = digits.reference()
    assert reference["sizes"] == {"train": 70, "val": 10, "test": 20}
    assert reference["class_names"] == list("0123456789")
    assert json.loads(json.dumps(reference)) == reference


def test_the_recipe_gives_the_dataset_again(digits, tmp_path):
    again = load_dataset(**digits.recipe, cache_dir=tmp_path / "another cache")
    assert_equal(again, digits)


def test_the_catalogs_options_apply_until_others_are_given(digits, tmp_path):
    assert digits.input_shape == (32, 32, 1)
    smaller = load_dataset(
        "digits", max_samples=100, image_size=[12, 10], test_fraction=0.1, cache_dir=tmp_path
    )
    assert smaller.input_shape == (12, 10, 1)
    assert len(smaller.test) == 10
    assert digits.card["licence"] == "CC BY 4.0"


def test_a_resized_dataset_is_split_in_the_same_way(digits, tmp_path):
    smaller = load_dataset("digits", max_samples=100, image_size=[16, 16], cache_dir=tmp_path)
    np.testing.assert_array_equal(smaller.test.ids, digits.test.ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"max_samples": -1}, "max_samples=-1"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "leave nothing to train on"),
        ({"test_fraction": -0.1}, "leave nothing to train on"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, tmp_path):
    with pytest.raises(WorkbenchError, match=message):
        load_dataset("digits", cache_dir=tmp_path, **options)


def test_empty_splits_can_be_asked_for(tmp_path):
    dataset = load_dataset("digits", max_samples=50, val_fraction=0, cache_dir=tmp_path)
    assert dataset.val.x.shape == (0, 32, 32, 1)
    assert_equal(load_dataset("digits", max_samples=50, val_fraction=0, cache_dir=tmp_path), dataset)


def test_the_split_and_content_of_digits_are_pinned(tmp_path):
    """Guards published results: a change here makes every earlier run on digits another experiment."""
    dataset = load_dataset("digits", image_size=[8, 8], cache_dir=tmp_path)
    assert dataset.test.ids[:5].tolist() == ["00005", "00012", "00014", "00016", "00022"]
    assert dataset.fingerprint == "14ba2288f03f683f5a976653276c2e14"


# Saved datasets


def test_a_saved_dataset_is_the_same_and_needs_no_cache(digits, tmp_path):
    saved = digits.save(tmp_path / "run" / "dataset")
    shutil.rmtree(tmp_path / "cache")
    assert_equal(open_dataset(saved), digits)
    assert open_dataset(saved).card == digits.card


def test_a_saved_dataset_shares_the_files_of_the_cache(digits, tmp_path):
    saved = digits.save(tmp_path / "saved")
    assert (saved / "train.image.npy").samefile(digits.path / "train.image.npy")


def test_a_dataset_made_in_memory_can_be_saved(tmp_path):
    split = Split(
        {"text": np.array(["one", "二"], object)}, {"label": np.array([0, 1])}, np.array(["1", "2"])
    )
    made = Dataset("made", "text-classification", split, split, split, ("a", "b"), "f00", {}, {})
    opened = open_dataset(made.save(tmp_path / "saved"))
    assert_equal(opened, made)
    assert opened.train.x.dtype == object


def test_an_earlier_dataset_is_replaced_finished_or_not(digits, tmp_path):
    saved = digits.save(tmp_path / "saved")
    (saved / "dataset.json").unlink()
    digits.save(tmp_path / "saved")
    assert_equal(open_dataset(digits.save(tmp_path / "saved")), digits)


def test_a_folder_with_something_else_is_not_replaced(digits, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    with pytest.raises(WorkbenchError, match=r"'chapter\.tex'"):
        digits.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_a_dataset_can_be_saved_after_the_cache_was_cleared(digits, tmp_path):
    shutil.rmtree(tmp_path / "cache")
    assert_equal(open_dataset(digits.save(tmp_path / "saved")), digits)


def test_a_prepared_run_gives_its_dataset(table):
    dataset = load_dataset(f"csv:{table.name}")
    with wb.start_run("runs/prepare", parameters={}) as run:
        dataset.save(run.artifacts / "dataset")
    prepared = load_dataset("run:runs/prepare")
    assert_equal(prepared, dataset)
    assert prepared.recipe == {"spec": "run:runs/prepare"}
    assert source_stamp("run:runs/prepare") == dataset.fingerprint


def test_a_run_folder_that_was_copied_elsewhere_still_opens(table, project):
    dataset = load_dataset(f"csv:{table.name}")
    dataset.save(project / "run" / "artifacts" / "dataset")
    shutil.copytree(project / "run", project / "copy", copy_function=shutil.copyfile)
    assert_equal(load_dataset("run:copy"), dataset)


def test_options_that_a_run_was_not_prepared_with_are_refused(table, project):
    load_dataset(f"csv:{table.name}", split_seed=3).save(project / "run" / "artifacts" / "dataset")
    load_dataset("run:run", split_seed=3)
    with pytest.raises(WorkbenchError, match=r"split_seed=4 was given.*with split_seed=3"):
        load_dataset("run:run", split_seed=4)


@pytest.mark.parametrize(
    ("spec", "what"), [("run:nowhere", "does not exist"), ("run:data", "no prepared dataset")]
)
def test_a_run_without_a_dataset_is_named(project, spec, what):
    with pytest.raises(WorkbenchError, match=rf"{spec}.*{what}(.|\n)*01_prepare_data"):
        load_dataset(spec)


# The cache


def test_a_second_opening_maps_the_files_into_memory(digits, tmp_path):
    again = load_dataset("digits", max_samples=100, cache_dir=tmp_path / "cache")
    base = again.train.x
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


def damage_by_truncation(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10)


def damage_by_removal(path: Path) -> None:
    path.unlink()


def damage_by_other_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10] + bytes(10))


@pytest.mark.parametrize("damage", [damage_by_truncation, damage_by_removal, damage_by_other_bytes])
@pytest.mark.parametrize("file", ["train.image.npy", "val.label.npy", "test.ids.npy", "dataset.json"])
def test_a_damaged_cache_is_noticed_and_made_again(digits, tmp_path, damage, file):
    path = digits.path / file
    images = digits.train.x.copy()
    path.chmod(0o644)
    damage(path)
    again = load_dataset("digits", max_samples=100, cache_dir=tmp_path / "cache")
    assert again.fingerprint == digits.fingerprint
    np.testing.assert_array_equal(again.train.x, images)


@pytest.mark.parametrize("damage", [damage_by_truncation, damage_by_removal, damage_by_other_bytes])
def test_damaged_texts_are_noticed_and_made_again(table, damage):
    dataset = load_dataset("csv:texts.csv")
    expected = dataset.train.x.tolist()
    (dataset.path / "train.text.arrow").chmod(0o644)
    damage(dataset.path / "train.text.arrow")
    assert load_dataset("csv:texts.csv").train.x.tolist() == expected


def test_a_damaged_run_is_an_error_that_names_the_file(table, project):
    saved = load_dataset("csv:texts.csv").save(project / "run" / "artifacts" / "dataset")
    (saved / "test.label.npy").unlink()
    with pytest.raises(
        DamagedError, match=r"run/artifacts/dataset/test\.label\.npy(.|\n)*Prepare the data again"
    ):
        load_dataset("run:run")


def test_a_preparation_that_was_killed_half_way_does_not_look_finished(table, project):
    script = (
        "import os\n"
        "from workbench.datasets import load_dataset, prepare\n"
        "prepare.write_manifest = lambda *arguments: os._exit(9)\n"
        "load_dataset('csv:texts.csv')\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    (half,) = (project / "data" / "cache" / "prepared").iterdir()
    assert (half / "train.text.arrow").exists()
    assert len(load_dataset("csv:texts.csv").train) == 32


def test_several_processes_that_prepare_the_same_all_succeed(table, project):
    script = (
        "from workbench.datasets import load_dataset\n"
        "print('ready', flush=True)\n"
        "input()\n"
        "print(load_dataset('csv:texts.csv').fingerprint)\n"
    )
    command = [sys.executable, "-c", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 3
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=60)[0] for process in running]
    assert set(printed) == {load_dataset("csv:texts.csv").fingerprint + "\n"}
    assert [path.name[:6] for path in (project / "data/cache/prepared").iterdir()] == ["texts-"]


def test_of_two_that_build_the_same_folder_the_first_to_finish_wins(tmp_path):
    def build_first(folder: Path) -> str:
        (folder / "winner").write_text("first")
        return "target"

    def build_second(folder: Path) -> str:
        build_folder(tmp_path, build_first)
        (folder / "winner").write_text("second")
        return "target"

    assert (build_folder(tmp_path, build_second) / "winner").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_no_pickle_is_loaded(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"code": "run"}], object), allow_pickle=True)
    status = (tmp_path / "evil.npy").stat()
    facts = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "digest": ""}
    with pytest.raises(DamagedError, match="cannot be read"):
        open_array(tmp_path / "evil.npy", facts)


def test_blocks_written_one_by_one_make_one_array(tmp_path):
    whole = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3)
    with ArrayWriter(tmp_path / "blocks.npy", whole.shape, whole.dtype) as writer:
        writer.append(whole[:2])
        writer.append(whole[2:])
    np.testing.assert_array_equal(np.load(tmp_path / "blocks.npy"), whole)
    assert writer.facts["digest"] == write_array(tmp_path / "whole.npy", whole)["digest"]


# Imports


def test_importing_datasets_is_light():
    script = "import sys, workbench.datasets; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    heavy = {"tensorflow", "keras", "pandas", "pyarrow", "sklearn", "PIL", "yaml", "urllib.request"}
    assert not heavy & set(modules.split())


def test_opening_prepared_images_imports_neither_pillow_nor_tensorflow(tmp_path):
    load_dataset("digits", cache_dir=tmp_path)
    script = (
        "import sys\nfrom workbench.datasets import load_dataset\n"
        "load_dataset('digits', cache_dir=sys.argv[1])\nprint(*sys.modules)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert not {"tensorflow", "keras", "PIL", "sklearn", "pandas"} & set(modules)
