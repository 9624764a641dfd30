"""What a report says of time, memory and energy."""

from typing import Any

import bs4
import pytest
from report_page import Pipeline

import workbench as wb
from workbench.runs import write_json

COSTS = {
    "seconds": 60.0, "processor_seconds": 90.0, "peak_memory": 2 * 2**30, "samples": 1000, "parameters": 7,
    "trainable_parameters": 7, "flops": 3e12, "flops_method": "counted",
}  # fmt: skip
ENERGY = {"energy_kwh": 0.002, "co2_kg": 0.001, "energy_method": "measured by RAPL"}


def add_step(pipeline: Pipeline, label: str, seconds: float, *costs: dict[str, Any]) -> None:
    run = pipeline.add(label)
    step = {"label": label, "step": label, "seconds": seconds, "memory": 2**30}
    write_json(run.path / "step.json", step)
    run.record(costs={str(number): each for number, each in enumerate(costs, 1)})
    run.finish()


def read_table(pipeline: Pipeline) -> list[list[str]]:
    page = bs4.BeautifulSoup(pipeline.build().path.read_text(encoding="utf-8"), "html.parser")
    table = page.select_one("#costs table")
    return [[cell.get_text(strip=True) for cell in row.select("th, td")] for row in table.select("tr")]


@pytest.fixture
def pipeline(project: Any) -> Pipeline:
    return Pipeline()


def test_costs_are_those_of_every_step_with_sums_and_the_highest_peak(pipeline: Pipeline) -> None:
    add_step(pipeline, "prepare", 10)
    add_step(pipeline, "train", 1200, COSTS, COSTS)
    head, *rows = read_table(pipeline)
    assert head == [
        "step", "time, s", "memory at its peak, GiB", "training, s", "processor, s", "samples trained on",
        "operations, 10¹²",
    ]  # fmt: skip
    assert rows == [
        ["prepare", "10", "1.00", "", "", "", ""],
        ["train", "1,200", "2.00", "120", "180", "2,000", "6"],
        ["all steps", "1,210", "2.00", "120", "180", "2,000", "6"],
    ]
    page = pipeline.build().text
    assert "Energy was not recorded." in page
    assert "All steps of small took 20 min 10 s, 2 GiB of memory at their peak." in page


def test_energy_is_shown_with_how_it_was_found(pipeline: Pipeline) -> None:
    estimated = ENERGY | {"energy_kwh": 0.001, "energy_method": "estimated from the processor's power"}
    add_step(pipeline, "one", 10, COSTS | ENERGY)
    add_step(pipeline, "two", 10, COSTS | estimated)
    add_step(pipeline, "three", 10, COSTS)
    rows = [row[-3:] for row in read_table(pipeline)]
    assert rows == [
        ["energy, Wh", "CO₂, g", "energy is"],
        ["2", "1", "measured by RAPL"],
        ["1", "1", "estimated from the processor's power"],
        ["", "", ""],
        ["3", "2", ""],
    ]
    page = pipeline.build().text
    assert "3 Wh and 2 g of CO₂ for the trainings (measured by RAPL; estimated from the processor's" in page
    assert "Energy was not recorded" not in page


def test_several_pipelines_have_a_table_each(pipeline: Pipeline) -> None:
    other = Pipeline("other")
    add_step(pipeline, "train", 10, COSTS)
    add_step(other, "train", 20, COSTS)
    page = bs4.BeautifulSoup(
        wb.build_report("runs/small", "runs/other").read_text(encoding="utf-8"), "html.parser"
    )
    assert [title.get_text() for title in page.select("#costs h3")] == ["small", "other"]
    assert [row.get_text(" ", strip=True)[:14] for row in page.select("#costs tfoot tr")] == [
        "all steps 10 2", "all steps 20 2",
    ]  # fmt: skip
