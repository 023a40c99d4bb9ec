"""What both sides cost, and whether the two numbers mean the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .result import CostRatio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..results import FlopCount, Timing
    from ..store import StoredCell

_TOKENS = ("visual_tokens", "text_tokens")


def cost_ratios(baseline: StoredCell, candidate: StoredCell) -> tuple[CostRatio, ...]:
    """Return what is known of both costs; what neither side knows is left out."""
    return tuple(_ratios(baseline, candidate))


def _ratios(baseline: StoredCell, candidate: StoredCell) -> Iterator[CostRatio]:
    yield _flops(baseline, candidate)
    one, other = baseline.whole_timing, candidate.whole_timing
    yield from _known("time", "s", _seconds(one), _seconds(other), _timed_apart(one, other))
    one, other = baseline.timing, candidate.timing
    yield from _known("memory", "B", _peak_memory(one), _peak_memory(other), _timed_apart(one, other))
    yield from _known("parameters", "", baseline.result.parameters, candidate.result.parameters)
    for name in _TOKENS:
        yield from _known(name.replace("_", " "), "", _mean_cost(baseline, name), _mean_cost(candidate, name))


def _known(name: str, unit: str, one: float | None, other: float | None, reason: str = "") -> Iterator[CostRatio]:
    if one is not None or other is not None:
        yield _ratio(name, unit, one, other, reason)


def _flops(baseline: StoredCell, candidate: StoredCell) -> CostRatio:
    """Of a sample, where answers tell what they cost; else of an input."""
    counts = baseline.result.flops, candidate.result.flops
    one, other = (_mean_cost(side, "flops") for side in (baseline, candidate))
    if one is None or other is None:
        one, other = (count.value if count else None for count in counts)
    missing = baseline.result.flops_missing or candidate.result.flops_missing
    return _ratio("FLOPs", "FLOP", one, other, _counted_apart(*counts), missing)


def _counted_apart(one: FlopCount | None, other: FlopCount | None) -> str:
    if one and other and one.convention() != other.convention():
        return f"counted under other conventions: {', '.join(one.convention())}, and {', '.join(other.convention())}"
    if one and other and one.waived != other.waived:
        return (
            f"counted without other operators: {' '.join(one.waived) or 'none'}, and {' '.join(other.waived) or 'none'}"
        )
    return ""


def _timed_apart(one: Timing | None, other: Timing | None) -> str:
    """Why two times cannot be compared; empty if they can."""
    if one is None or other is None:
        return ""
    if (one.machine, one.device) != (other.machine, other.device):
        return f"timed elsewhere: {one.machine}, {one.device}, and {other.machine}, {other.device}"
    if one.session != other.session:
        return "timed in other sessions: run both in one"
    if (one.what, one.inputs) != (other.what, other.inputs):
        return f"timed in different ways: {one.what}, and {other.what}"
    return ""


def _seconds(timing: Timing | None) -> float | None:
    """Median per input."""
    return timing.median / timing.inputs if timing else None


def _peak_memory(timing: Timing | None) -> float | None:
    return timing.peak_memory if timing else None


def _mean_cost(cell: StoredCell, name: str) -> float | None:
    found = cell.result.costs.get(name)
    return found.value if found else None


def _ratio(
    name: str, unit: str, baseline: float | None, candidate: float | None, reason: str = "", missing: str = ""
) -> CostRatio:
    if baseline is None or candidate is None:
        sides = [side for side, value in (("baseline", baseline), ("candidate", candidate)) if value is None]
        reason = missing or f"not known of the {' and the '.join(sides)}"
    elif not reason and not baseline:
        reason = "the baseline's is zero"
    ratio = None if reason or baseline is None or candidate is None else candidate / baseline
    return CostRatio(name=name, unit=unit, baseline=baseline, candidate=candidate, ratio=ratio, reason=reason)
