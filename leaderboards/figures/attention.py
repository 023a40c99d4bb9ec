"""What the last token of a prompt attends to in the image, block by block (dissertation, Figs. 5.4 and C.6 to C.8).

With a latency token that is the last one; else the last token of the question is. The model of a cell is built again
for it and runs one prefill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UserError
from ...harness.figures import Attentive
from ..wording import shown
from .cells import one_section, sections
from .files import render
from .panels import Drawing
from .rebuilt import image_panel, rebuilt

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...harness.contracts import FloatArray, Prompt
    from ...harness.figures import AttentionMaps
    from ...harness.outputs import FigureRequest
    from ..ranking import Section, Standing
    from .panels import Panel

_PIXELS, _COLUMNS = 288, 6
_QUESTION = 90
_VEIL = 0.62
"""How much of the image a map covers."""
_HEAT = np.array([(20, 11, 53), (87, 15, 109), (187, 55, 84), (249, 142, 8), (252, 255, 164)], dtype=np.float64)
"""From the least to the most, in equal steps."""
_DROPPED = (128, 128, 128)


def attention(request: FigureRequest) -> str | bytes:
    """Draw it: the image, then a map over it for each block.

    Args:
        request: One task, one model, and the ``sample``; default the first. Of several budgets the highest is taken,
            since a block that runs in parts has no attention to be read.

    Raises:
        UserError: Task or model are not said, the model cannot tell its attention, the sample has no single image, or
            its question is not what it was in the run.
    """
    section = one_section(sections(request, unranked=True), "attention")
    standing = _one_model(section)
    model, prompts, sample, note = rebuilt(request, standing)
    if not isinstance(model, Attentive):
        raise UserError(
            f"model {standing.name} does not tell what it attends to", where="attention", todo="choose another --model"
        )
    read = [(prompt, model.attention(prompt)) for prompt in prompts]
    panels = [panel for prompt, maps in read for panel in _panels(prompt, maps, note)]
    title = f"What {read[0][1].token} attends to: {standing.name} on {section.title}, {sample}"
    return render(Drawing(title, panels, columns=_COLUMNS), request.form)


def _one_model(section: Section) -> Standing:
    """The only model, at its highest budget."""
    models = sorted({standing.row.result.cell.model for standing in section.standings})
    if len(models) > 1:
        raise UserError(
            f"the figure 'attention' is of one model, and there are {', '.join(models)}", todo="give --model"
        )
    return max(section.standings, key=lambda standing: standing.row.result.cell.budget)


def _panels(prompt: Prompt, maps: AttentionMaps, note: str) -> list[Panel]:
    """The image with its question, then each block."""
    question = shown(prompt.text.strip().partition("\n")[0], _QUESTION)
    panels = [image_panel("Image", f"{question} {note}".rstrip(), maps.image)]
    for block, grid in zip(maps.blocks, maps.maps, strict=True):
        last = maps.split is not None and block == maps.split - 1
        share = f"{100 * float(np.nansum(grid)):.1f} % on the image"
        caption = f"{share}. The last block before the plan." if last else share
        panels.append(image_panel(f"Block {block}", caption, veiled(maps.image, grid)))
    return panels


def veiled(image: Image, grid: FloatArray) -> Image:
    """An image under a heat map.

    Args:
        image: Square.
        grid: Attention to each patch [rows, columns], relative to its highest; where it is NaN, the patch was dropped
            and the image is grey.
    """
    from PIL import Image as Pillow

    base = np.asarray(image.convert("RGB").resize((_PIXELS, _PIXELS)), dtype=np.float64)
    heat = np.nan_to_num(grid / (np.nanmax(grid) or 1.0))
    steps = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(heat, steps, _HEAT[:, channel]) for channel in range(3)], axis=-1)
    colours[~np.isfinite(grid)] = _DROPPED
    patches = Pillow.fromarray(colours.round().astype(np.uint8)).resize((_PIXELS, _PIXELS), Pillow.Resampling.NEAREST)
    mixed = (1 - _VEIL) * base + _VEIL * np.asarray(patches, dtype=np.float64)
    return Pillow.fromarray(mixed.round().astype(np.uint8))
