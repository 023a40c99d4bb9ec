"""Budgets are decimals in (0, 1], in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from adaptbench.harness.budgets import checked, exact
from adaptbench.harness.errors import UserError
from hypothesis import given
from hypothesis import strategies as st

BUDGETS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1)


@pytest.mark.parametrize(
    ("total", "units"),
    [
        (32, (16, 19, 22, 24, 25, 27, 28, 30, 32)),
        (40, (20, 24, 28, 30, 32, 34, 36, 38, 40)),
        (128, (64, 76, 89, 96, 102, 108, 115, 121, 128)),
    ],
)
def test_a_budget_is_the_decimal_that_it_is_written_as(total: int, units: tuple[int, ...]) -> None:
    assert tuple(int(exact(budget) * total) for budget in BUDGETS) == units


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_share_of_n_units_is_that_many_units(total: int, units: int) -> None:
    if units <= total:
        share = Fraction(units, total)
        assert exact(share) * total == units
        if share == Fraction(str(float(share))):
            assert int(exact(float(share)) * total) == int(exact(np.float64(float(share))) * total) == units


@pytest.mark.parametrize(
    ("budget", "told"), [(0, "0"), (1.0000001, "1.0000001"), (-0.5, "-0.5"), (float("nan"), "nan")]
)
def test_another_number_is_told_as_it_was_typed(budget: float, told: str) -> None:
    with pytest.raises(UserError, match=rf"^here: budget {told} is not in \(0, 1\]"):
        checked(budget, "here")
