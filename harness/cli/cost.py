"""``adaptbench cost``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import typer

from ..costing import PHASES, Cost, Costing, Question
from ..errors import UserError
from ..measure.closed_form import CONVENTIONS
from ..measure.reconcile import reconcile
from ..measure.roofline import BYTES, Precision, find_accelerator
from ..plugins import load_plugins
from ..specs import did_you_mean, parse_call
from .output import write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..results import Timing

_BY = ("phase", "module", "operator")


@dataclass(frozen=True, slots=True)
class CostOptions:
    """What the command line said."""

    spec: str
    text_tokens: int
    visual_tokens: int | None
    batch: int
    budgets: tuple[float, ...]
    plan: tuple[str, ...]
    hardware: tuple[str, ...]
    precision: str
    preset: str
    by: str
    count: bool
    measure: bool
    plugins: tuple[str, ...]
    as_json: bool


def show_cost(options: CostOptions) -> None:
    """Write what a model spec costs, at each budget."""
    _known(options.by, _BY, "--by")
    _known(options.preset, CONVENTIONS, "--preset")
    _known(options.precision, BYTES, "--precision")
    question = Question(
        text_tokens=options.text_tokens,
        visual_tokens=options.visual_tokens,
        batch=options.batch,
        precision=cast(Precision, options.precision),
        convention=CONVENTIONS[options.preset],
        accelerators=tuple(find_accelerator(name) for name in options.hardware),
    )
    costing = Costing(load_plugins(options.plugins).registry, _spec(options))
    costs = [costing.cost(question, budget, count=options.count) for budget in options.budgets or (None,)]
    if options.count:
        reconcile(costing.counter, costing.blueprint)
    timings = [costing.measure(question, b) for b in options.budgets or (None,)] if options.measure else []
    if options.as_json:
        rows = [_as_json(cost, options) for cost in costs]
        for row, times in zip(rows, timings, strict=False):
            row["measured"] = [timing.model_dump(mode="json") for timing in times]
        write_json(rows)
        return
    typer.echo(f"{costing.blueprint.source}: FLOPs of one prompt, 2 a multiply-accumulate; preset {options.preset}")
    write_columns([*_rows(costs, question)])
    for cost, times in zip(costs, timings, strict=False):
        typer.echo(f"\n{cost.spec}, measured in float32 with random weights on {times[0].machine}, {times[0].device}")
        write_columns([[t.what, f"{1e3 * t.median:.2f} ms", _spread(t)] for t in times])
    if options.by != "phase":
        for cost in costs:
            typer.echo(f"\n{cost.spec}, by {options.by}")
            write_columns([[name, _flops(value)] for name, value in _breakdown(cost, options.by).items()])


def _spec(options: CostOptions) -> str:
    """The spec with ``--plan`` as further methods; a bare hub id or path stands for ``hf:`` and it."""
    base = options.spec.partition("+")[0].partition("(")[0]
    spec = f"hf:{options.spec}" if "/" in base and ":" not in base else options.spec
    text, at, budget = spec.partition("@")
    return "+".join([text, *map(_plan_part, options.plan)]) + at + budget


def _plan_part(text: str) -> str:
    name, equals, value = text.partition("=")
    if name == "layers" and equals:
        text = f"layers(keep={value})"
    return str(parse_call(text))


def _known(value: str, known: Iterable[str], option: str) -> None:
    names = list(known)
    if value not in names:
        raise UserError(
            f"unknown value {value!r}{did_you_mean(value, names)}", where=option, todo=f"choose from {', '.join(names)}"
        )


def _rows(costs: Sequence[Cost], question: Question) -> Iterable[list[str]]:
    """A line a figure, a column a spec: what does not apply is left out."""
    phases = [phase for phase in PHASES if any(phase in cost.flops for cost in costs)]
    yield ["", *(cost.spec for cost in costs)]
    if any(cost.work.execution for cost in costs):
        yield ["tokens", *(f"{c.work.tokens} ({c.work.visual_tokens} visual)" for c in costs)]
    for phase in phases:
        yield [phase, *(_flops(cost.flops.get(phase, 0)) for cost in costs)]
    if "prefill" in phases:
        yield ["share of the prefill", *(f"{cost.share:.1%}" for cost in costs)]
        yield ["decode, a token", *(_flops(cost.decode) for cost in costs)]
    for phase in phases:
        if any(cost.counted for cost in costs):
            yield [f"{phase}, counted", *(_flops(c.counted[phase]) if c.counted else "-" for c in costs)]
    if "prefill" in phases:
        yield [f"memory, {question.precision}", *(f"{cost.memory / 2**30:.2f} GiB" for cost in costs)]
    for chip in question.accelerators:
        yield [f"prefill on {chip.name}, predicted", *(f"{1e3 * c.predicted[chip.name][0]:.1f} ms" for c in costs)]
        yield [f"a token on {chip.name}, predicted", *(f"{1e3 * c.predicted[chip.name][1]:.2f} ms" for c in costs)]


def _breakdown(cost: Cost, by: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for operator in cost.operators:
        place = operator.module if by == "module" else operator.name
        name = f"{operator.phase}  {place}"
        sums[name] = sums.get(name, 0) + operator.flops
    return sums


def _as_json(cost: Cost, options: CostOptions) -> dict[str, Any]:
    content: dict[str, Any] = {
        "spec": cost.spec,
        "preset": options.preset,
        "precision": options.precision,
        "batch": options.batch,
        "text_tokens": cost.work.text_tokens,
        "visual_tokens": cost.work.visual_tokens,
        "flops": dict(cost.flops),
        "counted_flops": None if cost.counted is None else dict(cost.counted),
        "prefill_share": cost.share,
        "decode_flops": cost.decode,
        "memory_bytes": cost.memory,
        "predicted_seconds": {name: {"prefill": p, "token": t} for name, (p, t) in cost.predicted.items()},
    }
    return content if options.by == "phase" else content | {"parts": _breakdown(cost, options.by)}


def _spread(timing: Timing) -> str:
    quartiles = f"quartiles {1e3 * timing.q1:.2f} to {1e3 * timing.q3:.2f}, 95 % below {1e3 * timing.p95:.2f} ms"
    return f"{quartiles}, {timing.repeats} repeats" + (f"; {timing.note}" if timing.note else "")


def _flops(value: int) -> str:
    """FLOPs with three digits after the point, in the unit that suits them."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.3f} {unit}"
    return str(value)
