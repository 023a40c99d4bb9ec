"""What counts as slower, on times that are given."""

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.gate.clock import Repetition, TimeRule, noise, ratio, taking_turns
from adaptbench.harness.gate.selftest import prove_on_noise, recorded_noise
from adaptbench.harness.gate.timings import Timed, in_this_process, judged
from adaptbench.harness.measure.timing import Seconds, calls_lasting, repeated
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

RULE = TimeRule()


def drawn(seed, spread, factor=1.0):
    """21 pairs with a common disturbance, which cancels, and noise of their own."""
    generator = np.random.default_rng(seed)
    common = 1 + generator.random(21)
    base, head = (common * np.exp(generator.normal(0, spread, 21)) for _ in range(2))
    return base, factor * head


def timed(base, head, control=None, name="cell", call=0.1):
    sides = {"base": base, "control": base if control is None else control, "head": head}
    times = [
        {side: dict.fromkeys(("wall", "processor"), of[i]) for side, of in sides.items()} for i in range(len(base))
    ]
    return Timed(name, 5, call, [[Repetition(1, one) for one in times]])


def slower(base, head, rule=RULE):
    return ratio(base, head, rule).p < rule.alpha


def test_a_slowdown_is_seen_through_what_disturbs_both():
    base, head = drawn(0, 0.02, 1.1)
    found = ratio(base, head, RULE)
    assert 1.03 < found.low < 1.1 < found.high
    assert slower(base, head)


def test_equal_code_is_not_slower():
    assert sum(slower(*drawn(seed, 0.05)) for seed in range(100)) == 0


def test_a_slowdown_below_the_threshold_is_real_and_passes():
    base, head = drawn(0, 0.002, 1.02)
    assert ratio(base, head, RULE).low > 1
    assert not slower(base, head)
    assert slower(base, head, TimeRule(slower=1.01))


def test_code_that_is_as_slow_as_is_accepted_fails_as_often_as_the_level_says():
    rule = TimeRule(alpha=0.05)
    failed = sum(slower(*drawn(seed, 0.05, rule.slower), rule) for seed in range(1000))
    assert failed <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)
    assert failed >= 50 - 3 * np.sqrt(1000 * 0.05 * 0.95)


def test_faster_is_not_slower():
    assert not slower(*drawn(0, 0.01, 0.8))


def test_equal_times_are_a_ratio_of_one():
    found = ratio(np.ones(21), np.ones(21), RULE)
    assert (found.estimate, found.low, found.high) == (1, 1, 1)
    assert found.p > 0.99


@settings(deadline=None)
@given(
    st.lists(st.floats(0.5, 2), min_size=7, max_size=25, unique=True),
    st.sampled_from([0.01, 0.025, 0.05, 0.1]),
)
def test_the_lower_bound_is_the_highest_threshold_that_the_test_rejects(ratios, alpha):
    base, head = np.ones(len(ratios)), np.array(ratios)
    low = ratio(base, head, TimeRule(alpha=alpha)).low
    reject = {
        beside: wilcoxon(np.log(head) - np.log(low * beside), alternative="greater", method="exact").pvalue <= alpha
        for beside in (1 - 1e-9, 1 + 1e-9)
    }
    assert reject == {1 - 1e-9: True, 1 + 1e-9: False}


def test_too_few_pairs_have_no_bounds():
    found = ratio(np.ones(6), np.full(6, 1.5), RULE)
    assert (found.low, found.high) == (0, np.inf)


def test_cells_are_judged_together():
    """Ten cells of which one is a little slower: its p value is of one of ten."""
    quiet = [timed(*drawn(seed, 0.02), name=str(seed)) for seed in range(9)]
    slow = timed(*drawn(50, 0.05, 1.1), name="slow")
    (alone,), together = judged([slow], RULE), judged([*quiet, slow], RULE)
    assert (alone.code, together[-1].code) == ("slower", "slower")
    assert {finding.code for finding in together[:-1]} == {"not-slower"}
    p_of = [float(f.detail.partition(", p ")[2].partition(";")[0]) for f in (alone, together[-1])]
    assert p_of[1] > p_of[0]


def test_where_base_differs_from_itself_nothing_is_judged():
    base, head = drawn(1, 0.01, 1.1)
    (finding,) = judged([timed(base, head, control=1.2 * drawn(1, 0.01)[1])], RULE)
    assert (finding.status, finding.code) == ("refused", "too-noisy")
    assert noise(base, base, RULE)[1] is False


def test_what_is_too_short_is_refused():
    (finding,) = judged([Timed("cell", 1, 2e-4)], RULE)
    assert (finding.status, finding.code, finding.base) == ("refused", "too-short", "0.20 ms")


def test_recorded_noise_stops_one_run_of_a_hundred_at_most():
    proof = prove_on_noise(recorded_noise(), RULE, simulated=200)
    assert proof.holds, proof.found


def test_sides_take_turns_in_an_order_that_is_drawn():
    order = []
    sides = {name: lambda name=name: order.append(name) or Seconds(0.25, len(order)) for name in "abc"}
    found = taking_turns(sides, 7.5, np.random.default_rng(3))
    turns = ["".join(order[i : i + 3]) for i in range(0, 90, 3)]
    assert (found.turns, len(order)) == (30, 90)
    assert all(sorted(one) == ["a", "b", "c"] for one in turns)
    assert len(set(turns)) == 6
    assert found.times["a"] == {"wall": 7.5, "processor": sum(i for i, name in enumerate(order, 1) if name == "a")}
    order.clear()
    taking_turns(sides, 7.5, np.random.default_rng(3))
    assert ["".join(order[i : i + 3]) for i in range(0, 90, 3)] == turns


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=100, max_size=100), min_size=1, max_size=3), st.floats(0.1, 0.9))
def test_a_repetition_ends_when_every_side_was_at_it_long_enough_and_not_later(durations, seconds):
    left = [iter(of) for of in durations]
    sides = {str(i): lambda of=of: Seconds(next(of), 0.0) for i, of in enumerate(left)}
    found = taking_turns(sides, seconds, np.random.default_rng(0))
    lasted = [of["wall"] for of in found.times.values()]
    assert min(lasted) >= seconds
    assert min(sum(of[: found.turns - 1]) for of in durations) < seconds


def test_times_are_of_a_call_whatever_the_number_of_turns():
    def took(turns, seconds):
        return Repetition(turns, {"base": {"wall": seconds, "processor": seconds / 2}})

    one = Timed("cell", 2, 0.1, [[took(3, 0.6), took(1, 0.4)]])
    two = Timed("cell", 2, 0.1, [[took(3, 0.6), took(1, 0.4)], [took(2, 1.2), took(2, 0.8)]])
    assert one.times("base", "wall").tolist() == pytest.approx([0.1, 0.2])
    assert two.times("base", "wall").tolist() == pytest.approx([0.15, 0.25])
    assert two.times("base", "processor").tolist() == pytest.approx([0.075, 0.125])
    assert (two.calls, two.shortest) == ([2, 4, 4, 6], 0.4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pairs": 6}, "--pairs"),
        ({"processes": 6}, "--processes: 6 processes cannot tell"),
        ({"processes": 0}, "--processes: 0 processes"),
        ({"slower": 0.9}, "--slower"),
        ({"seconds": 0}, "--seconds"),
    ],
)
def test_a_rule_that_cannot_tell_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        TimeRule(**wrong)


def test_more_cells_need_more_pairs():
    TimeRule(pairs=7).can_tell(1)
    with pytest.raises(UserError, match=r"7 pairs cannot tell for 2 cells: .*give 8 or more"):
        TimeRule(pairs=7).can_tell(2)
    for cells in (2, 5, 100):
        needed = next(pairs for pairs in range(40) if cells * 2.0**-pairs < RULE.alpha)
        with pytest.raises(UserError, match=f"give {needed} or more"):
            TimeRule(pairs=7).can_tell(cells)
        TimeRule(pairs=needed).can_tell(cells)


def test_a_process_counts_once_unless_it_is_the_only_one():
    seven, one = TimeRule(processes=7), TimeRule(processes=1)
    assert (seven.starts, seven.rounds, seven.independent) == (7, 3, 7)
    assert (one.starts, one.rounds, one.independent) == (1, 21, 21)
    assert TimeRule(pairs=7).starts == 7  # no more processes than pairs
    with pytest.raises(UserError, match=r"--processes: 7 processes cannot tell for 2 cells: .*give 8 or more"):
        seven.can_tell(2)


def test_seven_pairs_are_enough_for_the_test():
    base, head = drawn(0, 0.01, 1.5)
    assert slower(base[:7], head[:7])
    assert not slower(base[:6], head[:6])


def spin(count):
    return lambda: sum(range(count))


class TestInThisProcess:
    def test_three_times_the_work_is_slower(self):
        rule = TimeRule(pairs=7, processes=1, seconds=0.004, least_call=1e-4, clock="processor")
        (finding,) = judged([in_this_process("spin", spin(20_000), spin(60_000), rule)], rule)
        assert finding.code in {"slower", "too-noisy"}
        assert finding.status != "pass"

    def test_repetitions_are_as_many_calls_as_they_take(self):
        count, one = calls_lasting(spin(2_000), 0.005)
        assert count * one >= 0.005
        assert repeated(spin(2_000), count).wall > 0.5 * 0.005

    def test_waiting_counts_on_the_wall_alone(self):
        import time

        took = repeated(lambda: time.sleep(0.02), 1)
        assert took.wall >= 0.02 > took.processor
