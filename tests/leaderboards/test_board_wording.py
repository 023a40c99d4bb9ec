"""Numbers as text."""

import pytest
from adaptbench.harness.cards import Metric
from adaptbench.harness.results import Estimate
from adaptbench.harness.stats import Tier
from adaptbench.leaderboards import wording
from hypothesis import given
from hypothesis import strategies as st

SHARE, NUMBER = Metric(name="accuracy"), Metric(name="score", unit="")


def estimate(value, half):
    low, high = (None, None) if half is None else (value - half, value + half)
    return Estimate(value=value, low=low, high=high, n=5, method="")


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (estimate(0.6321, 0.0034), SHARE, "63.21 ± 0.34"),
        (estimate(0.2, 0.0), SHARE, "20.00 ± 0.00"),
        (estimate(0.5, None), SHARE, "50.00"),
        (estimate(1510.72, 20.4), NUMBER, "1511 ± 20"),
        (estimate(0.034, 0.00251), NUMBER, "0.034 ± 0.0025"),
        (None, SHARE, "–"),
    ],
)
def test_estimates(value, metric, text):
    assert wording.estimate(value, metric) == text


@pytest.mark.parametrize(("tier", "text"), [(Tier(1, 1), "1"), (Tier(2, 5), "2–5"), (None, "–")])
def test_tiers(tier, text):
    assert wording.tier(tier) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (999, "", "999"),
        (999.6, "", "1.00 k"),
        (1_048_576, "", "1.05 M"),
        (131_072, "", "131 k"),
        (7.5e12, "FLOP", "7.50 TFLOP"),
        (4.4e-5, "s", "44.0 µs"),
        (None, "s", "–"),
    ],
)
def test_quantities_have_three_digits_and_a_prefix(value, unit, text):
    assert wording.si(value, unit) == text


@given(st.floats(1e-11, 1e17))
def test_a_quantity_reads_back_to_three_digits(value):
    number, _, prefix = wording.si(value).partition(" ")
    power = {name: power for power, name in wording.PREFIXES.items()}[prefix]
    assert float(number) * 10**power == pytest.approx(value, rel=0.006)
    assert "e" not in number


def test_quartiles_share_the_unit_of_their_median():
    assert wording.spread(4.4e-5, 9.9e-7, 0.0012) == "44.0 µs [0.990, 1200]"


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "–"), ([2e-6], "2.00 µs"), ([2e-6, 9e-6, 4e-6], "2.00–9.00 µs"), ([2e-6, 3e-3], "2.00 µs – 3.00 ms")],
)
def test_ranges(values, text):
    assert wording.si_range(values, "s") == text


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists(words, text):
    assert wording.listed(words) == text
