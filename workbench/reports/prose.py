"""Markdown → HTML: numbers, figures, tables and citations by name, mathematics as MathML."""

import functools
import html
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from mdit_py_plugins.dollarmath import dollarmath_plugin

from workbench.errors import WorkbenchError
from workbench.reports.citations import Bibliography
from workbench.reports.exhibits import Exhibits
from workbench.reports.numbers import Number, find_number

_NUMBER = re.compile(r"\{([^\s{}.]+(?:\.[^\s{}.]+)+)\}")
_CITATION = re.compile(r"\[(@[^\s\];]+(?:\s*;\s*@[^\s\];]+)*)\]")
_PLACE = re.compile(r"(figure|table):(.+)")


@dataclass(frozen=True)
class Context:
    """What a text may refer to."""

    where: str  # the file, for errors
    numbers: Mapping[str, Number]
    bibliography: Bibliography
    exhibits: Exhibits
    template: jinja2.Template  # of one exhibit
    shared: Mapping[str, Any]  # what that template needs besides
    missing: list[str] | None = None  # takes up what the text names and no run has; None makes that an error

    def forgive(self, error: WorkbenchError, what: str) -> str:
        """Return a mark for something that is not there, or raise `error`."""
        if self.missing is None:
            raise error
        self.missing.append(what)
        return f'<mark class="missing">{html.escape(what)}?</mark>'


def render_text(text: str, context: Context) -> str:
    """Return a researcher's Markdown as safe HTML.

    `{digits.cnn.accuracy}` is a number, `[@key]` a citation, `![caption](figure:name)` puts a figure here,
    `[](figure:name)` refers to it; the same for tables.

    Raises:
        WorkbenchError: The text names something that is not there.
    """
    markdown = _markdown()
    markdown.inline.ruler.before("link", "number", _number_rule)
    markdown.inline.ruler.before("link", "citation", _citation_rule)
    markdown.add_render_rule("number", _render_number)
    markdown.add_render_rule("citation", _render_citation)
    markdown.add_render_rule("image", _render_image)
    markdown.add_render_rule("link_open", _render_link)
    return _unwrap(markdown.render(text, {"context": context}))


def find_shown(text: str) -> list[tuple[str, str]]:
    """Return kind and name of every figure and table that a text shows, in its order."""
    tokens = [inner for token in _markdown().parse(text) for inner in token.children or ()]
    sources = [_unquote(str(token.attrGet("src"))) for token in tokens if token.type == "image"]
    return [(found[1], found[2]) for source in sources if (found := _PLACE.fullmatch(source))]


@functools.lru_cache(maxsize=512)  # the runs of a matrix have their cells in common
def render_markdown(text: str) -> str:
    """Return the Markdown of a notebook's cell as safe HTML: what was no Markdown is shown as text."""
    markdown = _markdown()
    markdown.disable("image")
    return markdown.render(text)


def render_math(latex: str, display: bool = False) -> str:
    """Return LaTeX mathematics as MathML, or as code where it is none that can be converted."""
    try:
        return convert(latex, display="block" if display else "inline")
    except Exception:  # the converter raises whatever its parser meets
        return f"<code>{html.escape(latex)}</code>"


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    dollarmath_plugin(
        markdown,
        allow_space=False,
        allow_digits=False,
        renderer=lambda latex, options: render_math(latex, options["display_mode"]),
    )
    return markdown


def _number_rule(state: StateInline, silent: bool) -> bool:
    return _match(state, silent, _NUMBER, "number")


def _citation_rule(state: StateInline, silent: bool) -> bool:
    return _match(state, silent, _CITATION, "citation")


def _match(state: StateInline, silent: bool, pattern: re.Pattern[str], kind: str) -> bool:
    found = pattern.match(state.src, state.pos)
    if not found:
        return False
    if not silent:
        state.push(kind, "", 0).content = found[1]
    state.pos = found.end()
    return True


def _render_number(self: Any, tokens: Any, index: int, options: Any, env: dict[str, Context]) -> str:
    context, name = env["context"], tokens[index].content
    try:
        return link_number(find_number(context.numbers, name, context.where))
    except WorkbenchError as error:
        return context.forgive(error, f"{{{name}}}")


def link_number(number: Number) -> str:
    """Return a number that leads to where it comes from."""
    name, text = html.escape(number.name), html.escape(number.text)
    return f'<a class="value" href="#number-{name}" data-checked="number {name}">{text}</a>'


def _render_citation(self: Any, tokens: Any, index: int, options: Any, env: dict[str, Context]) -> str:
    bibliography = env["context"].bibliography
    keys = [key.strip().removeprefix("@") for key in tokens[index].content.split(";")]
    links = [
        f'<a href="#reference-{html.escape(key)}">{html.escape(label)}</a>'
        for key, label in bibliography.cite(keys)
    ]
    inner = "; ".join(links)
    return f"[{inner}]" if bibliography.is_numeric else f"({inner})"


def _render_image(self: Any, tokens: Any, index: int, options: Any, env: dict[str, Context]) -> str:
    context, token = env["context"], tokens[index]
    found = _PLACE.fullmatch(_unquote(token.attrGet("src") or ""))
    if not found:
        raise WorkbenchError(
            f"{context.where} shows the picture {token.attrGet('src')}; a report shows only figures and "
            "tables of runs.\nWrite ![caption](figure:name) or ![caption](table:name)."
        )
    try:
        item = context.exhibits.find(found[1], found[2])
    except WorkbenchError as error:
        return context.forgive(error, found[0])
    return context.template.render(context.shared, item=item, caption=token.content)


def _render_link(self: Any, tokens: Any, index: int, options: Any, env: dict[str, Context]) -> str:
    target = _unquote(str(tokens[index].attrGet("href")))
    found = _PLACE.fullmatch(target)
    if not found:
        return f'<a href="{html.escape(target)}" rel="noopener noreferrer">'
    try:
        item = env["context"].exhibits.find(found[1], found[2])
    except WorkbenchError as error:
        return f"<a>{env['context'].forgive(error, found[0])}"
    empty = tokens[index + 1].type == "link_close"
    return f'<a href="#{item.key}">{item.label if empty else ""}'


def _unquote(address: str) -> str:
    return urllib.parse.unquote(address) if _PLACE.match(address) else address


def _unwrap(page: str) -> str:
    """Take figures and tables out of the paragraphs that Markdown puts around them."""
    return re.sub(r"<p>\s*(<(figure|div)\b.*?</\2>)\s*</p>", r"\1", page, flags=re.DOTALL)
