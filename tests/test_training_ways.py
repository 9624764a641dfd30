"""Ways to fine-tune: estimates against networks that are really built that way, and hand-worked numbers."""

import math

import keras
import numpy as np
import pytest
from small_texts import make_batches, make_tokenizer

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.models.text import build_encoder
from workbench.training.snapshot import copy_values
from workbench.training.ways import add_measured, estimate_ways

pytestmark = pytest.mark.usefixtures("project")
MIB = 2**20


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(64)


def build(tokenizer, accumulation=1, **fine_tuning):
    encoder = build_encoder("small-transformer", tokenizer, **fine_tuning)
    mask = encoder.input["padding_mask"]
    x = keras.layers.GlobalAveragePooling1D()(encoder.output, mask=mask)
    network = keras.Model(encoder.input, keras.layers.Dense(2, "softmax")(x))
    parts = accumulation if accumulation > 1 else None
    optimizer = keras.optimizers.AdamW(gradient_accumulation_steps=parts)
    network.compile(optimizer, "sparse_categorical_crossentropy")
    optimizer.build(network.trainable_variables)
    return network


@pytest.fixture(scope="module")
def network(tokenizer):
    return build(tokenizer)


def size(variables):
    return sum(math.prod(each.shape) for each in variables)


def test_weights_and_optimizer_are_those_of_networks_built_that_way(tokenizer, network):
    batches = make_batches(tokenizer, 8)
    ways = estimate_ways(network, batches)
    settings = [
        {},
        {"lora_rank": 8},
        {"frozen_layers": 2},
        {"frozen_layers": 3},
        {"gradient_checkpointing": True},
        {"accumulation": 4},
    ]
    assert ways["way"].tolist() == [
        "all weights",
        "LoRA of rank 8",
        "2 of 3 layers frozen",
        "3 of 3 layers frozen",
        "all weights, gradient checkpointing",
        "all weights, 4 batches accumulated",
    ]
    assert ways["chosen"].tolist() == [True] + 5 * [False]
    longest, heads, width = max(batches.buckets), 4, 128
    for (_, row), each in zip(ways.iterrows(), settings, strict=True):
        other = build(tokenizer, **each)
        trained, kept = size(other.trainable_variables), size(other.optimizer.variables)
        assert row["trained_weights"] == trained
        values = longest * (8 * width + 2 * 512) + 2 * heads * longest**2
        masks = 2 * longest * width + heads * longest**2
        layers = {2: 1, 3: 0}.get(each.get("frozen_layers"), 2)
        samples = 8 // each.get("accumulation", 1)
        activations = samples * layers * (4 * values + masks)
        if each.get("gradient_checkpointing"):
            activations = samples * (layers * 4 * longest * width + 4 * values + masks)
        expected = (4 * (size(other.variables) + trained + kept) + activations) / MIB
        assert row["estimated_training_mib"] == pytest.approx(expected, abs=0.51)


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_rank": 4},
        {"lora_rank": 8, "gradient_checkpointing": True},
        {"frozen_layers": 1},
        {"frozen_layers": 2},
        {"accumulation": 2},
    ],
)
def test_the_other_ways_are_the_same_whichever_is_chosen(tokenizer, network, settings):
    expected = estimate_ways(network, make_batches(tokenizer, 8)).set_index("way")
    parts = settings.get("accumulation", 1)
    ways = estimate_ways(build(tokenizer, **settings), make_batches(tokenizer, 8 // parts), **settings)
    assert ways["chosen"].tolist() == [True] + (len(ways) - 1) * [False]
    assert ways["way"].is_unique
    for column in ("trained_weights", "estimated_training_mib"):
        here = ways.set_index("way")[column]
        assert here[expected.index].tolist() == expected[column].tolist()


def test_backward_pass_takes_what_is_trained_and_what_is_computed_again(tokenizer, network, monkeypatch):
    monkeypatch.setattr("workbench.training.ways._time_forward", lambda *_: 10.0)
    assert estimate_ways(network, make_batches(tokenizer, 8))["estimated_epoch_seconds"].tolist() == [
        30,
        20,
        20,
        10,
        40,
        30,
    ]


def test_estimating_leaves_the_network_as_it_was(tokenizer, network):
    variables = [*network.variables, *network.optimizer.variables]
    before = copy_values(variables)
    ways = estimate_ways(network, make_batches(tokenizer, 8))
    assert (ways["estimated_epoch_seconds"] >= 0).all()
    for was, now in zip(before, copy_values(variables), strict=True):
        np.testing.assert_array_equal(was, now)


def test_what_was_measured_stands_beside_the_chosen_way_alone(tokenizer):
    network, batches = build(tokenizer, lora_rank=8), make_batches(tokenizer, 8)
    run = wb.start_run("runs/one", parameters={})
    ways = estimate_ways(network, batches, lora_rank=8)
    with pytest.raises(WorkbenchError, match=r"runs/one, in which none has ended.\nTrain first"):
        add_measured(ways, run, batches)
    network.fit(batches, epochs=2, verbose=0, callbacks=wb.callbacks(run, batches=batches))
    costs = wb.open_run(run.path).details["costs"]["1"]
    measured = add_measured(ways, run, batches).set_index("way")
    row = measured.loc["LoRA of rank 8"]
    assert row["measured_process_mib"] == pytest.approx(costs["peak_memory"] / MIB, abs=0.51)
    assert row["measured_epoch_seconds"] == pytest.approx(costs["seconds"] / 2, abs=0.051)
    assert measured.drop("LoRA of rank 8").filter(like="measured").isna().all(axis=None)


def test_networks_and_batches_that_cannot_be_compared_are_refused(tokenizer, network):
    batches = make_batches(tokenizer, 8)
    plain = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(2)])
    with pytest.raises(WorkbenchError, match=r"before it is built.\nCompile it"):
        estimate_ways(plain, batches)
    plain.compile("adam", "mse")
    plain.optimizer.build(plain.trainable_variables)
    with pytest.raises(WorkbenchError, match="which has no transformer"):
        estimate_ways(plain, batches)
    batches.buckets = ()
    with pytest.raises(WorkbenchError, match="not grouped by length"):
        estimate_ways(network, batches)
