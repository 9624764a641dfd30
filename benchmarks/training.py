"""How fast networks train here, beside the article's script, KerasHub as it comes, and PyTorch.

    python benchmarks/training.py [FOLDER] [--rounds N] [--text] [--accuracy]

FOLDER holds CIFAR-10 as images under train/<class>/ and test/<class>/; without it, random images of its shape
are trained, which takes as long. Each side is a process of its own, and they take turns; medians over the
rounds and their ratios are printed beside the targets: at batch 32 at least 1.5 times, at batch 128 at least
twice the images a second of the article's script on a processor with bfloat16 instructions. PyTorch
(channels last, bfloat16 autocast, its data loader) is measured where it is installed. --text adds MiniLM on
film reviews, at least 20 times the texts a second of KerasHub's defaults. --accuracy trains ten epochs with
five seeds on both sides and compares the mean test accuracies, with a margin of one point; that takes long.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

IMAGES = 9600  # of an epoch, when speed is measured
MARGIN = 0.01
PRECISIONS = {"ours": "tuned", "ours float32": "float32"}


def main() -> int:
    """Measure, print a table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, help="CIFAR-10 under train/<class>/ and test/<class>/"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often the sides take turns")
    parser.add_argument("--text", action="store_true", help="fine-tune MiniLM on film reviews as well")
    parser.add_argument(
        "--accuracy", action="store_true", help="compare accuracies over five seeds; needs FOLDER"
    )
    arguments = parser.parse_args()
    passed = [measure_images(arguments.folder, size, arguments.rounds) for size in (32, 128)]
    if arguments.text:
        passed.append(measure_texts(arguments.rounds))
    if arguments.accuracy:
        passed.append(compare_accuracies(arguments.folder))
    return 0 if all(passed) else 1


def measure_images(folder: Path | None, batch_size: int, rounds: int) -> bool:
    """Let the sides train an epoch in turn; print the table and return whether the target is met."""
    from workbench.training.machine_speed import has_bfloat16_instructions

    sides = ["script", *PRECISIONS, *(["torch"] if importlib.util.find_spec("torch") else [])]
    rates = take_turns({side: [side, str(folder or ""), str(batch_size)] for side in sides}, rounds)
    print(f"CNN of the article, batch {batch_size}, images a second, medians of {rounds} rounds:")
    show(rates, "script")
    if "torch" not in rates:
        print("      torch is not installed, so that side is not measured: pip install torch")
    if not has_bfloat16_instructions():
        print("      no bfloat16 instructions here, so there is no target")
        return True
    return judge(rates["ours"] / rates["script"], 1.5 if batch_size == 32 else 2.0)


def measure_texts(rounds: int) -> bool:
    """Let the sides fine-tune MiniLM in turn; print the table and return whether the target is met."""
    rates = take_turns({side: [side, "", "32"] for side in ("kerashub", "our text")}, rounds)
    print(f"MiniLM on film reviews, batch 32, texts a second, medians of {rounds} rounds:")
    show(rates, "kerashub")
    return judge(rates["our text"] / rates["kerashub"], 20)


def compare_accuracies(folder: Path | None) -> bool:
    """Train both sides to the end with five seeds, and return whether ours is not inferior."""
    if folder is None:
        sys.exit("--accuracy needs the folder of CIFAR-10: random images cannot be learned.")
    means = {}
    for side in ("script", "ours"):
        with ExitStack() as stack:
            process = start(stack, [side, str(folder), "32", "accuracy"])
            means[side] = statistics.mean(ask(process, seed) for seed in range(5))
    print(f"test accuracy, means of 5 seeds: script {means['script']:.4f}, ours {means['ours']:.4f}")
    passed = means["ours"] > means["script"] - MARGIN
    print(f"{'pass' if passed else 'FAIL'}  not inferior with a margin of {MARGIN}")
    return passed


def take_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """Return the median samples a second of each side; the first turn of each warms it and is not counted."""
    measured: dict[str, list[float]] = {side: [] for side in commands}
    with ExitStack() as stack:
        processes = {side: start(stack, command) for side, command in commands.items()}
        for number in range(rounds + 1):
            for side, process in processes.items():
                rate = ask(process, number)
                if number:
                    measured[side].append(rate)
    return {side: statistics.median(rates) for side, rates in measured.items()}


def show(rates: dict[str, float], peer: str) -> None:
    for side, rate in rates.items():
        print(f"      {side:14} {rate:8,.1f}   {rate / rates[peer]:5.2f} x {peer}")


def judge(ratio: float, target: float) -> bool:
    print(f"{'pass' if ratio >= target else 'FAIL'}  {ratio:.2f} x (target >= {target})")
    return ratio >= target


def start(stack: ExitStack, command: list[str]) -> subprocess.Popen:
    """Run this file as another process that answers each line with a line of JSON."""
    project = stack.enter_context(tempfile.TemporaryDirectory())
    Path(project, "workbench.toml").touch()
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        [sys.executable, __file__, "side", *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=project,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.stdin.close)
    return process


def ask(process: subprocess.Popen, number: int) -> float:
    """Return the answer of a process to the next line."""
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def serve(side: str, folder: str, batch_size: str, *wanted: str) -> None:
    """Answer each line with the speed of an epoch, or with the accuracy that its number as seed gives."""
    make = {"script": script, "torch": torch_script, "kerashub": kerashub, "our text": our_text}.get(side)
    turn = make(folder, int(batch_size)) if make else ours(folder, int(batch_size), PRECISIONS[side])
    for line in sys.stdin:
        began = time.perf_counter()
        samples, accuracy = turn(int(line), 10 if wanted else 1, bool(wanted))
        answer = accuracy if wanted else samples / (time.perf_counter() - began)
        print(json.dumps(answer), flush=True)


Turn = Callable[[int, int, bool], tuple[int, float]]  # (seed, epochs, whole) to (samples, test accuracy)


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


def load_reviews() -> Any:
    from workbench.datasets import load_dataset

    catalog = Path(__file__).parents[1]
    os.chdir(catalog)  # the catalog, and what was fetched before
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


def our_text(folder: str, batch_size: int) -> Turn:
    """The network of the notebook 03_finetune_text, at most 128 tokens, grouped by length."""
    import keras

    import workbench as wb
    from workbench.models import text

    data = load_reviews()
    tokenizer = text.load_tokenizer("minilm-l6", data.train.x, 128)
    batches = text.tokenize_split(tokenizer, data.train).batches(batch_size, mask="padding_mask")
    encoder = text.build_encoder("minilm-l6", tokenizer)
    x = keras.layers.GlobalAveragePooling1D()(encoder.output, mask=encoder.input["padding_mask"])
    model = keras.Model(encoder.input, keras.layers.Dense(2, activation="softmax")(x))
    model.compile(keras.optimizers.AdamW(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    print(wb.tune_for_this_machine(model, batches, 20), file=sys.stderr)

    def turn(seed: int, epochs: int, whole: bool) -> tuple[int, float]:
        model.fit(batches, verbose=0)
        return batches.samples, 0.0

    return turn


if __name__ == "__main__":
    if sys.argv[1:2] == ["side"]:
        serve(*sys.argv[2:])
    else:
        sys.exit(main())
