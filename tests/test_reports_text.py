"""The text of a report: settings, numbers, figures, tables, citations and mathematics by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bs4
import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.datasets import Split
from workbench.errors import WorkbenchError
from workbench.evaluation import compare
from workbench.reports.collect import collect_report
from workbench.reports.methods import write_methods
from workbench.reports.numbers import Number
from workbench.reports.page import write_report
from workbench.reports.prose import render_markdown, render_math
from workbench.runs import write_json

COLUMNS = ["dataset", "model", "kind", "run", "seed", "accuracy", "macro_f1", "log_loss", "test_samples"]
BIBTEX = r"""
@article{one, author = {M{\"u}ller, Jana and Hinton, G. E.}, title = {Deep {CNN}s & <b>more</b>},
  journal = {A Journal}, year = {2009}, url = {https://example.org/one}}
@misc{many, author = {A, X and B, Y and C, Z}, title = {Many hands}, year = {2021}}
@misc{none, title = {No author}}
"""


@pytest.fixture
def write(project: Path) -> Callable[[str], bs4.BeautifulSoup]:
    """Write the text of a small pipeline's report and build that."""
    run = wb.start_run("runs/small/train", parameters={"seed": 3, "epochs": 2, "learning_rate": 0.001})
    run.log.write("epoch", epoch=0, metrics={"loss": 0.5}, seconds=1)
    run.record(model="net", trainable_parameters=1200)
    run.finish(accuracy=0.91)
    rows = [("made", "net", "model", "runs/small/train", "3", 0.91, 0.9, 0.3, 1200)]
    rows += [("made", "majority class", "baseline", "", "", 0.5, 0.3, 0.7, 1200)]
    run = wb.start_run("runs/small/evaluate")
    run.save_table("summary", pd.DataFrame(rows, columns=COLUMNS))
    run.save_figure("confusion", wb.figures.plot_confusion_matrix(np.eye(2, dtype=int), ("a", "b"), "Counts"))
    run.save_table("confusion", pd.DataFrame({"class": ["a", "b"], "n": [2, 1]}))
    run.finish()
    steps = {
        name: {"run": f"runs/small/{name}", "state": "done", "notebook": f"{name}.ipynb", "step": name}
        for name in ("train", "evaluate")
    }
    state = {"pipeline": "small", "title": "Small", "file": "pipelines/small.yaml", "steps": steps}
    write_json(project / "runs/small/state.json", state)
    (project / "pipelines/refs.bib").write_text(BIBTEX)

    def build(content: str, **options: Any) -> bs4.BeautifulSoup:
        (project / "pipelines/small.md").write_text(content)
        return bs4.BeautifulSoup(wb.build_report("runs/small", **options).read_text(), "html.parser")

    return build


Write = Callable[..., bs4.BeautifulSoup]


def words(tag: Any) -> str:
    return " ".join(tag.get_text(" ").split())


class TestNumbers:
    def test_are_drawn_from_runs_and_lead_to_where_they_come_from(self, write: Write) -> None:
        page = write(
            "{made.net.runs} run: {made.net.accuracy}, not {made.majority-class.accuracy}; {train.accuracy}."
        )
        assert words(page.select_one("#text")) == "1 run: 0.9100 , not 0.5000 ; 0.9100 ."
        link = page.select("#text a.value")[1]
        row = page.find(id=link["href"][1:])
        assert "accuracy of net on made" in words(row)
        assert "table summary" in words(row)

    def test_that_no_run_has_are_refused_with_those_that_are_near(self, write: Write) -> None:
        with pytest.raises(
            WorkbenchError, match=r"(?s)small\.md.*\{made\.net\.acuracy\}.*made\.net\.accuracy"
        ):
            write("We reach {made.net.acuracy}.")

    def test_names_in_braces_without_a_dot_are_text(self, write: Write) -> None:
        assert words(write("A set {x} and {}.").select_one("#text")) == "A set {x} and {}."

    @pytest.mark.parametrize(
        ("name", "macro"),
        [
            ("cifar.accuracy", "resultCifarAccuracy"),
            ("cifar10.cnn.macro_f1", "resultCifarOneZeroCnnMacroFOne"),
            ("train[seed=0].loss", "resultTrainSeedZeroLoss"),
        ],
    )
    def test_have_a_macro_of_letters(self, name: str, macro: str) -> None:
        assert Number(name, "1", 1.0, "", "", "").macro == macro


class TestExhibits:
    def test_are_placed_by_name_with_a_caption_and_not_shown_twice(self, write: Write) -> None:
        page = write(
            "See [](figure:confusion).\n\n![What was *confused*.](figure:confusion)\n\n![](table:confusion)"
        )
        text = page.select_one("#text")
        assert "Figure 1. What was *confused*." in words(text)
        assert text.select_one("a[href='#figure-no-1']").get_text() == "Figure 1"
        assert text.select_one("#table-no-1 td").get_text() == "a"
        assert not text.select("p figure")
        keys = [canvas["data-figure"] for canvas in page.select("figure .canvas")]
        assert len(keys) == len(set(keys)) == 2  # with the learning curves
        assert [figure["id"] for figure in page.select("figure")] == ["figure-no-1", "figure-no-2"]

    def test_of_one_name_are_told_apart_by_their_step(self, write: Write) -> None:
        assert "Counts" in words(write("![](figure:evaluate/confusion)").select_one("#text"))

    def test_that_no_run_has_are_refused(self, write: Write) -> None:
        with pytest.raises(
            WorkbenchError, match=r"(?s)the figure other, and no run has it.*evaluate/confusion"
        ):
            write("![](figure:other)")

    def test_from_elsewhere_are_refused(self, write: Write) -> None:
        with pytest.raises(WorkbenchError, match=r"a report shows only figures and tables of runs"):
            write("![](https://example.org/x.png)")

    def test_say_where_they_come_from(self, write: Write) -> None:
        origin = words(write("").select_one("figure .from"))
        assert "run train" in origin
        assert "events.jsonl" in origin
        assert "seed 3" in origin


class TestGaps:
    TEXT = "We reach {made.net.accuracy} and {made.other.accuracy}, see [](figure:none).\n\n![](table:none)"

    def test_of_a_pipeline_that_is_not_done_are_marked(self, write: Write, project: Path) -> None:
        state_file = project / "runs/small/state.json"
        write("")
        state = json.loads(state_file.read_text())
        state["steps"]["later"] = {"run": "", "state": "skipped", "notebook": "n.ipynb", "step": "later"}
        write_json(state_file, state)
        page = write(self.TEXT)
        marks = [mark.get_text() for mark in page.select("#text mark")]
        assert marks == ["{made.other.accuracy}?", "figure:none?", "table:none?"]
        assert "The text names what no run has: {made.other.accuracy}, figure:none, table:none." in words(
            page
        )

    def test_are_marked_where_that_is_asked_for(self, write: Write) -> None:
        with pytest.raises(WorkbenchError):
            write(self.TEXT)
        written = write_report("runs/small", strict=False)
        assert (
            "made.other.accuracy"
            in bs4.BeautifulSoup(written.path.read_text(), "html.parser").mark.get_text()
        )


class TestCitations:
    @pytest.mark.parametrize(
        ("style", "shown", "first"),
        [
            ("author-year", "(Müller and Hinton, 2009; A et al., 2021)", "X A, Y B"),
            ("numeric", "[1; 2]", "[1] Jana Müller"),
        ],
    )
    def test_follow_the_style(self, write: Write, style: str, shown: str, first: str) -> None:
        page = write(f"---\nbibliography: refs.bib\ncitations: {style}\n---\nAs [@one; @many] say.")
        assert f"As {shown} say." in page.select_one("#text").get_text()
        entries = page.select("#references li")
        assert words(entries[0]).startswith(first)
        assert {entry["id"] for entry in entries} == {"reference-one", "reference-many"}
        assert not page.select("#references b")

    def test_of_nothing_known_are_refused(self, write: Write) -> None:
        with pytest.raises(WorkbenchError, match=r"(?s)cites other.*one, many, none"):
            write("---\nbibliography: refs.bib\n---\n[@other]")

    def test_need_a_bibliography_that_can_be_read(self, write: Write) -> None:
        with pytest.raises(WorkbenchError, match=r"missing\.bib cannot be read"):
            write("---\nbibliography: missing.bib\n---\n[@other]")

    def test_without_an_author_are_called_by_their_title(self, write: Write) -> None:
        page = write("---\nbibliography: refs.bib\n---\n[@none]")
        assert "(No author, n.d.)" in page.select_one("#text").get_text()


class TestSettings:
    def test_head_the_page(self, write: Write) -> None:
        page = write("---\ntitle: 一个小实验\nauthors: [王小明, A <b>]\nabstract: 摘要\nlang: zh\n---\n正文")
        assert page.html["lang"] == "zh"
        assert page.h1.get_text() == page.title.get_text() == "一个小实验"
        assert page.select_one(".authors").get_text() == "王小明, A <b>"
        assert page.select_one(".abstract").get_text() == "摘要"
        assert [tag["content"] for tag in page.select("meta[name=author]")] == ["王小明", "A <b>"]

    def test_of_arabic_turn_the_page(self, write: Write) -> None:
        assert write("---\nlang: ar\n---\n").html["dir"] == "rtl"

    @pytest.mark.parametrize(
        ("head", "said"),
        [
            ("author: [me]", "(?s)Unknown setting 'author' in pipelines/small.md.*Did you mean authors"),
            ("authors: me", "(?s)authors of pipelines/small.md is 'me', a str.*Give a list"),
            ("share_samples: 1", "Give a bool"),
            ("citations: harvard", "Give one of author-year, numeric"),
            ("- a", "not a mapping"),
            ("a: [", "not valid YAML"),
            ("template: other", "There is no template 'other'"),
        ],
    )
    def test_that_cannot_be_are_refused(self, write: Write, head: str, said: str) -> None:
        with pytest.raises(WorkbenchError, match=said):
            write(f"---\n{head}\n---\n")

    def test_text_may_lie_elsewhere(self, write: Write, project: Path) -> None:
        (project / "other.md").write_text("Elsewhere.")
        assert words(write("Here.", text="other.md").select_one("#text")) == "Elsewhere."
        with pytest.raises(WorkbenchError, match=r"There is no text none\.md"):
            write("", text="none.md")


class TestTemplates:
    def test_brief_folds_everything_else(self, write: Write) -> None:
        page = write("", template="brief")
        assert page.select_one(".rest #runs")
        assert not page.select_one("nav")
        assert page.select_one("#findings")
        assert {link["href"][1:] for link in page.select("a[href^='#']")} <= {
            tag["id"] for tag in page.select("[id]")
        }

    def test_of_the_users_own_replace_blocks(self, write: Write, project: Path) -> None:
        (project / "pipelines/mine.html").write_text(
            '{% extends "paper.html" %}{% block methods %}<p id="mine">{{ report.title }}</p>{% endblock %}'
        )
        page = write("---\ntemplate: mine.html\n---\n")
        assert page.select_one("#mine").get_text() == "Small"
        assert not page.select_one("#methods")


def test_several_pipelines_make_one_report(write: Write, project: Path) -> None:
    write("")
    run = wb.start_run("runs/other/train", parameters={"seed": 4})
    run.finish(accuracy=0.5)
    step = {"run": "runs/other/train", "state": "done", "notebook": "t.ipynb", "step": "train"}
    write_json(
        project / "runs/other/state.json",
        {"pipeline": "other", "title": "Other", "file": "pipelines/other.yaml", "steps": {"train": step}},
    )
    path = wb.build_report("runs/small", "runs/other")
    page = bs4.BeautifulSoup(path.read_text(), "html.parser")
    assert path.name == "small+other.html"
    assert page.h1.get_text() == "Small · Other"
    assert [words(tag) for tag in page.select("#runs .label")] == [
        "small: train", "small: evaluate", "other: train"
    ]  # fmt: skip


def test_methods_are_written_from_the_runs(write: Write) -> None:
    write("")
    text = "\n".join(write_methods(collect_report("runs/small")))
    assert (
        "The network net with 1,200 trainable parameters was trained for 2 epochs with a learning rate of "
        "0.001, with the seed 3 (train.ipynb)."
    ) in text
    assert "Computed with Python" in text


def test_mathematics_becomes_mathml_and_never_markup() -> None:
    page = bs4.BeautifulSoup(render_math(r"\frac{a}{b} < <script>x</script>"), "html.parser")
    assert page.math.mfrac
    assert not page.select("script")
    assert bs4.BeautifulSoup(render_math(r"\frac{"), "html.parser").get_text()


def test_markup_in_markdown_is_shown_as_text() -> None:
    page = bs4.BeautifulSoup(
        render_markdown(
            "<script>x</script>\n\n[a](javascript:x) ![b](https://example.org/x.png) <img src=x>"
        ),
        "html.parser",
    )
    assert not page.select("script, img")


class TestIntervals:
    @pytest.fixture
    def evaluated(self, write: Write, project: Path) -> Callable[[float], bs4.BeautifulSoup]:
        """The report of two models over three seeds with what the evaluation's comparison says of them."""

        def build(better: float) -> bs4.BeautifulSoup:
            truth, rows, folders = np.arange(400) % 2, [], []
            split = Split({"image": np.zeros((400, 1))}, {"label": truth}, np.arange(400).astype(str))
            for model, rate in (("good", better), ("poor", 0.7)):
                for seed in range(3):
                    right = np.random.default_rng([seed, int(100 * rate)]).random(400) < rate
                    sure = np.where(right == (truth == 1), 0.9, 0.1)
                    folder = f"runs/small/{model}-{seed}"
                    run = wb.start_run(folder, parameters={"seed": seed}, name=model)
                    run.record(
                        dataset={"name": "made", "fingerprint": "f", "recipe": {}, "task": "t"}, model=model
                    )
                    wb.write_predictions(run, split, np.stack([1 - sure, sure], 1), ("a", "b"))
                    run.finish(accuracy=right.mean())
                    folders.append(folder)
                    rows.append(("made", model, "model", folder, str(seed), right.mean(), 0.9, 0.3, 400))
            (verdict,) = compare(folders)
            run = wb.start_run("runs/small/compared")
            run.save_table("summary", pd.DataFrame(rows, columns=COLUMNS))
            run.save_table("estimates", wb.tables.table_estimates(verdict))
            run.save_table("pairs", wb.tables.table_pairs(verdict))
            run.finish()
            self.reported = [str(estimate) for estimate in verdict.estimates]
            self.separated = verdict.pairs[0].separates()
            state = json.loads((project / "runs/small/state.json").read_text())
            state["steps"]["evaluate"]["run"] = "runs/small/compared"
            write_json(project / "runs/small/state.json", state)
            return bs4.BeautifulSoup(wb.build_report("runs/small").read_text(), "html.parser")

        write("")
        return build

    def test_of_the_evaluation_are_the_key_findings(self, evaluated: Callable[..., Any]) -> None:
        page = evaluated(0.95)
        finding = words(page.select_one("#findings"))
        assert f"good reaches an accuracy of {self.reported[0]} on the 400 test samples" in finding
        assert "95 % interval; 3 runs" in finding

    @pytest.mark.parametrize("better", [0.95, 0.71])
    def test_decide_which_value_is_marked(self, evaluated: Callable[..., Any], better: float) -> None:
        page = evaluated(better)
        assert self.separated is (better == 0.95)
        assert len(page.select("#results .best")) == self.separated
