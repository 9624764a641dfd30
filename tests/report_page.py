"""A pipeline that is made of words, and its report as a reader of HTML sees it."""

import html.parser
import json
from pathlib import Path
from typing import Any

import pandas as pd

import workbench as wb
from workbench.runs import write_json


class Page(html.parser.HTMLParser):
    """The parts of a page that the tests look at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._script: list[str] | None = None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._script = [] if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.scripts.append((self.tags[-1][1], "".join(self._script or [])))
        self._script = None

    def handle_data(self, data: str) -> None:
        (self.words if self._script is None else self._script).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict[str, Any]:
        """The figures by their id."""
        return {
            attributes["id"]: json.loads(script)
            for attributes, script in self.scripts
            if attributes.get("type") == "application/json" and attributes["id"].startswith("figure-")
        }

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


class Pipeline:
    """Run folders and the state of a pipeline, written as a runner writes them."""

    def __init__(self, name: str = "small", title: str = "A small pipeline") -> None:
        self.folder = Path("runs") / name
        self.folder.mkdir(parents=True)
        self.state: dict[str, Any] = {
            "pipeline": name, "title": title, "file": f"pipelines/{name}.yaml", "steps": {}
        }  # fmt: skip

    def add(self, label: str, state: str = "done", *, start: bool = True, **entry: Any) -> wb.Run | None:
        """Add a step; return its open run if it got as far as to start one."""
        step = label.partition(" ")[0]
        folder = self.folder / f"{label.replace(' ', '-').replace('=', '-')}-1234abcd"
        self.state["steps"][label] = {
            "run": str(folder) if start else "",
            "state": state,
            "fingerprint": "1234abcd",
            "notebook": f"notebooks/{step}.ipynb",
            "step": step,
            "reason": "",
            "error": None,
            **entry,
        }
        write_json(self.folder / "state.json", self.state)
        if not start:
            return None
        folder.mkdir()
        write_json(folder / "step.json", {"label": label, "step": step})
        (folder / "executed.ipynb").write_text("{}")
        return wb.start_run(folder, parameters={"seed": 0, "note": "a note"}, name=step)

    def add_evaluation(self, label: str, rows: list[tuple[str, str, str, float]]) -> wb.Run:
        """Add a finished evaluation from rows of model, kind, run and accuracy."""
        run = self.add(label)
        table = pd.DataFrame(rows, columns=["model", "kind", "run", "accuracy"])
        table.insert(0, "dataset", "made")
        table.insert(4, "seed", pd.array([n if row[2] else pd.NA for n, row in enumerate(rows)], "Int64"))
        run.save_table("summary", table.assign(macro_f1=0.5, log_loss=0.25, test_samples=1200))
        return run

    def build(self) -> Page:
        return Page(wb.build_report(self.folder))
