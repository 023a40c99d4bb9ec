"""``adaptbench cost``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import typer

from ..costing import PHASES, Cost, Costing, CostRequest
from ..errors import UserError
from ..measure.closed_form import ATTENTION, CONVENTIONS, Attention
from ..measure.reconcile import reconcile
from ..measure.roofline import BYTES, Precision, find_accelerator
from ..outputs import FIGURE_FORMATS, FigureRequest, file_form, write_content
from ..plugins import load_plugins
from ..specs import Call, did_you_mean
from .output import write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

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
    hardware: tuple[str, ...]
    precision: str
    preset: str
    attention: str | None
    by: str
    count: bool
    measure: bool
    out: Path | None
    plugins: tuple[str, ...]
    as_json: bool


def show_cost(options: CostOptions) -> None:
    """Write what a model spec costs, at each budget."""
    request, plugins = _cost_request(options), load_plugins(options.plugins)
    form = file_form(options.out, FIGURE_FORMATS, "a figure") if options.out else ""
    costing = Costing(plugins.registry, _spec(options.spec))
    budgets = dict.fromkeys(options.budgets) or (None,)
    costs = [costing.cost(request, budget, count=options.count) for budget in budgets]
    if options.count:
        reconcile(costing.counter, costing.blueprint)
    timings = [costing.measure(request, budget) for budget in budgets] if options.measure else []
    title = f"{costing.source}: FLOPs of one prompt, 2 a multiply-accumulate; preset {options.preset}"
    if options.out:
        drawing = FigureRequest(runs=(), plugins=plugins, form=form, costs=tuple(costs), title=title)
        write_content(options.out, plugins.registry.find("figure", "costs").factory()(drawing))
    if options.as_json:
        rows = [_as_json(cost, options, request) for cost in costs]
        for row, times in zip(rows, timings, strict=False):
            row["measured"] = [timing.model_dump(mode="json") for timing in times]
        write_json(rows)
        return
    typer.echo(title)
    write_columns([*_rows(costs, request)])
    for assumed in dict.fromkeys(one for cost in costs for one in cost.work.assumed):
        typer.echo(f"note: {assumed}")
    for cost, times in zip(costs, timings, strict=False):
        typer.echo(f"\n{cost.spec}, measured in float32 with random weights on {times[0].machine}, {times[0].device}")
        write_columns([[t.what, f"{1e3 * t.median:.2f} ms", _spread(t)] for t in times])
    if options.by != "phase":
        for cost in costs:
            typer.echo(f"\n{cost.spec}, by {options.by}")
            write_columns([[name, _flops(value)] for name, value in _breakdown(cost, options.by).items()])
    if options.out:
        typer.echo(f"\n{options.out}")


def _cost_request(options: CostOptions) -> CostRequest:
    _known(options.by, _BY, "--by")
    _known(options.preset, CONVENTIONS, "--preset")
    _known(options.precision, BYTES, "--precision")
    convention = CONVENTIONS[options.preset]
    if options.attention is not None:
        _known(options.attention, ATTENTION, "--attention")
        convention = convention.with_attention(cast("Attention", options.attention))
    return CostRequest(
        text_tokens=options.text_tokens,
        visual_tokens=options.visual_tokens,
        batch=options.batch,
        precision=cast("Precision", options.precision),
        convention=convention,
        accelerators=tuple(find_accelerator(name) for name in options.hardware),
    )


def _spec(text: str) -> str:
    """The spec; a bare hub id or path is short for ``hf:`` and it."""
    base, *_ = re.split(r"[+(@]", text, maxsplit=1)
    bare = "/" in base and ":" not in base
    return str(Call("hf", base.strip(' "'))) + text[len(base) :] if bare else text


def _known(value: str, known: Iterable[str], option: str) -> None:
    names = list(known)
    if value not in names:
        raise UserError(
            f"unknown value {value!r}{did_you_mean(value, names)}", where=option, todo=f"choose from {', '.join(names)}"
        )


def _rows(costs: Sequence[Cost], request: CostRequest) -> Iterable[list[str]]:
    """One line per quantity, one column per spec; what does not apply is left out."""
    phases = [phase for phase in PHASES if any(phase in cost.flops for cost in costs)]
    yield ["", *(cost.spec for cost in costs)]
    if any(cost.work.execution for cost in costs):
        yield ["tokens", *(f"{c.work.tokens} ({c.work.visual_tokens} visual)" for c in costs)]
    for phase in phases:
        yield [phase, *(_flops(cost.flops.get(phase, 0)) for cost in costs)]
    if "prefill" in phases:
        yield ["decode, a token", *(_flops(cost.decode) for cost in costs)]
    if any(cost.of_base < 1 or cost.of_full < 1 for cost in costs):
        yield ["of the base model", *(f"{cost.of_base:.1%}" for cost in costs)]
        yield ["of the same, all on", *(f"{cost.of_full:.1%}" for cost in costs)]
    for phase in phases:
        if any(cost.counted for cost in costs):
            yield [f"{phase}, counted", *(_flops(c.counted.get(phase, 0)) if c.counted else "-" for c in costs)]
    if "prefill" in phases:
        yield [f"memory, {request.precision}", *(_bytes(cost.memory) for cost in costs)]
    for chip in request.accelerators:
        for part in dict.fromkeys(part for cost in costs for part in cost.predicted[chip.name]):
            name, digits = ("a token", 2) if part == "token" else (part, 1)
            times = (f"{1e3 * cost.predicted[chip.name][part]:.{digits}f} ms" for cost in costs)
            yield [f"{name} on {chip.name}, predicted", *times]


def _breakdown(cost: Cost, by: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for operator in cost.operators:
        place = operator.module if by == "module" else operator.name
        name = f"{operator.phase}  {place}"
        sums[name] = sums.get(name, 0) + operator.flops
    return sums


def _as_json(cost: Cost, options: CostOptions, request: CostRequest) -> dict[str, Any]:
    content: dict[str, Any] = {
        "spec": cost.spec,
        "preset": options.preset,
        "attention": "fused" if request.convention.fused else "eager",
        "precision": options.precision,
        "batch": options.batch,
        "text_tokens": cost.work.text_tokens,
        "visual_tokens": cost.work.visual_tokens,
        "flops": dict(cost.flops),
        "counted_flops": None if cost.counted is None else dict(cost.counted),
        "share_of_base": cost.of_base,
        "share_of_all_on": cost.of_full,
        "assumed": list(cost.work.assumed),
        "decode_flops": cost.decode,
        "memory_bytes": cost.memory,
        "predicted_seconds": {name: dict(parts) for name, parts in cost.predicted.items()},
    }
    return content if options.by == "phase" else content | {"parts": _breakdown(cost, options.by)}


def _spread(timing: Timing) -> str:
    quartiles = f"quartiles {1e3 * timing.q1:.2f} to {1e3 * timing.q3:.2f}, 95 % below {1e3 * timing.p95:.2f} ms"
    state = [f"{name.replace('_', ' ')} {value}" for name, value in timing.gpu.items()]
    return "; ".join(filter(None, [f"{quartiles}, {timing.repeats} repeats", ", ".join(state), timing.note]))


def _flops(value: int) -> str:
    """FLOPs with three digits after the point, in the unit that suits them."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.3f} {unit}"
    return str(value)


def _bytes(value: int) -> str:
    """Memory in GiB, that of a model below one in MiB."""
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.1f} MiB"
