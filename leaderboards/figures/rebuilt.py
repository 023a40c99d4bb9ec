"""A cell's model and a sample's prompts, built again for figures of what a model does with an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...harness.errors import UserError
from ...harness.figures import is_as_it_was, load_model, load_question, planned
from .. import vega
from ..offline import data_url
from .cells import record
from .panels import Panel

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...harness.contracts import Prompt
    from ...harness.outputs import FigureRequest
    from ..ranking import Standing
    from ..vega import Spec

SIDE = 180
"""Of a panel with an image, in pixels."""
_CHANGED = "Drawn with other weights, settings or code than the run's, or with what cannot be compared."


class Rebuilt(NamedTuple):
    """What is there again of a cell.

    Attributes:
        model: Of the cell.
        prompts: Of the sample, each with one image.
        sample: Its id.
        note: What a reader must know, if the model is another than the run's; else empty.
    """

    model: Any
    prompts: list[Prompt]
    sample: str
    note: str


def rebuilt(request: FigureRequest, standing: Standing) -> Rebuilt:
    """Build the model of a cell and the prompts of the sample that is asked for, or of the first one.

    Raises:
        UserError: The sample does not show one image, or its question is not what it was in the run.
    """
    result = standing.row.result
    cell = planned(request.plugins.registry, result.cell)
    task, sample = load_question(cell, result, record(standing, request.sample))
    prompts: list[Prompt] = [task.inputs[position].own() for position in sample.inputs]
    if any(len(prompt.images) != 1 for prompt in prompts):
        where = str(result.cell.task)
        raise UserError(f"sample {sample.id} has not one image", where=where, todo="choose another with --sample")
    model = load_model(cell)
    return Rebuilt(model, prompts, sample.id, "" if is_as_it_was(cell, task, result) else _CHANGED)


def image_panel(title: str, caption: str, image: Image) -> Panel:
    """A panel with an image."""
    url = data_url(image)
    return Panel(title, lambda _: image_chart(url, (SIDE, SIDE)), caption, SIDE, grows=False)


def image_chart(url: str, size: tuple[int, int]) -> Spec:
    """An image as a chart of that width and height; it keeps its proportions."""
    width, height = size
    channels = {"x": {"value": width / 2}, "y": {"value": height / 2}, "url": vega.name("url")}
    drawn = vega.mark("image", channels, [{"url": url}], width=width, height=height, aria=False)
    return drawn | {"width": width, "height": height}
