"""Numbers as people say them."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """As 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Bytes as kB, MB or GB (powers of ten)."""
    if count < 1e6:
        return f"{math.ceil(count / 1e3)} kB"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def millions(count: float) -> str:
    """As 19.3 M."""
    return f"{count / 1e6:.1f} M"


def three_digits(value: float) -> str:
    """As 0.0123, 8.46, 13.2 or 1235: three significant digits, and never an exponent for a large number."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def figure(value: float) -> str:
    """A metric as 0.312, or a loss as 1.23e-05: what is neither 0 nor of a usual size has three digits."""
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"


def plural(count: int, one: str, many: str = "") -> str:
    """As "1 run" and "2 runs"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def roughly(seconds: float) -> str:
    """A duration that is only estimated, no finer than it can be: as 40 s, 3 min 20 s, 34 min, 7 h 40 min."""
    if seconds < 60:
        return f"{max(5, 5 * round(seconds / 5))} s" if seconds < 57.5 else "1 min"
    if seconds < 600:
        return duration(10 * round(seconds / 10)).removesuffix(" 00 s")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    minutes = 5 * round(minutes / 5)
    return f"{minutes // 60} h {minutes % 60:02d} min"
