"""A comparison of models in the terminal: a table, the sentence, and what casts doubt on it."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench.errors import WorkbenchError
from workbench.evaluation.measures import describe_measure
from workbench.evaluation.rounding import format_value

if TYPE_CHECKING:
    from workbench.evaluation.verdicts import Verdict

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_FEW_PAIRS = 6  # that are all told; of more, those with the best model


def print_verdict(verdict: "Verdict", console: Console, difference: float | None = None) -> None:
    """Print what the data say about several models.

    Args:
        verdict: Of one dataset.
        console: Where to.
        difference: How large a difference to plan seeds for; None for no plan.
    """
    sizes = f"{verdict.estimates[0].samples:,} {verdict.noun}"
    console.print(Text(f"{verdict.dataset}, {sizes}", style="bold"), soft_wrap=True)
    console.print(_estimates(verdict))
    console.print(Text(verdict.sentence, style="bold"), soft_wrap=True)
    best = verdict.estimates[0].model
    own = [pair for pair in verdict.pairs if pair.better == best]
    for pair in verdict.pairs if len(verdict.pairs) <= _FEW_PAIRS else own:
        if verdict.describe(pair) in verdict.sentence:
            continue
        console.print(Text(f"  {verdict.describe(pair)}"), soft_wrap=True)
    if verdict.basis:
        console.print(Text(verdict.basis, style="dim"), soft_wrap=True)
    for finding in verdict.findings:
        line = Text(f"{finding.severity}: ", style=_STYLES[finding.severity])
        console.print(line.append(f"{finding.message} {finding.advice}", style="default"), soft_wrap=True)
    if difference is not None:
        console.print(Text(f"Planning: {_plan(verdict, difference)}"), soft_wrap=True)


def _plan(verdict: "Verdict", difference: float) -> str:
    try:
        return str(verdict.plan(difference))
    except WorkbenchError as error:  # seeds that cannot be planned take nothing from what was found
        return str(error)


def _estimates(verdict: "Verdict") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    measure = describe_measure(verdict.measure)
    for name in ("model", f"{measure} (95 % interval)", "every run", "note"):
        table.add_column(name, overflow="fold")
    for estimate in verdict.estimates:
        runs = " ".join(map(format_value, estimate.values)) if len(estimate.values) > 1 else ""
        kind = " (baseline)" if estimate.kind == "baseline" else ""
        table.add_row(*map(Text, (f"{estimate.model}{kind}", str(estimate), runs, estimate.note)))
    return table
