"""What answers to a pair's questions show to have been done: both operations, one of them, none, or something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...harness.errors import UserError
from ...harness.specs import did_you_mean
from .. import vega
from .compositional import BAR, WIDTH, row_axis
from .files import render
from .pairs import COMPOSITE, SETTINGS, brief, find_pairs, pairs_of
from .panels import SERIES, Drawing, Panel

if TYPE_CHECKING:
    from ...harness.outputs import FigureRequest
    from ..board import Board
    from ..charts import Palette
    from ..vega import Spec
    from .pairs import Pair, Part

    Shares = Mapping[str, float]
    """What was done -> the share of the answers that show it."""

RIGHT, RIGHT_METRIC = "right", "exact match"
_BLUE, _ORANGE, _GREEN, _PURPLE, _OLIVE, _, _TEAL, _ = SERIES
COLOURS = {
    RIGHT: _GREEN,
    "right: first, then second": _TEAL,
    "right: second, then first": _OLIVE,
    "first only": _BLUE,
    "second only": _ORANGE,
    "copied": _PURPLE,
}
"""What was done -> its colour, in the order of the bars; ``other`` is grey and comes last."""
OTHER = "other"


def mistakes(request: FigureRequest, *, setting: str = COMPOSITE) -> str | bytes:
    """Draw them: a panel for each pair, a bar for each model.

    Args:
        request: Runs of pairs, such as those of the suite ``compositional-logical``.
        setting: In which setting.

    Raises:
        UserError: There is no such setting, or no cell says which mistakes were made.
    """
    if setting not in SETTINGS:
        raise UserError(
            f"there is no setting {setting!r}{did_you_mean(setting, SETTINGS)}",
            where="mistakes",
            todo=f"choose {', '.join(SETTINGS)}",
        )
    panels = [panel for pair in find_pairs(request, "mistakes") if (panel := mistakes_panel(pair, setting))]
    if not panels:
        raise UserError(
            f"no cell of these runs in the setting {setting} says which of two operations was applied",
            where="mistakes",
            todo=f"run one: adaptbench run --model hf-lm:MODEL --task 'logical-ab(setting={setting})' --out DIR",
        )
    return render(Drawing("What was done instead", panels), request.form)


def mistakes_panel(pair: Pair, setting: str = COMPOSITE) -> Panel | None:
    """The panel of a pair; ``None`` if its task does not tell mistakes apart, or was not asked in this setting."""
    told = {metric.name for metric in pair.card.metrics}
    names = brief(pair.parts)
    rows = {names[model]: parts[setting] for model, parts in pair.parts.items() if setting in parts}
    if not (rows and {RIGHT_METRIC, OTHER} <= told):
        return None
    shares = {name: shares_of(part) for name, part in rows.items()}
    caption = f"Shares of the answers in the setting {SETTINGS[setting]}; right is an exact match."
    return Panel(f"Mistakes on {pair.title}", lambda palette: _stacked(shares, palette), caption, WIDTH)


def on_board(board: Board) -> list[Panel]:
    """The panels of a board."""
    return list(filter(None, map(mistakes_panel, pairs_of(board.sections))))


def shares_of(part: Part) -> dict[str, float]:
    """What was done -> the share of the answers; what is right is told by order where the records do."""
    kinds = {RIGHT: RIGHT_METRIC} | {name: name for name in (*COLOURS, OTHER) if not name.startswith(RIGHT)}
    shares = {kind: part.metrics[name].value for kind, name in kinds.items() if name in part.metrics}
    orders = _orders(part) if part.whole else Counter[str]()
    total = sum(orders.values())
    if set(orders) - {RIGHT}:
        right = shares.pop(RIGHT)
        shares |= {kind: right * count / total for kind, count in orders.items()}
    return {kind: shares[kind] for kind in (*COLOURS, OTHER) if shares.get(kind)}


def _orders(part: Part) -> Counter[str]:
    """How often records say of a right answer which operation came first, or nothing about it."""
    found = Counter[str]()
    for record in part.standing.row.journal.records():
        if not isinstance(record.parsed, Mapping):
            break
        done = record.parsed.get("applied")
        if isinstance(done, str) and done.startswith(RIGHT):
            found[done if done in COLOURS else RIGHT] += 1
    return found


def _stacked(shares: Mapping[str, Shares], palette: Palette) -> Spec:
    """A stacked bar a model."""
    colours = COLOURS | {OTHER: palette.muted}
    drawn = [kind for kind in colours if any(kind in own for own in shares.values())]
    values = [
        {"row": name, "kind": kind, "order": drawn.index(kind), "share": 100 * share, "text": f"{100 * share:.1f} %"}
        for name, own in shares.items()
        for kind, share in own.items()
    ]
    x = vega.number(
        "share",
        stack="zero",
        scale={"domain": [0, 100], "nice": False},
        axis={"title": "answers, %", "tickCount": 5, "domain": False, "ticks": False, "grid": False},
    )
    scale = {"domain": drawn, "range": [colours[kind] for kind in drawn]}
    channels = {
        "x": x,
        "y": row_axis(list(shares)),
        "color": vega.name("kind", scale=scale, legend={"columns": 3}),
        "order": vega.number("order"),
        "tooltip": [vega.name(field) for field in ("row", "kind", "text")],
    }
    stacked = vega.mark("bar", channels, values, height=2 * BAR - 4)
    return stacked | {"width": WIDTH, "height": 2 * BAR * len(shares)}
