import keras
import numpy as np
import pytest
from keras import layers

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.models import build_cnn, build_resnet, build_vgg, find_builder

BUILDERS = {"cnn": build_cnn, "vgg": build_vgg, "resnet": build_resnet}


def count_multiply_adds(model):
    """Count the multiply-adds of one sample in convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            _, height, width, filters = layer.output.shape
            kernel_height, kernel_width = layer.kernel_size
            channels = layer.input.shape[-1]
            total += height * width * filters * kernel_height * kernel_width * channels
        elif isinstance(layer, layers.Dense):
            total += layer.input.shape[-1] * layer.units
    return total


def test_cnn_is_the_network_of_the_article():
    network = build_cnn((32, 32, 3), 10)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == [
        "InputLayer", "Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten",
        "Dense", "Dense",
    ]  # fmt: skip
    _, _, first, pool, second, _, flat, hidden, output = network.layers
    assert (first.filters, first.kernel_size, first.activation.__name__) == (32, (3, 3), "relu")
    assert (second.filters, second.kernel_size, second.activation.__name__) == (64, (3, 3), "relu")
    assert (first.padding, pool.pool_size) == ("valid", (2, 2))
    assert flat.output.shape == (None, 6 * 6 * 64)
    assert (hidden.units, hidden.activation.__name__) == (64, "relu")
    assert (output.units, output.activation.__name__) == (10, "softmax")
    # 3x3x3x32+32, 3x3x32x64+64, 2304x64+64, 64x10+10
    assert network.count_params() == 896 + 18_496 + 147_520 + 650


@pytest.mark.parametrize(("name", "millions"), [("cnn", 4.04), ("vgg", 5.23), ("resnet", 6.66)])
def test_cost_is_what_the_docstring_says_and_within_twice_the_cnn(name, millions):
    builder = BUILDERS[name]
    cost = count_multiply_adds(builder((32, 32, 3), 10))
    assert round(cost / 1e6, 2) == millions
    assert f"{millions} million multiply-adds" in builder.__doc__
    assert cost <= 2 * count_multiply_adds(build_cnn((32, 32, 3), 10))


def test_residual_network_has_the_weighted_layers_of_the_paper():
    network = build_resnet((32, 32, 3), 10)
    weighted = [
        layer
        for layer in network.layers
        if isinstance(layer, layers.Dense)
        or (isinstance(layer, layers.Conv2D) and layer.kernel_size == (3, 3))
    ]
    assert len(weighted) == 6 * 2 + 2
    projections = [layer for layer in network.layers if getattr(layer, "kernel_size", 0) == (1, 1)]
    assert [layer.filters for layer in projections] == [32, 64]


@pytest.mark.parametrize("name", BUILDERS)
def test_raw_uint8_images_become_probabilities(name):
    keras.utils.set_random_seed(0)
    network = wb.build_model(name, (16, 20, 1), 3)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 20, 1), dtype=np.uint8)
    probabilities = network.predict(images, verbose=0)
    assert probabilities.shape == (4, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    scaled = [layer for layer in network.layers if isinstance(layer, layers.Rescaling)]
    np.testing.assert_allclose(np.asarray(scaled[0](images)).max(), images.max() / 255, rtol=1e-6)


@pytest.mark.parametrize(("name", "smallest"), [("cnn", 10), ("vgg", 8), ("resnet", 1)])
def test_smallest_image_that_the_check_admits_can_be_built(name, smallest):
    assert BUILDERS[name]((smallest, smallest, 1), 2).output.shape == (None, 2)


@pytest.mark.parametrize(
    ("name", "shape", "would_do"),
    [("cnn", (8, 8, 1), "[10, 10]"), ("cnn", (32, 9, 3), "[32, 10]"), ("vgg", (7, 8, 3), "[8, 8]")],
)
def test_too_small_image_is_told_which_size_would_do(name, shape, would_do):
    with pytest.raises(WorkbenchError) as caught:
        wb.build_model(name, shape, 10)
    assert f"image_size={would_do}" in str(caught.value)
    assert f"{shape[0]}x{shape[1]} pixels" in str(caught.value)


@pytest.mark.parametrize("name", BUILDERS)
def test_texts_are_refused_by_an_image_network(name):
    with pytest.raises(WorkbenchError, match="03_finetune_text"):
        wb.build_model(name, (), 2)


def test_unknown_network_is_told_the_known_ones():
    with pytest.raises(WorkbenchError, match=r"'resnet50'.*\n.*cnn, vgg, resnet"):
        find_builder("resnet50")
