"""A budget becomes a number of switches in exact arithmetic, and never more than it allows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from adaptbench.harness.budgets import exact
from adaptbench.harness.errors import UserError
from adaptbench.models.adaptive.switches import Switches, channel_groups, default_rank
from hypothesis import given
from hypothesis import strategies as st

L_7B = Switches(switch="layers", layers=32, heads=32, prefix=16)
L_13B = Switches(switch="layers", layers=40, heads=40, prefix=20)
H_7B = Switches(switch="heads", layers=32, heads=32, prefix=16, rank=8)
H_13B = Switches(switch="heads", layers=40, heads=40, prefix=20, rank=8)
BUDGETS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1)


@st.composite
def switches(draw: st.DrawFn) -> Switches:
    layers, rank, groups = draw(st.integers(2, 80)), draw(st.integers(1, 16)), draw(st.integers(1, 12))
    return Switches(
        switch=draw(st.sampled_from(["layers", "heads"])), layers=layers, heads=rank * groups,
        prefix=draw(st.integers(1, layers - 1)), rank=rank,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (L_7B, (0, 3, 6, 8, 9, 11, 12, 14, 16)),
        (L_13B, (0, 4, 8, 10, 12, 14, 16, 18, 20)),
        (H_7B, (0, 12, 25, 32, 38, 44, 51, 57, 64)),
        (H_13B, (0, 20, 40, 50, 60, 70, 80, 90, 100)),
    ],
)
def test_common_budgets_open_what_the_release_opens(of: Switches, expected: tuple[int, ...]) -> None:
    assert tuple(of.k(budget) for budget in BUDGETS) == expected
    assert tuple(of.k(np.float32(budget)) for budget in BUDGETS) == expected


def test_the_latency_code_is_k_over_one_more_than_all() -> None:
    assert [of.code(3) for of in (L_7B, L_13B, H_7B, H_13B)] == [3 / 17, 3 / 21, 3 / 65, 3 / 101]


@given(switches(), st.fractions(0, 1, max_denominator=2000), st.booleans())
def test_a_budget_is_met_as_closely_as_units_allow(of: Switches, share: Fraction, decimal: bool) -> None:
    share = of.floor + share * (1 - of.floor)
    budget = round(float(share), 3) if decimal else share
    if exact(budget) < of.floor or budget > 1:
        return
    k = of.k(budget)
    assert 0 <= k <= of.switched
    assert of.share(k) <= exact(budget) < of.share(k + 1)
    assert of.utilisation(k, budget) <= 1


@given(switches())
def test_training_draws_each_k_once(of: Switches) -> None:
    assert [of.k(budget) for budget in of.grid] == list(range(of.switched + 1))
    assert of.grid[0] == of.floor
    assert of.grid[-1] == 1


def test_decimals_on_a_unit_are_not_rounded_below_it() -> None:
    """Single precision floors 0.7 of 40 to 27, and half precision 0.55 of 200 to 109 (13B)."""
    assert [L_13B.k(budget) for budget in (0.7, np.float32(0.7), np.float16(0.7))] == [8, 8, 8]
    assert [H_13B.k(n / 200) for n in range(100, 201)] == list(range(101))


@pytest.mark.parametrize(("budget", "expected"), [(0.95, "98.7"), (0.85, "99.3"), (0.75, "100.0"), (0.65, "96.2")])
def test_utilisation_is_that_of_table_5_5(budget: float, expected: str) -> None:
    """Within what rounding leaves: the table prints 99.2 and 96.5 where the arithmetic says 99.3 and 96.2."""
    assert f"{100 * float(L_7B.utilisation(L_7B.k(budget), budget)):.1f}" == expected


def test_27_of_32_blocks_run_at_85_percent() -> None:
    assert L_7B.share(L_7B.k(0.85)) == Fraction(27, 32)


@pytest.mark.parametrize("budget", [0, -0.1, 1.01, float("nan"), float("inf"), Fraction(3, 2)])
def test_a_budget_outside_is_refused(budget: float) -> None:
    with pytest.raises(UserError, match=r"is not in \(0, 1\]"):
        L_7B.k(budget)


def test_a_budget_below_the_floor_says_what_the_floor_is() -> None:
    with pytest.raises(UserError, match=r"budget 0.45 is below 0.5, which the first 16 of 32 blocks take; give 0.5 to"):
        L_7B.k(0.45)
    third = Switches(switch="layers", layers=6, heads=4, prefix=2)
    with pytest.raises(UserError, match=r"0.33 is below 0.3333, which .* give 0.3334 to 1"):
        third.k(0.33)
    assert third.k(0.3334) == 0


def test_what_cannot_be_switched_is_refused() -> None:
    for prefix in (0, 32, 40):
        with pytest.raises(UserError, match=f"a prefix of {prefix} of 32 blocks.*give 1 to 31"):
            Switches(switch="layers", layers=32, heads=32, prefix=prefix)
    for rank in (0, 5):
        with pytest.raises(UserError, match=f"32 heads do not fall into groups of {rank}"):
            Switches(switch="heads", layers=32, heads=32, prefix=16, rank=rank)


def test_the_default_rank_makes_several_groups() -> None:
    assert {heads: default_rank(heads) for heads in (4, 8, 14, 28, 32, 40)} == {4: 1, 8: 1, 14: 1, 28: 1, 32: 8, 40: 8}


@given(st.integers(0, 20_000), st.integers(1, 64))
def test_channel_groups_are_neighbours_of_nearly_equal_size(channels: int, groups: int) -> None:
    found = channel_groups(channels, groups)
    assert [channel for group in found for channel in group] == list(range(channels))
    sizes = [len(group) for group in found]
    assert len(sizes) == groups
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_the_channels_of_13b_fall_into_346_and_345() -> None:
    assert [len(group) for group in channel_groups(13824, 40)] == [346] * 24 + [345] * 16
