"""Which packages are installed, by the name under which they are imported."""

import site
from pathlib import Path

from workbench.pipelines.memory import Memory

BACKEND_PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}  # Keras's
MISSING = "not installed"


class Environment:
    """The installed packages; listing them takes long, so the list is remembered until one changes.

    Args:
        memory: Keeps the list.
    """

    def __init__(self, memory: Memory) -> None:
        folders = [Path(path) for path in (*site.getsitepackages(), site.getusersitepackages())]
        self._packages: dict[str, list[list[str]]] = {}
        self.paths: list[Path] = []  # folders of modules that are not installed but can be imported
        for folder in folders:
            if folder.is_dir():
                known = memory.recall("packages", folder, lambda folder=folder: _list_packages(folder))
                self._packages |= known["packages"]
                self.paths += [Path(path) for path in known["paths"] if Path(path).is_dir()]

    def package_of(self, module: str) -> dict[str, str]:
        """Return the packages that bring the top module `module`, each with its version."""
        return dict(self._packages.get(module, [[module, MISSING]]))


def _list_packages(folder: Path) -> dict[str, object]:
    """Return for each importable name its packages and versions, and the folders that .pth files add."""
    import importlib.metadata

    packages: dict[str, list[list[str]]] = {}
    for found in importlib.metadata.distributions(path=[str(folder)]):
        name = found.metadata["Name"]
        for module in _top_modules(found):
            packages.setdefault(module, []).append([name, found.version])
    lines = [line.strip() for file in folder.glob("*.pth") for line in file.read_text().splitlines()]
    paths = [line for line in lines if line and not line.startswith(("import ", "import\t", "#"))]
    return {"packages": packages, "paths": [str((folder / path).resolve()) for path in paths]}


def _top_modules(found: "importlib.metadata.Distribution") -> set[str]:  # noqa: F821 (imported when needed)
    listed = (found.read_text("top_level.txt") or "").split()
    if listed:
        return set(listed)
    tops = {Path(file).parts[0] for file in found.files or [] if str(file).endswith((".py", ".so", ".pyd"))}
    return {top.partition(".")[0] for top in tops if not top.startswith("..")}
