"""The layers of the package: a module imports only from layers above its own."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "workbench"
# One line a layer, lowest first; a layer's own modules may import one another.
LAYERS = (
    "errors",
    "front_end",
    "provenance",
    "events",
    "findings",
    "runs",
    "controls",
    "datasets",
    "models",
    "training",
    "evaluation",
    "figures",
    "tables",
    "kernels",
    "pipelines",
    "dashboards",
    "reports",
    "verification",
    "batch",
    "cli",
    "__main__",
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
HEAVY = ("tensorflow", "keras", "papermill", "plotly", "pandas", "sklearn")


def imported_modules(path: Path) -> Iterator[str]:
    """Yield every module that the file imports for use, also inside functions, but not for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} <= set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_from_its_layer_and_those_above(path: Path) -> None:
    own = LAYERS.index(layer_of(path))
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "workbench" and len(parts) > 1 and parts[1] in LAYERS:
            assert LAYERS.index(parts[1]) <= own, f"{path.name} imports {module}"


@pytest.mark.parametrize(
    ("library", "layer"),
    [
        ("papermill", "pipelines"),
        ("ipywidgets", "dashboards"),
        ("jupyter_server", "dashboards"),
        ("jinja2", "reports"),
        ("ipykernel", "kernels"),
    ],
)
def test_library_is_imported_in_one_place_only(library: str, layer: str) -> None:
    users = {
        layer_of(path)
        for path in MODULES
        if any(module.split(".")[0] == library for module in imported_modules(path))
    }
    assert users <= {layer}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_and_its_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 40, f"{node.name} has {length} lines"


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = f"import workbench, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    import workbench

    for name in workbench.__all__:
        assert getattr(workbench, name) is not None
