"""What is measured in the kernel of a notebook; every function leaves its figures in a JSON file.

The hooks of a callback are timed from outside; an empty callback among them tells what calling one takes.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import keras
import numpy as np
from IPython.display import clear_output, display

import workbench as wb

BATCH_SIZE = 32  # images
VALIDATION = 1000  # images
OPENING = 1.5  # seconds in which the browser opens or closes a panel
UPDATES = 15  # of each view beside one another

Times = dict[str, dict[str, list[float]]]  # seconds of every call, by callback and hook


@cache
def load_digits(batches: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return so many batches of real images, (samples, 32, 32, 3) of uint8, and a validation set."""
    data = wb.load_dataset("digits", image_size=[32, 32])

    def repeat(split: wb.Split, count: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(count) % len(split)
        return np.repeat(split.x[rows], 3 // split.x.shape[-1], axis=-1), split.y[rows]

    return repeat(data.train, batches * BATCH_SIZE), repeat(data.val, VALIDATION)


def build_network(steps_per_execution: int, metrics: Iterable[Any] = ()) -> keras.Model:
    """Return the article's CNN as notebooks/02_train_cnn.ipynb compiles it."""
    keras.utils.set_random_seed(0)
    network = wb.build_model("cnn", (32, 32, 3), 10)
    network.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy", *metrics],
        steps_per_execution=steps_per_execution,
    )
    return network


class Empty(keras.callbacks.Callback):
    """Does nothing at a batch: what it takes is the price of calling, and of looking at the clock."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        pass


def time_hooks(callbacks: Iterable[keras.callbacks.Callback]) -> Times:
    """Let every hook that a callback defines note how long each of its calls takes."""
    times: Times = {}

    def timed(hook: Callable[..., None], seconds: list[float]) -> Callable[..., None]:
        @wraps(hook)
        def call(*arguments: Any, **named: Any) -> None:
            began = time.perf_counter()
            hook(*arguments, **named)
            seconds.append(time.perf_counter() - began)

        return call

    for callback in callbacks:
        own = times[type(callback).__name__] = defaultdict(list)
        for name in dir(keras.callbacks.Callback):
            defined = getattr(type(callback), name)
            if name.startswith("on_") and defined is not getattr(keras.callbacks.Callback, name):
                setattr(callback, name, timed(getattr(callback, name), own[name]))
    return times


def measure_costs(answer: str, batches: int) -> None:
    """Leave what every callback spends in trainings that a panel shows, of so many batches an epoch."""
    costs = []
    for name, steps, probed, epochs in (
        ("called for 16 batches at a time, with a probe", 16, True, 4),  # it is looked at now and then
        ("called for every batch, without a probe", 1, False, 3),
    ):
        network = build_network(steps)
        fit(network, [], 1, steps)  # not counted: traces the functions
        seconds, times = fit_watched(network, epochs, batches, f"runs/cost-{steps}", probed)
        cost = {"name": name, "epochs": epochs, "batches": epochs * batches, "seconds": seconds}
        costs.append(cost | {"default": not probed, "times": times})
    write_answer(answer, costs)


def compare_fits(answer: str, rounds: int, epochs: int, batches: int) -> None:
    """Train in turn without any callback, and with all of ours and the panel open; leave the seconds.

    Args:
        answer: Where the figures go.
        rounds: Pairs of trainings.
        epochs: Of each training.
        batches: Of an epoch.
    """
    network = build_network(16)
    weights = network.get_weights()
    fit(network, [], 1, 16)  # not counted: traces the functions
    pairs = []
    for number in range(rounds):
        pair = {}
        for side in ("without", "with") if number % 2 else ("with", "without"):
            network.set_weights(weights)
            if side == "with":
                pair[side], _ = fit_watched(network, epochs, batches, f"runs/pair-{number}")
            else:
                pair[side] = fit(network, [], epochs, batches)
        pairs.append(pair)
    write_answer(answer, pairs)


def fit_watched(
    network: keras.Model, epochs: int, batches: int, folder: str, probed: bool = True
) -> tuple[float, Times]:
    """Train as a run that a panel shows; return the seconds of `fit` and of the callbacks."""
    run = wb.start_run(folder, parameters={"batch_size": BATCH_SIZE})
    wb.live(run)
    time.sleep(OPENING)
    callbacks = [*wb.callbacks(run, probe=load_digits(batches)[1] if probed else None), Empty()]
    times = time_hooks(callbacks)
    seconds = fit(network, callbacks, epochs, batches)
    run.finish()
    time.sleep(OPENING)
    clear_output()
    return seconds, times


def fit(network: keras.Model, callbacks: list[keras.callbacks.Callback], epochs: int, batches: int) -> float:
    """Train and return the seconds that it took."""
    (x, y), validation = load_digits(batches)
    began = time.perf_counter()
    network.fit(
        x,
        y,
        validation_data=validation,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        callbacks=callbacks,
        verbose=0,
    )
    return time.perf_counter() - began


class FigureWidgetCurves(keras.callbacks.Callback):
    """The curves of all batches in a plotly FigureWidget.

    Args:
        history: Values of each metric that are shown already.
    """

    def __init__(self, history: dict[str, list[float]]) -> None:
        from plotly.graph_objects import FigureWidget

        super().__init__()
        self.rows = {name: list(values) for name, values in history.items()}
        self.steps = list(range(len(next(iter(history.values())))))
        traces = [{"name": name, "x": self.steps, "y": values} for name, values in self.rows.items()]
        self.figure = FigureWidget(traces)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.steps.append(len(self.steps))
        for name, value in logs.items():
            self.rows[name].append(value)
        with self.figure.batch_update():
            for trace in self.figure.data:
                trace.x, trace.y = self.steps, self.rows[trace.name]


class LiveLossPlot(keras.callbacks.Callback):
    """The curves of all batches by livelossplot, which its own callback draws at every epoch only.

    Args:
        history: Values of each metric that are shown already.
    """

    def __init__(self, history: dict[str, list[float]]) -> None:
        from livelossplot import PlotLosses

        super().__init__()
        self.plot = PlotLosses()
        for row in zip(*history.values(), strict=True):
            self.plot.update(dict(zip(history, row, strict=True)))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.plot.update(dict(logs))
        self.plot.send()


class Views:
    """Our panel, a FigureWidget and livelossplot in the same training, each updated at every batch.

    Args:
        points: How much history each shows already.
    """

    def __init__(self, points: int) -> None:
        top = [keras.metrics.SparseTopKCategoricalAccuracy(k, name=f"top_{k}") for k in (2, 3, 5)]
        self.network = build_network(1, top)
        names = ("loss", "accuracy", "top_2", "top_3", "top_5")
        history = {name: np.random.default_rng(0).random(points).tolist() for name in names}
        self.run = wb.start_run(f"runs/views-{points}", parameters={"batch_size": BATCH_SIZE})
        for step in range(points):
            metrics = {name: values[step] for name, values in history.items()}
            self.run.log.write("step", epoch=0, step=step + 1, metrics=metrics, learning_rate=1e-3)
        self.widget = FigureWidgetCurves(history)
        self.plot = LiveLossPlot(history)

    def show(self) -> None:
        """Show the two that have an output of their own; livelossplot clears that of the cell that trains."""
        wb.live(self.run)
        display(self.widget.figure)

    def train(self, answer: str) -> None:
        """Train one epoch and leave the seconds of every update."""
        ours = wb.callbacks(self.run, probe=load_digits(UPDATES)[1])
        for callback in ours:
            if isinstance(callback, wb.training.EventLogger):
                callback.seconds = 0.0  # by default it logs twice a second at most
        times = time_hooks([*ours, self.widget, self.plot])
        fit(self.network, [*ours, self.widget, self.plot], 1, UPDATES)
        self.run.finish()
        views = {"FigureWidgetCurves": "FigureWidget", "LiveLossPlot": "livelossplot"}
        updates: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(UPDATES))
        for name, hooks in times.items():
            if len(hooks["on_train_batch_end"]):  # some do nothing there
                updates[views.get(name, "ours")] += hooks["on_train_batch_end"]
        # The first batch traces and warms, and the last one is logged with the epoch.
        write_answer(answer, {view: seconds[2:-1].tolist() for view, seconds in updates.items()})


def train_until_stopped(answer: str, times: int) -> None:
    """Train so many endless runs one after the other, each until somebody stops it."""
    network = build_network(16)
    for number in range(times):
        run = wb.start_run(f"runs/stop-{number}", parameters={"batch_size": BATCH_SIZE})
        clear_output()
        wb.live(run)
        fit(network, wb.callbacks(run, probe=load_digits(64)[1]), 10_000, 64)
        run.finish()
    write_answer(answer, times)


def write_answer(path: str, answer: Any) -> None:
    """Write figures as JSON, all at once."""
    unfinished = Path(path).with_suffix(".part")
    unfinished.write_text(json.dumps(answer))
    unfinished.replace(path)
