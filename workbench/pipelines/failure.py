"""How a step fails."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Where and why a notebook stopped."""

    error: str
    cell: int = 0  # 1 is the first code cell as executed; 0 when no cell is to blame
    cells: int = 0  # code cells in all
    source: str = ""
    output: str = ""  # the last lines that the cell printed


class StepFailed(Exception):
    """A notebook did not run to its end; the executed notebook is saved all the same."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure
