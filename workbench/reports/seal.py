"""The seal of a report: its manifest inside it, over hashes of all that the page shows.

An element that carries `data-checked` is hashed by itself, so that an edited number can be named; the rest of
the page is hashed as a whole.
"""

import html.parser
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import WorkbenchError
from workbench.reports.figures import embed_json
from workbench.reports.manifest import digest, hash_text

MANIFEST_SLOT = '<script type="application/json" id="manifest"></script>'
DIGEST_SLOT = "@digest@"  # where the page shows the manifest's digest
_SHORT = 120  # characters; a shorter text is kept as it is
_MANIFEST = re.compile(r'<script type="application/json" id="manifest">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class SealedPage:
    """A report as it was found: what it vouches for, and what was changed since it was built."""

    manifest: dict[str, Any]
    digest: str
    edits: list[str]


def seal_page(page: str, manifest: Mapping[str, Any]) -> tuple[str, str]:
    """Put the manifest and its digest into their places.

    Args:
        page: The HTML with `MANIFEST_SLOT` once and `DIGEST_SLOT` as often as it likes.
        manifest: From `build_manifest`.

    Returns:
        The finished page, and the digest.
    """
    sealed = {**manifest, "elements": dict(_checked_elements(page)), "page": hash_text(page)}
    mark = digest(sealed)
    slot = MANIFEST_SLOT.replace("></", f">{embed_json(sealed)}</")
    return page.replace(DIGEST_SLOT, mark).replace(MANIFEST_SLOT, slot), mark


def open_sealed(page: str, name: str) -> SealedPage:
    """Read the manifest of a report, and find what was edited in the page.

    Args:
        page: The HTML.
        name: What to call it in an error.

    Raises:
        WorkbenchError: There is no manifest in it.
    """
    found = _MANIFEST.findall(page)
    try:
        manifest = json.loads(found[-1])
        elements, whole = manifest["elements"], manifest["page"]
    except (IndexError, ValueError, KeyError, TypeError):
        raise WorkbenchError(
            f"{name} holds no readable manifest, so it says nothing that could be checked.\n"
            "Give a report that `workbench report` built; an older one is built again from its runs by that."
        ) from None
    mark = digest(manifest)
    bare = page.replace(found[-1], "").replace(mark, DIGEST_SLOT)
    edits = [] if hash_text(bare) == whole else list(_name_edits(bare, elements))
    return SealedPage(manifest, mark, edits)


def _name_edits(page: str, elements: Mapping[str, str]) -> Iterator[str]:
    shown = dict(_checked_elements(page))
    differing = [key for key in elements if shown.get(key) != elements[key]]
    for key in differing:
        now = shown.get(key, "nothing")
        if now.startswith("sha256:") or elements[key].startswith("sha256:"):
            yield f"{key} was edited"
        else:
            yield f"{key} reads {now!r}; the manifest says {elements[key]!r}"
    if not differing:
        yield "the page was edited outside of its numbers, tables and figures"


def _checked_elements(page: str) -> Iterator[tuple[str, str]]:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    seen: Counter[str] = Counter()
    for key, text in reader.found:
        seen[key] += 1
        name = key if seen[key] == 1 else f"{key} ({seen[key]})"
        yield name, text if len(text) <= _SHORT else f"sha256:{hash_text(text)}"


class _Reader(html.parser.HTMLParser):
    """Collects the text inside every element that carries `data-checked`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._open: list[tuple[str, str, list[str], list[int]]] = []  # key, tag, texts, depth

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for _, name, _, depth in self._open:
            depth[0] += name == tag
        key = next((value for name, value in attributes if name == "data-checked"), None)
        if key is not None:
            self._open.append((key, tag, [], [1]))

    def handle_endtag(self, tag: str) -> None:
        for entry in list(self._open):
            key, name, texts, depth = entry
            depth[0] -= name == tag
            if depth[0] == 0:
                self._open.remove(entry)
                self.found.append((key, " ".join("".join(texts).split())))

    def handle_data(self, data: str) -> None:
        for _, _, texts, _ in self._open:
            texts.append(data)
