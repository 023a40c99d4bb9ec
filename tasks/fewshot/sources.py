"""Few-shot tasks by source of images: the factories that specs such as ``glyphs(ways=5,shots=1)`` name.

Each takes the source's own arguments and those of `few_shot`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from .digits import digits
from .episodes import Manifest
from .folders import image_folder
from .glyphs import glyphs
from .hub import hf_images
from .protocol import Protocol
from .splits import image_csv, image_json
from .task import FewShot

if TYPE_CHECKING:
    from collections.abc import Callable

    from .images import ImageSet

_PROTOCOL = ("ways", "shots", "queries", "episodes")
_OWN: dict[str, Any] = dict.fromkeys((*_PROTOCOL, "manifest")) | {"centroid": "mean"}


def few_shot(source: Callable[..., ImageSet]) -> Callable[..., FewShot]:
    """Make a task factory of a source of images: its signature is the source's, followed by these.

    - ``seed``: of the episodes, and of the images too if the source draws them.
    - ``ways``, ``shots``, ``queries``, ``episodes``: see `Protocol`, whose defaults they have.
    - ``manifest``: a file of stored episodes to replay. What else is said of the protocol must be true of them.
    - ``centroid``: see `predict`.
    """
    own = inspect.signature(source).parameters
    added = _OWN if "seed" in own else {"seed": 0} | _OWN
    options = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in added.items()]
    signature = inspect.Signature([*own.values(), *options])

    @functools.wraps(source)
    def factory(*args: Any, **kwargs: Any) -> FewShot:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        values = given.arguments
        asked = {name: values[name] for name in _PROTOCOL if values[name] is not None}
        stored = _stored(values["manifest"], asked) if values["manifest"] is not None else None
        images = source(**{name: values[name] for name in own})
        protocol = stored.protocol if stored else Protocol(**asked)
        return FewShot(images, protocol, seed=values["seed"], manifest=stored, centroid=values["centroid"])

    factory.__signature__ = signature  # type: ignore[attr-defined]
    return factory


def _stored(path: str, asked: dict[str, int]) -> Manifest:
    manifest = Manifest.read(path)
    for name, value in asked.items():
        has = getattr(manifest.protocol, name)
        if has != value:
            raise UserError(f"its episodes have {name}={has}, not {value}", where=path, todo=f"do not ask for {name}")
    return manifest


glyphs_task = few_shot(glyphs)
digits_task = few_shot(digits)
image_folder_task = few_shot(image_folder)
image_csv_task = few_shot(image_csv)
image_json_task = few_shot(image_json)
hf_images_task = few_shot(hf_images)
