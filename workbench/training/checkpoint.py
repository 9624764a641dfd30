"""What a killed training needs to go on to the bit, and the best weights of one that goes on too long."""

import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from workbench.errors import WorkbenchError
from workbench.events import COMMON_FIELDS, read_events
from workbench.findings import Finding
from workbench.runs import CHECKPOINT_FOLDER, EVENTS_FILE, Run, resolve_path, show_path
from workbench.training.best import BestEpoch
from workbench.training.callback_state import (
    CallbackStates,
    describe_callbacks,
    read_random_state,
    restore_random_state,
)
from workbench.training.checkpoint_files import BEST_FOLDER, CheckpointFiles, find_shelved, shelve
from workbench.training.costs import CostMeter
from workbench.training.learning_rate import read_factor, scale_schedule
from workbench.training.position import Position, Start
from workbench.training.resume_key import differing_parts, resume_key
from workbench.training.snapshot import DamagedSnapshot, Snapshot, copy_values, digest_arrays, read_snapshot

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

SHARE = 50  # a checkpoint is saved when the last one is older than this many times what saving takes
DISK = 4e8  # bytes a second that are assumed until a checkpoint was saved


class Checkpoint(keras.callbacks.Callback):
    """Save all that a training is; the next `fit` goes on from there and ends with the same bits.

    That is weights, optimizer, metrics, the seeds of dropout and augmentation, the other random generators,
    what the user's callbacks have counted, the history, and with `batches` also the position in the data.
    A checkpoint is saved at the end of an epoch, or inside of a long one, when the last one is older than
    50 times what saving takes, and at the end of the training. (`keras.callbacks.BackupAndRestore` saves
    weights and epoch in place, one after the other: killed between the two it repeats an epoch on top of
    itself, killed within one it leaves a file that cannot be read.)

    A training goes on from the newest readable checkpoint of its run whose resume key equals its own. In a
    new run, it goes on from a shorter training with the same key, initial weights and callbacks. Each
    training of a run has a folder of its own, which lasts until the run is finished.

    Args:
        run: The run that is written.
        position: Is told where the training goes on, and tells where it is; another callback of the same
            `fit`, before this one.
        callbacks: The user's, in their order, whose `on_train_begin` comes before.
        costs: Its sums over all attempts are kept; its `on_train_begin` comes before, too.
        batches: What the model is trained with, if `Dataset.train.batches` made it.
        early_stopping: What it monitors says which epoch is best.
    """

    def __init__(
        self,
        run: Run,
        position: Position,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        batches: "Batches | None" = None,
        early_stopping: keras.callbacks.EarlyStopping | None = None,
        costs: CostMeter | None = None,
    ) -> None:
        super().__init__()
        self.run = run
        self.position = position
        self.start = position.start
        self.costs = costs
        self.callbacks = callbacks
        self.data = batches
        # In the midst of an epoch; on JAX the weights are inside of the compiled loop until it ends.
        self._knows_place = batches is not None and keras.backend.backend() != "jax"
        self.best = BestEpoch(early_stopping)
        self.steered = False  # whether a person changed the course of the training

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        vars(self.start).update(vars(Start()))
        self.files = CheckpointFiles(self.run.path / CHECKPOINT_FOLDER / f"fit-{self.run.log.fit:02d}")
        self.best.forget()
        self.steered = False
        self._states = CallbackStates([*self.callbacks, *([self.costs] if self.costs else [])])
        self._epochs: list[int] = []
        self._history: dict[str, list[float]] = {}
        self._restored: Snapshot | None = None
        self._problems: list[tuple[str, str, str]] = []
        self._newest: Path | None = None
        if not self.model.built and self.data is not None:
            self._build_symbolically()
        if self.model.built and not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self._expect(sum(np.prod(each.shape, dtype=float) * 4 for each in self._variables()) / DISK)
        self._key = resume_key(self.model, self.run, self.data)
        # Without batches of our own nobody can tell that the data and their order are the same.
        self._identity = self._identify() if self.data is not None else ""
        self._go_on()
        # The one way to tell a running `fit` where to begin; Keras leaves an older value in place.
        self.model._initial_epoch = self.start.epoch or None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = epoch
        self._log_problems()
        self._shortened = contextlib.ExitStack()
        if self._restored:
            self._complete_restoring()
            if self.position.skipped:  # Keras expects a whole epoch, and would say that data are missing
                self._shortened.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", "Your input ran out of data")
        if self.data is not None:
            self.data.go_to(epoch, self.position.skipped)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._knows_place and time.monotonic() >= self._due and self._is_within():
            self._save(self._epoch, self.position.batches, logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._shortened.close()
        self.best.watch(epoch, logs or {}, self.model, whole=not self.position.cut_short)
        if self.position.cut_short:  # no place to go on from
            return
        self._epochs.append(epoch)
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(value)
        last = epoch + 1 >= self.params["epochs"] or self.model.stop_training
        if last or time.monotonic() >= self._due:
            self._save(epoch + 1, 0, {})

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self._restored:  # there was nothing left to train
            self._log_problems()
            self._complete_restoring()
        elif self._newest and self._identity and not (self.steered or self.model.stop_training):
            shelve(self._newest, self.best.file, self._identity)

    def restore_best(self) -> int | None:
        """Give the model the weights of the best epoch and return that epoch.

        Nothing happens, and None is returned, before the end of the first epoch, and where an epoch that
        was cut short has come to the best weights so far: the model holds them.
        """
        return self.best.put_back(self.model, self.files.folder)

    def save_copy(self, epoch: int, step: int) -> str:
        """Save the present weights for `model.load_weights` and return the path in the run folder.

        Raises:
            WorkbenchError: They could not be written; training can go on.
        """
        name = f"artifacts/checkpoints/epoch-{epoch + 1:06d}-step-{step:06d}.weights.h5"
        path = self.run.path / name
        unfinished = path.with_name("unfinished.weights.h5")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.model.save_weights(unfinished, overwrite=True)
            unfinished.replace(path)
        except OSError as error:
            raise WorkbenchError(
                f"The checkpoint could not be saved: {error}.\nMake room or mend the folder, and ask again."
            ) from error
        return name

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _expect(self, cost: float) -> None:
        self._due = time.monotonic() + SHARE * cost

    def _is_within(self) -> bool:
        """Tell whether an epoch is under way that will be trained to its end."""
        return self.position.batches < (self.params["steps"] or 0) and not self.model.stop_training

    def _save(self, epoch: int, batch: int, logs: Mapping[str, float]) -> None:
        began = time.monotonic()
        if self.costs:
            self.costs.look()
        random_facts, tensors = read_random_state()
        callbacks, of_callbacks = self._states.collect()
        path = self.files.path(epoch, batch)
        best, of_best = self.best.collect(path.name)
        tensors |= of_callbacks | of_best
        tensors |= _named("state", self._variables()) | _named("metric", self.model.metrics_variables)
        facts = {
            "key": self._key,
            "epoch": epoch,
            "batch": batch,
            "logs": dict(logs),
            "epochs": self._epochs,
            "history": self._history,
            "callbacks": callbacks,
            "random": random_facts,
            "best": best,
            "stopped": bool(self.model.stop_training),
            "steered": self.steered,
            "learning_rate_factor": read_factor(self.model),
            "source": [show_path(self.run.path), self.run.log.fit],
        }
        self.files.write(path, Snapshot(tensors, facts), self.best.file)
        self._newest = path
        self._expect(time.monotonic() - began)

    def _build_symbolically(self) -> None:
        """Make the variables that Keras would make with the first batch."""
        self.model._symbolic_build(data_batch=self.data.element_spec)

    def _identify(self) -> str:
        """Return what a training in another run must be for this one to go on from it."""
        variables = self._variables() if self._is_trained() else self.model.variables
        initial = digest_arrays(_named("state", variables))
        parts = [self._key, initial, describe_callbacks(self.callbacks)]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _is_trained(self) -> bool:
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) > 0

    def _go_on(self) -> None:
        """Restore the newest checkpoint that is whole and of this very training, if there is one."""
        for path, found in self.files.newest_first():
            problem = self._judge(path, found)
            if problem is None:
                self._restore(found)
                self.files.remember(path, found.facts["best"]["file"])
                self.best.go_on(found.facts["best"])
                return
            self._problems.append(problem)
        shelved = self._identity and find_shelved(self._identity, self.params["epochs"])
        if shelved:
            with contextlib.suppress(DamagedSnapshot):  # it is spare: the training can do without
                found = read_snapshot(shelved)
                self.best.go_on(found.facts["best"], shelved.parent / BEST_FOLDER)
                self._restore(found)
                self._copy_epochs(*found.facts["source"])

    def _judge(self, path: Path, found: Snapshot | DamagedSnapshot) -> tuple[str, str, str] | None:
        """Return rule, message and advice of a finding if a training cannot go on from a checkpoint."""
        if isinstance(found, DamagedSnapshot):
            return "checkpoint_damaged", str(found).partition("\n")[0], "The one before it is used, if any."
        differing = differing_parts(self._key, found.facts["key"])
        if sum(name.startswith("state/") for name in found.tensors) != len(self._variables()):
            differing.append("variables (a network without an Input layer has none before it is trained)")
        if not differing:
            return None
        return (
            "checkpoint_unfit",
            f"The checkpoint {show_path(path)} is of another training: other {', '.join(differing)}.",
            "Restore what has changed to go on from it; this training does not.",
        )

    def _log_problems(self) -> None:
        """Log what is wrong with checkpoints, once the log says that the training has begun."""
        for rule, message, advice in self._problems:
            finding = Finding(rule, "warning", message, advice, epoch=self.start.epoch)
            self.run.log.write("finding", **finding.as_event())
        self._problems.clear()

    def _copy_epochs(self, run_folder: str, fit: int) -> None:
        """Log what another run's log tells of the epochs that are not trained again."""
        for event in read_events(resolve_path(run_folder) / EVENTS_FILE):
            if (
                event["type"] in ("fit", "epoch")
                and event["fit"] == fit
                and event.get("epoch", -1) < self.start.epoch
            ):
                fields = {name: value for name, value in event.items() if name not in COMMON_FIELDS}
                self.run.log.write(event["type"], **fields)

    def _restore(self, snapshot: Snapshot) -> None:
        facts, tensors = snapshot.facts, snapshot.tensors
        for number, variable in enumerate(self._variables()):
            variable.assign(tensors[f"state/{number:05d}"])
        self._states.put_back(facts["callbacks"], tensors)
        scale_schedule(self.model, facts["learning_rate_factor"])
        self.steered = facts["steered"]
        self._epochs = list(facts["epochs"])
        self._history = {name: list(values) for name, values in facts["history"].items()}
        epoch = self.params["epochs"] if facts["stopped"] else facts["epoch"]
        self.start.epoch, self.start.batch, self.start.trained = epoch, facts["batch"], facts["epoch"]
        self.start.logs, self.start.source = facts["logs"], facts["source"][0]
        self._restored = snapshot

    def _complete_restoring(self) -> None:
        """Restore what `fit` resets after `on_train_begin`, and what may have been drawn from since."""
        facts, tensors = self._restored.facts, self._restored.tensors
        history = self.model.history
        history.epoch, history.history = list(self._epochs), {k: list(v) for k, v in self._history.items()}
        if facts["batch"]:
            self._build_symbolically()  # the metrics have no variables before
            for number, variable in enumerate(self.model.metrics_variables):
                variable.assign(tensors[f"metric/{number:05d}"])
        restore_random_state(facts["random"], tensors)
        self._restored = None


def _named(kind: str, variables: Sequence[keras.Variable]) -> dict[str, np.ndarray]:
    return {f"{kind}/{number:05d}": value for number, value in enumerate(copy_values(variables))}
