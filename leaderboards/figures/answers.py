"""A sample's image, its question, and the answers at several budgets (dissertation, Tables C.5 to C.7)."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from ...harness.errors import UserError
from ...harness.figures import load_question, planned
from ...harness.texts import printable
from .. import vega, wording
from ..offline import data_url
from .cells import BUDGETS, one_section, record, sections
from .files import page, render
from .panels import Drawing, Panel
from .rebuilt import image_chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.contracts import Json, Record
    from ...harness.outputs import FigureRequest
    from ..charts import Palette
    from ..ranking import Section, Standing
    from ..vega import Spec

_SIDE, _TEXT = 240, 560
_LETTERS, _LINES = 84, 12
_LINE, _GAP = 16, 14


class Said(NamedTuple):
    """One model's answer: what is known of its score, and what it cost."""

    name: str
    text: str
    score: str
    cost: str


class Question(NamedTuple):
    """What a sample asks, with its image as a data URL; without one the text is empty."""

    sample: str
    text: str
    target: str
    image: str


def answers(request: FigureRequest) -> str | bytes:
    """Show them: a page with texts that can be copied, or an image in which long answers are cut.

    Args:
        request: One task and the ``sample``; default the first one whose answers differ from budget to budget.

    Raises:
        UserError: The task is not said, there is only one answer, or the task's data cannot be read here or is not what
            it was in the run.
    """
    section = one_section(sections(request), "answers")
    cells = sorted(section.standings, key=lambda s: (s.row.result.cell.model, -s.row.result.cell.budget))
    if len(cells) < 2:
        raise UserError(f"there is one answer only, of {cells[0].name}", where="answers", todo=BUDGETS)
    name = _telling(cells) if request.sample is None else request.sample
    found = [(cell, record(cell, name)) for cell in cells]
    question = _question(request, *found[0])
    said = [Said(cell.name, _text(one.output), _score(section, one), _cost(one)) for cell, one in found]
    title = f"{section.title}, {question.sample}"
    if request.form == ".html":
        return page(Drawing(title, []), "answers.html.j2", question=question, answers=said)
    return render(Drawing(title, _panels(question, said)), request.form)


def _telling(cells: Sequence[Standing]) -> str | None:
    """The first sample whose answers differ; ``None`` if there is none."""
    for records in zip(*(cell.row.journal.records() for cell in cells), strict=False):
        if not records[0].fault and len({_text(one.output) for one in records}) > 1:
            return str(records[0].sample)
    return None


def _question(request: FigureRequest, standing: Standing, found: Record) -> Question:
    """What the task asks; it is built again for it."""
    result = standing.row.result
    task, sample = load_question(planned(request.plugins.registry, result.cell), result, found)
    prompts = [task.inputs[position].load() for position in sample.inputs]
    text = "\n".join(dict.fromkeys(prompt.text.strip() for prompt in prompts))
    images = [image for prompt in prompts for image in prompt.images]
    return Question(sample.id, text, _text(sample.target), data_url(images[0]) if images else "")


def _text(output: Json) -> str:
    """An output as text; several answers each on a line, and what no file may hold replaced."""
    if isinstance(output, list) and all(isinstance(one, str) for one in output):
        output = "\n".join(output)
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    return printable(text)


def _score(section: Section, found: Record) -> str:
    if found.scores is None:
        return f"not scored: {found.fault}" if found.fault else "not scored"
    metric = section.metric
    value = wording.scale(metric) * found.scores[metric.name]
    return f"{metric.name} {value:.4g} {metric.unit}".rstrip()


def _cost(found: Record) -> str:
    flops = [cost.flops for cost in found.costs if cost.flops is not None]
    return wording.si(sum(flops), "FLOP") if flops else ""


def _panels(question: Question, said: Sequence[Said]) -> list[Panel]:
    """The image, and the texts beside it."""
    target = f"Expected: {question.target}"
    blocks = [
        _Block("", question.text, "ink"),
        _Block("", target, "muted"),
        *(
            _Block(" · ".join(filter(None, (one.name, one.score, one.cost))), one.text or "(nothing)", "ink")
            for one in said
        ),
    ]
    texts = Panel("", lambda palette: _column(blocks, palette), "", _TEXT, grows=False)
    if not question.image:
        return [texts]
    return [Panel("", lambda _: image_chart(question.image, (_SIDE, _SIDE)), "", _SIDE, grows=False), texts]


class _Block(NamedTuple):
    head: str
    text: str
    colour: str

    def lines(self) -> list[str]:
        """The text in lines that fit, the rest cut."""
        lines = [part for line in self.text.splitlines() for part in textwrap.wrap(line, _LETTERS) or [""]]
        return lines if len(lines) <= _LINES else [*lines[: _LINES - 1], "…"]


def _column(blocks: Sequence[_Block], palette: Palette) -> Spec:
    """Blocks of text, one below the other."""
    values: list[Spec] = []
    top = float(_LINE)
    for block in blocks:
        if block.head:
            values.append({"y": top, "text": block.head, "colour": palette.muted, "size": 11})
            top += _LINE
        for line in block.lines():
            values.append({"y": top, "text": line, "colour": getattr(palette, block.colour), "size": 13})
            top += _LINE
        top += _GAP
    channels = {
        "y": vega.number("y", scale={"domain": [top, 0], "nice": False, "zero": False}, axis=None),
        "text": vega.name("text"),
        "color": vega.name("colour", scale=None),
        "size": vega.number("size", scale=None),
    }
    texts = vega.mark("text", channels, values, align="left", baseline="bottom", x=0)
    return texts | {"width": _TEXT, "height": top}
