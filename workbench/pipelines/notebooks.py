"""What a notebook declares and runs, read from its file without executing anything."""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError

PLAIN_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}
DEFAULT_KERNEL = "python3"  # of a notebook that names none


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's `parameters` cell."""

    name: str
    type: str  # a key of PLAIN_TYPES
    default: Any

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` has the declared type; an int will do for a float, a bool for neither."""
        if isinstance(value, bool) or self.type == "bool":
            return isinstance(value, bool) and self.type == "bool"
        if self.type == "float":
            return isinstance(value, int | float)
        return isinstance(value, PLAIN_TYPES[self.type])


@dataclass(frozen=True)
class Notebook:
    """A notebook's declared parameters, its code cells without the parameters cell, and its kernel."""

    path: Path
    parameters: dict[str, Parameter]
    code: tuple[str, ...]
    kernel: str = DEFAULT_KERNEL


def read_notebook(path: Path) -> Notebook:
    """Read a notebook file.

    Raises:
        WorkbenchError: The file is missing, is no notebook, or its parameters cell holds more than
            assignments of plain literals.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = content["cells"]
        kernel = content.get("metadata", {}).get("kernelspec", {}).get("name", DEFAULT_KERNEL)
    except FileNotFoundError:
        near = ", ".join(sorted(file.name for file in path.parent.glob("*.ipynb"))) or "none"
        raise WorkbenchError(f"There is no notebook {path}.\nNotebooks in that folder: {near}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkbenchError(
            f"{path} is not a readable notebook ({error}).\nOpen it in JupyterLab and save it again."
        ) from error
    parameters: dict[str, Parameter] = {}
    code = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            parameters |= _read_parameters(path, source)
        else:
            code.append(source)
    return Notebook(path, parameters, tuple(code), kernel)


def _read_parameters(path: Path, source: str) -> dict[str, Parameter]:
    found = {}
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise WorkbenchError(
            f"The parameters cell of {path} has a syntax error in line {error.lineno}: {error.msg}."
        ) from error
    for statement in statements:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if isinstance(statement, ast.AnnAssign):
            target = statement.target
        if not isinstance(target, ast.Name):
            continue
        found[target.id] = _read_parameter(path, target.id, statement)
    return found


def _read_parameter(path: Path, name: str, statement: ast.Assign | ast.AnnAssign) -> Parameter:
    try:
        default = ast.literal_eval(statement.value)
    except (ValueError, TypeError):
        default = None
    annotation = getattr(statement, "annotation", None)
    type_name = ast.unparse(annotation) if annotation else type(default).__name__
    if type_name not in PLAIN_TYPES or not Parameter(name, type_name, default).accepts(default):
        raise WorkbenchError(
            f"Parameter {name!r} of {path} reads `{ast.unparse(statement)}`.\n"
            f"A parameter is a literal of one of the types {', '.join(PLAIN_TYPES)},"
            f" as in `epochs: int = 3`; papermill can set no others."
        )
    return Parameter(name, type_name, default)
