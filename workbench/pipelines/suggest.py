"""What was probably meant by a name that is not known."""

from collections.abc import Sequence


def suggest(name: str, known: Sequence[str]) -> str:
    """Return the nearest of the known names, and some of them all, as sentences."""
    import difflib  # takes as long to import as all of the checks take

    near = difflib.get_close_matches(name, known, n=1)
    listed = list(dict.fromkeys(known))
    more = f" and {len(listed) - 20} more" if len(listed) > 20 else ""
    return (
        f"Did you mean {near[0]!r}? " if near else ""
    ) + f"Known are: {', '.join(listed[:20]) or 'none'}{more}."
