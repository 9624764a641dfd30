"""How a terminal and a log show a training."""

import io
import os

import pytest
from training_log import CONTROL, FAILED, FINDING, FIT, epoch, fit_end, step

from workbench.dashboards.status import (
    describe_control,
    describe_finding,
)
from workbench.dashboards.terminal import TerminalView


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 80 columns of a person."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def seen(text: str) -> str:
    """Return what stands on the screen after a terminal took the text."""
    return "\n".join(line.rpartition("\r\x1b[K")[2] for line in text.split("\n"))


class TestLog:
    def test_gets_whole_lines_five_seconds_apart_and_the_end(self, clock: Clock) -> None:
        stream = io.StringIO()
        view = TerminalView(1, stream, clock)
        view.show([FIT], at_once=False)
        for number in range(24):
            clock.now = number / 2
            view.show([step(number // 6, number % 6 + 1, number / 2)], at_once=False)
        view.show([epoch(3, 12, loss=0.5), fit_end(12)], at_once=False)
        lines = stream.getvalue().splitlines()
        assert [line.split("  ")[:2] for line in lines] == [
            ["epoch 1/4"],
            ["epoch 2/4", "step 5/50"],
            ["epoch 4/4", "step 3/50"],
            ["4 epochs, 0:12", "loss 0.5 (best)"],
        ]
        assert not set("\r\x1b") & set(stream.getvalue())

    def test_gets_a_short_training_in_two_lines(self, clock: Clock) -> None:
        stream = io.StringIO()
        view = TerminalView(1, stream, clock)
        view.show([FIT], at_once=True)
        view.show([*(epoch(number, number, loss=1) for number in range(4)), fit_end(4)], at_once=False)
        assert stream.getvalue() == "epoch 1/4\n4 epochs, 0:04  loss 1 (best)\n"

    def test_gets_findings_and_interventions_at_once(self, clock: Clock) -> None:
        stream = io.StringIO()
        TerminalView(1, stream, clock).show([FINDING, CONTROL], at_once=False)
        assert stream.getvalue().splitlines() == [*describe_finding(FINDING), describe_control(CONTROL)]

    def test_holds_no_line_of_an_earlier_attempt_but_knows_its_best(self, clock: Clock) -> None:
        stream = io.StringIO()
        view = TerminalView(2, stream, clock)
        view.show([FIT, epoch(0, 5, val_loss=0.5), FINDING, FAILED], at_once=True)
        assert stream.getvalue() == ""
        again = FIT | {"attempt": 2, "initial_epoch": 1, "time": 200.0}
        ended = fit_end(180) | {"attempt": 2, "seconds": 80.0}
        view.show([again, epoch(1, 150, val_loss=0.75) | {"attempt": 2}, ended], at_once=False)
        assert stream.getvalue() == "4 epochs, 1:20  val_loss 0.75 (best 0.5, epoch 1)\n"

    def test_is_told_what_is_new_when_nobody_will_look_again(self, clock: Clock) -> None:
        stream = io.StringIO()
        view = TerminalView(1, stream, clock)
        view.show([FIT], at_once=False)
        view.show([step(0, 5, 1, loss=1)], at_once=True)
        view.show([], at_once=True)
        assert stream.getvalue() == "epoch 1/4\nepoch 1/4  step 5/50  loss 1\n"

    def test_of_a_failed_run_ends_with_the_reason(self, clock: Clock) -> None:
        stream = io.StringIO()
        TerminalView(1, stream, clock).show([FIT, FAILED], at_once=False)
        assert stream.getvalue() == "failed: Oom\n"

    def test_is_what_ci_gets_even_in_a_terminal(
        self, clock: Clock, shell: Terminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CI", "true")
        TerminalView(1, shell, clock).show([FIT], at_once=False)
        assert shell.getvalue() == "epoch 1/4\n"

    def test_of_an_encoding_without_arrows_is_written_all_the_same(self, clock: Clock) -> None:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        TerminalView(1, stream, clock).show([CONTROL], at_once=False)
        assert b"learning rate 0.001 ? 0.0001" in raw.getvalue()

    def test_never_obeys_control_codes_in_names_and_texts(self, clock: Clock) -> None:
        stream = io.StringIO()
        hostile = FINDING | {"message": "a\x1b[2Jb\nc\rd"}
        TerminalView(1, stream, clock).show([hostile], at_once=False)
        assert stream.getvalue().splitlines()[0] == "! a [2Jb c d"


class TestTerminal:
    def test_rewrites_one_line_until_the_training_ends(self, clock: Clock, shell: Terminal) -> None:
        view = TerminalView(1, shell, clock)
        view.show([FIT], at_once=False)
        for number in range(1, 5):
            clock.now = number
            view.show([step(0, 10 * number, number, loss=1)], at_once=False)
        assert "\n" not in shell.getvalue()
        assert seen(shell.getvalue()) == "epoch 1/4  step 40/50  10 batches/s  0:16 left  loss 1"
        view.show([epoch(3, 20, loss=0.5), fit_end(20)], at_once=False)
        assert seen(shell.getvalue()) == "4 epochs, 0:20  loss 0.5 (best)\n"

    def test_is_not_drawn_more_often_than_a_few_times_a_second(self, clock: Clock, shell: Terminal) -> None:
        view = TerminalView(1, shell, clock)
        for number in range(100):
            clock.now = number / 100
            view.show([FIT, step(0, number + 1, number / 100)], at_once=False)
        assert 1 < shell.getvalue().count("\r") <= 5

    def test_shows_findings_above_the_line_that_goes_on(self, clock: Clock, shell: Terminal) -> None:
        view = TerminalView(1, shell, clock)
        view.show([FIT], at_once=False)
        clock.now = 1
        view.show([FINDING], at_once=False)
        assert seen(shell.getvalue()).splitlines() == [*describe_finding(FINDING), "epoch 1/4"]

    def test_leaves_a_whole_line_when_nobody_will_look_again(self, clock: Clock, shell: Terminal) -> None:
        view = TerminalView(1, shell, clock)
        view.show([FIT], at_once=False)
        view.show([], at_once=True)
        view.show([], at_once=True)
        assert seen(shell.getvalue()) == "epoch 1/4\n"

    def test_cuts_a_line_that_would_wrap(self, clock: Clock, shell: Terminal) -> None:
        metrics = {f"猫{number}": 0.5 for number in range(40)}
        TerminalView(1, shell, clock).show([FIT, step(0, 1, 1, **metrics)], at_once=False)
        line = seen(shell.getvalue())
        assert line.endswith("…")
        assert sum(2 if letter == "猫" else 1 for letter in line) <= int(os.environ["COLUMNS"]) - 1
