"""Few-shot tasks by source of images: the factories that specs such as ``glyphs(ways=5,shots=1)`` name.

Each takes the source's own arguments and those of `few_shot`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from .choosing import leave_out_unreadable, limit_classes, with_possible_ways
from .cub import cub
from .digits import digits
from .domainnet import domainnet
from .episodes import Manifest
from .folders import image_folder
from .glyphs import glyphs
from .hub import hf_images
from .meta_dataset import meta_dataset
from .mini_imagenet import mini_imagenet
from .omniglot import omniglot
from .protocol import Protocol
from .splits import image_csv, image_json
from .task import FewShot
from .tiered_imagenet import tiered_imagenet

if TYPE_CHECKING:
    from collections.abc import Callable

    from .images import ImageSet

_PROTOCOL = ("ways", "shots", "queries", "episodes")
_OWN: dict[str, Any] = dict.fromkeys((*_PROTOCOL, "manifest", "classes")) | {
    "class_order": "random",
    "reduce_ways": False,
    "skip_unreadable": False,
    "centroid": "mean",
}


def few_shot(source: Callable[..., ImageSet]) -> Callable[..., FewShot]:
    """Make a task factory of a source of images: its signature is the source's, followed by these.

    - ``seed``: of the episodes, and of the images too if the source draws them.
    - ``ways``, ``shots``, ``queries``, ``episodes``: see `Protocol`, whose defaults they have.
    - ``manifest``: a file of stored episodes to replay. What else is said of the protocol must be true of them.
    - ``classes``, ``class_order``: see `limit_classes`.
    - ``reduce_ways``: see `with_possible_ways`; else too few classes are an error.
    - ``skip_unreadable``: see `leave_out_unreadable`; else such an image ends the run when a model is shown it.
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
        seed = values["seed"]
        if values["classes"] is not None:
            images = limit_classes(images, values["classes"], order=values["class_order"], seed=seed)
        if values["skip_unreadable"]:
            images = leave_out_unreadable(images)
        protocol = stored.protocol if stored else Protocol(**asked)
        if values["reduce_ways"] and not stored:
            images, protocol = with_possible_ways(images, protocol)
        return FewShot(images, protocol, seed=seed, manifest=stored, centroid=values["centroid"])

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
mini_imagenet_task = few_shot(mini_imagenet)
tiered_imagenet_task = few_shot(tiered_imagenet)
domainnet_task = few_shot(domainnet)
omniglot_task = few_shot(omniglot)
cub_task = few_shot(cub)
meta_dataset_task = few_shot(meta_dataset)
