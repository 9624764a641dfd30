"""Which samples validated a training, so that a comparison can tell whether they were those of the test."""

from collections.abc import Mapping
from typing import Any

import keras

from workbench.runs import Run


class ValidationSamples(keras.callbacks.Callback):
    """Records in the run whose batches `fit` was given to validate on, if `Split.batches` made them.

    Args:
        run: Its `validated_on` holds the number of samples by their identity (`digest_samples`).
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._told = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        # Keras keeps the iterator of the first validation; there is no public way to ask for its data.
        iterator = getattr(self.model, "_eval_epoch_iterator", None)
        if iterator is None or self._told:
            return
        self._told = True
        batches = _find_batches(getattr(iterator.data_adapter, "_dataset", None))
        if identity := batches and batches.identity():
            self.run.record(validated_on={identity: batches.samples})


def _find_batches(dataset: Any) -> Any:
    """Return the `Batches` that a `tf.data.Dataset` is, or is made of; None if there are none."""
    if dataset is None:
        return None
    from workbench.datasets.batches import Batches  # imports TensorFlow

    if isinstance(dataset, Batches):
        return dataset
    return next(filter(None, map(_find_batches, getattr(dataset, "_inputs", list)())), None)
