"""What in a text speaks for a class."""

import bisect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from workbench.errors import WorkbenchError
from workbench.evaluation.explanation.scores import build_scores, choose_classes, pick, take_classes

if TYPE_CHECKING:
    from tokenizers import Encoding

STEPS = 32


def integrate_token_gradients(
    model: keras.Model, tokens: Mapping[str, np.ndarray], classes: Any = None, *, steps: int = STEPS
) -> np.ndarray:
    """Return how much every token adds to the score of a class, by integrated gradients.

    Sundararajan et al. 2017 (https://arxiv.org/abs/1703.01365): the path leads from embeddings of zeros to
    those of the tokens, and what a token adds is the sum over its embedding.

    Args:
        model: A functional network whose tokens pass one embedding, such as 03_finetune_text trains.
        tokens: Named arrays whose first axis counts n texts, as the network takes them.
        classes: The class to explain, one or (n,); the predicted ones by default.
        steps: On the way.

    Returns:
        (n, tokens) float32; above 0 speaks for the class, below 0 against it.

    Raises:
        WorkbenchError: The network has no embedding.
    """
    import tensorflow as tf

    network, embedding = build_scores(model), _find_embedding(model)
    rows = len(next(iter(tokens.values())))
    found = []
    for row in range(rows):
        one = {name: array[row : row + 1] for name, array in tokens.items()}
        wanted = choose_classes(network(one, training=False), take_classes(classes, row, 1))
        path = {name: np.repeat(array, steps, axis=0) for name, array in one.items()}
        shares = (np.arange(steps, dtype=np.float32) + 0.5) / steps
        with tf.GradientTape() as tape, _scaled(embedding, shares, tape) as seen:
            score = pick(network(path, training=False), np.repeat(wanted, steps))
        scaled, full = seen
        gradients = tf.reduce_mean(tf.cast(tape.gradient(score, scaled), tf.float32), axis=0)
        found.append(tf.reduce_sum(gradients * full, axis=-1).numpy())
    return np.stack(found)


def merge_tokens(contributions: np.ndarray, encoding: "Encoding", text: str) -> list[tuple[str, float]]:
    """Return the words of a text, split at blanks, with the sums over their tokens.

    A word that the tokenizer cut off, because the text is too long, has NaN.

    Args:
        contributions: (tokens,) of this text.
        encoding: What the tokenizer made of it.
        text: The text itself.
    """
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    totals = np.full(len(spans), np.nan)
    starts = [start for start, _ in spans]
    for place, (start, end) in enumerate(encoding.offsets):
        if end > start:
            word = bisect.bisect_right(starts, start) - 1
            totals[word] = np.nan_to_num(totals[word]) + contributions[place]
    return [(text[start:end], float(total)) for (start, end), total in zip(spans, totals, strict=True)]


def occlude_words(
    predict: Callable[[Sequence[str]], np.ndarray], text: str, number: int | None = None
) -> list[tuple[str, float]]:
    """Return the words of a text with how much the probability of a class falls without each of them.

    Zeiler & Fergus 2014 (https://arxiv.org/abs/1311.2901), section 4.2, for words. It needs no gradient, so
    it is for any model.

    Args:
        predict: Takes texts, returns (n, k) probabilities.
        text: One text.
        number: The class; the predicted one by default.
    """
    words = text.split()
    variants = [text, *(" ".join(words[:place] + words[place + 1 :]) for place in range(len(words)))]
    probabilities = np.asarray(predict(variants))
    wanted = int(probabilities[0].argmax()) if number is None else number
    falls = probabilities[0, wanted] - probabilities[1:, wanted]
    return list(zip(words, map(float, falls), strict=True))


def _find_embedding(model: keras.Model) -> keras.layers.Embedding:
    """Return the embedding of the tokens: the one of the largest vocabulary."""
    layers = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.Embedding)
    ]
    if not layers:
        raise WorkbenchError(
            f"The network {model.name} embeds no tokens, so it is none of texts.\n"
            "Give a network with a keras.layers.Embedding, or explain by occlude_words."
        )
    return max(layers, key=lambda layer: layer.input_dim)


@contextmanager
def _scaled(layer: keras.Layer, shares: np.ndarray, tape: Any) -> Iterator[list[Any]]:
    """Let a layer give its output times the shares, watched by the tape; yield that and the full output.

    `call` is looked up on the layer itself, so an instance can be given another one for a while.
    """
    import tensorflow as tf

    seen: list[Any] = []
    call = layer.call

    def scale(*inputs: Any, **options: Any) -> Any:
        full = call(*inputs, **options)
        scaled = full * tf.cast(shares[:, None, None], full.dtype)
        tape.watch(scaled)
        seen[:] = [scaled, tf.cast(full[0], tf.float32)]
        return scaled

    layer.call = scale
    try:
        yield seen
    finally:
        layer.call = call
