"""Energy and CO₂ of a training; what runs codecarbon is skipped where it is not installed."""

import socket
import sys
import threading
import time

import keras
import numpy as np
import pytest
from keras import layers
from waiting import wait_until

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.reports.trainings import describe_costs
from workbench.training.energy import EnergyMeter, describe_method, requested_country

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def codecarbon():
    return pytest.importorskip("codecarbon", reason="codecarbon is not installed: pip install '.[energy]'")


def train(*callbacks, energy=None, epochs=3):
    draw = np.random.default_rng(0)
    split = wb.Split(
        {"x": draw.normal(size=(40, 4)).astype(np.float32)},
        {"y": np.arange(40) % 2},
        np.arange(40).astype(str),
    )
    batches = split.batches(8)
    run = wb.start_run("runs/one", parameters={})
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    own = wb.callbacks(run, callbacks, batches=batches, energy=energy)
    model.fit(batches, epochs=epochs, verbose=0, callbacks=own)
    return wb.open_run(run.path).details["costs"]["1"]


class Wait(keras.callbacks.Callback):
    """Takes a while in every epoch, and interrupts the training at the end of the second if told to."""

    def __init__(self, interrupt=False):
        super().__init__()
        self.interrupt = interrupt

    def on_epoch_begin(self, epoch, logs=None):
        time.sleep(0.15)
        if self.interrupt and epoch == 2:
            raise KeyboardInterrupt


def codecarbon_threads():
    return [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


def test_nothing_is_counted_and_codecarbon_not_imported_without_being_asked(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    assert "energy_kwh" not in train()


@pytest.mark.parametrize("asked", [True, "DEU"])
def test_energy_without_codecarbon_says_how_to_install_it(monkeypatch, asked):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(WorkbenchError, match=r"pip install 'workbench\[energy\]'"):
        train(energy=asked)


@pytest.mark.parametrize(("told", "country"), [("", None), ("0", None), ("1", ""), ("fra", "FRA")])
def test_variable_asks_for_energy_where_the_call_does_not_tell(codecarbon, monkeypatch, told, country):
    monkeypatch.setenv("WORKBENCH_ENERGY", told)
    assert requested_country(None) == country
    assert requested_country(False) is None
    assert requested_country("deu") == "DEU"


def test_unknown_country_is_refused_before_training(codecarbon):
    with pytest.raises(WorkbenchError, match="'XYZ', which codecarbon does not know"):
        train(energy="XYZ")


def test_energy_and_carbon_are_in_the_costs_with_how_they_were_found(codecarbon, capfd, project):
    costs = train(Wait(), energy="FRA")
    assert 1e-7 < costs["energy_kwh"] < 1
    assert 0.01 < costs["co2_kg"] / costs["energy_kwh"] < 0.12  # electricity of France, mostly nuclear
    assert "France" in costs["energy_method"]
    assert ("estimated: " in costs["energy_method"]) or ("measured" in costs["energy_method"])
    assert costs["energy_method"] in describe_costs(costs)
    assert "codecarbon" not in "".join(capfd.readouterr())
    assert not list(project.glob("*.csv"))
    wait_until(lambda: not codecarbon_threads(), 10)


def test_energy_never_uses_the_network(codecarbon, monkeypatch):
    monkeypatch.setenv("CODECARBON_ELECTRICITYMAPS_API_TOKEN", "none")
    monkeypatch.setenv("CODECARBON_EMISSIONS_ENDPOINT", "http://localhost:9")
    asked = []
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, lambda *a: asked.append(a) or 1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: asked.append(a) or [])
    meter = EnergyMeter("DEU")
    time.sleep(0.1)
    assert meter.read()[0] > 0
    meter.stop()
    assert not asked


def test_two_meters_at_once_both_count_and_keep_their_sums(codecarbon):
    one, other = EnergyMeter(), EnergyMeter("FRA")
    time.sleep(0.2)
    one.stop()
    assert one.read() == one.read()
    assert one.read()[0] > 0
    before = other.read()[0]
    time.sleep(0.2)
    assert other.read()[0] > before > 0
    assert "the world on average" in one.read()[2]
    del one, other
    wait_until(lambda: not codecarbon_threads(), 10)


def test_energy_of_an_interrupted_training_adds_up(codecarbon, monkeypatch):
    monkeypatch.setattr("workbench.training.checkpoint.SHARE", 0)
    with pytest.raises(KeyboardInterrupt):
        train(Wait(interrupt=True), energy=True)
    part = train(Wait())
    assert part["energy_kwh"] > 0
    assert "of the time, the rest was not counted" in part["energy_method"]


def test_energy_of_all_attempts_is_counted_once(codecarbon, monkeypatch):
    """With a meter that counts the epochs, so that the sum is known."""
    monkeypatch.setattr("workbench.training.checkpoint.SHARE", 0)
    read = iter(range(100))
    monkeypatch.setattr(EnergyMeter, "read", lambda meter: (next(read), 0.5, "counted"))
    with pytest.raises(KeyboardInterrupt):
        train(Wait(interrupt=True), energy=True)
    first = next(read)
    costs = train(Wait(), energy=True)
    looks = next(read) - first - 2  # the first reading of an attempt is where it counts from
    kept = costs["energy_kwh"] - looks + 1
    assert 2 <= kept <= first  # what the first attempt saved, at its last checkpoint
    assert costs["energy_method"] == "counted"


class Part:
    def __init__(self, mode="", tdp=0.0, chip_part=""):
        self._mode, self._tdp, self.chip_part = mode, tdp, chip_part


def part(kind, *arguments):
    return type(kind, (Part,), {})(*arguments)


@pytest.mark.parametrize(
    ("hardware", "told"),
    [
        (
            [part("RAM"), part("CPU", "cpu_load", 8.0)],
            "estimated: memory from its size, processor from its load and 8 W (thermal design power); ",
        ),
        (
            [part("RAM"), part("CPU", "intel_rapl"), part("GPU")],
            "measured for the whole machine: processor by RAPL, GPU by its driver; "
            "estimated: memory from its size; ",
        ),
        (
            [part("CPU", "constant", 85)],
            "estimated: processor as a constant share of 85 W (thermal design power); ",
        ),
        ([part("Raspberry", "", 0, "RAM")], "measured for the whole machine: RAM by its own meter; "),
    ],
)  # fmt: skip
def test_method_says_what_was_measured_and_what_estimated(hardware, told):
    method = describe_method(hardware, "3", "France")
    assert method == f"{told}CO₂ estimated for electricity of France; by codecarbon 3"
