"""What the browser sees: bytes that arrive, tasks that block it, and clicks."""

import base64
import json
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from workbench.events import SCHEMA_VERSION
from workbench.runs import Run, start_run

MIME = b"application/vnd.workbench.panel+json"
LASTING = b"application/vnd.plotly.v1+json"  # only in the output that stays when a cell has ended
PANEL = "/workbench/static/"  # in the address of the panel's scripts
LAB = "/static/lab/"  # in that of JupyterLab's
STATE = {"learning_rate": 0.001, "memory": 900_000_000}  # of every step that is made up
NOTE_CLICKS = """() => {
  window.clicks = [];
  window.addEventListener("click", () => clicks.push(Date.now()), { capture: true });
}"""


class Traffic:
    """What arrives in a page because of the panel: answers of its server and messages of the kernel.

    Both lists hold (seconds on the browser's clock, bytes); an answer also has the offset that was asked for.

    Args:
        page: From now on.
    """

    def __init__(self, page: Any) -> None:
        self.answers: list[tuple[float, int, int]] = []
        self.messages: list[tuple[float, int]] = []
        self.lasting: list[int] = []  # bytes of the outputs that stay in the notebook
        self.opened = 0.0  # when the panel asked for its first script, in seconds on the browser's clock
        self._open: dict[str, list[int]] = {}  # offset and bytes of answers that are under way
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._ask)
        session.on("Network.dataReceived", self._receive)
        session.on("Network.loadingFinished", self._finish)
        session.on("Network.webSocketFrameReceived", self._take_message)
        session.send("Network.enable")

    def caught_up(self, history: int) -> bool:
        """Tell whether everything has come that was logged up to so many bytes."""
        return any(offset >= history for _, _, offset in self.answers)

    def loading(self, history: int) -> float:
        """Return the seconds from the panel's first request until so many bytes had come."""
        came = [moment for moment, _, offset in self.answers if offset < history]
        return max(came) - self.opened

    def _ask(self, event: dict[str, Any]) -> None:
        url = urlparse(event["request"]["url"])
        if PANEL in url.path:
            self.opened = self.opened or event["timestamp"]
        if url.path.endswith("/workbench/events"):
            self._open[event["requestId"]] = [int(parse_qs(url.query)["offset"][0]), 0]

    def _receive(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._open:
            self._open[event["requestId"]][1] += event["dataLength"]

    def _finish(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._open:
            offset, size = self._open.pop(event["requestId"])
            self.answers.append((event["timestamp"], size, offset))

    def _take_message(self, event: dict[str, Any]) -> None:
        frame = event["response"]
        data = frame["payloadData"]
        message = base64.b64decode(data) if frame["opcode"] == 2 else data.encode()
        if LASTING in message and MIME in message:
            self.lasting.append(len(message))
        elif MIME in message:
            self.messages.append((event["timestamp"], len(message)))

    def summarize(self, history: int) -> dict[str, float]:
        """Return the bytes of the largest updates after so much history, and how many came in a second."""
        answers = [(moment, size) for moment, size, offset in self.answers if offset >= history]
        updates = sorted(answers + self.messages)
        busiest = max(sum(moment <= later < moment + 1 for later, _ in updates) for moment, _ in updates)
        return {
            "updates": len(updates),
            "answer of the server": max(size for _, size in answers),
            "message of the kernel": max((size for _, size in self.messages), default=0),
            "in a second": busiest,
        }


def wait_for(found: Callable[[], Any], notebook: Any, what: str, seconds: float = 90) -> Any:
    """Return what is found at last; the browser goes on in between.

    Raises:
        RuntimeError: A cell has failed, or nothing was found in time.
    """
    for turn in range(round(seconds / 0.05)):
        if answer := found():
            return answer
        if turn % 100 == 99:
            raise_failures(notebook)
        notebook.page.wait_for_timeout(50)
    raise RuntimeError(f"{what} never happened within {seconds:.0f} s")


def raise_failures(notebook: Any) -> None:
    """Raise what a cell of the notebook raised."""
    outputs = notebook.page.evaluate(
        "jupyterapp.shell.currentWidget.content.widgets.flatMap((cell) => cell.model.outputs?.toJSON() ?? [])"
    )
    for output in outputs:
        if output["output_type"] == "error":
            raise RuntimeError("A cell failed:\n" + "\n".join(output["traceback"]))


def read_answer(path: Path, notebook: Any, seconds: float) -> Any:
    """Return the figures that a function of `kernel` leaves."""
    wait_for(path.exists, notebook, path.name, seconds)
    return json.loads(path.read_text())


def click(notebook: Any, run: Path, label: str, requests: int) -> float:
    """Click a button of the panel; return the seconds until the training has obeyed.

    Args:
        notebook: Where the panel is.
        run: The run that it steers.
        label: What stands on the button.
        requests: How many requests were obeyed before.
    """
    button = notebook.page.locator(".wb-panel").last.get_by_role("button", name=label)
    clicks = notebook.page.evaluate("clicks.length")
    button.click()
    obeyed = wait_for(lambda: logged(run, "control")[requests:], notebook, f"{label} obeyed")
    return obeyed[0]["time"] - notebook.page.evaluate(f"clicks[{clicks}]") / 1000


def logged(run: Path, kind: str) -> list[dict[str, Any]]:
    """Return the events of one type in a run's log."""
    try:
        lines = (run / "events.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if f'"type": "{kind}"' in line and line.endswith("}")]


class Tasks:
    """The tasks of a page's main thread, from now on until they are read.

    Args:
        page: The page.
    """

    def __init__(self, page: Any) -> None:
        self._page = page
        self._events: list[dict[str, Any]] = []
        self._complete = False
        self._session = page.context.new_cdp_session(page)
        self._session.on("Tracing.dataCollected", lambda event: self._events.extend(event["value"]))
        self._session.on("Tracing.tracingComplete", lambda _: setattr(self, "_complete", True))
        categories = "-*,toplevel,devtools.timeline"
        self._session.send("Tracing.start", {"categories": categories, "transferMode": "ReportEvents"})

    def read(self, since: float) -> dict[str, list[tuple[float, float]]]:
        """Return the milliseconds of every task on the clock and on the processor.

        Args:
            since: Seconds on the browser's clock; tasks that began earlier are left out.

        Returns:
            By whose they are: "jupyterlab" if its scripts took longer in it than the panel's (it measures all
            cells anew when an output grows), else "panel", which painting and collecting garbage count for.
        """
        self._session.send("Tracing.end")
        while not self._complete:
            self._page.wait_for_timeout(50)
        own = next(event for event in self._events if PANEL in script_of(event))
        thread = [event for event in self._events if all(event[key] == own[key] for key in ("pid", "tid"))]
        calls = sorted(
            (each["ts"], script_of(each), each.get("dur", 0)) for each in thread if script_of(each)
        )
        tasks: dict[str, list[tuple[float, float]]] = {"panel": [], "jupyterlab": []}
        for event in thread:
            if not event["name"].endswith("RunTask") or "tdur" not in event or event["ts"] < 1e6 * since:
                continue
            ends = (event["ts"], event["ts"] + event["dur"])
            inside = calls[bisect_left(calls, (ends[0],)) : bisect_left(calls, (ends[1],))]
            lab, panel = (sum(took for _, url, took in inside if part in url) for part in (LAB, PANEL))
            times = (event["dur"] / 1000, event["tdur"] / 1000)
            tasks["jupyterlab" if lab > panel else "panel"].append(times)
        return tasks


def script_of(event: dict[str, Any]) -> str:
    """Return the address of the script that an event of a trace runs, empty if it runs none."""
    data = (event.get("args") or {}).get("data")
    return str(data.get("url", "")) if isinstance(data, dict) else ""


def write_history(folder: Path, epochs: int, steps: int, metrics: Sequence[str]) -> tuple[Run, int]:
    """Begin a run whose log tells of so many epochs already; return it and the bytes of its log."""
    run = start_run(folder, name=folder.name)
    noise = random.Random(0)
    total = epochs * steps
    lines = []

    def add(kind: str, number: int, **fields: Any) -> None:
        moment = time.time() - (total - number) / 2  # two steps a second, up to now
        event = {"v": SCHEMA_VERSION, "time": moment, "attempt": 1, "type": kind}
        lines.append(json.dumps(event | fields))

    def values(*prefixes: str) -> dict[str, float]:
        return {prefix + name: noise.random() for prefix in prefixes for name in metrics}

    add(
        "fit",
        0,
        epochs=epochs + 1,
        batches=steps,
        initial_epoch=0,
        batch_size=32,
        monitor=None,
        patience=None,
    )
    for epoch in range(epochs):
        for step in range(1, steps + 1):
            add("step", epoch * steps + step, epoch=epoch, step=step, metrics=values(""), **STATE)
        rate = STATE["learning_rate"]
        both = values("", "val_")
        add("epoch", (epoch + 1) * steps, epoch=epoch, metrics=both, seconds=steps / 2, learning_rate=rate)
    with open(run.log.path, "a") as log:
        log.write("\n".join(lines) + "\n")
    return run, run.log.path.stat().st_size


def log_step(run: Run, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
    """Log one more step of a run."""
    run.log.write("step", epoch=epoch, step=step, metrics=dict(metrics), **STATE)


def pause(page: Any, seconds: float) -> None:
    """Let the browser go on for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.wait_for_timeout(100)
