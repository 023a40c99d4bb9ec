"""Which model of a run is another one with fewer visual tokens: by what cards say of the methods in its spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.specs import Spec, parse
from .. import wording

if TYPE_CHECKING:
    from ...harness.specs import Call
    from ..collect import Row

_PARTS = frozenset({"images", "visual-tokens"})
"""What a method changes that makes a model read fewer visual tokens, or none."""


def whole_of(row: Row) -> str:
    """The label of the same model without the methods that change its images or visual tokens.

    A method without a card counts as one of them. Of another name than a spec, as of an imported log, the label itself.
    """
    result = row.result
    try:
        spec = parse(result.cell.model)
    except UserError:
        return row.label
    cards = result.method_cards
    others = tuple(call for call in spec.methods if call.name in cards and not cards[call.name].modifies & _PARTS)
    return wording.budgeted(str(Spec(spec.base, others)), result.cell.budget)


def own_part(label: str, whole: str) -> str:
    """What a label has after its whole model's, for places that name that already; else the label."""
    return label.removeprefix(whole) if label.startswith(f"{whole}+") else label


def added(row: Row, whole: Row) -> tuple[Call, ...]:
    """The methods that a model has after those of the whole one; none if it is not the whole one with methods."""
    try:
        spec, base = parse(row.result.cell.model), parse(whole.result.cell.model)
    except UserError:
        return ()
    own = len(base.methods)
    return spec.methods[own:] if (spec.base, spec.methods[:own]) == (base.base, base.methods) else ()
