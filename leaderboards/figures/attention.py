"""What the last token of a prompt attends to in the image, block by block (dissertation, Figs. 5.4 and C.6 to C.8).

With a latency token that is the last one; else the last token of the question is. The model of a cell is built again
for it and runs one prefill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...harness.errors import UserError
from ...harness.figures import Attentive, is_as_it_was, load_model, load_question, planned
from .. import vega
from ..offline import data_url
from ..wording import shown
from .cells import one_section, record, sections
from .files import render
from .panels import Drawing, Panel

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...harness.contracts import FloatArray, Prompt
    from ...harness.figures import AttentionMaps
    from ...harness.outputs import FigureRequest
    from ..ranking import Section, Standing
    from ..vega import Spec

_CHANGED = "Drawn with other weights, settings or code than the run's, or with what cannot be compared."
_SIDE, _PIXELS, _COLUMNS = 180, 288, 6
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
    section = one_section(sections(request), "attention")
    standing = _one_model(section)
    found = record(standing, request.sample)
    cell = planned(request.plugins.registry, standing.row.result.cell)
    task, sample = load_question(cell, standing.row.result, found)
    prompts: list[Prompt] = [task.inputs[position].own() for position in sample.inputs]
    if any(len(prompt.images) != 1 for prompt in prompts):
        raise UserError(
            f"sample {sample.id} has not one image", where=section.title, todo="choose another with --sample"
        )
    model = load_model(cell)
    if not isinstance(model, Attentive):
        raise UserError(
            f"model {standing.name} does not tell what it attends to", where="attention", todo="choose another --model"
        )
    note = "" if is_as_it_was(cell, task, standing.row.result) else _CHANGED
    read = [(prompt, model.attention(prompt)) for prompt in prompts]
    panels = [panel for prompt, maps in read for panel in _panels(prompt, maps, note)]
    title = f"What {read[0][1].token} attends to: {standing.name} on {section.title}, {sample.id}"
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
    panels = [_panel("Image", f"{question} {note}".rstrip(), maps.image)]
    for block, grid in zip(maps.blocks, maps.maps, strict=True):
        last = maps.split is not None and block == maps.split - 1
        share = f"{100 * float(np.nansum(grid)):.1f} % on the image"
        caption = f"{share}. The last block before the plan." if last else share
        panels.append(_panel(f"Block {block}", caption, veiled(maps.image, grid)))
    return panels


def _panel(title: str, caption: str, image: Image) -> Panel:
    url = data_url(image)
    return Panel(title, lambda _: image_chart(url, (_SIDE, _SIDE)), caption, _SIDE, grows=False)


def image_chart(url: str, size: tuple[int, int]) -> Spec:
    """An image as a chart of that width and height; it keeps its proportions."""
    width, height = size
    channels = {"x": {"value": width / 2}, "y": {"value": height / 2}, "url": vega.name("url")}
    drawn = vega.mark("image", channels, [{"url": url}], width=width, height=height, aria=False)
    return drawn | {"width": width, "height": height}


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
