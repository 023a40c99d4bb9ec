"""Prompts that methods are fitted to, and the models that they are fitted for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness.contracts import Prompt
from ...harness.errors import UserError
from ...harness.identity import BoundModel
from ...harness.planned_models import plan_model
from ...harness.plugins import load_plugins
from ...harness.specs import parse
from ..reference.tiny_llava_recipe import draw_scenes

if TYPE_CHECKING:
    from ...adapters.transformers_multimodal import HFMultimodal


def load_base(text: str) -> HFMultimodal:
    """Load a model whose decoder can be steered by its spec, which has no methods.

    Raises:
        UserError: It cannot, or it has.
    """
    from ...adapters.transformers_multimodal import HFMultimodal

    spec = parse(text)
    if spec.methods:
        raise UserError("a method is fitted to a model without methods", where=f"base {text}", todo=f"name {spec.base}")
    planned = plan_model(load_plugins().registry, spec)
    model: Any = BoundModel(planned, planned.bind(seed=0, device="cpu")).load()
    if not isinstance(model, HFMultimodal):
        what = "only a LLaVA, Qwen-VL or InternVL can be fitted to"
        raise UserError(what, where=f"base {text}", todo="name one: tiny-llava")
    return model


def calibration(data: str, images: str, out: Path, samples: int, seed: int) -> list[Prompt]:
    """Return the first questions of records that a seed draws, with their images.

    Args:
        data: A JSON file in LLaVA's format, or a folder with ``instruct.json``; empty to draw scenes of ``shapes``.
        images: The folder that paths of images start from; empty for that of the file.
        out: Where scenes are drawn.
        samples: How many.
        seed: Of the draw.

    Raises:
        UserError: There are not as many records with an image, or they cannot be read.
    """
    import numpy as np

    from ..adaptive.training_data import Source, turns

    if samples < 1:
        raise UserError(f"samples={samples} is not a positive number", todo="give 1 or more")
    path = Path(data).expanduser() if data else out / f"data-{samples}-{seed}"
    if not data:
        draw_scenes(path, samples, seed)
    file = path / "instruct.json" if path.is_dir() else path
    source = Source(file, Path(images).expanduser() if images else file.parent)
    records = [record for record in source.records() if record.get("image")]
    if len(records) < samples:
        raise UserError(f"{len(records)} records have an image", where=str(file), todo=f"give samples={len(records)}")
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(records))[:samples]
    prompts = []
    for place in drawn.tolist():
        shown = source.image(records[place])
        prompts.append(Prompt(turns(records[place])[0][0], (shown,) if shown else (), max_new_tokens=1))
    return prompts
