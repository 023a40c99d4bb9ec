"""Which visual tokens of a sample's image each model keeps, drawn over the image, stage by stage.

The models of a task are built again for it, one after the other, and each runs one prefill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UserError
from ...harness.figures import TellsKept
from ...harness.specs import parse
from .. import wording
from ..families import by_model
from .cells import one_section, sections
from .files import render
from .panels import Drawing
from .rebuilt import image_panel, rebuilt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

    from ...harness.contracts import Prompt
    from ...harness.figures import BoolArray, KeptTokens, Stage
    from ...harness.outputs import FigureRequest
    from .panels import Panel

_PIXELS, _COLUMNS = 320, 6
_QUESTION = 90
_DIMMED, _PALE = 0.8, 236
"""How much of a patch that was dropped is covered, and the grey that covers it."""


def kept(request: FigureRequest) -> str | bytes:
    """Draw it: the image, then for each model what enters its decoder, and what is left after each stage there.

    Args:
        request: One task, and the ``sample``; default the first. Where a sample asks several questions, the first of
            them counts. Of several budgets of a model the highest is taken. Models that cannot tell are left out.

    Raises:
        UserError: The task is not said, no model can tell what it keeps, the sample has not one image, or its question
            is not what it was in the run.
    """
    section = one_section(sections(request, unranked=True), "kept")
    bases = {str(parse(standing.row.result.cell.model).base) for standing in section.standings}
    shared = f"{bases.pop()}+" if len(bases) == 1 else ""
    panels: list[Panel] = []
    left_out: list[str] = []
    for cells in by_model(section.standings).values():
        standing = cells[-1]
        model, (prompt, *_), sample, note = rebuilt(request, standing)
        try:
            told = _ask(model, prompt)
        except UserError as error:
            left_out.append(f"{standing.name}: {error.what}")
            continue
        panels += _panels(standing.name.removeprefix(shared), told, note)
    if not panels:
        raise UserError("; ".join(left_out), where="kept", todo="choose another --model")
    question = wording.shown(prompt.text.strip().partition("\n")[0], _QUESTION)
    caption = " ".join([question, *(["Left out:", f"{'; '.join(left_out)}."] if left_out else [])])
    title = f"Visual tokens that are kept: {section.title}, {sample}"
    image = image_panel("Image", caption, prompt.images[0])
    return render(Drawing(title, [image, *panels], columns=_COLUMNS), request.form)


def _ask(model: object, prompt: Prompt) -> KeptTokens:
    if not isinstance(model, TellsKept):
        raise UserError("it does not tell which tokens it keeps")
    return model.kept(prompt)


def _panels(name: str, told: KeptTokens, note: str) -> Iterator[Panel]:
    """A panel for each stage of a model, the first one with the note."""
    for stage in told.stages:
        after, more = (f" after {wording.counted(stage.block, 'block')}", "") if stage.block else ("", note)
        yield image_panel(f"{name}{after}", f"{_count(stage)}. {more}".rstrip(), dimmed(told.image, stage.kept))


def _count(stage: Stage) -> str:
    """In words, such as "15 of 64 tokens, and 1 merged or added"."""
    own = f"{int(stage.kept.sum()):,} of {wording.counted(stage.kept.size, 'token')}"
    return f"{own}, and {stage.other:,} merged or added" if stage.other else own


def dimmed(image: Image, kept: BoolArray) -> Image:
    """An image that is pale where its tokens were dropped.

    Args:
        image: Of any size; it is scaled so that its longer side has a fixed number of pixels.
        kept: bool [rows, columns].
    """
    from PIL import Image as Pillow

    scale = _PIXELS / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    base = np.asarray(image.convert("RGB").resize(size), dtype=np.float64)
    mask = Pillow.fromarray(np.where(kept, 0, 255).astype(np.uint8)).resize(size, Pillow.Resampling.NEAREST)
    cover = _DIMMED * np.asarray(mask, dtype=np.float64)[..., None] / 255
    return Pillow.fromarray(((1 - cover) * base + cover * _PALE).round().astype(np.uint8))
