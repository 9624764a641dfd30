"""Folders of images become arrays: layout, decoding, errors and what the cache notices."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.datasets import load_dataset, source_stamp
from workbench.datasets.decoder import decode_image
from workbench.errors import WorkbenchError

RNG = np.random.default_rng(0)


def write_image(path: Path, size: tuple[int, int] = (6, 8), mode: str = "RGB", **options) -> Path:
    """Write an image of (height, width) random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = () if mode == "L" else (len(mode),)
    Image.fromarray(RNG.integers(0, 256, (*size, *channels), np.uint8), mode).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten PNG images in each of two classes."""
    for name in ("cat", "dog"):
        for number in range(10):
            write_image(tmp_path / "animals" / name / f"{number}.png")
    return tmp_path / "animals"


@pytest.fixture
def load(tmp_path: Path):
    """load_dataset with a cache of its own."""

    def load_folder(folder: Path, **options):
        return load_dataset(f"folder:{folder}", cache_dir=tmp_path / "cache", **options)

    return load_folder


def all_ids(dataset) -> list[str]:
    return sorted(np.concatenate([split.ids for split in dataset.splits().values()]).tolist())


def age(folder: Path) -> None:
    """Let every file look old enough to be trusted by its times; ctime cannot be set, so it is waited for."""
    for path in folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    time.sleep(2.1)


# Layout


def test_pixels_labels_and_ids_are_those_of_the_files(folder, load):
    dataset = load(folder)
    assert dataset.class_names == ("cat", "dog")
    assert [len(split) for split in dataset.splits().values()] == [16, 2, 2]
    for split in dataset.splits().values():
        for pixels, label, name in zip(split.x, split.y, split.ids, strict=True):
            np.testing.assert_array_equal(pixels, np.asarray(Image.open(folder / name)))
            assert name.startswith(dataset.class_names[label])
    assert dataset.input_shape == (6, 8, 3)


def test_given_splits_are_kept_and_validation_is_carved_from_train(tmp_path, load):
    for part, count in {"train": 20, "test": 5}.items():
        for number in range(count):
            for name in ("x", "y"):
                write_image(tmp_path / "data" / part / name / f"{number}.png")
    dataset = load(tmp_path / "data")
    assert [len(split) for split in dataset.splits().values()] == [36, 4, 10]
    assert all(name.startswith("test/") for name in dataset.test.ids)


def test_a_class_called_train_is_a_class(tmp_path, load):
    for name in ("train", "bus"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.png")
    assert load(tmp_path / "data").class_names == ("bus", "train")


def test_chinese_class_and_file_names_are_kept(tmp_path, load):
    for name in ("猫", "狗"):
        for number in "一二三四":
            write_image(tmp_path / "图像" / name / f"照片{number}.png")
    dataset = load(tmp_path / "图像")
    assert dataset.class_names == ("狗", "猫")
    assert "猫/照片一.png" in all_ids(dataset)


def test_hidden_files_are_passed_over_and_other_files_are_counted(folder, load):
    (folder / ".DS_Store").touch()
    write_image(folder / ".ipynb_checkpoints" / "1.png")
    (folder / "cat" / "notes.txt").write_text("cats")
    dataset = load(folder)
    assert dataset.card["files_ignored"] == 1
    assert len(all_ids(dataset)) == 20


def test_the_dataset_is_read_only(folder, load):
    dataset = load(folder)
    with pytest.raises(ValueError, match="read-only"):
        dataset.train.x[0] = 0
    with pytest.raises(TypeError):
        dataset.train.inputs["image"] = dataset.test.x


# Decoding


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "webp", "PNG"])
def test_every_format_gives_what_pillow_reads(tmp_path, suffix):
    path = write_image(tmp_path / f"image.{suffix}", (16, 24))
    image, size = decode_image(path.read_bytes())
    np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")))
    assert size == (16, 24)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"comment": b"a comment"}]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_small_jpegs_are_decoded_as_pillow_does(tmp_path, mode, options):
    path = write_image(tmp_path / "image.jpg", (17, 31), mode, **options)
    np.testing.assert_array_equal(decode_image(path.read_bytes())[0], np.asarray(Image.open(path)))


def test_a_jpeg_stands_as_its_exif_orientation_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = write_image(tmp_path / "image.jpg", (16, 24), exif=exif)
    image, size = decode_image(path.read_bytes())
    np.testing.assert_array_equal(image, np.rot90(np.asarray(Image.open(path)), -1))
    assert size == (24, 16)


def test_16_bits_become_8(tmp_path):
    pixels = RNG.integers(0, 65536, (5, 7), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode_image((tmp_path / "deep.png").read_bytes())[0], pixels // 256)


@pytest.mark.parametrize(("mode", "expected"), [("RGBA", [255, 255, 255]), ("LA", 255)])
def test_what_is_transparent_becomes_white(tmp_path, mode, expected):
    Image.new(mode, (3, 3), 0).save(tmp_path / "clear.png")
    image, _ = decode_image((tmp_path / "clear.png").read_bytes())
    assert (np.asarray(image) == expected).all()


def test_palette_images_become_colour_and_bilevel_ones_grey(tmp_path):
    colour = Image.fromarray(RNG.integers(0, 256, (9, 9, 3), np.uint8)).quantize(16)
    colour.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        decode_image((tmp_path / "palette.png").read_bytes())[0], np.asarray(colour.convert("RGB"))
    )
    Image.new("1", (4, 4), 1).save(tmp_path / "bilevel.png")
    assert (np.asarray(decode_image((tmp_path / "bilevel.png").read_bytes())[0]) == 255).all()


def test_grey_images_have_one_channel_and_three_beside_colour_ones(tmp_path, load):
    for number in range(4):
        write_image(tmp_path / "grey" / "a" / f"{number}.png", mode="L")
        write_image(tmp_path / "grey" / "b" / f"{number}.png", mode="L")
    assert load(tmp_path / "grey").input_shape == (6, 8, 1)
    shutil.copytree(tmp_path / "grey", tmp_path / "mixed")
    write_image(tmp_path / "mixed" / "b" / "colour.png")
    dataset = load(tmp_path / "mixed")
    assert dataset.input_shape == (6, 8, 3)
    row = dataset.train.ids.tolist().index(next(name for name in dataset.train.ids if name.startswith("a/")))
    grey = np.asarray(Image.open(tmp_path / "mixed" / dataset.train.ids[row]))
    np.testing.assert_array_equal(dataset.train.x[row], np.repeat(grey[..., None], 3, axis=2))


def test_mixed_sizes_are_resized_when_asked(folder, load):
    write_image(folder / "cat" / "large.png", (40, 60))
    dataset = load(folder, image_size=[12, 10])
    assert dataset.input_shape == (12, 10, 3)
    assert dataset.card["image_sizes"] == {"6 x 8": 20, "40 x 60": 1}


def test_mixed_sizes_without_a_size_are_an_error_that_lists_them(folder, load):
    write_image(folder / "cat" / "large.png", (40, 60))
    with pytest.raises(WorkbenchError, match=r"20 of 6 x 8, 1 of 40 x 60(.|\n)*give image_size"):
        load(folder)


def test_many_images_decoded_by_several_processes_stay_in_their_places(tmp_path, load):
    values = RNG.permutation(2400)
    for number, value in enumerate(values):
        path = tmp_path / "many" / "ab"[number % 2] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[[value // 256, value % 256, 7]]], np.uint8)).save(path)
    dataset = load(tmp_path / "many")
    for split in dataset.splits().values():
        found = split.x[:, 0, 0, 0].astype(int) * 256 + split.x[:, 0, 0, 1]
        np.testing.assert_array_equal(found, [values[int(name[2:6])] for name in split.ids])


def test_a_decoding_process_that_dies_is_an_error(tmp_path, load, monkeypatch):
    for number in range(2000):
        write_image(tmp_path / "many" / "ab"[number % 2] / f"{number}.bmp", (2, 2))
    (tmp_path / "dies.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr("workbench.datasets.decoder.__file__", str(tmp_path / "dies.py"))
    with pytest.raises(WorkbenchError, match="ended early, with status 3"):
        load(tmp_path / "many")


def test_the_same_image_in_two_formats_falls_on_one_side(folder, load):
    for number in range(10):
        Image.open(folder / "cat" / f"{number}.png").save(folder / "cat" / f"copy-{number}.bmp")
    dataset = load(folder, test_fraction=0.4)
    assert dataset.card["duplicates"]["copies"] == 10
    for split in dataset.splits().values():
        cats = [name for name in split.ids.tolist() if name.startswith("cat")]
        assert sum(name.endswith("bmp") for name in cats) * 2 == len(cats)


def test_a_grey_image_and_its_colour_copy_are_equal(tmp_path, load):
    for name in ("a", "b"):
        for number in range(4):
            path = write_image(tmp_path / "data" / name / f"{number}.png", mode="L")
            Image.open(path).convert("RGB").save(path.with_suffix(".bmp"))
    assert load(tmp_path / "data").card["duplicates"]["copies"] == 8


# Errors


def test_an_unreadable_image_is_named(folder, load):
    (folder / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xffnot really")
    with pytest.raises(WorkbenchError, match=r'cat/broken\.jpg cannot be read(.|\n)*on_error="skip"'):
        load(folder)


def test_a_truncated_jpeg_is_unreadable(folder, load):
    path = write_image(folder / "cat" / "cut.jpg", (64, 64))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(WorkbenchError, match=r"cut\.jpg cannot be read"):
        load(folder)


def test_unreadable_images_can_be_left_out_and_are_listed(folder, load):
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    (folder / "dog" / "empty.png").touch()
    dataset = load(folder, on_error="skip")
    reason = "it is not a PNG, JPEG, BMP or WebP image"
    assert dataset.card["left_out"] == {"cat/broken.png": reason, "dog/empty.png": reason}
    assert len(all_ids(dataset)) == 20


def test_a_file_of_another_kind_under_an_images_name_is_unreadable(folder, load):
    Image.new("RGB", (6, 8)).save(folder / "cat" / "really.gif")
    (folder / "cat" / "really.gif").rename(folder / "cat" / "picture.png")
    with pytest.raises(WorkbenchError, match=r"picture\.png cannot be read"):
        load(folder)


def test_only_unreadable_images_are_an_error_even_when_skipped(tmp_path, load):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").touch()
    with pytest.raises(WorkbenchError, match="cannot be read"):
        load(tmp_path / "data", on_error="skip")


def test_an_empty_class_folder_is_named(folder, load):
    (folder / "bird").mkdir()
    with pytest.raises(WorkbenchError, match=r"'bird'.*holds no image"):
        load(folder)


def test_one_class_is_too_few(folder, load):
    shutil.rmtree(folder / "dog")
    with pytest.raises(WorkbenchError, match="one class only, 'cat'"):
        load(folder)


def test_images_outside_of_class_folders_are_named(folder, load):
    write_image(folder / "stray.png")
    with pytest.raises(WorkbenchError, match=r"in no class folder: 'stray\.png'"):
        load(folder)


def test_a_test_class_without_training_images_is_named(tmp_path, load):
    for name in ("train/a", "train/b", "test/a", "test/zebra"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.png")
    with pytest.raises(WorkbenchError, match="'zebra'"):
        load(tmp_path / "data")


def test_splits_without_classes_are_no_classes(tmp_path, load):
    for name in ("train", "test"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.png")
    with pytest.raises(WorkbenchError, match="no folders of classes in them"):
        load(tmp_path / "data")


def test_a_link_to_nowhere_is_an_unreadable_image(folder, load):
    (folder / "cat" / "lost.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(WorkbenchError, match=r"lost\.png cannot be read: .*No such file"):
        load(folder)
    assert list(load(folder, on_error="skip").card["left_out"]) == ["cat/lost.png"]


def test_linked_class_folders_are_followed(folder, load, tmp_path):
    shutil.move(folder / "cat", tmp_path / "cats")
    (folder / "cat").symlink_to(tmp_path / "cats")
    assert load(folder).class_names == ("cat", "dog")


def test_a_folder_beside_the_splits_is_named(tmp_path, load):
    for name in ("train/a", "train/b", "backup/a"):
        write_image(tmp_path / "data" / name / "1.png")
    with pytest.raises(WorkbenchError, match="beside it 'backup'"):
        load(tmp_path / "data")


def test_a_class_that_is_unreadable_throughout_is_named(folder, load):
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(WorkbenchError, match="'dog' has 0 distinct samples"):
        load(folder, on_error="skip")


def test_a_missing_folder_is_named(tmp_path, load):
    with pytest.raises(WorkbenchError, match=r"no folder .*nowhere"):
        load(tmp_path / "nowhere")


def test_a_folder_without_images_says_which_files_count(tmp_path, load):
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "table.csv").touch()
    with pytest.raises(WorkbenchError, match=r"no image in .*, but 1 other files(.|\n)*\.png"):
        load(tmp_path / "data")


def test_a_file_name_that_is_not_utf8_is_shown(folder, load):
    os.rename(folder / "cat" / "1.png", os.fsencode(folder / "cat") + b"/caf\xe9.png")
    with pytest.raises(WorkbenchError, match=r"not UTF-8: b'cat/caf\\xe9\.png'"):
        load(folder)


@pytest.mark.parametrize("size", [[32], [0, 32], 32, ["a", "b"]])
def test_a_strange_image_size_is_refused(folder, load, size):
    with pytest.raises(WorkbenchError, match="height, width"):
        load(folder, image_size=size)


def test_options_for_texts_are_refused(folder, load):
    with pytest.raises(WorkbenchError, match="Leave text_column out"):
        load(folder, text_column="text")


# The cache and the folder's identity


def test_the_second_opening_decodes_nothing(folder, load, monkeypatch):
    first = load(folder)
    monkeypatch.setattr("workbench.datasets.images.decode_files", None)
    second = load(folder)
    assert second.fingerprint == first.fingerprint
    assert second.path == first.path


def test_an_unchanged_folder_is_recognized_without_reading_its_files(folder, load, tmp_path, monkeypatch):
    age(folder)
    first = load(folder)
    monkeypatch.setattr(Path, "read_bytes", only_json)
    assert load(folder).fingerprint == first.fingerprint


READ_BYTES = Path.read_bytes


def only_json(path: Path) -> bytes:
    assert path.suffix == ".json", f"{path} was read"
    return READ_BYTES(path)


def test_added_removed_and_changed_files_are_noticed(folder, load):
    before = load(folder)
    extra = write_image(folder / "cat" / "extra.png")
    assert len(all_ids(load(folder))) == 21
    extra.unlink()
    assert load(folder).fingerprint == before.fingerprint
    write_image(folder / "cat" / "1.png")
    assert load(folder).fingerprint != before.fingerprint


def test_a_change_that_keeps_size_and_time_is_noticed_in_a_young_folder(tmp_path, load):
    for name in ("a", "b"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.bmp")
    before = load(tmp_path / "data")
    changed = tmp_path / "data" / "a" / "1.bmp"
    status = changed.stat()
    write_image(changed)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed.stat().st_size == status.st_size
    assert load(tmp_path / "data").fingerprint != before.fingerprint


def test_a_moved_folder_is_found_in_the_cache(folder, load):
    before = load(folder)
    moved = folder.rename(folder.with_name("moved"))
    assert load(moved).fingerprint == before.fingerprint
    assert load(moved).name == "moved"


def test_a_damaged_index_is_made_again(folder, load, tmp_path):
    before = load(folder)
    for path in (tmp_path / "cache" / "folders").iterdir():
        path.write_text("{")
    assert load(folder).fingerprint == before.fingerprint


def test_the_stamp_follows_the_content_and_not_the_place(folder, tmp_path):
    stamp = source_stamp(f"folder:{folder}", cache_dir=tmp_path / "cache")
    shutil.copytree(folder, tmp_path / "copy")
    assert source_stamp(f"folder:{tmp_path / 'copy'}", cache_dir=tmp_path / "cache") == stamp
    write_image(tmp_path / "copy" / "cat" / "1.png")
    assert source_stamp(f"folder:{tmp_path / 'copy'}", cache_dir=tmp_path / "cache") != stamp


def test_the_stamp_is_the_same_before_and_after_decoding(folder, tmp_path, load):
    stamp = source_stamp(f"folder:{folder}", cache_dir=tmp_path / "other")
    load(folder)
    assert source_stamp(f"folder:{folder}", cache_dir=tmp_path / "cache") == stamp
    assert load(folder).card["content"] == stamp


def test_a_subset_is_stratified_and_decodes_only_itself(folder, load):
    (folder / "cat" / "broken.png").touch()
    for seed in range(20):
        try:
            dataset = load(folder, max_samples=8, split_seed=seed)
        except WorkbenchError:
            continue
        break
    assert len(all_ids(dataset)) == 8
    assert {name: sum(parts.values()) for name, parts in dataset.card["classes"].items()} == {
        "cat": 4,
        "dog": 4,
    }


def test_the_card_can_be_written_as_json(folder, load):
    dataset = load(folder)
    assert json.loads(json.dumps(dataset.card)) == dataset.card
    assert dataset.card["samples"] == {"train": 16, "val": 2, "test": 2}
    assert dataset.card["licence"] == "not stated"
