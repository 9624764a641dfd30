"""A training as a script shows it: one line that is rewritten in a terminal, few whole lines elsewhere."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.cells import cell_len, set_cell_size

from workbench.dashboards.status import Event, TrainingStatus, describe_control, describe_finding

SECONDS_BETWEEN_LINES = 5.0  # in a log, at first
SHARE_BETWEEN_LINES = 0.02  # of the time that has passed: a day of training takes some 400 lines
SECONDS_BETWEEN_DRAWINGS = 0.2  # in a terminal

_CLEAR = "\r\x1b[K"  # to the beginning of the line, and erase it


class TerminalView:
    """The state of a run's training in a line, and each finding and each intervention as it comes.

    A terminal shows one line that is rewritten in place. A pipe, a file or a machine that says `CI`
    gets whole lines, one every few seconds at most and ever fewer, and one at the end of the training.

    Args:
        attempt: The attempt at the run that is shown; what earlier ones logged was shown by them.
        stream: Where to write; by default the standard output.
        clock: Seconds that only grow.
    """

    def __init__(
        self, attempt: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.attempt = attempt
        self._stream = stream or sys.stdout
        self._clock = clock
        self._rewrites = self._stream.isatty() and not os.environ.get("CI")
        self._rest = SECONDS_BETWEEN_DRAWINGS if self._rewrites else SECONDS_BETWEEN_LINES
        self._status = TrainingStatus()
        self._began = clock()
        self._due = self._began  # when the next line may be shown
        self._stale = False  # there is something that the last line does not say
        self._open = False  # a line stands in the terminal that will be rewritten

    def show(self, new: Sequence[Event], at_once: bool) -> None:
        """Show what is `new`; `at_once` leaves a whole line behind, since nobody may look again."""
        for event in new:
            self._status.take([event])
            if event["attempt"] == self.attempt:
                self._take(event)
        if self._stale and (at_once or self._clock() >= self._due):
            self._draw()
        if self._open and at_once:
            self._write("\n")
            self._open = False

    def _take(self, event: Event) -> None:
        if event["type"] == "finding":
            self._print(*describe_finding(event))
        elif event["type"] == "control":
            self._print(describe_control(event))
        elif event["type"] in ("broken", "fit_end") or event.get("status") == "failed":
            self._print(self._status.describe())
            self._stale = False
        elif event["type"] in ("fit", "step", "epoch"):
            self._stale = True

    def _draw(self) -> None:
        """Show the present state: in place, or as a line."""
        now = self._clock()
        self._due = now + max(self._rest, SHARE_BETWEEN_LINES * (now - self._began) * (not self._rewrites))
        self._stale = False
        line = self._status.describe()
        if not self._rewrites:
            self._print(line)
            return
        width = shutil.get_terminal_size().columns - 1  # a full line would wrap
        self._write(_CLEAR + (line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…"))
        self._open = True

    def _print(self, *lines: str) -> None:
        """Print whole lines where the line in place stood, which comes back below them."""
        self._write(_CLEAR * self._open + "".join(f"{line}\n" for line in lines))
        self._stale |= self._open
        self._open = False

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()
