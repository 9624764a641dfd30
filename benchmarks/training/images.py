"""Sides that train the article's network on CIFAR-10 or random images."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGES = 9600  # of an epoch, when speed is measured
PRECISIONS = {"ours": "tuned", "ours float32": "float32"}
Turn = Callable[[int, int, bool], tuple[int, float]]  # (seed, epochs, whole) to (samples, accuracy)


def load_images(folder: str) -> Any:
    """Return the splits of a folder, or random images for speed."""
    import numpy as np

    from workbench.datasets import Split, load_dataset

    if folder:
        cache = Path(tempfile.gettempdir()) / "workbench-benchmark-cache"
        dataset = load_dataset(f"folder:{folder}", cache_dir=cache)
        return dataset.train, dataset.test
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8)
    split = Split({"image": images}, {"label": draw.integers(0, 10, IMAGES)}, np.arange(IMAGES).astype(str))
    return split, split


def part(split: Any, whole: bool) -> Any:
    """Return all of a split, or as much as an epoch has when speed is measured."""
    from workbench.datasets import Split

    if whole or len(split) <= IMAGES:
        return split
    rows = slice(0, IMAGES)
    return Split({"image": split.x[rows]}, {"label": split.y[rows]}, split.ids[rows])


def script(folder: str, batch_size: int) -> Turn:
    """The article's script; its input shape is mended, since it declares 64x64 and feeds 32x32."""
    import keras
    from keras import layers

    train, test = load_images(folder)
    models: dict[int, keras.Model] = {}

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        chosen = part(train, whole)
        x_train, x_test = chosen.x / 255.0, test.x / 255.0 if whole else None
        if whole or not models:
            keras.utils.set_random_seed(seed)
            model = keras.Sequential([
                layers.Conv2D(32, (3, 3), activation="relu", input_shape=(32, 32, 3)),
                layers.MaxPooling2D((2, 2)),
                layers.Conv2D(64, (3, 3), activation="relu"),
                layers.MaxPooling2D((2, 2)),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ])  # fmt: skip
            model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            models[0] = model
        models[0].fit(x_train, chosen.y, epochs=epochs, batch_size=batch_size, verbose=0)
        return len(chosen), models[0].evaluate(x_test, test.y, verbose=0)[1] if whole else 0.0

    return turn


def ours(folder: str, batch_size: int, precision: str) -> Turn:
    """The same network as the notebook trains it, with the callbacks of a run."""
    import keras

    import workbench as wb
    from workbench.training import Speed

    train, test = load_images(folder)
    kept: dict[str, Any] = {}

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        if whole or not kept:
            keras.utils.set_random_seed(seed)
            model = wb.build_model("cnn", (32, 32, 3), 10)
            model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            batches = part(train, whole).batches(batch_size, seed=seed)
            if precision == "tuned":
                print(wb.tune_for_this_machine(model, batches, 50), file=sys.stderr)
            else:
                Speed(precision, False, 16).apply(model)
            kept.update(model=model, batches=batches)
        model, batches = kept["model"], kept["batches"]
        run = wb.start_run(parameters={"seed": seed, "number": time.time()}, name="benchmark")
        model.fit(batches, epochs=epochs, verbose=0, callbacks=wb.callbacks(run, batches=batches))
        accuracy = model.evaluate(test.x, test.y, verbose=0)[1] if whole else 0.0
        run.finish()
        return batches.samples, accuracy

    return turn


def torch_script(folder: str, batch_size: int) -> Turn:
    """The same network in plain PyTorch: channels last, bfloat16 autocast, its data loader."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    chosen = part(load_images(folder)[0], False)
    images = torch.from_numpy(chosen.x.copy()).permute(0, 3, 1, 2)
    loader = DataLoader(TensorDataset(images, torch.from_numpy(chosen.y.copy())), batch_size, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 6 * 6, 64), nn.ReLU(), nn.Linear(64, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    optimizer, loss_of = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(model(x.float().div(255).contiguous(memory_format=torch.channels_last)), y)
            loss.backward()
            optimizer.step()
        return len(chosen), 0.0

    return turn


SIDES: dict[str, Callable[[str, int], Turn]] = {
    "script": script,
    "torch": torch_script,
    **{
        side: lambda folder, size, precision=precision: ours(folder, size, precision)
        for side, precision in PRECISIONS.items()
    },
}
