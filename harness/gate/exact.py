"""What must be exactly as it was: counts, what ran, and the scores of outputs that did not change.

There is no noise here, so there is one error only: a change that the suite's cells do not show.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .baselines import CellBaseline, SampleBaseline

_SHOWN = 3
"""Samples that a finding names."""
_ROUNDING = 1e-9
"""Relative: sums of the same scores may differ in their last digits between releases of NumPy."""


def compare_exactly(name: str, base: CellBaseline, head: CellBaseline) -> Finding:
    """Compare a cell with its baseline.

    Args:
        name: Of the cell.
        base: As it was.
        head: As it is.

    Returns:
        The first difference, in the order in which one explains another: what is asked, what it costs, what came out,
        what it scores.
    """
    for code, before, now, detail in _differences(base, head):
        refused = code in {"samples-changed", "rule-changed"}
        return Finding(
            kind="exact", cell=name, status="refused" if refused else "fail", code=code, base=before, head=now,
            detail=detail,
        )  # fmt: skip
    return Finding(kind="exact", cell=name, status="pass", code="same", detail=_held(base, head))


def _differences(base: CellBaseline, head: CellBaseline) -> Iterator[tuple[str, str, str, str]]:
    renew = "if that is meant, renew the baseline (--update)"
    if base.samples_digest != head.samples_digest:
        yield "samples-changed", base.samples_digest[:12], head.samples_digest[:12], f"other samples are asked; {renew}"
    if (was := (base.rule, base.metric, base.better)) != (now := (head.rule, head.metric, head.better)):
        yield "rule-changed", " ".join(was), " ".join(now), f"another rule or metric scores; {renew}"
    if (base.flops, base.flops_convention) != (head.flops, head.flops_convention):
        convention = "" if base.flops_convention == head.flops_convention else ", counted in another way"
        yield "flops-changed", _number(base.flops), _number(head.flops), f"FLOPs of an input{convention}"
    if base.parameters != head.parameters:
        yield "parameters-changed", _number(base.parameters), _number(head.parameters), "parameters of the model"
    yield from _of_samples("flops-changed", "FLOPs of answers", base, head, lambda one: one.flops)
    yield from _of_samples("tokens-changed", "tokens (text, visual, cut)", base, head, lambda one: one.tokens)
    yield from _of_samples("plan-changed", "what of the model ran", base, head, lambda one: one.ran)
    if base.replays or head.replays:
        yield from _of_samples("outputs-changed", "stored outputs", base, head, lambda one: one.output)
    yield from _of_same_outputs("parsed-changed", "what is read out of the same outputs", base, head)
    yield from _of_same_outputs("scores-changed", "scores of the same outputs", base, head)
    if not _same_metrics(base, head):
        yield "metrics-changed", _metrics(base), _metrics(head), "metrics made of the same scores"


def _of_samples(
    code: str, what: str, base: CellBaseline, head: CellBaseline, of: Callable[[SampleBaseline], object]
) -> Iterator[tuple[str, str, str, str]]:
    differing = [name for name in base.samples if of(base.samples[name]) != of(head.samples[name])]
    if differing:
        first = differing[0]
        shown = ", ".join(differing[:_SHOWN]) + (", ..." if len(differing) > _SHOWN else "")
        detail = f"{what}: {len(differing)} of {len(base.samples)} samples differ ({shown})"
        yield code, _text(of(base.samples[first])), _text(of(head.samples[first])), detail


def _of_same_outputs(
    code: str, what: str, base: CellBaseline, head: CellBaseline
) -> Iterator[tuple[str, str, str, str]]:
    """Where the model said the same and it is read or scored otherwise, the rule has changed."""
    same = _same_outputs(base, head)
    before, now = (
        cell.model_copy(update={"samples": {name: cell.samples[name] for name in same}}) for cell in (base, head)
    )
    yield from _of_samples(code, what, before, now, _parsed if code == "parsed-changed" else _scores)


def _same_outputs(base: CellBaseline, head: CellBaseline) -> list[str]:
    return [name for name, one in base.samples.items() if one.output == head.samples[name].output]


def _parsed(sample: SampleBaseline) -> object:
    return sample.parsed


def _scores(sample: SampleBaseline) -> object:
    return sample.scores


def _same_metrics(base: CellBaseline, head: CellBaseline) -> bool:
    """Whether metrics agree; where scores differ, they may too."""
    if any(_scores(base.samples[name]) != _scores(head.samples[name]) for name in base.samples):
        return True
    return base.metrics.keys() == head.metrics.keys() and all(
        math.isclose(value, head.metrics[name], rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        for name, value in base.metrics.items()
    )


def _held(base: CellBaseline, head: CellBaseline) -> str:
    """What was compared and found equal."""
    some = list(head.samples.values())
    parts = [
        "FLOPs" if head.flops or any(one.flops for one in some) else "",
        "tokens" if any(one.tokens for one in some) else "",
        "what ran" if any(one.ran for one in some) else "",
        f"scores of {len(_same_outputs(base, head))} equal outputs of {len(some)}",
    ]
    return ", ".join(filter(None, parts))


def _metrics(cell: CellBaseline) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in cell.metrics.items())


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {score:g}" for name, score in value.items())
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "unscored")
