"""Code of cells and modules, read as Python without what does not change its meaning."""

import ast
import re

_PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun")  # magics whose cell is Python all the same
_MAGIC = re.compile(r"^(\s*)([%!].*)$", re.M)
_RUNS_CODE = re.compile(r"^\s*%(run|load|loadpy|runfile)\b.*$", re.M)


def parse_code(source: str) -> tuple[ast.Module | None, list[str]]:
    """Return the Python of a cell or module and its lines of IPython magic; None if it is no Python.

    Lines of magic stand as `pass` in the tree, so that what surrounds them is still read.
    """
    magics: list[str] = []
    if source.lstrip().startswith(_PYTHON_CELLS):
        head, _, source = source.lstrip().partition("\n")
        magics.append(head)
    tree = _parse(source)
    if tree is None:
        magics += [match[2] for match in _MAGIC.finditer(source)]
        tree = _parse(_MAGIC.sub(r"\1pass", source))
    return tree, magics


def normalize_code(source: str) -> str:
    """Return `source` without what does not change its meaning: comments, spacing, quotes; it may be empty.

    A cell that is no Python, such as one of shell commands, is returned as it is.
    """
    tree, magics = parse_code(source)
    if tree is None:
        return source
    return "\n".join([*magics, *map(ast.dump, tree.body)])


def find_scripts(source: str) -> list[str]:
    """Return the lines of magic that run code from elsewhere, such as `%run other.py`."""
    return [match[0].strip() for match in _RUNS_CODE.finditer(source)]


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None
