"""A small residual network."""

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

from workbench.models.augmentation import augment_images
from workbench.models.images import require_images


def build_resnet(
    input_shape: tuple[int, int, int], num_classes: int, augmentation: Sequence[str] = (), seed: int = 0
) -> keras.Model:
    """Build three stages of residual blocks; each halves the image and doubles the width.

    He et al. 2015 (https://arxiv.org/abs/1512.03385), section 4.2: their network for CIFAR-10 with
    n=2, that is 14 layers with weights, where the first convolution already halves the image and a
    shortcut that changes its shape is a 1x1 convolution (their option B).
    6.66 million multiply-adds an image of 32x32x3 with 10 classes.

    Args:
        input_shape: (height, width, channels) of raw uint8 images of any size.
        num_classes: How many probabilities come out.
        augmentation: Some of "flip", "crop" and "colour"; see `workbench.models.augmentation`.
        seed: Of the augmentation.

    Raises:
        WorkbenchError: The shape is no image's, or there is no such augmentation.
    """
    require_images(input_shape, smallest=1)
    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = augment_images(x, augmentation, seed)
    x = _convolve(x, 16, strides=2)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        x = _residual_block(x, filters, strides)
        x = _residual_block(x, filters, strides=1)
    x = layers.GlobalAveragePooling2D()(x)
    label = layers.Dense(num_classes, activation="softmax", name="label")(x)
    return keras.Model(image, label, name="resnet")


def _residual_block(x: KerasTensor, filters: int, strides: int) -> KerasTensor:
    """Add to x, or to its projection where the shape changes, what two convolutions make of it."""
    residual = _convolve(x, filters, strides=strides)
    residual = _convolve(residual, filters, activation=None)
    if residual.shape != x.shape:
        x = _convolve(x, filters, size=1, strides=strides, activation=None)
    return layers.ReLU()(layers.Add()([x, residual]))


def _convolve(
    x: KerasTensor, filters: int, size: int = 3, strides: int = 1, activation: str | None = "relu"
) -> KerasTensor:
    """Convolve and normalize over the batch; the normalization has the bias."""
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)  # follows within a short training
    return layers.Activation(activation)(x) if activation else x
