"""How a network trains fastest on this machine: measured in a few seconds, remembered, and said in a line."""

import dataclasses
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from workbench.datasets.cache import cache_root
from workbench.provenance import machine, package_versions, thread_settings
from workbench.runs import Run, read_json, write_json
from workbench.training.callback_state import read_random_state, restore_random_state
from workbench.training.flops import PASSES_OF_TRAINING, count_flops
from workbench.training.memory import describe_exhaustion, is_exhaustion
from workbench.training.resume_key import digest_model
from workbench.training.snapshot import copy_values

if TYPE_CHECKING:
    from workbench.datasets.batches import Batches

VARIABLE = "WORKBENCH_SPEED"  # JSON of a `Speed` that is taken as it is, when a training is done again
SLOW = 2e10  # operations a second that any machine does
WORTH_A_PROBE = 40.0  # seconds that a training must take at least, else the probe costs more than it gains
PROBE_SHARE = 0.05  # of the time that a training takes, for trying ways; one that has begun is ended
COMPILATION = 30.0  # seconds that XLA may take for a large network, and for each length of its inputs
GAIN = 1.1  # times faster that another precision or a compilation must be to be chosen
LONGEST_CALL = 0.25  # seconds; the buttons of the panel and a checkpoint wait for the end of a call
MOST_STEPS = 32
TOO_SHORT = "the training is too short to look for more"
_TIMED = 0.8  # seconds in which a way is timed
_BF16 = ("avx512_bf16", "amx_bf16")  # instructions without which bfloat16 is slower than float32


@dataclass(frozen=True)
class Speed:
    """A way to train, and what was measured of it and of others.

    Args:
        precision: "float32", or "mixed_bfloat16": products in bfloat16, weights and outputs in float32.
        jit_compile: Whether XLA compiles the training step.
        steps_per_execution: Batches a call of the backend; without influence on results.
        rates: Samples a second by way, as far as ways were tried.
        why: Why this one.
    """

    precision: str = "float32"
    jit_compile: bool = False
    steps_per_execution: int = 1
    rates: Mapping[str, float] = field(default_factory=dict)
    why: str = ""

    @property
    def way(self) -> str:
        """Precision and compilation in words."""
        compiled = ", compiled by XLA" if self.jit_compile else ""
        return self.precision.removeprefix("mixed_") + compiled

    def __str__(self) -> str:
        measured = ", ".join(f"{way} {rate:,.0f}" for way, rate in self.rates.items())
        told = f" ({measured} samples a second)" if measured else ""
        return f"Trains in {self.way}, {self.steps_per_execution} steps a call: {self.why}{told}."

    def apply(self, model: keras.Model) -> None:
        """Let a compiled model train this way from now on; its weights stay."""
        outputs = {tensor._keras_history.operation for tensor in keras.tree.flatten(model.outputs)}
        for layer in model._flatten_layers(include_self=True):
            precision = "float32" if layer in outputs else self.precision
            layer.dtype_policy = keras.dtype_policies.get(precision)
        model.jit_compile, model.steps_per_execution = self.jit_compile, self.steps_per_execution
        model.train_function = model.test_function = model.predict_function = None


def tune_for_this_machine(
    model: keras.Model, batches: "Batches", epochs: int, run: Run | None = None
) -> Speed:
    """Choose precision, compilation and steps a call for a training, and let the model train that way.

    Ways are tried on the model itself, which is as before afterwards; its outputs stay in float32. A short
    training is not worth that, and stays as it is. So does a precision that Keras was told. The choice for a
    network, batch size and machine is kept in data/cache/speed/ and in the run, and made anew only when one
    of them changes, so that a training that is repeated is the same.

    Args:
        model: Built and compiled.
        batches: What it will be trained with.
        epochs: How often.
        run: Where the choice is recorded, as `speed`; a run that goes on keeps what it has recorded.

    Raises:
        WorkbenchError: A batch does not fit into memory.

    Example:
        print(wb.tune_for_this_machine(network, train, epochs, run))
    """
    plain = Speed(keras.config.dtype_policy().name)
    plain.apply(model)
    file = _file(model, batches)
    told = json.loads(os.environ[VARIABLE]) if VARIABLE in os.environ else None
    known = (run.details.get("speed") if run else None) or told or _recall(file, batches.samples * epochs)
    speed = Speed(**known) if known else _Probe(model, batches, epochs, plain).choose()
    if not known and speed.rates:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, dataclasses.asdict(speed))
    speed.apply(model)
    if run:
        run.record(speed=dataclasses.asdict(speed))
    return speed


def _recall(file: Path, samples: int) -> dict[str, Any] | None:
    """Return the choice that a file keeps, unless a training of so many samples deserves a better look."""
    kept = read_json(file)
    if kept is None:
        return None
    (rate, *others) = kept["rates"].values()
    return kept if others or samples / rate < WORTH_A_PROBE else None


def has_bfloat16_instructions() -> bool:
    """Tell whether the processor multiplies bfloat16 numbers itself."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False
    return any(name in flags for name in _BF16)


class _Probe:
    """Trains a model for moments in several ways."""

    def __init__(self, model: keras.Model, batches: "Batches", epochs: int, plain: Speed) -> None:
        self.model, self.batches, self.epochs, self.plain = model, batches, epochs, plain
        self.rates: dict[str, float] = {}

    def choose(self) -> Speed:
        """Return the fastest way, or the plain one where looking for others is not worth its time."""
        flops = count_flops(self.model, self.batches)
        seconds = PASSES_OF_TRAINING * (flops or math.inf) * self.batches.samples * self.epochs / SLOW
        if seconds < WORTH_A_PROBE:
            steps = 1 << max(0, min(MOST_STEPS // 2, self._count() // 4).bit_length() - 1)
            return replace(self.plain, steps_per_execution=steps, why=TOO_SHORT)
        with _unchanged(self.model):
            rate = self._try_first()
            fastest = replace(self.plain, steps_per_execution=self._steps_a_call(rate), rates=self.rates)
            seconds = self.batches.samples * self.epochs / rate
            if keras.backend.backend() != "tensorflow" or seconds < WORTH_A_PROBE:
                return replace(fastest, why=TOO_SHORT)
            began = time.perf_counter()
            for change, expected in self._changes():
                if time.perf_counter() - began + expected < PROBE_SHARE * seconds:
                    other = replace(fastest, **change)
                    faster = self._try(other) > GAIN * self.rates[fastest.way]
                    fastest = other if faster else fastest
        gain = self.rates[fastest.way] / rate
        why = f"{gain:.1f} times as fast as {self.plain.way}" if gain > 1 else "nothing else is much faster"
        return replace(fastest, why=why)

    def _try_first(self) -> float:
        """Try the plain way, which a training would take too if nothing else were tried."""
        try:
            return self._try(self.plain)
        except Exception as error:
            if is_exhaustion(error):
                raise describe_exhaustion(self.model, self.batches) from error
            raise

    def _changes(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Yield what is worth a try, one after the other, and seconds that it may take."""
        if self.plain.precision == "float32" and has_bfloat16_instructions():
            yield {"precision": "mixed_bfloat16"}, 0.0
        if all(layer.supports_jit for layer in self.model._flatten_layers()):
            yield {"jit_compile": True}, COMPILATION * max(1, len(self.batches.buckets))

    def _steps_a_call(self, rate: float) -> int:
        """Return a power of two, so that a call stays short and an epoch has several."""
        if keras.backend.backend() == "torch":
            return 1  # Keras knows no more there
        most = min(MOST_STEPS, LONGEST_CALL * rate / self.batches.batch_size, self._count() / 4)
        return 1 << max(0, int(most).bit_length() - 1)

    def _count(self) -> int:
        return int(self.batches.cardinality())

    def _try(self, speed: Speed) -> float:
        """Return the samples a second of a way, the median over some calls after the first one."""
        speed.apply(self.model)
        self.model.make_train_function(force=True)
        self.batches.go_to(0)
        iterator = iter(self.batches)
        calls = min(self._count() // speed.steps_per_execution, 60)
        seconds: list[float] = []
        for number in range(max(1, calls)):
            began = time.perf_counter()
            logs = self.model.train_function(iterator)
            keras.ops.convert_to_numpy(next(iter(logs.values())))  # waits for the end
            seconds.append(time.perf_counter() - began)
            if sum(seconds[1:]) > _TIMED and number >= 4:
                break
        usual = statistics.median(seconds[1:] or seconds)
        self.batches.go_to(0)
        self.rates[speed.way] = speed.steps_per_execution * self.batches.batch_size / usual
        return self.rates[speed.way]


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Put back weights, optimizer, metrics and random generators after a trial."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables: Sequence[keras.Variable] = [*model.variables, *model.optimizer.variables]
    before, random = copy_values(variables), read_random_state()
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        model.reset_metrics()
        restore_random_state(*random)


def _file(model: keras.Model, batches: "Batches") -> Path:
    """Return where the choice for a network, batch size and machine is kept."""
    parts = [digest_model(model), type(model.optimizer).__name__, batches.batch_size]
    text = json.dumps([*parts, machine(), thread_settings(), package_versions()], sort_keys=True)
    return cache_root(None) / "speed" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
