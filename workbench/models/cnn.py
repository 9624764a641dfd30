"""The small convolutional network that the project started from."""

from collections.abc import Sequence

import keras
from keras import layers

from workbench.models.augmentation import augment_images
from workbench.models.images import require_images


def build_cnn(
    input_shape: tuple[int, int, int], num_classes: int, augmentation: Sequence[str] = (), seed: int = 0
) -> keras.Model:
    """Build two convolutions, each with pooling, and two dense layers.

    4.04 million multiply-adds an image of 32x32x3 with 10 classes.

    Args:
        input_shape: (height, width, channels) of raw uint8 images, at least 10x10.
        num_classes: How many probabilities come out.
        augmentation: Some of "flip", "crop" and "colour"; see `workbench.models.augmentation`.
        seed: Of the augmentation.

    Raises:
        WorkbenchError: The shape is no image's, nothing is left of it after the second pooling, or there is
            no such augmentation.
    """
    require_images(input_shape, smallest=10)
    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = augment_images(x, augmentation, seed)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    label = layers.Dense(num_classes, activation="softmax", name="label")(x)
    return keras.Model(image, label, name="cnn")
