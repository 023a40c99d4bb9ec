"""``adaptbench cost``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..costing import PHASES, Cost, Costing, CostRequest
from ..errors import UserError
from ..measure.closed_form import ATTENTION, CONVENTIONS, Attention
from ..measure.parallel import Cards
from ..measure.reconcile import reconcile
from ..measure.roofline import BYTES, Precision, find_accelerator
from ..plugins import load_plugins
from ..sizing import check_sized
from ..specs import Call, did_you_mean
from .output import echo, say, write_columns, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..plugins import Plugins
    from ..results import Timing
    from ..sizes import Size
    from ..sizing import Sized

_BY = ("phase", "module", "operator")


@dataclass(frozen=True, slots=True)
class CostOptions:
    """What the command line said."""

    specs: tuple[str, ...]
    text_tokens: int
    visual_tokens: int | None
    images: int
    image_size: int | None
    batch: int
    tensor_parallel: int
    pipeline_parallel: int
    budgets: tuple[float, ...]
    sizes: tuple[Size, ...]
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
    """Write what model specs cost, at each budget."""
    request, plugins = _cost_request(options), load_plugins(options.plugins)
    draw = _drawing(options.out, plugins) if options.out else None
    costs: list[Cost] = []
    timings: list[tuple[Timing, Timing]] = []
    sources: list[str] = []
    sized: list[Sized] = []
    for spec in dict.fromkeys(map(_spec, options.specs)):
        base = Costing(plugins.registry, spec, image_size=options.image_size)
        variants, found = base.at_sizes(options.sizes, request) if options.sizes else ([base], [])
        budgets = dict.fromkeys(options.budgets) or (None,)
        for costing in variants:
            costs += [costing.cost(request, budget, count=options.count) for budget in budgets]
            timings += [costing.measure(request, budget) for budget in budgets] if options.measure else []
        if options.count:
            reconcile(base.counter, base.blueprint, base.traced)
        sources.append(base.source)
        sized += found
    check_sized(sized, options.sizes)
    source = f"{sources[0]}: " if len(sources) == 1 else ""
    title = f"{source}FLOPs of one prompt, 2 a multiply-accumulate; preset {options.preset}"
    if draw is not None:
        draw(costs, title)
    if options.as_json:
        rows = [_as_json(cost, options, request) for cost in costs]
        for row, times in zip(rows, timings, strict=False):
            row["measured"] = [timing.model_dump(mode="json") for timing in times]
        write_json(rows)
        return
    say(title)
    write_columns([*_rows(costs, request)])
    for note in (*map(str, sized), *_notes(costs, request)):
        say(f"note: {note}")
    for cost, times in zip(costs, timings, strict=False):
        echo(f"\n{cost.spec}, measured in float32 with random weights on {times[0].machine}, {times[0].device}")
        write_columns([[t.what, f"{1e3 * t.median:.2f} ms", _spread(t)] for t in times])
    if options.by != "phase":
        for cost in costs:
            echo(f"\n{cost.spec}, by {options.by}")
            write_columns([[name, _flops(value)] for name, value in _breakdown(cost, options.by).items()])
    if options.out:
        echo(f"\n{options.out}")


def _drawing(out: Path, plugins: Plugins) -> Callable[[Sequence[Cost], str], None]:
    """Refuse a file that no figure can be written to; return what draws costs under a title."""
    from ..outputs import FIGURE_FORMATS, FigureRequest, file_form, write_content  # which import numpy

    form = file_form(out, FIGURE_FORMATS, "a figure")

    def draw(costs: Sequence[Cost], title: str) -> None:
        request = FigureRequest(runs=(), plugins=plugins, form=form, costs=tuple(costs), title=title)
        write_content(out, plugins.registry.find("figure", "costs").make(request))

    return draw


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
        images=options.images,
        batch=options.batch,
        cards=Cards(options.tensor_parallel, options.pipeline_parallel),
        precision=cast("Precision", options.precision),
        convention=convention,
        accelerators=tuple(find_accelerator(name, options.preset) for name in options.hardware),
    )


def _spec(text: str) -> str:
    """The spec; a bare hub id or path is short for ``hf:`` and it. What exists is a path, whatever signs are in it."""
    name, _, given = re.fullmatch(r"(?:([\w.-]+):)?(\s*)(.*)", text, re.DOTALL).groups("")  # type: ignore[union-attr]
    ends = [len(given), *(sign.start() for sign in re.finditer(r"[+(@]", given))]
    bases = [given[:end] for end in sorted(ends, reverse=True)]
    found = next((base for base in bases if _is_path(base)), None)
    if found is None and (name or not ("/" in bases[-1] or bases[-1].endswith(".json"))):
        return text
    base = bases[-1] if found is None else found
    return str(Call(name or "hf", base.strip(' "'))) + given[len(base) :]


def _is_path(text: str) -> bool:
    """Whether a text names a file, or a folder with a slash: one without could be the name of a model."""
    path = Path(text.strip(' "')).expanduser()
    try:
        return path.is_file() or ("/" in text and path.is_dir())
    except (OSError, ValueError):
        return False


def _notes(costs: Sequence[Cost], request: CostRequest) -> Iterable[str]:
    """What was assumed, and what does not fit into memory; of which spec, where there are several."""
    said: dict[str, list[str]] = {}
    for cost in costs:
        small = [chip for chip in request.accelerators if chip.memory is not None and chip.memory < cost.memory.total]
        full = [f"it does not fit into the {chip.memory / 1e9:g} GB of {chip.name}" for chip in small if chip.memory]
        for note in (*cost.work.assumed, *full):
            said.setdefault(note, []).append(cost.spec)
    for note, specs in said.items():
        yield note if len(specs) == len(costs) else f"{', '.join(specs)}: {note}"


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
        yield [
            "tokens",
            *(f"{c.work.tokens} ({c.work.visual_tokens} visual)" if c.work.execution else "-" for c in costs),
        ]
    yield from _sizes(costs)
    for phase in phases:
        yield [phase, *(_flops(cost.flops.get(phase)) for cost in costs)]
    if any(cost.windowed for cost in costs):
        yield ["prefill, windowed kernel", *(_flops(cost.windowed) for cost in costs)]
    if "prefill" in phases:
        yield ["decode, a token", *(_flops(cost.decode or None) for cost in costs)]
    if any(cost.of_base < 1 or cost.of_full < 1 for cost in costs):
        yield ["of the base model", *(f"{cost.of_base:.1%}" for cost in costs)]
        yield ["of the same, all on", *(f"{cost.of_full:.1%}" for cost in costs)]
    for phase in phases:
        if any(cost.counted for cost in costs):
            yield [f"{phase}, counted", *(_flops(c.counted.get(phase)) if c.counted else "-" for c in costs)]
    if "prefill" in phases:
        whole = "memory" if request.cards.count == 1 else "memory of a card"
        for name, part in (("weights", "weights"), ("KV cache", "cached"), (whole, "total")):
            found = (getattr(cost.memory, part) for cost in costs)
            yield [f"{name}, {request.precision}", *(_bytes(value) if value else "-" for value in found)]
    for chip in request.accelerators:
        for part in dict.fromkeys(part for cost in costs for part in cost.predicted[chip.name]):
            name, digits = ("a token", 2) if part == "token" else (part, 1)
            found = (cost.predicted[chip.name].get(part) for cost in costs)
            times = ("-" if value is None else f"{1e3 * value:.{digits}f} ms" for value in found)
            yield [f"{name} on {chip.name}, predicted", *times]


def _sizes(costs: Sequence[Cost]) -> Iterable[list[str]]:
    """Numbers of weights, where they are known, and of those that one token meets, where these are fewer."""
    known = [cost.parameters for cost in costs if cost.parameters]
    if known:
        yield ["parameters", *(_parameters(cost.parameters, 0) for cost in costs)]
    if any(every != active for every, active in known):
        yield ["active a token", *(_parameters(cost.parameters, 1) for cost in costs)]


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
        "tensor_parallel": options.tensor_parallel,
        "pipeline_parallel": options.pipeline_parallel,
        "text_tokens": cost.work.text_tokens,
        "visual_tokens": cost.work.visual_tokens,
        "images": cost.work.images if cost.work.tower else 0,
        "parameters": cost.parameters and cost.parameters[0],
        "active_parameters": cost.parameters and cost.parameters[1],
        "flops": dict(cost.flops),
        "counted_flops": None if cost.counted is None else dict(cost.counted),
        "share_of_base": cost.of_base,
        "share_of_all_on": cost.of_full,
        "assumed": list(cost.work.assumed),
        "decode_flops": cost.decode,
        "prefill_flops_windowed": cost.windowed,
        "memory_bytes": cost.memory.total,
        "weight_bytes": cost.memory.weights,
        "kv_cache_bytes": cost.memory.cached,
        "predicted_seconds": {name: dict(parts) for name, parts in cost.predicted.items()},
    }
    return content if options.by == "phase" else content | {"parts": _breakdown(cost, options.by)}


def _spread(timing: Timing) -> str:
    quartiles = f"quartiles {1e3 * timing.q1:.2f} to {1e3 * timing.q3:.2f}, 95 % below {1e3 * timing.p95:.2f} ms"
    state = [f"{name.replace('_', ' ')} {value}" for name, value in timing.gpu.items()]
    return "; ".join(filter(None, [f"{quartiles}, {timing.repeats} repeats", ", ".join(state), timing.note]))


def _flops(value: int | None) -> str:
    """FLOPs with three digits after the point, in the unit that suits them; a dash where there are none."""
    if value is None:
        return "-"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.3f} {unit}"
    return str(value)


def _parameters(numbers: tuple[int, int] | None, which: int) -> str:
    if numbers is None:
        return "-"
    value = numbers[which]
    return f"{value / 1e9:.3f} B" if value >= 1e9 else f"{value / 1e6:.3f} M"


def _bytes(value: int) -> str:
    """Memory in GiB, that of a model below one in MiB."""
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.1f} MiB"
