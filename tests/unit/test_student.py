"""Student's t against published tables, and against the distributions that it is for 1, 2 and very many degrees."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detkit.student import t_reach, t_two_sided


@pytest.mark.parametrize(
    ("level", "freedom", "reach"),
    [  # Abramowitz and Stegun, Handbook of Mathematical Functions, table 26.10
        (0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 3, 3.182), (0.95, 10, 2.228), (0.95, 49, 2.0096),
        (0.95, 120, 1.980),
        (0.99, 1, 63.657), (0.99, 5, 4.032), (0.99, 30, 2.750), (0.995, 20, 3.153), (0.8, 7, 1.415), (0.5, 4, 0.741),
    ],
)  # fmt: skip
def test_how_far_the_middle_reaches(level: float, freedom: float, reach: float) -> None:
    assert t_reach(level, freedom) == pytest.approx(reach, abs=6e-4)


def test_one_degree_is_cauchys_distribution_and_very_many_the_normal_one() -> None:
    assert t_reach(0.9, 1) == pytest.approx(math.tan(0.9 * math.pi / 2))
    assert t_reach(0.95, 1e8) == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-6)
    assert t_two_sided(1.0, 2) == pytest.approx(1 - 1 / math.sqrt(3))


def test_its_ends() -> None:
    assert t_two_sided(0.0, 5) == pytest.approx(1.0)
    assert t_two_sided(math.inf, 5) == 0.0
    assert t_two_sided(1e6, 30) < 1e-100
    assert t_two_sided(-2.0, 9) == t_two_sided(2.0, 9)


@given(st.floats(0.01, 0.9999), st.floats(0.5, 1e5))
def test_the_one_is_the_inverse_of_the_other(level: float, freedom: float) -> None:
    assert t_two_sided(t_reach(level, freedom), freedom) == pytest.approx(1 - level, rel=1e-6, abs=1e-9)
