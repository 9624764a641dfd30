"""The panel as notebook output: one bundle of forms, of which every front end shows the best that it knows.

    application/vnd.workbench.panel+json   JupyterLab with the extension in labextension/: the live panel
    application/vnd.plotly.v1+json         other notebook front ends: the curves so far
    text/html                              exported HTML: the panel's own scripts over a snapshot of the log
    text/plain                             everything else: one line a run or step

The live panel reads the log through the server and needs none of the others, so they are only filled in at
the end of a cell; until then an update is one short line.
"""

import functools
import html
import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.dashboards.state import read_pipeline
from workbench.dashboards.status import TrainingStatus
from workbench.events import EventReader, drop_replayed, spell
from workbench.runs import EVENTS_FILE, is_running

MIME = "application/vnd.workbench.panel+json"
STATIC = Path(__file__).parent / "static"
MOST_IN_SNAPSHOT = 400  # events of one type and run, and the best ones: more cannot be told apart on a screen

Event = dict[str, Any]
Bundle = dict[str, Any]


class RunsPanel:
    """Some runs, drawn over one another.

    Args:
        folders: The run folders by the name to show; the first one can be steered.
    """

    entry = ("panel.js", "mountRuns")  # the script and its function that draw this kind

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = dict(folders)
        self._readers = {name: EventReader(path / EVENTS_FILE) for name, path in folders.items()}
        self._events: dict[str, list[Event]] = {name: [] for name in folders}
        self._statuses = {name: TrainingStatus() for name in folders}

    def read(self) -> bool:
        """Take in what was logged since the last time; return whether there was anything."""
        changed = False
        for name, reader in self._readers.items():
            new = reader.read()
            if new:
                self._statuses[name].take(new)
                self._events[name] += new
                if any(event["type"] == "fit" for event in new):
                    self._events[name] = drop_replayed(self._events[name])
                changed = True
        return changed

    @property
    def ended(self) -> bool:
        """Whether nothing more will be logged, unless somebody starts a run again."""
        return not any(is_running(path) for path in self.folders.values())

    def spec(self) -> Bundle:
        """Return what the panel's script needs in order to follow the runs."""
        return {"runs": [{"name": name, "path": str(path)} for name, path in self.folders.items()]}

    def snapshot(self) -> Bundle:
        """Return what the panel's script needs where it cannot follow them."""
        events = {str(self.folders[name]): _thin(events) for name, events in self._events.items()}
        return {**self.spec(), "snapshot": spell(events)}

    def describe(self) -> str:
        """Return how the runs stand, a line for each."""
        lines = {name: status.describe() for name, status in self._statuses.items()}
        return "\n".join(lines.values() if len(lines) == 1 else (f"{name}: {lines[name]}" for name in lines))

    def curves(self) -> dict[str, list[Event]]:
        """Return the events of every run by its name."""
        return self._events


class PipelinePanel:
    """A pipeline: its steps, their states, and the curves of those that train.

    Args:
        folder: `runs/<pipeline>`.
    """

    entry = ("pipeline.js", "mountPipeline")

    def __init__(self, folder: Path) -> None:
        self.folders: dict[str, Path] = {}  # of the steps' runs, and its own, by label
        self._folder = folder
        self._state: dict[str, Any] = {"title": folder.name, "steps": [], "alive": False}
        self._begun = False  # a process was seen to run it
        self._runs = RunsPanel({})

    def read(self) -> bool:
        """Take in how the pipeline stands; return whether anything has changed."""
        state = read_pipeline(self._folder)
        folders = {step["label"]: Path(step["run"]) for step in state["steps"] if step["run"]}
        if folders != self._runs.folders:
            self._runs = RunsPanel(folders)
            self.folders = {**folders, self._folder.name: self._folder}
        changed = state != self._state
        self._state = state
        self._begun |= state["alive"]
        return self._runs.read() or changed

    @property
    def alive(self) -> bool:
        """Whether a process runs the pipeline."""
        return self._state["alive"]

    @property
    def ended(self) -> bool:
        """Whether the pipeline was under way and is no more; the next cell may start one that was not."""
        return self._begun and not self.alive

    def spec(self) -> Bundle:
        """Return what the panel's script needs in order to follow the pipeline."""
        return {"pipeline": {"name": self._folder.name, "path": str(self._folder)}}

    def snapshot(self) -> Bundle:
        """Return what the panel's script needs where it cannot follow it."""
        return {**self.spec(), "state": self._state, "snapshot": self._runs.snapshot()["snapshot"]}

    def describe(self) -> str:
        """Return how the steps stand, a line for each."""
        steps = self._state["steps"]
        width = max((len(step["label"]) for step in steps), default=0)
        lines = [f"{step['label']:<{width}}  {step['state']}" for step in steps]
        return "\n".join(lines) or f"{self._folder.name} has not run yet"

    def curves(self) -> dict[str, list[Event]]:
        """Return the events of the steps that train, by label."""
        return {
            label: events
            for label, events in self._runs.curves().items()
            if any(event["type"] == "epoch" for event in events)
        }


Panel = RunsPanel | PipelinePanel


def brief_bundle(panel: Panel) -> Bundle:
    """Return the output while things move: the live panel, and a line for other front ends."""
    return {MIME: panel.spec(), "text/plain": panel.describe()}


def full_bundle(panel: Panel) -> Bundle:
    """Return the output that stays: it shows the curves in any front end, without kernel or run folder."""
    from workbench.figures import plot_learning_curves

    snapshot = panel.snapshot()
    curves = panel.curves()
    bundle = {MIME: snapshot, "text/html": _page(panel, snapshot), "text/plain": panel.describe()}
    if curves:
        bundle["application/vnd.plotly.v1+json"] = json.loads(plot_learning_curves(curves).to_json())
    return bundle


def _thin(events: Sequence[Event]) -> list[Event]:
    """Return the events with at most so many of each type, the last and the best ones always."""
    kinds: dict[str, list[Event]] = {}
    for event in events:
        kinds.setdefault(event["type"], []).append(event)
    kept = set()
    for members in kinds.values():
        stride = -(-len(members) // MOST_IN_SNAPSHOT)
        kept |= {id(event) for event in members[::-1][::stride]}
    kept |= {id(event) for event in _extremes(kinds.get("epoch", ()))}
    return [event for event in events if id(event) in kept]


def _extremes(epochs: Sequence[Event]) -> Iterator[Event]:
    """Yield the epochs with the lowest and the highest value of each metric in each training."""
    best: dict[tuple[Any, ...], tuple[float, Event]] = {}
    for event in epochs:
        for name, value in event["metrics"].items():
            for sign in (1, -1):
                key = (event.get("fit"), name, sign)
                if math.isfinite(value) and not (key in best and sign * value >= best[key][0]):
                    best[key] = (sign * value, event)
    yield from (event for _, event in best.values())


def _page(panel: Panel, snapshot: Bundle) -> str:
    """Return HTML that draws a snapshot by itself, without a request."""
    entry, mount = panel.entry
    key = f"workbench-{uuid.uuid4().hex[:12]}"
    data = json.dumps(snapshot, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    for name, path in panel.folders.items():  # where the runs lie is nobody's business out there
        data = data.replace(
            json.dumps(str(path), ensure_ascii=False), json.dumps(name).replace("<", "\\u003c")
        )
    return (
        f"<style>\n{(STATIC / 'panel.css').read_text(encoding='utf-8')}</style>\n"
        f'<div id="{key}"><pre>{html.escape(panel.describe())}</pre></div>\n'
        f'<script type="module">\n{_scripts(entry)}\n'
        f'const place = document.getElementById("{key}");\n'
        f'place.textContent = "";\n{mount}(place, {data}, null);\n</script>'
    )


@functools.cache
def _scripts(entry: str) -> str:
    """Return a module of the panel and all that it imports as one script, the imported ones first."""
    ordered: dict[str, str] = {}

    def visit(name: str) -> None:
        if name in ordered:
            return
        source = (STATIC / name).read_text(encoding="utf-8")
        for imported in re.findall(r'^import .* from "\./(.+)";$', source, re.M):
            visit(imported)
        plain = re.sub(r"^import .*\n", "", source, flags=re.M)
        ordered[name] = re.sub(r"^export ", "", plain, flags=re.M).replace("</script", "<\\/script")

    visit(entry)
    return "\n".join(ordered.values())
