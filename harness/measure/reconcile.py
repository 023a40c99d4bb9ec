"""Do the closed form and the counters agree on an architecture? Where they do not, in which module and operators?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UserError
from .architecture import read_architecture
from .closed_form import COUNTED, Operator
from .work import Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .counting import Blueprint, Counter
    from .traced_work import Traced

_TOLERANCE = 0.01
_TEXT, _VISUAL = 24, 8


def reconcile(counter: Counter, blueprint: Blueprint, traced: Traced | None = None) -> dict[str, float]:
    """Compare phase by phase; return by how large a share of the counters' number the closed form is off.

    Poolers and heads of vision towers that the closed form leaves out are within the tolerance.

    Raises:
        UserError: A phase differs by more than 1 %; the message names the module and its operators.
    """
    model = traced.outline() if traced else read_architecture(blueprint.config)
    visual = min(_VISUAL, model.visual_tokens)
    work = replace(Work.whole(model, text_tokens=_TEXT, visual_tokens=visual), traced=traced)
    operators = list(work.operators(COUNTED))
    tokens = {"projector": visual or 1, "text": _TEXT, "head": 1, "vision": 1}
    if model.vision is None:  # one pass reads an image beside the text, or there is none
        tokens |= {"projector": work.tokens, "vision": work.tokens}
    off = {}
    for phase in counter.phases():
        own = [operator for operator in operators if _phase(operator) == phase]
        length = tokens.get(phase, work.tokens)
        closed, counted = sum(o.flops for o in own), counter.count(phase, length).value
        off[phase] = abs(closed - counted) / max(1, counted)
        if off[phase] > _TOLERANCE:
            place = _culprit(own, counter.layer(phase, length))
            ours = "the operators of its modules have" if traced else "the closed form has"
            raise UserError(
                f"{ours} {closed:,} FLOPs and the counters {counted:,}{place}",
                where=f"{blueprint.source}, {phase}",
                todo="report this architecture",
            )
    return off


def _phase(operator: Operator) -> str:
    return "head" if operator.module == "head" else operator.phase


def _culprit(operators: Iterable[Operator], layer: Mapping[str, int]) -> str:
    """Name the half of a block that differs: its attention, or the rest of it."""
    first = [o for o in operators if o.module.startswith("layers.0.")]
    for part in ("attention", "mlp"):
        own = [o for o in first if o.module.endswith(part)]
        closed = sum(o.flops for o in own)
        names = [name for name, value in layer.items() if value and ("att" in name) == (part == "attention")]
        counted = sum(layer[name] for name in names)
        if abs(closed - counted) > _TOLERANCE * max(closed, counted):
            where, what = ", ".join(names) or part, ", ".join(o.name for o in own)
            return f"; in a block's {where} ({what}) {closed:,} against {counted:,}"
    return ""
