"""The matrix of a step: its values combined, or listed one by one."""

import itertools
from dataclasses import dataclass
from typing import Any

from workbench.errors import WorkbenchError


@dataclass(frozen=True)
class Choice:
    """One run of a matrix step: a value for each key, and how the step's label shows it."""

    values: dict[str, Any]
    texts: dict[str, str]


def expand_matrix(matrix: Any, where: str) -> list[Choice]:
    """Return the choices of a matrix, in the order of the file; of a product the last key varies fastest.

    Args:
        matrix: `{seed: [0, 1], rate: [0.1, 0.01]}` for every combination; `{size: {small: 32, large: 64}}` to
            give values names, which labels then show; `[{seed: 0, rate: 0.1}, …]` for a list of choices.
        where: What to call the step in messages.

    Raises:
        WorkbenchError: It is none of these, is empty or has a choice twice.
    """
    if isinstance(matrix, list):
        choices = [_listed(entry, matrix, where) for entry in matrix]
    elif isinstance(matrix, dict):
        named = {key: _named(key, values, where) for key, values in matrix.items()}
        choices = [
            Choice({key: value for key, (_, value) in pairs}, {key: text for key, (text, _) in pairs})
            for picked in itertools.product(*(values.items() for values in named.values()))
            for pairs in [list(zip(named, picked, strict=True))]
        ]
    else:
        raise WorkbenchError(
            f"`matrix` of {where} is {matrix!r}.\nGive `{{seed: [0, 1, 2]}}`, or a list of choices"
            " as in `[{seed: 0, epochs: 5}, {seed: 1, epochs: 10}]`."
        )
    seen: set[str] = set()
    for choice in choices:
        shown = ",".join(f"{key}={text}" for key, text in choice.texts.items())
        if shown in seen:
            raise WorkbenchError(f"The matrix of {where} has the choice {shown} twice.\nName it once.")
        seen.add(shown)
    return choices


def _named(key: str, values: Any, where: str) -> dict[str, Any]:
    """Return the values of one key by the text that labels show."""
    if isinstance(values, dict) and values:
        return {str(name): value for name, value in values.items()}
    if not isinstance(values, list) or not values:
        raise WorkbenchError(
            f"The matrix of {where} gives {key}: {values!r}.\n"
            f"Give a list with at least one value, as in `matrix: {{{key}: [0, 1, 2]}}`."
        )
    if len({str(value) for value in values}) < len(values):
        raise WorkbenchError(
            f"The matrix of {where} names a value of {key} twice: {values}.\nName each value once."
        )
    return {str(value): value for value in values}


def _listed(entry: Any, matrix: list[Any], where: str) -> Choice:
    if not isinstance(entry, dict) or not entry or entry.keys() != matrix[0].keys():
        raise WorkbenchError(
            f"The matrix of {where} lists {entry!r}.\nIn a list of choices each is a mapping of the same"
            " parameters, as in `[{seed: 0, epochs: 5}, {seed: 1, epochs: 10}]`."
        )
    return Choice(dict(entry), {key: str(value) for key, value in entry.items()})
