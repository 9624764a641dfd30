"""Figures of intervals, reliability, robustness and explanations."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workbench.evaluation import Predictions, Result, judge, measure_reliability
from workbench.figures import (
    plot_estimates,
    plot_faithfulness,
    plot_maps,
    plot_reliability,
    plot_robustness,
)

LABELS = np.arange(300) % 2


def make_result(model: str, accuracy: float, seed: int) -> Result:
    right = np.random.default_rng(seed).random(300) < accuracy
    values = 0.1 + 0.8 * np.eye(2)[np.where(right, LABELS, 1 - LABELS)]
    return Result(model, "model", Predictions(np.arange(300).astype(str), LABELS, values, ("a", "b")), seed)


def test_of_intervals_shows_every_run_and_where_the_interval_lies() -> None:
    results = [make_result("net <b>", 0.8, seed) for seed in range(3)] + [make_result("other", 0.7, 9)]
    verdict = judge(results, "accuracy", "shapes", resamples=200)
    figure = plot_estimates(verdict)
    mean, runs, single = figure.data
    best = verdict.estimates[0]
    assert mean.y == ("net &lt;b&gt;",)
    assert mean.x[0] + mean.error_x.array[0] == pytest.approx(best.high)
    assert mean.x[0] - mean.error_x.arrayminus[0] == pytest.approx(best.low)
    assert list(runs.x) == list(best.values)
    assert single.y == ("other",)


def test_of_reliability_draws_the_bins_beside_the_diagonal() -> None:
    table = measure_reliability(make_result("net", 0.8, 0).predictions)
    diagonal, bins = plot_reliability({"net": table}).data
    assert list(diagonal.x) == list(diagonal.y)
    np.testing.assert_allclose(bins.y, table["accuracy"])


def test_of_robustness_draws_each_corruption_in_its_band() -> None:
    rows = [
        (kind, n, 0.9 - n / 10, 0.8 - n / 10, 1 - n / 10, 50) for kind in ("noise", "blur") for n in range(3)
    ]
    columns = ["corruption", "strength", "accuracy", "low", "high", "samples"]
    figure = plot_robustness(pd.DataFrame(rows, columns=columns))
    named = [trace for trace in figure.data if trace.showlegend is not False]
    assert [trace.name for trace in named] == ["noise", "blur"]
    assert len(figure.data) == 6


def test_of_deletion_and_insertion_draws_the_random_order_once() -> None:
    shares = np.linspace(0, 1, 5)
    names = ("deletion", "insertion", "random_deletion", "random_insertion")
    curves = pd.DataFrame({"share": shares} | dict.fromkeys(names, shares))
    figure = plot_faithfulness({"one": curves, "two": curves})
    assert [trace.name for trace in figure.data[-2:]] == ["random order, deletion", "random order, insertion"]
    assert len(figure.data) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_of_maps_is_bright_where_the_map_is(channels: int) -> None:
    images = np.zeros((1, 8, 8, channels), np.uint8)
    maps = np.zeros((1, 8, 8))
    maps[0, :4] = 1
    maps[0, 4:] = -1
    figure = plot_maps(images, maps, ["one"], "maps")
    data = figure.data[0].source.removeprefix("data:image/png;base64,")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), float)
    inside = pixels[:, pixels.shape[1] // 2]
    assert inside[10] > 100 > inside[80]
