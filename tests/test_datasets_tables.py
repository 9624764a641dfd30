"""Tables of texts become datasets, and unclear ones clear errors."""

import bz2
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.datasets import load_dataset
from workbench.datasets.storage import write_array
from workbench.errors import WorkbenchError


@pytest.fixture
def table() -> pd.DataFrame:
    """Sixty texts in two classes."""
    return pd.DataFrame(
        {
            "text": [f"Text number {number}, “quoted”, with a\nsecond line" for number in range(60)],
            "label": ["good", "bad", "bad"] * 20,
        }
    )


@pytest.fixture
def load(tmp_path: Path):
    """load_dataset with a cache of its own."""

    def load_table(path: Path, **options):
        return load_dataset(f"csv:{path}", cache_dir=tmp_path / "cache", **options)

    return load_table


def texts_by_id(dataset) -> dict[str, str]:
    return {
        name: text
        for split in dataset.splits().values()
        for name, text in zip(split.ids.tolist(), split.x.tolist(), strict=True)
    }


WRITERS = {
    "table.csv": lambda table, path: table.to_csv(path, index=False),
    "table.tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "table.csv.bz2": lambda table, path: table.to_csv(path, index=False),
    "table.parquet": lambda table, path: table.to_parquet(path),
    "table.jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "table.jsonl.gz": lambda table, path: table.to_json(path, orient="records", lines=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_dataset(table, tmp_path, load, name):
    WRITERS[name](table, tmp_path / name)
    dataset = load(tmp_path / name)
    assert dataset.task == "text-classification"
    assert dataset.class_names == ("bad", "good")
    assert dataset.input_shape == ()
    assert texts_by_id(dataset) == {str(row + 1): text for row, text in enumerate(table["text"])}
    for split in dataset.splits().values():
        expected = table["label"].to_numpy()[split.ids.astype(int) - 1]
        np.testing.assert_array_equal(np.array(dataset.class_names)[split.y], expected)


def test_texts_are_read_only_strings(table, tmp_path, load):
    table.to_csv(tmp_path / "table.csv")
    dataset = load(tmp_path / "table.csv")
    assert isinstance(dataset.train.x[0], str)
    with pytest.raises(ValueError, match="read-only"):
        dataset.train.x[0] = "other"


def test_columns_can_be_named(table, tmp_path, load):
    table.rename(columns={"text": "Inhalt", "label": "Urteil"}).to_csv(tmp_path / "table.csv")
    dataset = load(tmp_path / "table.csv", text_column="Inhalt", label_column="Urteil")
    assert dataset.class_names == ("bad", "good")


def test_columns_are_found_by_their_usual_names(table, tmp_path, load):
    table.rename(columns={"text": "Review", "label": "SENTIMENT"}).to_csv(tmp_path / "table.csv")
    assert load(tmp_path / "table.csv").class_names == ("bad", "good")


def test_ambiguous_columns_are_listed(table, tmp_path, load):
    table.assign(comment="none").to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(WorkbenchError, match=r"'text', 'comment'(.|\n)*'label'(.|\n)*text_column"):
        load(tmp_path / "table.csv")


def test_columns_that_cannot_be_found_are_listed(table, tmp_path, load):
    table.rename(columns={"label": "verdict"}).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(WorkbenchError, match=r"Its columns are 'text', 'verdict'(.|\n)*label_column"):
        load(tmp_path / "table.csv")


def test_a_column_that_does_not_exist_is_named(table, tmp_path, load):
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(WorkbenchError, match="no column 'texts'"):
        load(tmp_path / "table.csv", text_column="texts")


@pytest.mark.parametrize("name", ["table.csv", "table.parquet", "table.jsonl"])
@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_names_its_row(table, tmp_path, load, name, missing):
    table.loc[6, "label"] = missing
    WRITERS[name](table, tmp_path / name)
    with pytest.raises(WorkbenchError, match=r"1 incomplete row.*row 7 \(no label\)"):
        load(tmp_path / name)


@pytest.mark.parametrize("text", ["", "  \n ", None])
def test_an_empty_text_names_its_row(table, tmp_path, load, text):
    table.loc[2, "text"] = text
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(WorkbenchError, match=r"row 3 \(no text\)"):
        load(tmp_path / "table.csv")


def test_incomplete_rows_can_be_left_out_and_are_listed(table, tmp_path, load):
    table.loc[2, "text"] = ""
    table.loc[6, "label"] = None
    table.to_csv(tmp_path / "table.csv", index=False)
    dataset = load(tmp_path / "table.csv", on_error="skip")
    assert dataset.card["left_out"] == {"row 3": "no text", "row 7": "no label"}
    assert set(texts_by_id(dataset)) == {str(row) for row in range(1, 61)} - {"3", "7"}


def test_numbers_are_classes_in_the_order_of_their_values(tmp_path, load):
    table = pd.DataFrame({"text": [f"text {row}" for row in range(44)], "label": [10, 9, 1, 2] * 11})
    table.to_csv(tmp_path / "table.csv")
    assert load(tmp_path / "table.csv").class_names == ("1", "2", "9", "10")


def test_whole_numbers_are_the_same_classes_in_every_format(tmp_path, load):
    table = pd.DataFrame({"text": [f"text {row}" for row in range(40)], "label": [1.0, 0.0] * 20})
    table.to_parquet(tmp_path / "table.parquet")
    assert load(tmp_path / "table.parquet").class_names == ("0", "1")


def test_none_and_na_are_names_of_classes(tmp_path, load):
    table = pd.DataFrame({"text": [f"text {row}" for row in range(40)], "label": ["None", "NA"] * 20})
    table.to_csv(tmp_path / "table.csv")
    assert load(tmp_path / "table.csv").class_names == ("NA", "None")


def test_chinese_texts_and_classes_are_kept(tmp_path, load):
    table = pd.DataFrame({"text": [f"第{row}篇文章" for row in range(40)], "label": ["好", "坏"] * 20})
    table.to_csv(tmp_path / "评论.csv", encoding="utf-8-sig", index=False)
    dataset = load(tmp_path / "评论.csv")
    assert dataset.name == "评论"
    assert dataset.class_names == ("坏", "好")
    assert texts_by_id(dataset)["1"] == "第0篇文章"


def test_one_class_is_too_few(table, tmp_path, load):
    table.assign(label="good").to_csv(tmp_path / "table.csv")
    with pytest.raises(WorkbenchError, match="1 class: good"):
        load(tmp_path / "table.csv")


def test_a_class_with_fewer_samples_than_splits_is_named(table, tmp_path, load):
    table.loc[:1, "label"] = "rare"
    table.to_csv(tmp_path / "table.csv")
    with pytest.raises(WorkbenchError, match="'rare' has 2 distinct samples"):
        load(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("name", "compress"), [("table.csv", bytes), ("table.jsonl", bytes), ("table.csv.bz2", bz2.compress)]
)
def test_text_that_is_not_utf8_names_line_and_byte(tmp_path, load, name, compress):
    lines = [json.dumps({"text": f"text {row}", "label": "ab"[row % 2]}) for row in range(20)]
    if name != "table.jsonl":
        lines = ["text,label", *(f"text {row},{'ab'[row % 2]}" for row in range(20))]
    content = "\n".join(lines).encode().replace(b"text 11", b"caf\xe9 11")
    (tmp_path / name).write_bytes(compress(content))
    line = 1 + content[: content.index(b"\xe9")].count(b"\n")
    with pytest.raises(WorkbenchError, match=rf"line {line} .*0xe9, byte {content.index(0xE9)} (.|\n)*iconv"):
        load(tmp_path / name)


def test_broken_json_names_its_line(tmp_path, load):
    (tmp_path / "table.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": \n')
    with pytest.raises(WorkbenchError, match="line 2"):
        load(tmp_path / "table.jsonl")


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_file_that_is_no_table_is_named(tmp_path, load, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(WorkbenchError, match=rf"{name} cannot be read as"):
        load(tmp_path / name)


def test_an_unknown_format_lists_the_known_ones(tmp_path, load):
    (tmp_path / "table.xlsx").touch()
    with pytest.raises(WorkbenchError, match=r"\.csv, \.tsv, \.parquet, \.jsonl"):
        load(tmp_path / "table.xlsx")


def test_a_missing_table_is_named(tmp_path, load):
    with pytest.raises(WorkbenchError, match=r"no file .*nowhere\.csv"):
        load(tmp_path / "nowhere.csv")


def test_options_for_images_are_refused(table, tmp_path, load):
    table.to_csv(tmp_path / "table.csv")
    with pytest.raises(WorkbenchError, match="Leave image_size out"):
        load(tmp_path / "table.csv", image_size=[32, 32])


def test_equal_texts_fall_on_one_side(table, tmp_path, load):
    pd.concat([table, table]).to_csv(tmp_path / "table.csv")
    dataset = load(tmp_path / "table.csv", test_fraction=0.4)
    assert dataset.card["duplicates"]["copies"] == 60
    texts = [set(split.x.tolist()) for split in dataset.splits().values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 60


def test_a_changed_table_is_noticed(table, tmp_path, load):
    table.to_csv(tmp_path / "table.csv")
    before = load(tmp_path / "table.csv")
    table.loc[0, "text"] = "another"
    table.to_csv(tmp_path / "table.csv")
    assert load(tmp_path / "table.csv").fingerprint != before.fingerprint


def test_texts_are_stored_without_pickle(tmp_path):
    texts = np.array(["one", "zwei", "三", ""], object)
    write_array(tmp_path / "texts.arrow", texts)
    content = (tmp_path / "texts.arrow").read_bytes()
    assert content.startswith(b"ARROW1")
    assert "三".encode() in content
