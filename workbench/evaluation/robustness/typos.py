"""Texts with typing mistakes and missing words, at five strengths."""

from collections.abc import Sequence

import numpy as np

from workbench.evaluation.robustness.strengths import require_corruption

_TYPOS = (0.02, 0.04, 0.06, 0.08, 0.10)  # of the letters
_DROPPED = (0.05, 0.10, 0.20, 0.30, 0.40)  # of the words


def corrupt_texts(texts: Sequence[str], kind: str, strength: int, seed: int = 0) -> np.ndarray:
    """Return corrupted texts, (n,) of object.

    A typo drops a letter, doubles it, or swaps it with the next one; as in Belinkov & Bisk (2018,
    https://arxiv.org/abs/1711.02173), words keep their first letter.

    Args:
        texts: n texts.
        kind: "typos" or "word dropout".
        strength: 1 to 5; 0 leaves the texts as they are.
        seed: Of the draws.

    Raises:
        WorkbenchError: There is no such kind or strength.
    """
    require_corruption(kind, strength, TEXT_CORRUPTIONS)
    random = np.random.default_rng(seed)
    changed = [TEXT_CORRUPTIONS[kind](text, strength - 1, random) if strength else text for text in texts]
    return np.array(changed, dtype=object)


def _mistype(text: str, level: int, random: np.random.Generator) -> str:
    letters = list(text)
    inner = [
        place for place in range(1, len(letters)) if letters[place].isalpha() and letters[place - 1].isalpha()
    ]
    hit = random.random(len(inner)) < _TYPOS[level]
    ways = random.integers(0, 3, len(inner))
    for place, way in sorted(((p, w) for p, w, h in zip(inner, ways, hit, strict=True) if h), reverse=True):
        if way == 0:
            del letters[place]
        elif way == 1:
            letters.insert(place, letters[place])
        elif place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def _drop_words(text: str, level: int, random: np.random.Generator) -> str:
    words = text.split()
    kept = random.random(len(words)) >= _DROPPED[level]
    if words and not kept.any():
        kept[random.integers(len(words))] = True  # an empty text is no text
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep)


TEXT_CORRUPTIONS = {"typos": _mistype, "word dropout": _drop_words}
