"""The numbers of a stored figure or text, apart from all that is no number, so that each can be compared."""

import base64
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from workbench.reports.figures import read_array

MOST_NUMBERS = 20_000  # of a figure in a manifest; one with more is hashed, and that is all
_LONGEST_TEXT = 2000  # characters; what is longer, such as a picture, is no text that tells numbers
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])")


def take_numbers(text: str) -> tuple[str, list[float]]:
    """Return a text with a mark in the place of every number, and the numbers.

    >>> take_numbers("0.93 (0.91 to 0.95)")
    ('# (# to #)', [0.93, 0.91, 0.95])
    """
    try:
        return "#", [float(text)]
    except ValueError:
        found = [float(number.replace(",", "")) for number in _NUMBER.findall(text)]
        return _NUMBER.sub("#", text), found


def pack_numbers(value: Any) -> dict[str, str]:
    """Return the numbers of JSON values apart from the rest, for a manifest.

    Args:
        value: What a figure shows, as plotly writes it.

    Returns:
        `shape`, a hash of all that is no number; `numbers`, packed for `unpack_numbers`, where there are at
        most `MOST_NUMBERS`.
    """
    shape, numbers = hashlib.sha256(), []
    for part, values in _leaves(value):
        shape.update(part.encode("utf-8", "backslashreplace") + b"\0")
        numbers.append(np.asarray(values, float).ravel())
    found, every = {"shape": shape.hexdigest()[:16]}, np.concatenate(numbers)
    if len(every) <= MOST_NUMBERS:
        found["numbers"] = base64.b64encode(zlib.compress(every.astype("<f8").tobytes())).decode()
    return found


def unpack_numbers(figure: Mapping[str, Any]) -> np.ndarray | None:
    """Return the (n,) numbers that `pack_numbers` packed; None where there were too many."""
    if "numbers" not in figure:
        return None
    return np.frombuffer(zlib.decompress(base64.b64decode(figure["numbers"])), "<f8")


def _leaves(value: Any) -> Iterator[tuple[str, Iterable[float]]]:
    """Yield what is no number and the numbers that follow it, in an order that only the figure decides."""
    if isinstance(value, dict) and "bdata" in value:
        array = read_array(value)
        yield f"array {array.shape}", array
    elif isinstance(value, dict):
        for key in sorted(value):
            yield key, ()
            yield from _leaves(value[key])
    elif isinstance(value, list) and value and all(map(_is_number, value)):
        yield f"array {(len(value),)}", value
    elif isinstance(value, list):
        yield f"list {len(value)}", ()
        for item in value:
            yield from _leaves(item)
    elif _is_number(value):
        yield "number", (value,)
    elif isinstance(value, str) and len(value) <= _LONGEST_TEXT:
        yield take_numbers(value)
    else:
        yield repr(value), ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
