"""Batches of a split: what is in them, in which order, and that a pass can begin anywhere."""

import itertools

import keras
import numpy as np
import pytest

import workbench as wb
from workbench.datasets.order import choose_buckets, plan_epoch_by_length
from workbench.errors import WorkbenchError
from workbench.events import read_events

pytestmark = pytest.mark.usefixtures("project")

SAMPLES, SIZE = 70, 8  # 9 batches, the last one of 6 samples


def make_split(samples: int = SAMPLES) -> wb.Split:
    images = np.arange(samples * 4, dtype=np.uint8).reshape(samples, 2, 2, 1)
    return wb.Split({"image": images}, {"label": np.arange(samples)}, np.arange(samples).astype(str))


def make_tokens(samples: int = 100, longest: int = 48) -> wb.Split:
    lengths = np.random.default_rng(0).integers(3, longest + 1, samples)
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int32)
    inputs = {"token_ids": mask * np.arange(1, samples + 1)[:, None].astype(np.int32), "padding_mask": mask}
    return wb.Split(inputs, {"label": np.arange(samples)}, np.arange(samples).astype(str))


def labels_of(batches) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches.as_numpy_iterator()]


def test_every_sample_comes_once_an_epoch_as_it_is_stored():
    split = make_split()
    seen = list(split.batches(SIZE).as_numpy_iterator())
    images, labels = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    assert sorted(labels.tolist()) == list(range(SAMPLES))
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, split.x[labels])
    assert [len(batch) for _, batch in seen] == [8, 8, 8, 8, 8, 8, 8, 8, 6]


def test_order_follows_from_seed_and_epoch_alone():
    batches, again = (make_split().batches(SIZE, seed=3) for _ in range(2))
    first, second = labels_of(batches), labels_of(batches)
    assert first != second
    again.go_to(1)
    assert labels_of(again) == second
    again.go_to(0)
    assert labels_of(again) == first
    assert labels_of(make_split().batches(SIZE, seed=4)) != first


def test_pass_can_begin_in_the_midst_of_an_epoch():
    batches = make_split().batches(SIZE, seed=3)
    whole = labels_of(batches)
    batches.go_to(0, 6)
    assert labels_of(batches) == whole[6:]
    assert int(batches.cardinality()) == 9


def test_order_is_as_stored_without_shuffling():
    assert list(itertools.chain(*labels_of(make_split().batches(SIZE, shuffle=False)))) == list(
        range(SAMPLES)
    )


def test_arrays_that_do_not_fit_into_memory_are_read_batch_by_batch(monkeypatch):
    expected = labels_of(make_split().batches(SIZE, seed=3))
    monkeypatch.setattr("workbench.datasets.batches._MEMORY", 0)
    batches = make_split().batches(SIZE, seed=3)
    assert labels_of(batches) == expected
    assert batches.element_spec[0].shape == (None, 2, 2, 1)


def test_texts_are_batched_as_strings():
    split = wb.Split({"text": np.array(["a", "bc"], object)}, {"label": np.arange(2)}, np.array(["0", "1"]))
    ((texts, _),) = split.batches(2, shuffle=False).as_numpy_iterator()
    assert texts.tolist() == [b"a", b"bc"]


def test_samples_of_like_length_are_cut_to_few_lengths_and_lose_nothing():
    split = make_tokens()
    seen = list(split.batches(16, seed=1, mask="padding_mask").as_numpy_iterator())
    assert sorted(np.concatenate([labels for _, labels in seen])) == list(range(100))
    assert len({inputs["token_ids"].shape[1] for inputs, _ in seen}) <= 6
    assert len(seen) == 7
    for inputs, labels in seen:
        np.testing.assert_array_equal(
            inputs["padding_mask"].sum(axis=1), split.inputs["padding_mask"][labels].sum(axis=1)
        )
    padding = sum(inputs["padding_mask"].size for inputs, _ in seen)
    assert padding < 0.8 * split.inputs["padding_mask"].size


def test_grouped_batches_that_are_not_shuffled_keep_the_order_of_the_samples():
    batches = make_tokens().batches(16, shuffle=False, mask="padding_mask")
    assert list(itertools.chain(*labels_of(batches))) == list(range(100))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_buckets_are_those_that_need_the_least_padding(count):
    lengths = np.random.default_rng(count).integers(1, 61, 50)
    needed = sorted({min(60, -(-int(length) // 8) * 8) for length in lengths})

    def positions(buckets):
        return sum(min(bucket for bucket in buckets if bucket >= length) for length in lengths)

    choices = [
        (*some, needed[-1]) for some in itertools.combinations(needed[:-1], min(count, len(needed)) - 1)
    ]
    buckets = choose_buckets(lengths, 60, count)
    assert len(buckets) <= count
    assert positions(buckets) == min(map(positions, choices))


def test_pass_does_not_wait_for_a_tuning_thread_at_its_end():
    assert make_split().batches(SIZE).options().autotune.enabled is False


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_grouping_by_length_makes_no_more_batches_than_there_are_without(count):
    draw = np.random.default_rng(count)
    lengths = draw.integers(1, 65, count)
    plan = plan_epoch_by_length(lengths, choose_buckets(lengths, 64), 16, draw)
    assert len(plan.lengths) == -(-count // 16)
    assert sorted(plan.rows) == list(range(count))
    for number, length in enumerate(plan.lengths):
        assert lengths[plan.rows[plan.ends[number] : plan.ends[number + 1]]].max() <= length


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"batch_size": 0}, "batch_size is 0.*\nGive 1 or more"),
        ({"batch_size": 1.5}, r"batch_size is 1\.5"),
        ({"batch_size": 8, "mask": "padding"}, r"'padding'.*image \(70, 2, 2, 1\).*\nName an input"),
    ],
)
def test_setting_that_cannot_work_is_refused(settings, advice):
    with pytest.raises(WorkbenchError, match=advice):
        make_split().batches(**settings)


def test_batches_of_nothing_are_refused():
    with pytest.raises(WorkbenchError, match="no samples"):
        make_split(0).batches(SIZE)


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Input((2, 2, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.RandomFlip(),
        keras.layers.Flatten(),
        keras.layers.Dense(8, "relu"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(SAMPLES, "softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=2)
    return model


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch: int, batch: int):
        super().__init__()
        self.when = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            raise KeyboardInterrupt


def train(run_dir: str, epochs: int, *callbacks, seed: int = 0, patience: int = 50):
    run = wb.start_run(run_dir, parameters={"seed": seed}, name="training")
    model, batches = build(), make_split().batches(SIZE, seed=seed)
    stopping = keras.callbacks.EarlyStopping(
        "loss", mode="max" if patience == 0 else "min", patience=patience
    )
    history = model.fit(
        batches,
        epochs=epochs,
        verbose=0,
        callbacks=wb.callbacks(run, [stopping, *callbacks], batches=batches),
    )
    started = [event for event in read_events(run.log.path) if event["type"] == "fit"][-1]
    return model.get_weights(), history.history, started, run


def assert_same(one, other):
    assert one[1] == other[1]
    for ours, theirs in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def eager_checkpoints(monkeypatch):
    monkeypatch.setattr("workbench.training.checkpoint.SHARE", 0)


@pytest.mark.usefixtures("eager_checkpoints")
@pytest.mark.parametrize(("epoch", "batch"), [(0, 4), (1, 0), (1, 8), (3, 2)])
def test_training_goes_on_at_the_very_batch_with_all_that_is_drawn(recwarn, epoch, batch):
    undisturbed = train("runs/undisturbed", 4)
    with pytest.raises(KeyboardInterrupt):
        train("runs/interrupted", 4, Interrupt(epoch, batch))
    resumed = train("runs/interrupted", 4)
    assert (resumed[2]["initial_epoch"], resumed[2]["initial_batch"]) == (epoch, batch)
    assert_same(resumed, undisturbed)
    assert not [warning for warning in recwarn if "ran out of data" in str(warning.message)]


@pytest.mark.usefixtures("eager_checkpoints")
def test_log_of_a_resumed_epoch_has_each_of_its_steps_once(monkeypatch):
    monkeypatch.setattr("workbench.training.event_logger.time.monotonic", iter(range(10**6)).__next__)
    with pytest.raises(KeyboardInterrupt):
        train("runs/one", 2, Interrupt(1, 4))
    run = train("runs/one", 2)[3]
    steps = [
        (event["epoch"], event["step"]) for event in read_events(run.log.path) if event["type"] == "step"
    ]
    assert steps == [(epoch, step) for epoch in (0, 1) for step in (2, 4, 6, 8)]


def test_more_epochs_go_on_from_the_earlier_run_and_give_the_same_as_at_once():
    at_once = train("runs/at-once", 5)
    earlier = train("runs/short", 3)
    earlier[3].finish()
    longer = train("runs/long", 5)
    assert (longer[2]["initial_epoch"], longer[2]["source"]) == (3, "runs/short")
    assert_same(longer, at_once)
    epochs = [event["epoch"] for event in read_events(longer[3].log.path) if event["type"] == "epoch"]
    assert epochs == [0, 1, 2, 3, 4]


def test_same_training_again_is_trained_again():
    train("runs/one", 2)
    assert train("runs/two", 2)[2]["initial_epoch"] == 0


@pytest.mark.parametrize("change", [{"seed": 1}, {"patience": 60}])
def test_training_that_differs_goes_on_from_no_other_run(change):
    train("runs/one", 2)
    assert train("runs/two", 3, **change)[2]["initial_epoch"] == 0


def test_hand_that_steered_a_training_is_not_inherited_by_another():
    steer = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, _: wb.request_control("runs/one", "learning_rate", 0.5)
    )
    train("runs/one", 2, steer)
    assert train("runs/two", 3)[2]["initial_epoch"] == 0


@pytest.mark.usefixtures("eager_checkpoints")
def test_training_that_early_stopping_had_ended_stays_ended_when_its_run_goes_on():
    undisturbed = train("runs/one", 9, patience=0)
    resumed = train("runs/one", 9, patience=0)
    assert_same(resumed, undisturbed)
    ends = [event for event in read_events(resumed[3].log.path) if event["type"] == "fit_end"]
    trained = len(undisturbed[1]["loss"])
    assert trained < 9
    assert [(end["epochs"], end["reason"]) for end in ends] == [(trained, "early stopping")]
