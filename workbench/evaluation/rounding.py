"""Numbers with as many digits as their interval carries."""

import math

MOST_DECIMALS = 12


def carried_decimals(low: float, high: float) -> int:
    """Return after how many decimals the digits of a number are noise.

    Half the width of the interval keeps two digits where they lie below 35, else one, as the Particle Data
    Group rounds errors (https://pdg.lbl.gov, introduction, section 5.3). Without an interval there are four.
    """
    half = (high - low) / 2
    if not math.isfinite(half) or half <= 0:
        return 4
    exponent = math.floor(math.log10(half))
    leading = half / 10.0**exponent  # from 1 to 10
    return min(max(-exponent + (1 if leading < 3.55 else 0), 0), MOST_DECIMALS)


def format_value(value: float) -> str:
    """Return a number of whatever unit with four decimals, or with four digits where these would hide it."""
    fits = value == 0 or 1e-3 <= abs(value) < 1e6
    return f"{value:z.4f}" if fits else f"{value:.4g}"


def format_estimate(value: float, low: float, high: float, scale: float = 1.0) -> str:
    """Return a number with its interval, as in "0.913 (0.905 to 0.921)"; "undefined" for NaN.

    Args:
        value: The number.
        low: Where the interval begins; NaN if there is none.
        high: Where it ends.
        scale: What all three are multiplied by, such as 100 for percentage points.
    """
    if math.isnan(value):
        return "undefined"
    decimals = carried_decimals(low * scale, high * scale)
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{format_value(value * scale)} (no interval)"
    return f"{value * scale:z.{decimals}f} ({low * scale:z.{decimals}f} to {high * scale:z.{decimals}f})"


def join_names(names: list[str]) -> str:
    """Return names as in a sentence: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
