"""Networks of finished runs, ready to be explained."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from workbench.errors import WorkbenchError
from workbench.evaluation.explanation.texts import integrate_token_gradients, merge_tokens, occlude_words
from workbench.models.text import tokenize
from workbench.runs import resolve_path, show_path

Predict = Callable[[np.ndarray], np.ndarray]

MODEL_FILE = "artifacts/model.keras"
TOKENIZER_FILE = "artifacts/tokenizer.json"
_LENGTH_STEP = 16  # tokens


def load_network(run_folder: str | Path) -> keras.Model:
    """Load the network that a training run kept.

    Args:
        run_folder: Relative to the project root.

    Raises:
        WorkbenchError: The run kept none.
    """
    folder = resolve_path(run_folder)
    path = folder / MODEL_FILE
    if not path.is_file():
        raise WorkbenchError(
            f"The run {show_path(folder)} has no {MODEL_FILE}, so there is no network to explain.\n"
            "Give the folder of a finished run of 02_train_cnn or 03_finetune_text."
        )
    if (folder / TOKENIZER_FILE).is_file():
        import keras_hub  # noqa: F401  (loading finds the encoder's layers among those that it registers)
    return keras.saving.load_model(path, compile=False)  # a schedule of the training need not be known


def build_predict(network: keras.Model, run_folder: str | Path = "") -> Predict:
    """Return a function from inputs as a dataset holds them, images or texts, to (n, k) probabilities.

    Args:
        network: Of images, or of texts.
        run_folder: The run that trained it; one of texts keeps its tokenizer.
    """
    path = resolve_path(run_folder) / TOKENIZER_FILE
    if not run_folder or not path.is_file():
        return lambda images: network.predict(images, verbose=0)
    tokenizer = Tokenizer.from_file(str(path))
    return lambda texts: network.predict(_tokenize_short(tokenizer, texts), verbose=0)


def table_words(
    network: keras.Model, run_folder: str | Path, texts: Sequence[str], classes: np.ndarray
) -> pd.DataFrame:
    """Return what every word of some texts does for a class, by integrated gradients and by occlusion.

    Args:
        network: Of a run of 03_finetune_text.
        run_folder: That run, for its tokenizer.
        texts: n texts.
        classes: (n,) the class to explain of each.

    Returns:
        Columns `text` (its number), `word`, `gradients` (share of the class score; NaN where the text was
        cut) and `occlusion` (how far the probability falls without the word).
    """
    predict = build_predict(network, run_folder)
    shares = explain_words(network, run_folder, texts, classes)
    rows = []
    for number, (sample, share) in enumerate(zip(texts, shares, strict=True)):
        falls = occlude_words(predict, sample, int(classes[number]))
        rows += [(number, word, gain, fall) for (word, fall), gain in zip(falls, share, strict=True)]
    return pd.DataFrame(rows, columns=["text", "word", "gradients", "occlusion"])


def explain_words(
    network: keras.Model, run_folder: str | Path, texts: Sequence[str], classes: np.ndarray
) -> list[np.ndarray]:
    """Return what every word of some texts adds to the score of a class, by integrated gradients.

    Args:
        network: Of a run of 03_finetune_text.
        run_folder: That run, for its tokenizer.
        texts: n texts.
        classes: (n,) the class to explain of each.

    Returns:
        Of each text (words,), split at blanks; NaN where the tokenizer cut the text off.
    """
    tokenizer = Tokenizer.from_file(str(resolve_path(run_folder) / TOKENIZER_FILE))
    shares = integrate_token_gradients(network, _tokenize_short(tokenizer, texts), classes)
    return [
        np.array([gain for _, gain in merge_tokens(share, tokenizer.encode(text), text)], np.float64)
        for share, text in zip(shares, texts, strict=True)
    ]


def _tokenize_short(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Return tokens without the padding that all texts have; lengths come in steps, so few are compiled."""
    tokens = tokenize(tokenizer, list(texts))
    longest = int(tokens["padding_mask"].sum(axis=1).max())
    length = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
    return {name: values[:, :length] for name, values in tokens.items()}
