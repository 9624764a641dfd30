"""Parameters that the call sets over those of the pipeline file: `-p NAME=VALUE`."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.errors import WorkbenchError
from workbench.pipelines.notebooks import Notebook, Parameter
from workbench.pipelines.spec import Step, find_references
from workbench.pipelines.suggest import suggest

Overrides = Mapping[str, Any]  # texts as typed, or plain values


def override_values(notebook: Notebook, values: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Return the values of a step's parameters with the overrides in place of its literals.

    Raises:
        WorkbenchError: A value has not the type that the notebook declares.
    """
    changed = dict(values)
    for key, given in overrides.items():
        if key in notebook.parameters and not any(find_references(values.get(key))):
            changed[key] = _parse(notebook.parameters[key], given)
    return changed


def check_overrides(shown: str, overrides: Overrides, steps: Sequence[Step]) -> None:
    """Refuse an override that changes nothing.

    Raises:
        WorkbenchError: A matrix varies the parameter, or no step has it to set.
    """
    for key in overrides:
        if any(key in step.matrix for step in steps):
            raise WorkbenchError(
                f"-p {key}=… has no effect: {key} is varied by a matrix in {shown}.\nChange the list there."
            )
        settable = [
            name
            for step in steps
            for name, value in step.parameters.items()
            if not any(find_references(value))
        ]
        if key not in settable:
            raise WorkbenchError(
                f"-p {key}=… has no effect: no step of {shown} has such a parameter to set.\n"
                f"{suggest(key, settable)}"
            )


def _parse(parameter: Parameter, given: Any) -> Any:
    value = given
    if isinstance(given, str) and parameter.type != "str":
        import yaml

        with contextlib.suppress(yaml.YAMLError):
            value = yaml.safe_load(given)
    if isinstance(value, str) and parameter.type == "float":  # YAML takes 1e-4 for a text
        with contextlib.suppress(ValueError):  # the check of types names what is no number
            value = float(value)
    if not parameter.accepts(value):
        raise WorkbenchError(
            f"-p {parameter.name}={given} gives a {type(value).__name__}; the notebook declares"
            f" {parameter.type}.\nGive a value of that type, such as its default {parameter.default!r}."
        )
    return value
