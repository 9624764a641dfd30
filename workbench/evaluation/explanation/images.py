"""What in an image speaks for a class."""

from typing import Any

import keras
import numpy as np

from workbench.errors import WorkbenchError
from workbench.evaluation.explanation.scores import build_scores, choose_classes, pick, take_classes

STEPS = 32
_BATCH = 64


def explain_gradcam(model: keras.Model, images: np.ndarray, classes: Any = None) -> np.ndarray:
    """Return where a convolutional network sees evidence for a class, by Grad-CAM.

    Selvaraju et al. 2017 (https://arxiv.org/abs/1610.02391), equations 1 and 2: the maps of the last layer
    that still is an image, weighted by the mean gradient of the class score, with what speaks against it
    cut off.

    Args:
        model: A functional or sequential network of images.
        images: (n, height, width, channels) as the network takes them.
        classes: The class to explain, one or (n,); the predicted ones by default.

    Returns:
        (n, height, width) float32, 0 or more.

    Raises:
        WorkbenchError: No layer of the network gives an image of more than one pixel.
    """
    import tensorflow as tf

    network = build_scores(model, _last_image_layer(model).output)
    maps = []
    for start in range(0, len(images), _BATCH):
        batch = tf.convert_to_tensor(images[start : start + _BATCH], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(batch)
            scores, features = network(batch, training=False)
            wanted = choose_classes(scores, take_classes(classes, start, _BATCH))
            score = pick(scores, wanted)
        gradients = tf.cast(tape.gradient(score, features), tf.float32)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        raw = tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), axis=-1, keepdims=True))
        maps.append(tf.image.resize(raw, images.shape[1:3])[..., 0].numpy())
    return np.concatenate(maps)


def integrate_gradients(
    model: keras.Model, images: np.ndarray, classes: Any = None, *, baseline: float = 0.0, steps: int = STEPS
) -> np.ndarray:
    """Return how much every pixel adds to the score of a class, by integrated gradients.

    Sundararajan et al. 2017 (https://arxiv.org/abs/1703.01365), equation 3, by the midpoint rule: the
    contributions of an image add up to its score less that of the baseline.

    Args:
        model: A functional or sequential network of images.
        images: (n, height, width, channels) as the network takes them.
        classes: The class to explain, one or (n,); the predicted ones by default.
        baseline: The value of every pixel of an image that shows nothing; black by default.
        steps: On the way from there to the image.

    Returns:
        (n, height, width, channels) float32; above 0 speaks for the class, below 0 against it.
    """
    import tensorflow as tf

    network = build_scores(model)
    found = []
    for number, image in enumerate(np.asarray(images, np.float32)):
        scores = network(image[None], training=False)
        wanted = choose_classes(scores, take_classes(classes, number, 1))
        shares = (np.arange(steps, dtype=np.float32) + 0.5) / steps
        path = tf.convert_to_tensor(baseline + shares[:, None, None, None] * (image - baseline))
        with tf.GradientTape() as tape:
            tape.watch(path)
            score = pick(network(path, training=False), np.repeat(wanted, steps))
        gradients = tf.reduce_mean(tape.gradient(score, path), axis=0).numpy()
        found.append(gradients * (image - baseline))
    return np.stack(found)


def _last_image_layer(model: keras.Model) -> keras.Layer:
    """Return the last layer whose output has channels, and more than one place."""
    for layer in reversed(model.layers):
        shape = getattr(getattr(layer, "output", None), "shape", ())
        if (
            len(shape) == 4
            and not isinstance(layer, keras.layers.InputLayer)
            and max(shape[1] or 0, shape[2] or 0) > 1
        ):
            return layer
    raise WorkbenchError(
        f"No layer of {model.name} gives an image of more than one pixel, so Grad-CAM has nothing to weigh.\n"
        "Take integrated gradients, or a network with convolutions."
    )
