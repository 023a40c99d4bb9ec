"""``adaptbench report RUN --table model-card``: the results of a model as metadata of a Hugging Face model card.

The metadata are a ``model-index`` with a result for each task. Of a result a card keeps only what is with its metrics,
so scoring rule, interval, seed and samples are arguments of the metric; costs are metrics of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from ..harness.errors import UserError
from ..harness.markdown import markdown_table, plain
from ..harness.specs import did_you_mean
from . import wording
from .board import make_board

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..harness.outputs import ReportRequest
    from .ranking import Section, Standing

_TYPES = {
    "embed": "image-classification",
    "dual": "zero-shot-image-classification",
    "generate": "image-text-to-text",
    "language": "text-generation",
    "masked": "fill-mask",
}
"""Capability -> what the hub calls such a task."""


def model_card(request: ReportRequest, *, model: str = "") -> str:
    """Return the metadata; as ``.md`` the beginning of a card, with a table of the scores.

    Args:
        request: The runs.
        model: Spec with its budget; it may be left out if the runs have one model.

    Raises:
        UserError: There is no such model, there are several, or none of its cells is whole.
    """
    board = make_board(request.runs, request.plugins)
    every = [(section, standing) for section in board.sections for standing in section.standings]
    names = list(dict.fromkeys(standing.row.label for _, standing in every))
    if not model and len(names) > 1:
        todo = f"name one: --table 'model-card(model=\"{names[0]}\")'"
        raise UserError(f"the runs have {len(names)} models", where="model-card", todo=todo)
    name = model or names[0]
    if name not in names:
        raise UserError(
            f"the runs have no model {name!r}{did_you_mean(name, names)}", todo=f"they have {', '.join(names)}"
        )
    whole = [pair for pair in every if pair[1].row.label == name and not pair[1].row.result.partial]
    if not whole:
        raise UserError(f"no cell of {name} is whole", where="model-card", todo="run it without --limit and --sample")
    index = [{"name": name, "results": [_result(section, standing) for section, standing in whole]}]
    metadata: str = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=False)
    return metadata if request.form == ".yaml" else f"---\n{metadata}---\n\n# {plain(name)}\n\n{_table(whole)}\n"


def _result(section: Section, standing: Standing) -> dict[str, Any]:
    cell, card = standing.row.result.cell, section.card
    return {
        "task": {"type": _TYPES.get(card.capability, card.capability), "name": section.title},
        "dataset": {"name": cell.task, "type": cell.task},
        "metrics": list(_metrics(standing)),
    }


def _metrics(standing: Standing) -> Iterator[dict[str, Any]]:
    result, timing = standing.row.result, standing.row.timing
    card = result.task_card
    told = {"rule": f"{card.rule} v{card.rule_version}", "seed": result.cell.seed, "samples": result.samples_digest}
    for metric in card.metrics:
        score = result.metrics.get(metric.name)
        if score is None:
            continue
        factor = wording.scale(metric)
        ends = {name: factor * end for name, end in (("low", score.low), ("high", score.high)) if end is not None}
        yield {
            "type": metric.name,
            "name": wording.with_unit(metric),
            "value": factor * score.value,
            "args": told | {"n": score.n, "interval": score.method} | ends,
        }
    if result.flops:
        convention = ", ".join(result.flops.convention())
        yield {"type": "flops", "name": "FLOPs per input", "value": result.flops.value, "args": {"counted": convention}}
    if timing:
        where = {"machine": timing.machine, "device": timing.device, "what": timing.what}
        yield {"type": "seconds", "name": "s per input", "value": timing.median / timing.inputs, "args": where}


def _table(whole: Sequence[tuple[Section, Standing]]) -> str:
    rows = [
        [section.title, wording.with_unit(section.metric), wording.estimate(standing.headline, section.metric)]
        for section, standing in whole
    ]
    return markdown_table(["task", "metric", "score"], [[plain(text) for text in row] for row in rows], numbers=(2,))
