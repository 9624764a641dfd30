"""How strong a corruption is, on the scale that all kinds share."""

from collections.abc import Iterable

from workbench.errors import WorkbenchError

STRENGTHS = range(1, 6)


def require_corruption(kind: str, strength: int, kinds: Iterable[str]) -> None:
    """Check what is asked of `corrupt_images` or `corrupt_texts`.

    Args:
        kind: A name.
        strength: 1 to 5, or 0 for none.
        kinds: The names that are known.

    Raises:
        WorkbenchError: There is no such kind or strength.
    """
    known = list(kinds)
    if kind not in known or strength not in (0, *STRENGTHS):
        raise WorkbenchError(
            f"There is no corruption {kind!r} of strength {strength}.\n"
            f"Give one of {', '.join(known)} and a strength from 0 to {max(STRENGTHS)}."
        )
