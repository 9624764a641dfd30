"""Trains in processes of its own, which may be killed; started and spoken to by test_training_kills.py.

Each line on standard input is a job as JSON, each line of the answer says how its process ended. TensorFlow
is imported once, and every job is a fork of that process: ten times faster than a new one, and as mortal.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

import workbench as wb
from workbench.datasets import Split
from workbench.models.schedules import build_schedule

MODELS = ("cnn", "vgg", "resnet", "transformer")
SAMPLES, BATCH_SIZE, EPOCHS, CLASSES = 400, 16, 6, 4


class Kill(keras.callbacks.Callback):
    """Kill the process some milliseconds after a batch, counted over all epochs."""

    def __init__(self, batch: int, milliseconds: int):
        super().__init__()
        self.when, self.milliseconds = batch, milliseconds

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch * self.params["steps"] + batch >= self.when:
            threading.Thread(target=self.kill, daemon=True).start()

    def kill(self):
        time.sleep(self.milliseconds / 1000)
        os.kill(os.getpid(), signal.SIGKILL)


def make_images() -> Split:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, SAMPLES)
    images = draw.integers(0, 120, (SAMPLES, 16, 16, 3)) + 40 * labels[:, None, None, None]
    return Split({"image": images.astype(np.uint8)}, {"label": labels}, np.arange(SAMPLES).astype(str))


def make_texts() -> tuple[Split, object]:
    from workbench.models import text

    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, SAMPLES)
    words = np.array([f"word{number}" for number in range(40)])
    texts = [" ".join([*draw.choice(words, draw.integers(2, 30)), f"class{label}"]) for label in labels]
    tokenizer = text.load_tokenizer("small-transformer", texts, max_length=40)
    ids = np.arange(SAMPLES).astype(str)
    return Split(text.tokenize(tokenizer, texts), {"label": labels}, ids), tokenizer


def build_image_network(name: str, split: Split) -> keras.Model:
    """Put augmentation before a network or into it, and dropout behind it, most with the global seed."""
    image = keras.Input(split.x.shape[1:], dtype="uint8")
    x = layers.RandomFlip("horizontal")(image)
    augmentation = ("flip", "crop", "colour") if name == "cnn" else ()
    x = wb.build_model(name, split.x.shape[1:], CLASSES, augmentation)(x)
    return keras.Model(image, layers.Dense(CLASSES, "softmax")(layers.Dropout(0.2)(x)))


def build_text_network(tokenizer: object) -> keras.Model:
    from workbench.models import text

    encoder = text.build_encoder("small-transformer", tokenizer, token_dropout=0.1)
    x = layers.GlobalAveragePooling1D()(encoder.output, mask=encoder.input["padding_mask"])
    return keras.Model(encoder.input, layers.Dense(CLASSES, "softmax")(layers.Dropout(0.2)(x)))


def train(
    name: str, run_dir: str, kill: list[int] | None
) -> tuple[keras.Model, keras.callbacks.History, Split]:
    """Train a model with all that draws or counts: shuffling, dropout, schedules, early stopping."""
    keras.utils.set_random_seed(1)
    if name == "transformer":
        split, tokenizer = make_texts()
        network, mask = build_text_network(tokenizer), "padding_mask"
    else:
        split, mask = make_images(), ""
        network = build_image_network(name, split)
    batches = split.batches(BATCH_SIZE, seed=1, mask=mask)
    steps = EPOCHS * int(batches.cardinality())
    callbacks = [keras.callbacks.EarlyStopping("val_accuracy", patience=3, restore_best_weights=True)]
    if name in ("vgg", "transformer"):
        rate = 0.001
        callbacks.append(keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.1))
    else:
        rate = build_schedule("cosine", 0.002, steps, warmup=0.1)
    network.compile(
        keras.optimizers.Adam(rate, gradient_accumulation_steps=3 if name == "resnet" else None),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=4,
    )
    run = wb.start_run(run_dir, parameters={"seed": 1, "model": name}, name=name)
    held_out = split.batches(BATCH_SIZE, shuffle=False, mask=mask)
    own = [*callbacks, *([Kill(*kill)] if kill else [])]
    history = network.fit(
        batches,
        validation_data=held_out,
        epochs=EPOCHS,
        callbacks=wb.callbacks(run, own, batches=batches),
        verbose=0,
    )
    predictions = network.predict(held_out, verbose=0)
    run.finish()
    return network, history, predictions


def serve() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.chdir(job["project"])
            network, history, predictions = train(job["model"], job["run_dir"], job["kill"])
            weights = {f"weight{number}": value for number, value in enumerate(network.get_weights())}
            np.savez(job["result"], predictions=predictions, **weights)
            kept = {"epoch": history.epoch, "history": history.history}
            Path(job["result"]).with_suffix(".json").write_text(json.dumps(kept))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
