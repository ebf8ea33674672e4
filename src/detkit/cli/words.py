"""Numbers as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """As 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Bytes as MB or GB (powers of ten)."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def millions(count: float) -> str:
    """As 19.3 M."""
    return f"{count / 1e6:.1f} M"


def three_digits(value: float) -> str:
    """As 0.0123, 8.46, 13.2 or 1235: three significant digits, and never an exponent for a large number."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
