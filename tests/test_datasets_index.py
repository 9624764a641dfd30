"""What the cache knows of a folder: when it is the same, and when it has changed."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

from workbench.datasets import source_stamp
from workbench.errors import WorkbenchError


def all_ids(dataset) -> list[str]:
    return sorted(np.concatenate([split.ids for split in dataset.splits().values()]).tolist())


def age(image_folder: Path) -> None:
    """Let every file look old enough to be trusted by its times; ctime cannot be set, so it is waited for."""
    for path in image_folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    time.sleep(2.1)


def test_the_second_opening_decodes_nothing(image_folder, load_folder, monkeypatch):
    first = load_folder(image_folder)
    monkeypatch.setattr("workbench.datasets.images.decode_files", None)
    second = load_folder(image_folder)
    assert second.fingerprint == first.fingerprint
    assert second.path == first.path


def test_an_unchanged_folder_is_recognized_without_reading_its_files(
    image_folder, load_folder, tmp_path, monkeypatch
):
    age(image_folder)
    first = load_folder(image_folder)
    monkeypatch.setattr(Path, "read_bytes", only_json)
    assert load_folder(image_folder).fingerprint == first.fingerprint


READ_BYTES = Path.read_bytes


def only_json(path: Path) -> bytes:
    assert path.suffix == ".json", f"{path} was read"
    return READ_BYTES(path)


def test_added_removed_and_changed_files_are_noticed(image_folder, load_folder, write_image):
    before = load_folder(image_folder)
    extra = write_image(image_folder / "cat" / "extra.png")
    assert len(all_ids(load_folder(image_folder))) == 21
    extra.unlink()
    assert load_folder(image_folder).fingerprint == before.fingerprint
    write_image(image_folder / "cat" / "1.png")
    assert load_folder(image_folder).fingerprint != before.fingerprint


def test_a_change_that_keeps_size_and_time_is_noticed_in_a_young_folder(tmp_path, load_folder, write_image):
    for name in ("a", "b"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.bmp")
    before = load_folder(tmp_path / "data")
    changed = tmp_path / "data" / "a" / "1.bmp"
    status = changed.stat()
    write_image(changed)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed.stat().st_size == status.st_size
    assert load_folder(tmp_path / "data").fingerprint != before.fingerprint


def test_a_moved_folder_is_found_in_the_cache(image_folder, load_folder):
    before = load_folder(image_folder)
    moved = image_folder.rename(image_folder.with_name("moved"))
    assert load_folder(moved).fingerprint == before.fingerprint
    assert load_folder(moved).name == "moved"


def test_a_damaged_index_is_made_again(image_folder, load_folder, tmp_path):
    before = load_folder(image_folder)
    for path in (tmp_path / "cache" / "folders").iterdir():
        path.write_text("{")
    assert load_folder(image_folder).fingerprint == before.fingerprint


def test_the_stamp_follows_the_content_and_not_the_place(image_folder, tmp_path, write_image):
    stamp = source_stamp(f"folder:{image_folder}", cache_dir=tmp_path / "cache")
    shutil.copytree(image_folder, tmp_path / "copy")
    assert source_stamp(f"folder:{tmp_path / 'copy'}", cache_dir=tmp_path / "cache") == stamp
    write_image(tmp_path / "copy" / "cat" / "1.png")
    assert source_stamp(f"folder:{tmp_path / 'copy'}", cache_dir=tmp_path / "cache") != stamp


def test_the_stamp_is_the_same_before_and_after_decoding(image_folder, tmp_path, load_folder):
    stamp = source_stamp(f"folder:{image_folder}", cache_dir=tmp_path / "other")
    load_folder(image_folder)
    assert source_stamp(f"folder:{image_folder}", cache_dir=tmp_path / "cache") == stamp
    assert load_folder(image_folder).card["content"] == stamp


def test_a_subset_is_stratified_and_decodes_only_itself(image_folder, load_folder):
    (image_folder / "cat" / "broken.png").touch()
    for seed in range(20):
        try:
            dataset = load_folder(image_folder, max_samples=8, split_seed=seed)
        except WorkbenchError:
            continue
        break
    assert len(all_ids(dataset)) == 8
    assert {name: sum(parts.values()) for name, parts in dataset.card["classes"].items()} == {
        "cat": 4,
        "dog": 4,
    }


def test_the_card_can_be_written_as_json(image_folder, load_folder):
    dataset = load_folder(image_folder)
    assert json.loads(json.dumps(dataset.card)) == dataset.card
    assert dataset.card["samples"] == {"train": 16, "val": 2, "test": 2}
    assert dataset.card["licence"] == "not stated"
