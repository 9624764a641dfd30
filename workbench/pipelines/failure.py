"""How a step fails."""

import errno
from dataclasses import dataclass

RAISED, DIED, TIMEOUT, INTERRUPTED, UNWRITABLE = "raised", "died", "timeout", "interrupted", "unwritable"
RETRIED = (DIED, TIMEOUT)  # an exception of the notebook would come again
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Failure:
    """Where and why a notebook stopped."""

    error: str
    cell: int = 0  # 1 is the first code cell as executed; 0 when no cell is to blame
    cells: int = 0  # code cells in all
    source: str = ""
    output: str = ""  # the last lines that the cell printed
    kind: str = RAISED


class StepFailed(Exception):
    """A notebook did not run to its end; the executed notebook is saved all the same."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


def explain_unwritable(error: OSError) -> str:
    """Say what to do about a file that cannot be written; empty if the error is of another kind."""
    where = error.filename or "runs/"
    if error.errno in _FULL:
        return (
            f"{where} cannot be written: {error.strerror}.\nMake room (`workbench clean` shows which run"
            " folders nothing refers to) and start again; what is finished stays finished."
        )
    if error.errno in _REFUSED:
        return (
            f"{where} cannot be written: {error.strerror}.\nMake runs/ writable for you and start again;"
            " `workbench status` only needs to read."
        )
    return ""
