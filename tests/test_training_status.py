"""What is said of a training in words."""

import pytest
from training_log import BROKEN, CONTROL, FAILED, FINDING, FIT, Event, epoch, fit_end, step

from workbench.dashboards.status import (
    TrainingStatus,
    describe_control,
    describe_finding,
    is_steered,
)


def describe(events: list[Event]) -> str:
    status = TrainingStatus()
    status.take(events)
    return status.describe()


class TestStatus:
    @pytest.mark.parametrize(
        ("events", "line"),
        [
            ([], "waiting for training to begin"),
            ([FIT], "epoch 1/4"),
            ([FIT, step(0, 25, 2, loss=0.5)], "epoch 1/4  step 25/50  loss 0.5"),
            (  # 20 batches in 2 s; 5 and 150 batches are left of the four epochs
                [FIT, step(0, 25, 2, loss=0.5), step(0, 45, 4, loss=0.4)],
                "epoch 1/4  step 45/50  10 batches/s  0:16 left  loss 0.4",
            ),
            (
                [FIT | {"batch_size": 32}, step(0, 5, 2), step(0, 45, 4)],
                "epoch 1/4  step 45/50  640 samples/s  0:08 left",
            ),
            (  # too short an epoch for steps: 50 batches in 0.5 s
                [FIT, epoch(0, 0.5, took=0.5, loss=1)],
                "epoch 1/4  100 batches/s  0:02 left  loss 1 (best)",
            ),
            (
                [FIT, step(0, 1, 60), step(0, 2, 120)],
                "epoch 1/4  step 2/50  0.017 batches/s  3:18:00 left",
            ),
            ([FIT | {"batches": None}, epoch(1, 10, loss=1)], "epoch 2/4  0:10 left  loss 1 (best)"),
            ([FIT | {"batches": None}, step(0, 7, 1, loss=1)], "epoch 1/4  step 7  loss 1"),
            ([FIT | {"initial_epoch": 2}], "epoch 3/4"),
            ([FIT, epoch(3, 20, loss=1), fit_end(80)], "4 epochs, 1:20  loss 1 (best)"),
            ([FIT, fit_end(3700, 2)], "stopped after 2 of 4 epochs, 1:01:40"),
            ([FIT, fit_end(3, 2, reason="by hand")], "stopped by hand after 2 of 4 epochs, 0:03"),
            (
                [FIT, fit_end(3, 3, reason="early stopping", restored=1)],
                "stopped (early stopping) after 3 of 4 epochs, with the weights of epoch 2, 0:03",
            ),
            ([FIT, epoch(0, 5, loss=1), FAILED], "failed: Oom  loss 1 (best)"),
            ([FIT, epoch(0, 5, loss=float("nan")), FIT | {"epochs": 9}], "epoch 1/9"),
            (
                [FIT, step(0, 5, 2, loss=1), step(0, 9, 3, loss=1), BROKEN],
                "epoch 1/4  step 9/50  broken off by KeyboardInterrupt  loss 1",
            ),
            ([FIT, BROKEN, FIT], "epoch 1/4"),
        ],
    )
    def test_is_told_in_one_line(self, events: list[Event], line: str) -> None:
        assert describe(events) == line

    def test_shows_the_newest_metrics_against_the_best_so_far(self) -> None:
        events = [
            FIT,
            epoch(0, 5, loss=0.95, val_loss=0.9),
            epoch(1, 10, loss=0.9, val_loss=0.802),
            epoch(2, 15, loss=0.85, val_loss=0.871),
            step(3, 10, 16, loss=0.812),
        ]
        line = describe(events)
        assert line.endswith("val_loss 0.871 (best 0.802, epoch 2)  loss 0.812")

    def test_takes_what_early_stopping_monitors_for_the_metric_that_matters(self) -> None:
        fit = FIT | {"monitor": "val_accuracy"}
        events = [
            fit,
            epoch(0, 5, val_loss=0.5, val_accuracy=0.9) | {"mode": "max"},
            epoch(1, 9, val_loss=0.4, val_accuracy=0.8) | {"mode": "max"},
        ]
        assert describe(events).endswith("val_accuracy 0.8 (best 0.9, epoch 1)  val_loss 0.4")

    def test_never_takes_nan_for_the_best(self) -> None:
        events = [
            FIT,
            epoch(0, 5, val_loss=float("nan")),
            epoch(1, 9, val_loss=2.0),
            epoch(2, 9, val_loss=3.0),
        ]
        assert describe(events).endswith("val_loss 3 (best 2, epoch 2)")
        assert describe(events[:2]).endswith("val_loss nan")
        diverged = [*events[:3], epoch(2, 9, val_loss=float("nan"))]
        assert describe(diverged).endswith("val_loss nan (best 2, epoch 2)")

    def test_never_takes_an_epoch_that_was_cut_short_for_the_best(self) -> None:
        events = [FIT, epoch(0, 5, val_loss=0.9), epoch(1, 7, val_loss=0.8) | {"step": 20}]
        assert describe(events).endswith("left  val_loss 0.8")

    def test_ends_with_the_metrics_of_the_weights_that_the_model_was_given_back(self) -> None:
        events = [FIT, epoch(0, 5, val_loss=0.9), epoch(1, 7, val_loss=0.95), fit_end(7, 2, restored=0)]
        assert describe(events).endswith("with the weights of epoch 1, 0:07  val_loss 0.9 (best)")

    def test_forgets_the_epochs_that_a_later_attempt_replays(self) -> None:
        again = FIT | {"attempt": 2, "initial_epoch": 1}
        events = [
            FIT,
            epoch(0, 5, val_loss=0.9),
            epoch(1, 9, val_loss=0.1),
            again,
            epoch(1, 20, val_loss=0.95),
        ]
        assert describe(events).endswith("val_loss 0.95 (best 0.9, epoch 1)")

    def test_time_left_follows_whole_epochs_with_their_validation(self) -> None:
        events = [FIT, step(0, 49, 4), epoch(0, 10, took=10), step(1, 25, 12)]
        assert "0:25 left" in describe(events)  # two and a half epochs of 10 s

    def test_pause_is_said_and_is_no_part_of_the_pace(self) -> None:
        pause = CONTROL | {"action": "pause", "old": None}
        status = TrainingStatus()
        status.take([FIT, step(0, 10, 1), step(0, 20, 2), pause | {"value": True}])
        assert status.describe() == "epoch 1/4  step 20/50  paused"
        status.take([pause | {"value": False}, step(0, 21, 500), step(0, 31, 501)])
        assert status.rate() == (10, "batches/s")

    def test_pace_forgets_what_was_long_ago(self) -> None:
        status = TrainingStatus()
        status.take(
            [FIT | {"batches": 1000}, step(0, 1, 0), step(0, 2, 100), step(0, 12, 101), step(0, 202, 120)]
        )
        assert status.rate() == (10, "batches/s")  # 190 batches in 19 s

    @pytest.mark.parametrize(
        ("events", "text"),
        [
            ([], ""),
            ([FIT], "1/4 0 %"),
            ([FIT, step(1, 24, 2)], "2/4 48 %"),
            ([FIT, epoch(1, 5)], "2/4 100 %"),
            ([FIT | {"batches": None}, step(1, 24, 2)], "2/4"),
            ([FIT, epoch(3, 20), fit_end(20)], "4/4"),
        ],
    )
    def test_epoch_comes_with_the_share_that_is_over(self, events: list[Event], text: str) -> None:
        status = TrainingStatus()
        status.take(events)
        assert status.describe_epoch() == text

    @pytest.mark.parametrize(
        ("events", "notes"),
        [
            ([FIT], []),
            ([FIT, FINDING], ["1 finding"]),
            ([FIT, FINDING, FINDING | {"rule": "leak"}, CONTROL], ["2 findings", "steered by hand"]),
            ([FIT, CONTROL | {"action": "pause", "value": True}], []),
        ],
    )
    def test_notes_count_findings_and_tell_of_hands(self, events: list[Event], notes: list[str]) -> None:
        status = TrainingStatus()
        status.take(events)
        assert status.describe_notes() == notes


class TestIntervention:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({}, "learning rate 0.001 → 0.0001"),
            ({"action": "patience", "old": 3, "value": 5}, "patience 3 → 5"),
            ({"action": "stop", "old": None, "value": "now"}, "stop now"),
            ({"action": "stop", "old": None, "value": "epoch"}, "stop after this epoch"),
            ({"action": "pause", "old": None, "value": True}, "pause"),
            ({"action": "pause", "old": None, "value": False}, "resume"),
            ({"action": "checkpoint", "old": None, "value": None}, "save a checkpoint"),
            ({"action": "measure_layers", "old": None, "value": None}, "measure the layers"),
        ],
    )
    def test_is_told_with_old_and_new_value_time_and_author(self, fields: Event, words: str) -> None:
        assert describe_control(CONTROL | fields) == f"by hand: {words} (epoch 3, step 640, panel)"

    def test_that_was_refused_is_told_with_the_reason_and_steers_nothing(self) -> None:
        refused = CONTROL | {
            "action": "patience",
            "value": 5,
            "old": None,
            "refused": "No early stopping.\nMore.",
        }
        assert (
            describe_control(refused) == "refused: patience 5 (epoch 3, step 640, panel): No early stopping."
        )
        assert not is_steered([refused])

    @pytest.mark.parametrize(
        ("action", "steers"),
        [
            ("stop", True),
            ("learning_rate", True),
            ("patience", True),
            ("pause", False),
            ("checkpoint", False),
        ],
    )
    def test_steers_if_it_changes_the_course_of_training(self, action: str, steers: bool) -> None:
        assert is_steered([CONTROL | {"action": action}]) == steers


@pytest.mark.parametrize(("severity", "mark"), [("info", "i"), ("warning", "!"), ("error", "!!")])
def test_finding_is_told_with_its_mark_and_the_advice_below(severity: str, mark: str) -> None:
    first, second = describe_finding(FINDING | {"severity": severity})
    assert first == f"{mark} The gap widened to 0.3."
    assert second.strip() == "Stop earlier."
    assert second.index("S") == first.index("T")
