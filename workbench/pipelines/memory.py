"""What was found out about files, remembered by size and times so that each is read once."""

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.runs import read_json, write_text

LAYOUT = 1  # raised when what is remembered changes its meaning
YOUNG = 2e9  # nanoseconds; a file may change again within one tick of its clock, so young ones are read again


class Memory:
    """A cache of facts about files; losing it costs time and nothing else.

    Args:
        path: The file that keeps it from run to run. Where it cannot be written, nothing is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = f"{LAYOUT} {platform.python_version()}"
        kept = read_json(path) or {}
        self._facts: dict[str, Any] = kept["facts"] if kept.get("version") == self._version else {}
        self._changed = False

    def recall(self, kind: str, file: str | Path, find_out: Callable[[], Any]) -> Any:
        """Return the JSON value that `find_out` gives about `file`, from memory if the file is unchanged.

        Raises:
            OSError: There is no such file.
        """
        status = os.stat(file)
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        key = f"{kind} {file}"
        known = self._facts.get(key)
        if known is not None and known[0] == stamp:
            return known[1]
        value = find_out()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > YOUNG:
            self._facts[key] = [stamp, value]
            self._changed = True
        return value

    def save(self) -> None:
        """Keep what is new for the next time, without what is about files that are gone."""
        if not self._changed:
            return
        facts = {key: fact for key, fact in self._facts.items() if os.path.exists(key.partition(" ")[2])}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps({"version": self._version, "facts": facts}))
        except OSError:  # a full disk or a read-only folder: the next start reads the files again
            return
        self._changed = False
