"""Student's t distribution: what the normal one becomes where a spread is known from few values only."""

from __future__ import annotations

import math
from functools import lru_cache

#: The continued fraction has ended where a step changes it by less than this share; 300 steps are never needed.
ENOUGH = 1e-15
MOST_STEPS = 300
#: Stands for 0 in Lentz's method.
TINY = 1e-300


def t_two_sided(value: float, freedom: float) -> float:
    """How likely a value at least so far from 0 is: 1 at 0, 0 far away.

    Args:
        freedom: degrees of freedom, above 0; whole or not.
    """
    if math.isinf(value):
        return 0.0
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + value * value))


@lru_cache(maxsize=4096)  # all pairs of models with one seed ask for the same
def t_reach(level: float, freedom: float) -> float:
    """How far from 0 the middle `level` (in 0..1) of the distribution reaches: 1.96 for 0.95 and many degrees.

    Args:
        freedom: degrees of freedom, above 0; whole or not.
    """
    outside = 1 - level
    low, high = 0.0, 1.0
    while t_two_sided(high, freedom) > outside:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_two_sided(middle, freedom) > outside else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Its continued fraction (26.5.8), by Lentz's method."""
    numerator, denominator = 1.0, 1 / _kept(1 - (a + b) * x / (a + 1))
    found = denominator
    for m in range(1, MOST_STEPS):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            denominator = 1 / _kept(1 + factor * denominator)
            numerator = _kept(1 + factor / numerator)
            found *= numerator * denominator
        if abs(numerator * denominator - 1) < ENOUGH:
            break
    return found


def _kept(value: float) -> float:
    return value if abs(value) > TINY else TINY
