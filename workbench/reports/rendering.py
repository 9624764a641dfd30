"""The page's templates and what they all share; the only place that imports Jinja."""

import base64
import datetime
import functools
import hashlib
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import jinja2
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import DiffLexer

from workbench.errors import WorkbenchError
from workbench.reports.trainings import shorten_evidence
from workbench.runs import resolve_path

TEMPLATES = Path(__file__).parent / "templates"
OWN_TEMPLATES = ("paper", "brief")


@functools.cache
def build_environment(own: Path | None = None) -> jinja2.Environment:
    """Return the templates' environment: everything is escaped, and a name that is not there is an error.

    Args:
        own: A folder of the user's own templates, looked at first.
    """
    folders = [own, TEMPLATES] if own else [TEMPLATES]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "anchor": anchor,
        "diff": color_diff,
        "duration": format_duration,
        "moment": format_moment,
        "number": format_number,
        "plain": strip_colors,
        "plain_name": plain_name,
        "quote": shlex.quote,
        "short": shorten_evidence,
    }
    return environment


def find_template(name: str, beside: Path | None) -> tuple[jinja2.Environment, str]:
    """Return the environment and the file of a template: one of ours by its name, or a file of the user's.

    Args:
        name: `paper`, `brief`, or a path.
        beside: A folder in which the file is looked for too.

    Raises:
        WorkbenchError: There is no such template.
    """
    if (TEMPLATES / f"{name}.html").is_file() and name in OWN_TEMPLATES:
        return build_environment(), f"{name}.html"
    for path in (resolve_path(name), *([beside / name] if beside else [])):
        if path.is_file():
            return build_environment(path.parent), path.name
    raise WorkbenchError(
        f"There is no template {name!r}.\nGive {' or '.join(OWN_TEMPLATES)}, or the path of a Jinja file."
    )


def read_template(name: str) -> str:
    """Return a style sheet or a script of the page."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def content_policy(scripts: Iterable[str]) -> str:
    """Return a policy under which only the page's own scripts run and nothing is fetched."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    allowed = hashes or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def anchor(label: str) -> str:
    """Return an id for a step's place in the page; different labels have different ids."""
    digest = hashlib.sha256(label.encode()).hexdigest()[:6]
    return f"step-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}-{digest}"


def format_number(value: str | float) -> str:
    """Return a number with four decimals, or four digits if it is very large or small; text stays."""
    try:
        number = float(value)
    except ValueError:
        return str(value)
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return value
    if isinstance(value, float) and number.is_integer() and number > 1:
        return f"{number:,.0f}"
    return f"{number:.4f}" if 0.001 <= abs(number) < 1000 else f"{number:.4g}"


def format_duration(seconds: float) -> str:
    """Return a time span as people say it: 42 s, 3 min 20 s, 1 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def format_moment(iso: str) -> str:
    """Return an ISO time as `2025-01-31 14:05 UTC`."""
    moment = datetime.datetime.fromisoformat(iso).astimezone(datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def strip_colors(text: str) -> str:
    """Return terminal output without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def color_diff(text: str) -> str:
    """Return a unified diff as safe HTML with its lines by kind."""
    return highlight(text, DiffLexer(stripnl=False), HtmlFormatter(nowrap=True))


def plain_name(text: str) -> str:
    """Return a name as it may stand in a reference: letters, digits and a few signs."""
    return re.sub(r"[^\w=\[\],-]+", "-", text).strip("-")
