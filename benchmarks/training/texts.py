"""Sides that fine-tune MiniLM on film reviews, or train a classifier on it."""

import os
import sys
from pathlib import Path
from typing import Any

from training.images import Turn

ROOT = Path(__file__).resolve().parents[2]


def load_reviews() -> Any:
    from workbench.datasets import load_dataset

    os.chdir(ROOT)  # the catalog, and what was fetched before
    return load_dataset("reviews", max_samples=1280)


def kerashub(folder: str, batch_size: int) -> Turn:
    """KerasHub's classifier as it comes, which pads every text to 512 tokens."""
    import keras_hub

    from workbench.datasets import load_weights

    data = load_reviews()
    model = keras_hub.models.TextClassifier.from_preset(str(load_weights("minilm-l6")), num_classes=2)
    texts, labels = list(data.train.x[:batch_size]), data.train.y[:batch_size]  # one batch takes long enough

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        model.fit(texts, labels, batch_size=batch_size, verbose=0)
        return batch_size, 0.0

    return turn


def transformers_text(folder: str, batch_size: int) -> Turn:
    """The same encoder in transformers on PyTorch: at most 128 tokens, grouped by length, autocast."""
    import numpy as np
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from workbench.models import text

    data = load_reviews()
    tokenizer = text.load_tokenizer("minilm-l6", data.train.x, 128)
    tokens = text.tokenize_split(tokenizer, data.train)
    lengths = tokens.inputs["padding_mask"].sum(1)
    # The size of MiniLM-L6; its weights have no influence on speed.
    config = BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    model = BertForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        order = np.argsort(lengths, kind="stable")
        groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        for rows in np.random.default_rng(seed).permutation(len(groups)):
            chosen = groups[rows]
            longest = int(lengths[chosen].max())
            ids = torch.from_numpy(tokens.inputs["token_ids"][chosen, :longest].astype("int64"))
            mask = torch.from_numpy(tokens.inputs["padding_mask"][chosen, :longest].astype("int64"))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(ids, attention_mask=mask, labels=torch.from_numpy(tokens.y[chosen])).loss
            loss.backward()
            optimizer.step()
        return len(order), 0.0

    return turn


def our_text(folder: str, batch_size: int) -> Turn:
    """The network of the notebook 03_finetune_text, at most 128 tokens, grouped by length."""
    return classifier(batch_size, frozen=False)


def frozen_text(folder: str, batch_size: int) -> Turn:
    """The same with the encoder frozen, which runs for every text in every epoch."""
    return classifier(batch_size, frozen=True)


def classifier(batch_size: int, frozen: bool) -> Turn:
    import keras

    import workbench as wb

    tokens, pooled = pooled_encoder(frozen)
    batches = tokens.batches(batch_size, mask="padding_mask")
    model = keras.Model(pooled.input, keras.layers.Dense(2, activation="softmax")(pooled.output))
    compile_classifier(model)
    print(wb.tune_for_this_machine(model, batches, 20), file=sys.stderr)

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        model.fit(batches, verbose=0)
        return batches.samples, 0.0

    return turn


def features_text(folder: str, batch_size: int) -> Turn:
    """A classifier on what the frozen encoder makes of each text, computed in the first, uncounted turn."""
    import keras

    from workbench.models.frozen import compute_features

    tokens, pooled = pooled_encoder(frozen=True)
    head = keras.Sequential(
        [keras.Input(pooled.output.shape[1:]), keras.layers.Dense(2, activation="softmax")]
    )
    compile_classifier(head)

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        batches = compute_features(pooled, tokens, mask="padding_mask").batches(batch_size)
        head.fit(batches, verbose=0)
        return batches.samples, 0.0

    return turn


def pooled_encoder(frozen: bool) -> tuple[Any, Any]:
    """Return the tokens of the reviews and the mean output of MiniLM."""
    import keras

    from workbench.models import text

    data = load_reviews()
    tokenizer = text.load_tokenizer("minilm-l6", data.train.x, 128)
    encoder = text.build_encoder("minilm-l6", tokenizer, frozen_layers=7 if frozen else 0)
    pooled = keras.layers.GlobalAveragePooling1D()(encoder.output, mask=encoder.input["padding_mask"])
    return text.tokenize_split(tokenizer, data.train), keras.Model(encoder.input, pooled)


def compile_classifier(model: Any) -> None:
    import keras

    model.compile(keras.optimizers.AdamW(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])


SIDES = {
    "kerashub": kerashub,
    "transformers": transformers_text,
    "our text": our_text,
    "frozen": frozen_text,
    "features": features_text,
}
