"""Folders of images become arrays: layout, sizes and errors."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from workbench.errors import WorkbenchError

RNG = np.random.default_rng(0)


def all_ids(dataset) -> list[str]:
    return sorted(np.concatenate([split.ids for split in dataset.splits().values()]).tolist())


# Layout


def test_pixels_labels_and_ids_are_those_of_the_files(image_folder, load_folder):
    dataset = load_folder(image_folder)
    assert dataset.class_names == ("cat", "dog")
    assert [len(split) for split in dataset.splits().values()] == [16, 2, 2]
    for split in dataset.splits().values():
        for pixels, label, name in zip(split.x, split.y, split.ids, strict=True):
            np.testing.assert_array_equal(pixels, np.asarray(Image.open(image_folder / name)))
            assert name.startswith(dataset.class_names[label])
    assert dataset.input_shape == (6, 8, 3)


def test_given_splits_are_kept_and_validation_is_carved_from_train(tmp_path, load_folder, write_image):
    for part, count in {"train": 20, "test": 5}.items():
        for number in range(count):
            for name in ("x", "y"):
                write_image(tmp_path / "data" / part / name / f"{number}.png")
    dataset = load_folder(tmp_path / "data")
    assert [len(split) for split in dataset.splits().values()] == [36, 4, 10]
    assert all(name.startswith("test/") for name in dataset.test.ids)


def test_a_class_called_train_is_a_class(tmp_path, load_folder, write_image):
    for name in ("train", "bus"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.png")
    assert load_folder(tmp_path / "data").class_names == ("bus", "train")


def test_chinese_class_and_file_names_are_kept(tmp_path, load_folder, write_image):
    for name in ("猫", "狗"):
        for number in "一二三四":
            write_image(tmp_path / "图像" / name / f"照片{number}.png")
    dataset = load_folder(tmp_path / "图像")
    assert dataset.class_names == ("狗", "猫")
    assert "猫/照片一.png" in all_ids(dataset)


def test_hidden_files_are_passed_over_and_other_files_are_counted(image_folder, load_folder, write_image):
    (image_folder / ".DS_Store").touch()
    write_image(image_folder / ".ipynb_checkpoints" / "1.png")
    (image_folder / "cat" / "notes.txt").write_text("cats")
    dataset = load_folder(image_folder)
    assert dataset.card["files_ignored"] == 1
    assert len(all_ids(dataset)) == 20


def test_the_dataset_is_read_only(image_folder, load_folder):
    dataset = load_folder(image_folder)
    with pytest.raises(ValueError, match="read-only"):
        dataset.train.x[0] = 0
    with pytest.raises(TypeError):
        dataset.train.inputs["image"] = dataset.test.x


# Arrays


def test_grey_images_have_one_channel_and_three_beside_colour_ones(tmp_path, load_folder, write_image):
    for number in range(4):
        write_image(tmp_path / "grey" / "a" / f"{number}.png", mode="L")
        write_image(tmp_path / "grey" / "b" / f"{number}.png", mode="L")
    assert load_folder(tmp_path / "grey").input_shape == (6, 8, 1)
    shutil.copytree(tmp_path / "grey", tmp_path / "mixed")
    write_image(tmp_path / "mixed" / "b" / "colour.png")
    dataset = load_folder(tmp_path / "mixed")
    assert dataset.input_shape == (6, 8, 3)
    row = dataset.train.ids.tolist().index(next(name for name in dataset.train.ids if name.startswith("a/")))
    grey = np.asarray(Image.open(tmp_path / "mixed" / dataset.train.ids[row]))
    np.testing.assert_array_equal(dataset.train.x[row], np.repeat(grey[..., None], 3, axis=2))


def test_mixed_sizes_are_resized_when_asked(image_folder, load_folder, write_image):
    write_image(image_folder / "cat" / "large.png", (40, 60))
    dataset = load_folder(image_folder, image_size=[12, 10])
    assert dataset.input_shape == (12, 10, 3)
    assert dataset.card["image_sizes"] == {"6 x 8": 20, "40 x 60": 1}


def test_mixed_sizes_without_a_size_are_an_error_that_lists_them(image_folder, load_folder, write_image):
    write_image(image_folder / "cat" / "large.png", (40, 60))
    with pytest.raises(WorkbenchError, match=r"20 of 6 x 8, 1 of 40 x 60(.|\n)*give image_size"):
        load_folder(image_folder)


def test_many_images_decoded_by_several_processes_stay_in_their_places(tmp_path, load_folder):
    values = RNG.permutation(2400)
    for number, value in enumerate(values):
        path = tmp_path / "many" / "ab"[number % 2] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[[value // 256, value % 256, 7]]], np.uint8)).save(path)
    dataset = load_folder(tmp_path / "many")
    for split in dataset.splits().values():
        found = split.x[:, 0, 0, 0].astype(int) * 256 + split.x[:, 0, 0, 1]
        np.testing.assert_array_equal(found, [values[int(name[2:6])] for name in split.ids])


def test_a_decoding_process_that_dies_is_an_error(tmp_path, load_folder, monkeypatch, write_image):
    for number in range(2000):
        write_image(tmp_path / "many" / "ab"[number % 2] / f"{number}.bmp", (2, 2))
    (tmp_path / "dies.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr("workbench.datasets.decoder.__file__", str(tmp_path / "dies.py"))
    with pytest.raises(WorkbenchError, match="ended early, with status 3"):
        load_folder(tmp_path / "many")


def test_the_same_image_in_two_formats_falls_on_one_side(image_folder, load_folder):
    for number in range(10):
        Image.open(image_folder / "cat" / f"{number}.png").save(image_folder / "cat" / f"copy-{number}.bmp")
    dataset = load_folder(image_folder, test_fraction=0.4)
    assert dataset.card["duplicates"]["copies"] == 10
    for split in dataset.splits().values():
        cats = [name for name in split.ids.tolist() if name.startswith("cat")]
        assert sum(name.endswith("bmp") for name in cats) * 2 == len(cats)


def test_a_grey_image_and_its_colour_copy_are_equal(tmp_path, load_folder, write_image):
    for name in ("a", "b"):
        for number in range(4):
            path = write_image(tmp_path / "data" / name / f"{number}.png", mode="L")
            Image.open(path).convert("RGB").save(path.with_suffix(".bmp"))
    assert load_folder(tmp_path / "data").card["duplicates"]["copies"] == 8


# Errors


def test_an_unreadable_image_is_named(image_folder, load_folder):
    (image_folder / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xffnot really")
    with pytest.raises(WorkbenchError, match=r'cat/broken\.jpg cannot be read(.|\n)*on_error="skip"'):
        load_folder(image_folder)


def test_a_truncated_jpeg_is_unreadable(image_folder, load_folder, write_image):
    path = write_image(image_folder / "cat" / "cut.jpg", (64, 64))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(WorkbenchError, match=r"cut\.jpg cannot be read"):
        load_folder(image_folder)


def test_unreadable_images_can_be_left_out_and_are_listed(image_folder, load_folder):
    (image_folder / "cat" / "broken.png").write_bytes(b"no image")
    (image_folder / "dog" / "empty.png").touch()
    dataset = load_folder(image_folder, on_error="skip")
    reason = "it is not a PNG, JPEG, BMP or WebP image"
    assert dataset.card["left_out"] == {"cat/broken.png": reason, "dog/empty.png": reason}
    assert len(all_ids(dataset)) == 20


def test_a_file_of_another_kind_under_an_images_name_is_unreadable(image_folder, load_folder):
    Image.new("RGB", (6, 8)).save(image_folder / "cat" / "really.gif")
    (image_folder / "cat" / "really.gif").rename(image_folder / "cat" / "picture.png")
    with pytest.raises(WorkbenchError, match=r"picture\.png cannot be read"):
        load_folder(image_folder)


def test_only_unreadable_images_are_an_error_even_when_skipped(tmp_path, load_folder):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").touch()
    with pytest.raises(WorkbenchError, match="cannot be read"):
        load_folder(tmp_path / "data", on_error="skip")


def test_an_empty_class_folder_is_named(image_folder, load_folder):
    (image_folder / "bird").mkdir()
    with pytest.raises(WorkbenchError, match=r"'bird'.*holds no image"):
        load_folder(image_folder)


def test_one_class_is_too_few(image_folder, load_folder):
    shutil.rmtree(image_folder / "dog")
    with pytest.raises(WorkbenchError, match="one class only, 'cat'"):
        load_folder(image_folder)


def test_images_outside_of_class_folders_are_named(image_folder, load_folder, write_image):
    write_image(image_folder / "stray.png")
    with pytest.raises(WorkbenchError, match=r"in no class folder: 'stray\.png'"):
        load_folder(image_folder)


def test_a_test_class_without_training_images_is_named(tmp_path, load_folder, write_image):
    for name in ("train/a", "train/b", "test/a", "test/zebra"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.png")
    with pytest.raises(WorkbenchError, match="'zebra'"):
        load_folder(tmp_path / "data")


def test_splits_without_classes_are_no_classes(tmp_path, load_folder, write_image):
    for name in ("train", "test"):
        for number in range(4):
            write_image(tmp_path / "data" / name / f"{number}.png")
    with pytest.raises(WorkbenchError, match="no folders of classes in them"):
        load_folder(tmp_path / "data")


def test_a_link_to_nowhere_is_an_unreadable_image(image_folder, load_folder):
    (image_folder / "cat" / "lost.png").symlink_to(image_folder / "nowhere.png")
    with pytest.raises(WorkbenchError, match=r"lost\.png cannot be read: .*No such file"):
        load_folder(image_folder)
    assert list(load_folder(image_folder, on_error="skip").card["left_out"]) == ["cat/lost.png"]


def test_linked_class_folders_are_followed(image_folder, load_folder, tmp_path):
    shutil.move(image_folder / "cat", tmp_path / "cats")
    (image_folder / "cat").symlink_to(tmp_path / "cats")
    assert load_folder(image_folder).class_names == ("cat", "dog")


def test_a_folder_beside_the_splits_is_named(tmp_path, load_folder, write_image):
    for name in ("train/a", "train/b", "backup/a"):
        write_image(tmp_path / "data" / name / "1.png")
    with pytest.raises(WorkbenchError, match="beside it 'backup'"):
        load_folder(tmp_path / "data")


def test_a_class_that_is_unreadable_throughout_is_named(image_folder, load_folder):
    for path in (image_folder / "dog").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(WorkbenchError, match="'dog' has 0 distinct samples"):
        load_folder(image_folder, on_error="skip")


def test_a_missing_folder_is_named(tmp_path, load_folder):
    with pytest.raises(WorkbenchError, match=r"no folder .*nowhere"):
        load_folder(tmp_path / "nowhere")


def test_a_folder_without_images_says_which_files_count(tmp_path, load_folder):
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "table.csv").touch()
    with pytest.raises(WorkbenchError, match=r"no image in .*, but 1 other files(.|\n)*\.png"):
        load_folder(tmp_path / "data")


def test_a_file_name_that_is_not_utf8_is_shown(image_folder, load_folder):
    os.rename(image_folder / "cat" / "1.png", os.fsencode(image_folder / "cat") + b"/caf\xe9.png")
    with pytest.raises(WorkbenchError, match=r"not UTF-8: b'cat/caf\\xe9\.png'"):
        load_folder(image_folder)


@pytest.mark.parametrize("size", [[32], [0, 32], 32, ["a", "b"]])
def test_a_strange_image_size_is_refused(image_folder, load_folder, size):
    with pytest.raises(WorkbenchError, match="height, width"):
        load_folder(image_folder, image_size=size)


def test_options_for_texts_are_refused(image_folder, load_folder):
    with pytest.raises(WorkbenchError, match="Leave text_column out"):
        load_folder(image_folder, text_column="text")
