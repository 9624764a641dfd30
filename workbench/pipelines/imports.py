"""Which modules and packages a notebook reaches by its imports, read from the source without running it."""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.pipelines.environment import Environment
from workbench.pipelines.memory import Memory
from workbench.pipelines.source import parse_code

PACKAGE = Path(__file__).parents[1]
_ABOVE = ("dashboards", "reports", "verification", "batch", "cli", "__main__")
LOOKING_ON = tuple(f"workbench.{name}." for name in _ABOVE)
_IMPORTERS = ("import_module", "__import__", "run_path", "run_module", "exec")


@dataclass(frozen=True)
class Reach:
    """What the code of a notebook depends on besides itself."""

    modules: dict[str, str]  # path as shown → digest of the source, of the project's own modules
    packages: dict[str, str]  # name → version, of what is installed
    dynamic: tuple[str, ...]  # imports that cannot be followed, as text


def read_references(tree: ast.Module, module: str = "", is_package: bool = False) -> dict[str, Any]:
    """Return the `names` that a source refers to, such as `workbench.tables.table_means`, and `dynamic`.

    Args:
        tree: The source.
        module: Its own dotted name, from which relative imports start.
        is_package: Whether it is an `__init__.py`.
    """
    bound: dict[str, str] = {}
    names: set[str] = set()
    dynamic: list[str] = []
    nodes = list(_walk(tree))
    for node in nodes:
        for name, path in _imported(node, module, is_package):
            bound[name] = path
            names.add(path)
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            names.update(_used(node, bound))
        elif isinstance(node, ast.Name) and id(node) not in inner and _loads(node, bound):
            names.add(f"{bound[node.id]}.*")  # handed on whole: any of its names may be used
        elif isinstance(node, ast.Call):
            found = _dynamic_import(node)
            if isinstance(found, ast.Call):
                dynamic.append(f"{ast.unparse(found)[:80]}")
            elif found:
                names.add(found)
    return {"names": sorted(names), "dynamic": dynamic}


class ImportGraph:
    """Follows imports through the project's own modules, each of which is read once.

    Args:
        memory: Keeps what was read.
        environment: Which packages are installed, and where else modules of the project's own may lie.
        root: The project's root; paths inside are shown relative to it.
    """

    def __init__(self, memory: Memory, environment: Environment, root: Path) -> None:
        self._memory = memory
        self._environment = environment
        self._root = root
        self._found: dict[tuple[str, Path], tuple[Path, Path] | None] = {}
        self._read: dict[Path, dict[str, Any]] = {}
        self._reached: dict[tuple[Path, tuple[str, ...]], Reach] = {}

    def follow(self, folder: Path, names: Iterable[str]) -> Reach:
        """Return all that the dotted paths in a notebook of `folder` lead to."""
        key = (folder, tuple(names))
        if key not in self._reached:
            self._reached[key] = self._follow(folder, key[1])
        return self._reached[key]

    def _follow(self, folder: Path, names: Sequence[str]) -> Reach:
        modules: dict[str, str] = {}
        packages: dict[str, str] = {}
        dynamic: list[str] = []
        seen: set[str] = set()
        entered: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for module, found in self._resolve(folder, name, packages):
                if module in entered:
                    continue
                entered.add(module)
                path, base = found
                facts = self._facts(module, path)
                shown = str(path.relative_to(self._root if path.is_relative_to(self._root) else base))
                modules[shown] = facts["digest"]
                dynamic += [f"{text} of {shown}" for text in facts["dynamic"]]
                waiting += facts["names"]
        return Reach(modules, packages, tuple(dynamic))

    def _resolve(
        self, folder: Path, name: str, packages: dict[str, str]
    ) -> Iterator[tuple[str, tuple[Path, Path]]]:
        """Yield the modules of the project that a dotted path runs through; note a package that it names."""
        top, *rest = name.split(".")
        found = self._find(top, folder)
        if found is None:
            if top not in sys.stdlib_module_names:
                packages.update(self._environment.package_of(top))
            return
        module = top
        yield module, found
        for part in rest:
            home = self._facts(module, found[0])["home"]
            for lazy in home if part == "*" else [part] * (home.get(part, part) != part):
                path = f"{module}.{home[lazy]}" + f".{lazy}" * (home[lazy] != lazy)
                yield from self._resolve(folder, path, packages)
            inner = self._find(f"{module}.{part}", folder)
            if inner is None:
                return
            module, found = f"{module}.{part}", inner
            yield module, found

    def _find(self, module: str, folder: Path) -> tuple[Path, Path] | None:
        """Return the file of a module of the project's own and the folder that it was found from."""
        key = (module, folder)
        if key not in self._found:
            self._found[key] = None
            for base in self._bases(module, folder):
                stem = base.joinpath(*module.split("."))
                for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
                    if path.is_file():
                        self._found[key] = (path, base)
                        return self._found[key]
        return self._found[key]

    def _bases(self, module: str, folder: Path) -> Sequence[Path]:
        """Return the folders in which a module of the project may lie; none for one that only looks on."""
        if f"{module}.".startswith(LOOKING_ON):
            return ()
        if module.partition(".")[0] == PACKAGE.name:
            return (PACKAGE.parent,)
        return (folder, *self._environment.paths)

    def _facts(self, module: str, path: Path) -> dict[str, Any]:
        if path not in self._read:
            self._read[path] = self._memory.recall("module", path, lambda: _read_module(module, path))
        return self._read[path]


def _read_module(module: str, path: Path) -> dict[str, Any]:
    """Return digest, names, dynamic imports and, of a package that loads names lazily, where each lives."""
    text = path.read_text(encoding="utf-8", errors="replace")
    tree, _ = parse_code(text)
    if tree is None:
        return {"digest": _digest(text), "names": [], "dynamic": [], "home": {}}
    home = _lazy_names(tree) if path.name == "__init__.py" else {}
    if home:
        tree.body = [node for node in tree.body if not _is_signpost(node)]
    facts = read_references(tree, module, path.name == "__init__.py")
    return {"digest": _digest(ast.dump(tree)), "home": home, **facts}


def _lazy_names(tree: ast.Module) -> dict[str, str]:
    """Return in which submodule each name of a package lives that lazy_loader attaches to it."""
    for node in tree.body:
        if _attaches(node):
            given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.value.keywords}
            attributes = given.get("submod_attrs", {}).items()
            homes = {name: module for module, names in attributes for name in names}
            return homes | {name: name for name in given.get("submodules", [])}
    return {}


def _attaches(node: ast.stmt) -> bool:
    """Tell whether a statement is `__getattr__, __dir__, __all__ = lazy_loader.attach(…)`."""
    is_call = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    return is_call and ast.unparse(node.value.func) in ("lazy_loader.attach", "lazy.attach", "attach")


def _is_signpost(node: ast.stmt) -> bool:
    """Tell whether a statement of a lazy package only says where its names are, or what it is."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names] == ["lazy_loader"]
    if isinstance(node, ast.Assign):
        return _attaches(node) or ast.unparse(node.targets[0]).startswith("__")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)  # the docstring


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that are only there for type checkers."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children: Iterable[ast.AST] = node.orelse
    else:
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _walk(child)


def _imported(node: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, str]]:
    """Yield the names that an import statement binds, each with the dotted path that it stands for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], alias.name
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.split(".")
            parts = parts[: len(parts) - node.level + is_package]
            base = ".".join([*parts, *filter(None, [node.module])])
        for alias in node.names:
            yield alias.asname or alias.name, f"{base}.{alias.name}"


def _loads(node: ast.Name, bound: Mapping[str, str]) -> bool:
    return isinstance(node.ctx, ast.Load) and node.id in bound


def _used(node: ast.Attribute, bound: Mapping[str, str]) -> Iterator[str]:
    """Yield the dotted path of `wb.tables.table_means` where `wb` was imported."""
    parts = []
    value: ast.AST = node
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if isinstance(value, ast.Name) and value.id in bound:
        path = bound[value.id]
        if value.id == path.partition(".")[0]:  # `import a.b` binds a
            path = value.id
        yield ".".join([path, *reversed(parts)][:4])


def _dynamic_import(call: ast.Call) -> ast.Call | str | None:
    """Return the module that a call imports, the call itself if that cannot be told, else None."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in _IMPORTERS:
        return None
    if name == "exec" and isinstance(call.func, ast.Attribute):
        return None  # a method of something else
    first = call.args[0] if call.args else None
    if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
        return str(first.value)
    return call


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
