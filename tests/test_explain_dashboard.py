"""Explain predictions: a picked sample shows its maps or words, each with its sanity check."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

import workbench as wb
from workbench.dashboards.explaining import (
    Explainer,
    ExplanationPanel,
    draw_check,
    draw_words,
    explain,
)
from workbench.dashboards.mistakes import Study
from workbench.datasets import Dataset
from workbench.errors import WorkbenchError
from workbench.evaluation import Predictions

HOSTILE = "<script>alert(1)</script>"
SIDE = 8
WORDS = {"[UNK]": 0, "good": 1, "bad": 2, "film": 3, "number": 4}


def store(folder: str, data: Dataset, network: keras.Model, inputs: Any) -> wb.Run:
    """Make a finished run that kept its network and what that says of the test samples."""
    with wb.start_run(folder, name="train", parameters={"seed": 0}) as run:
        run.record(dataset=data.reference(), model="net")
        network.save(run.artifacts / "model.keras")
        said = network.predict(inputs, verbose=0)
        wb.write_predictions(run, data.test, said, data.class_names)
    return run


@pytest.fixture
def images(project: Path) -> str:
    """A run on images of which one class is bright at the left and the other at the right."""
    random = np.random.default_rng(0)
    for name, columns in (("left", slice(0, 4)), ("right", slice(4, 8))):
        for number in range(20):
            pixels = random.integers(0, 60, (SIDE, SIDE), dtype=np.uint8)
            pixels[:, columns] += 150
            path = project / f"data/shapes/{name}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    data = wb.load_dataset("folder:data/shapes")
    keras.utils.set_random_seed(0)
    image = keras.Input(data.input_shape)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="maps")(layers.Rescaling(1 / 255)(image))
    network = keras.Model(image, layers.Dense(2, activation="softmax", name="label")(layers.Flatten()(x)))
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(data.train.x, data.train.y, epochs=15, verbose=0)
    store("runs/images", data, network, data.test.x)
    return "runs/images"


@pytest.fixture
def texts(project: Path) -> str:
    """A run on texts whose network weighs the words "good" and "bad", and no other."""
    lines = [f"{word} film number {n},{word}" for n in range(30) for word in ("good", "bad")]
    (project / "data/texts.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    data = wb.load_dataset("csv:data/texts.csv")
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=32)
    tokens = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    embedded = layers.Embedding(len(WORDS), 2, name="embedding")(tokens)
    shown = layers.Multiply()([embedded, keras.ops.cast(mask, "float32")[..., None]])
    label = layers.Dense(2, activation="softmax", name="label")(layers.GlobalAveragePooling1D()(shown))
    network = keras.Model({"token_ids": tokens, "padding_mask": mask}, label)
    weights = np.zeros((len(WORDS), 2), np.float32)
    weights[WORDS["good"]], weights[WORDS["bad"]] = (1, 0), (0, 1)
    network.get_layer("embedding").set_weights([weights])
    good = data.class_names.index("good")
    kernel = np.zeros((2, 2), np.float32)
    kernel[0, good] = kernel[1, 1 - good] = 20
    network.get_layer("label").set_weights([kernel, np.zeros(2, np.float32)])
    from workbench.models.text import tokenize

    run = store("runs/texts", data, network, tokenize(tokenizer, list(data.test.x)))
    tokenizer.save(str(run.path / "artifacts/tokenizer.json"))
    return "runs/texts"


def panel_of(dashboard: Any) -> tuple[ExplanationPanel, list[str]]:
    """Return the widgets of a dashboard, and the static views that they publish."""
    published: list[str] = []
    (explainer,) = (
        cell.cell_contents
        for cell in dashboard._build.__closure__
        if isinstance(cell.cell_contents, Explainer)
    )
    return ExplanationPanel(explainer, published.append), published


class TestImages:
    def test_have_a_static_view_with_each_map_and_its_check(self, images: str) -> None:
        page = explain(images).static_view()
        heads = re.findall(r"<h5>([^<]+)</h5>", page)
        assert heads[1:] == ["Grad-CAM", "integrated gradients"]
        assert page.count("<img") == 3
        assert page.count("Sanity check: With all weights random") == 2
        assert page.count(">label</td>") == page.count(">maps</td>") == 2, "a row for each random layer"

    def test_that_are_picked_are_explained_and_saved(self, images: str) -> None:
        panel, published = panel_of(explain(wb.open_run(images)))
        panel.shown.value = panel.shown.options[1][1]  # all samples, where there may be no mistake
        before = panel.explanation.value
        panel.buttons[1].click()
        wanted = panel.buttons[1].tooltip.removeprefix("Explain ")
        assert f'workbench-where">{wanted}<' in panel.explanation.value
        assert panel.explanation.value != before
        assert published == [panel.explanation.value]

    def test_are_explained_for_the_class_that_is_asked_for(self, images: str) -> None:
        panel, published = panel_of(explain(images))
        label = 1 - int(panel._explainer.study.guesses[panel.chosen])
        panel.label.value = label
        assert f"What speaks for {panel._explainer.study.names[label]}" in published[-1]

    def test_of_a_network_without_a_convolution_show_what_can_be_shown(
        self, images: str, project: Path
    ) -> None:
        data = wb.load_dataset("folder:data/shapes")
        flat = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Reshape((-1,)),
                layers.Dense(2, activation="softmax", name="label"),
            ]
        )
        store("runs/flat", data, flat, data.test.x)
        page = explain("runs/flat").static_view()
        assert "so Grad-CAM has nothing to weigh" in page
        assert page.count("Sanity check") == 1

    def test_on_a_page_are_those_of_the_choice(self, images: str) -> None:
        panel, _ = panel_of(explain(images))
        panel.shown.value = panel.shown.options[1][1]
        panel.true.value = 0
        shown = [tile for tile in panel.tiles if tile.layout.display != "none"]
        study = panel._explainer.study
        assert len(shown) == int((study.predictions.labels == 0).sum())
        assert all(study.names[0] in card.value for card in panel.cards[: len(shown)])


class TestTexts:
    def test_show_the_word_that_decides(self, texts: str) -> None:
        panel, _ = panel_of(explain(texts))
        page = panel.explanation.value
        heads = re.findall(r"<h5>([^<]+)</h5>", page)
        assert heads[1:] == ["integrated gradients", "occlusion"]
        strengths = re.findall(r"rgba\(\d+,\d+,\d+,([\d.]+)\)[^>]*>(\w+)</span>", page)
        marked = [word for strength, word in strengths if float(strength) > 0]
        assert len(marked) == 2
        assert set(marked) <= {"good", "bad"}
        assert page.count("Sanity check") == 2

    def test_are_explained_without_the_padding_that_all_have(self, texts: str) -> None:
        from workbench.evaluation.explanation import explain_words, load_network

        network, seen = load_network(texts), []
        call = network.get_layer("embedding").call
        network.get_layer("embedding").call = lambda x: seen.append(x.shape[1]) or call(x)
        good = wb.read_predictions(texts).class_names.index("good")
        (found,) = explain_words(network, texts, ["good film"], np.array([good]))
        assert set(seen) == {16}
        assert found[1] == 0 < found[0]

    def test_cannot_smuggle_markup_in(self) -> None:
        page = draw_words(f"good {HOSTILE}", np.array([0.5, np.nan]))
        assert "<script" not in page
        assert "<i>&lt;script&gt;" in page

    def test_in_which_no_word_counts_are_plain(self) -> None:
        assert "0.00)" in draw_words("a film", np.zeros(2))
        assert "<i>a</i>" in draw_words("a film", np.full(2, np.nan))


class TestCheck:
    @pytest.mark.parametrize(
        ("similarity", "sentence", "warns"),
        [(0.02, "It depends on what was learned.", False), (0.97, "do not rely on it", True)],
    )
    def test_says_what_follows(self, similarity: float, sentence: str, warns: bool) -> None:
        rows = [("label", 0.9, 0.9, False), (HOSTILE, similarity, similarity, similarity < 0.5)]
        columns = ["layer", "similarity", "similarity_absolute", "explains"]
        page = draw_check(pd.DataFrame(rows, columns=columns))
        assert sentence in page
        assert f"rank correlation of {similarity:.2f}" in page
        assert ("workbench-warn" in page) == warns
        assert "<script" not in page


class TestRuns:
    def test_without_a_network_are_refused(self, images: str) -> None:
        (Path(images) / "artifacts/model.keras").unlink()
        with pytest.raises(WorkbenchError, match=r"runs/images has no artifacts/model\.keras"):
            explain(images)

    def test_of_another_task_are_refused(self, project: Path) -> None:
        with wb.start_run("runs/prices") as run:
            run.record(dataset={"name": "prices", "task": "regression"})
        with pytest.raises(WorkbenchError, match="has the task 'regression'"):
            explain("runs/prices")

    def test_without_a_test_sample_say_so(self, images: str) -> None:
        data = wb.load_dataset("folder:data/shapes")
        empty = data.test.x[:0]
        split = type(data.test)({"image": empty}, {"label": data.test.y[:0]}, data.test.ids[:0])
        made = Dataset("made", data.task, split, split, split, data.class_names, "0" * 32, {}, {})
        predictions = Predictions(split.ids, split.y, np.empty((0, 2), np.float32), data.class_names)
        explainer = Explainer(Study(made, predictions), None, {})
        assert "no sample" in explainer.draw(explainer.first, 0)
