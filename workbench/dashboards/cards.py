"""Samples as HTML, images and texts with what is known of them, and a widget that turns pages."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.dashboards.look import count, escape
from workbench.dashboards.widgets import build_button
from workbench.errors import WorkbenchError
from workbench.figures.images import encode_png, make_thumbnail

if TYPE_CHECKING:
    from workbench.datasets import Dataset

TASKS = ("image-classification", "text-classification")
_LARGE_PNG = 6000  # characters; a photograph above it is sent as JPEG


@dataclass(frozen=True)
class Card:
    """A sample to show."""

    sample: Any  # an image (height, width, channels) uint8, or a text
    title: str  # its class
    where: str  # its split and id
    more: str = ""  # HTML


def require_known_task(task: str, what: str) -> None:
    """Refuse data whose samples are neither images nor texts with classes.

    Raises:
        WorkbenchError: The task is another one.
    """
    if task not in TASKS:
        raise WorkbenchError(
            f"{what} has the task {task!r}, and this dashboard shows samples that have a class.\n"
            f"Give data for one of these tasks: {', '.join(TASKS)}."
        )


def make_card(dataset: "Dataset", part: str, row: int, more: str = "") -> Card:
    """Return a sample of a split with its class and its id."""
    split = dataset.splits()[part]
    where = f"{part} {split.ids[row]}"
    return Card(split.x[row], dataset.class_names[split.y[row]], where, more)


def show_cards(cards: Iterable[Card], search: str = "", length: int = 1500) -> str:
    """Return cards as HTML, images side by side and texts below each other.

    Args:
        cards: All images, or all texts.
        search: What to mark in texts, whatever its case.
        length: Characters of a text to show.
    """
    cards = list(cards)
    if not cards:
        return '<p class="workbench-note">There is no such sample.</p>'
    if isinstance(cards[0].sample, str):
        return "".join(_show_text(card, search, length) for card in cards)
    return f'<div class="workbench-cards">{"".join(map(_show_image, cards))}</div>'


def _show_image(card: Card) -> str:
    source, height, width = _encode(card.sample)
    return (
        f'<figure class="workbench-card"><img src="{source}" width="{width}" height="{height}" '
        f'style="image-rendering:pixelated" '
        f'alt="{escape(f"{card.title}, {card.where}")}"><figcaption><b>{escape(card.title)}</b><br>'
        f'<span class="workbench-where">{escape(card.where)}</span>{card.more}</figcaption></figure>'
    )


def _show_text(card: Card, search: str, length: int) -> str:
    text = " ".join(card.sample.split())
    at = text.lower().find(search.lower()) if search else -1
    start = max(0, at - length // 2) if len(text) > length else 0
    excerpt = text[start : start + length]
    before, after = "…" * (start > 0), "…" * (start + length < len(text))
    return (
        f'<div class="workbench-text"><b>{escape(card.title)}</b> '
        f'<span class="workbench-where">{escape(card.where)}</span>{card.more}<br>'
        f"{before}{_mark(excerpt, search)}{after}</div>"
    )


def _mark(text: str, search: str) -> str:
    """Return escaped text with every occurrence of `search` marked."""
    lower, wanted = text.lower(), search.lower()
    if not wanted or len(lower) != len(text):  # a few capitals become two letters, and places no longer fit
        return escape(text)
    parts, start = [], 0
    while (at := lower.find(wanted, start)) >= 0:
        end = at + len(wanted)
        parts += [escape(text[start:at]), f"<mark>{escape(text[at:end])}</mark>"]
        start = end
    return "".join([*parts, escape(text[start:])])


def _encode(image: np.ndarray) -> tuple[str, int, int]:
    """Return an image as a `data:` address, with its height and width on the page.

    A small one is sent as it is, and the browser enlarges it with sharp pixels.
    """
    from PIL import Image

    shown = make_thumbnail(image)
    height, width = shown.shape[:2]
    pixels = image if height >= len(image) else shown[..., : image.shape[-1]]
    source = encode_png(pixels[..., 0] if image.shape[-1] == 1 else pixels)
    if len(source) > _LARGE_PNG:
        buffer = io.BytesIO()
        Image.fromarray(shown).convert("RGB").save(buffer, format="JPEG", quality=85)
        source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return source, height, width


class Pager:
    """Buttons that turn pages, and a line that says where one is.

    Args:
        size: Things on a page.
        noun: What they are called, singular.
        show: Called with the indices of the things on the page.
    """

    def __init__(self, size: int, noun: str, show: Callable[[Sequence[int]], None]) -> None:
        import ipywidgets

        self._size, self._noun, self._show = size, noun, show
        self._found: Sequence[int] = ()
        self.back = build_button("← Previous", "Previous page")
        self.forward = build_button("Next →", "Next page")
        self.line = ipywidgets.Label()
        self.back.on_click(lambda _: self.turn(self.page - 1))
        self.forward.on_click(lambda _: self.turn(self.page + 1))
        self.root = ipywidgets.HBox([self.back, self.forward, self.line])
        self.page = 0

    def browse(self, found: Sequence[int]) -> None:
        """Show the first page of other things."""
        self._found = found
        self.turn(0)

    def turn(self, page: int) -> None:
        """Show another page, counted from 0."""
        pages = max(1, -(-len(self._found) // self._size))
        self.page = min(max(page, 0), pages - 1)
        self.back.disabled = self.page == 0
        self.forward.disabled = self.page == pages - 1
        self.line.value = f"{count(len(self._found), self._noun)}, page {self.page + 1} of {pages}"
        start = self.page * self._size
        self._show(self._found[start : start + self._size])
