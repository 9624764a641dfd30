"""The errors that Workbench raises on purpose.

Every message says what was received, why it cannot work and what to do.
"""


class WorkbenchError(Exception):
    """A problem that the user can mend; the command line prints it without a traceback."""


class OfflineError(WorkbenchError):
    """A source could not be reached; callers may fall back to something local or skip."""


class ChecksumError(WorkbenchError):
    """Fetched bytes are not the pinned ones; nothing was deleted and nothing may be used."""
