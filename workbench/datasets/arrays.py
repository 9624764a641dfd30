"""Datasets that a Python package hands over as arrays: scikit-learn's and Keras's own."""

import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from workbench.datasets.options import Options
from workbench.datasets.samples import Content, Samples
from workbench.datasets.tables import text_samples
from workbench.errors import OfflineError

_BLOCK = 2048  # images that are handled together


def read_package(entry: Mapping[str, Any], options: Options) -> Samples:
    """Return the samples of a function of an installed package that gives `images` and `target`."""
    bunch = pkgutil.resolve_name(entry["source"]["function"])()
    images = np.rint(bunch.images * (255 / entry["white"])).astype(np.uint8)
    return _image_samples(
        images, bunch.target, np.full(len(images), "", "<U5"), entry["class_names"], options
    )


def read_keras(entry: Mapping[str, Any], options: Options) -> Samples:
    """Return the samples of a module of `keras.datasets`, with the test set that it gives."""
    module = _import_keras(entry["source"]["module"])
    (x_train, y_train), (x_test, y_test) = _download(module.load_data, entry["source"]["module"])
    labels = np.concatenate([y_train, y_test]).reshape(-1).astype(np.int64)
    parts = np.repeat(np.array(["train", "test"], "<U5"), [len(x_train), len(x_test)])
    if entry["task"] == "image-classification":
        return _image_samples(np.concatenate([x_train, x_test]), labels, parts, entry["class_names"], options)
    words = _download(module.get_word_index, entry["source"]["module"])
    texts = decode_words([*x_train, *x_test], words)
    return text_samples(texts, labels, _numbered(len(texts)), entry["class_names"], parts)


def decode_words(sequences: Sequence[Sequence[int]], word_index: Mapping[str, int]) -> list[str]:
    """Return the texts behind the word numbers of `keras.datasets.imdb` and `reuters`.

    Their numbers are the ranks in `word_index` plus 3; 1 starts every text and 2 stands for an unknown word.
    """
    words = {rank + 3: word for word, rank in word_index.items()} | {2: "[UNK]"}
    return [" ".join(words[number] for number in sequence if number in words) for sequence in sequences]


def _image_samples(
    images: np.ndarray,
    labels: np.ndarray,
    parts: np.ndarray,
    class_names: Sequence[str],
    options: Options,
) -> Samples:
    return Samples(
        task="image-classification",
        ids=np.array(_numbered(len(images))),
        labels=labels.astype(np.int64),
        parts=parts,
        class_names=tuple(str(name) for name in class_names),
        decode=partial(_take_images, images, options.image_size),
    )


def _take_images(images: np.ndarray, image_size: Sequence[int], rows: np.ndarray, scratch: Path) -> Content:
    from workbench.datasets.decoder import digest_pixels

    height, width, *channels = images.shape[1:]
    shape = (*(image_size or (height, width)), *(channels or [1]))
    blocks = partial(_resized_blocks, images, shape, rows)
    digests = [bytes.fromhex(digest_pixels(image.tobytes(), shape)) for block in blocks() for image in block]
    return Content(
        blocks=blocks(),
        shape=(len(rows), *shape),
        digests=np.array(digests, "S16"),
        rows=np.arange(len(rows)),
        facts={"image_sizes": {f"{height} x {width}": len(rows)}},
    )


def _resized_blocks(
    images: np.ndarray, shape: tuple[int, int, int], rows: np.ndarray
) -> Iterator[np.ndarray]:
    from PIL import Image

    from workbench.datasets.decoder import resize_image

    for start in range(0, len(rows), _BLOCK):
        chosen = images[rows[start : start + _BLOCK]]
        if chosen.shape[1:3] != shape[:2]:
            chosen = np.stack([resize_image(Image.fromarray(image), shape[:2]) for image in chosen])
        yield chosen.reshape(len(chosen), *shape)


def _numbered(count: int) -> list[str]:
    """Return ids that sort as numbers do: 00001, 00002, …"""
    return [f"{number:05d}" for number in range(1, count + 1)]


def _import_keras(name: str) -> Any:
    return pkgutil.resolve_name(f"keras.datasets.{name}")


def _download(load: Any, name: str) -> Any:
    """Call a loader of Keras; it downloads, checks the checksum and keeps the files in ~/.keras."""
    try:
        return load()
    except Exception as error:  # Keras raises plain Exception when a download fails
        if not str(error).startswith("URL fetch failure"):
            raise
        raise OfflineError(
            f"keras.datasets.{name} could not be downloaded: {error}\n"
            "Connect this machine to the internet and try again, copy ~/.keras/datasets from a machine that "
            "has it, or use images or texts of your own: dataset=folder:PATH or dataset=csv:PATH."
        ) from error
