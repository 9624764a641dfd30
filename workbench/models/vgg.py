"""A small network in the style of VGG."""

from collections.abc import Sequence

import keras
from keras import layers

from workbench.models.augmentation import augment_images
from workbench.models.images import require_images


def build_vgg(
    input_shape: tuple[int, int, int], num_classes: int, augmentation: Sequence[str] = (), seed: int = 0
) -> keras.Model:
    """Build blocks of 3x3 convolutions of one width, which doubles where pooling halves the image.

    Simonyan & Zisserman 2014 (https://arxiv.org/abs/1409.1556): the first three blocks of their
    configuration A at a quarter of the width, with one hidden dense layer.
    5.23 million multiply-adds an image of 32x32x3 with 10 classes.

    Args:
        input_shape: (height, width, channels) of raw uint8 images, at least 8x8.
        num_classes: How many probabilities come out.
        augmentation: Some of "flip", "crop" and "colour"; see `workbench.models.augmentation`.
        seed: Of the augmentation.

    Raises:
        WorkbenchError: The shape is no image's, nothing is left of it after the third pooling, or there is
            no such augmentation.
    """
    require_images(input_shape, smallest=8)
    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = augment_images(x, augmentation, seed)
    for filters, depth in ((16, 1), (32, 1), (64, 2)):
        for _ in range(depth):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    label = layers.Dense(num_classes, activation="softmax", name="label")(x)
    return keras.Model(image, label, name="vgg")
