"""Few-shot tasks by source of images: the factories that specs such as ``glyphs(ways=5,shots=1)`` name.

Each takes the source's own arguments and those of `few_shot`, or of `zero_shot` if its name begins with ``zero-shot-``.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from ...harness.errors import UserError
from .choosing import leave_out_unreadable, limit_classes, with_possible_ways
from .class_names import prompt_names
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
from .prompt_templates import prompt_templates
from .protocol import Protocol, zero_shot_card
from .splits import image_csv, image_json
from .task import FewShot
from .tiered_imagenet import tiered_imagenet
from .zero_shot import ZeroShot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...harness.cards import TaskCard
    from .images import ImageSet

_PROTOCOL = ("ways", "shots", "queries", "episodes")
_CHOICE: dict[str, Any] = {"seed": 0, "classes": None, "class_order": "random", "skip_unreadable": False}
_FEW_SHOT = dict.fromkeys((*_PROTOCOL, "manifest")) | _CHOICE | {"reduce_ways": False, "centroid": "mean"}
_ZERO_SHOT = dict.fromkeys(("ways", "queries", "episodes", "manifest")) | _CHOICE | {"names": "", "templates": "clip"}
_KINDS = {str: "text in double quotes", int: "a whole number", bool: "true or false"}


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
    return _factory(source, _FEW_SHOT, _few_shot)


def _few_shot(images: Callable[[], ImageSet], values: Mapping[str, Any]) -> FewShot:
    asked, stored = _episodes(values)
    found, protocol = images(), stored.protocol if stored else Protocol(**asked)
    if values["reduce_ways"] and not stored:
        found, protocol = with_possible_ways(found, protocol)
    return FewShot(found, protocol, seed=values["seed"], manifest=stored, centroid=values["centroid"])


def zero_shot(source: Callable[..., ImageSet]) -> Callable[..., ZeroShot]:
    """Make a factory of `ZeroShot` of a source of images: its signature is the source's, followed by these.

    - ``ways``: classes of an episode. Without it and a manifest, images are classified among all classes.
    - ``queries``, ``episodes``: of each class, 1; how many, 1500.
    - ``manifest``: as for `few_shot`; the queries of its episodes are classified.
    - ``seed``, ``classes``, ``class_order``, ``skip_unreadable``: as for `few_shot`.
    - ``names``: a file of what classes are called; see `prompt_names`.
    - ``templates``: see `prompt_templates`.
    """
    factory = _factory(source, _ZERO_SHOT, functools.partial(_zero_shot, source.__name__.replace("_", "-")))

    def card_for(**arguments: Any) -> TaskCard:
        """Return the card, without looking at any image."""
        given = inspect.signature(factory).bind(**arguments)
        given.apply_defaults()
        return zero_shot_card(source.__name__.replace("_", "-"), _zero_shot_protocol(given.arguments)[0])

    factory.card_for = card_for  # type: ignore[attr-defined]
    return factory


def _zero_shot(where: str, images: Callable[[], ImageSet], values: Mapping[str, Any]) -> ZeroShot:
    templates = prompt_templates(values["templates"], where=where)
    protocol, stored = _zero_shot_protocol(values)
    found = images()
    names = prompt_names(found.classes, names=values["names"], where=where)
    return ZeroShot(found, names, templates, protocol, seed=values["seed"], manifest=stored)


def _zero_shot_protocol(values: Mapping[str, Any]) -> tuple[Protocol | None, Manifest | None]:
    asked, stored = _episodes(values)
    if stored:
        return stored.protocol, stored
    if asked and "ways" not in asked:
        raise UserError(f"{next(iter(asked))}= is of episodes", where="episodes", todo="say ways= too")
    return Protocol(**{"shots": 0, "queries": 1} | asked) if asked else None, None


_T = TypeVar("_T")


def _factory(
    source: Callable[..., ImageSet],
    options: Mapping[str, Any],
    build: Callable[[Callable[[], ImageSet], Mapping[str, Any]], _T],
) -> Callable[..., _T]:
    """Make a task factory whose signature is the source's, followed by options.

    Args:
        source: Of the images.
        options: With their defaults; ``seed`` is the source's if it has one.
        build: Makes the task, given what returns the images and the value of every option.
    """
    own = inspect.signature(source).parameters
    added = {name: value for name, value in options.items() if name not in own}
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=_kind(name, value))
        for name, value in added.items()
    ]
    signature = inspect.Signature([*own.values(), *keywords])

    @functools.wraps(source)
    def factory(*args: Any, **kwargs: Any) -> _T:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        values = given.arguments
        for name, value in values.items():
            _check(name, value, signature.parameters[name].default)
        return build(lambda: _chosen(source(**{name: values[name] for name in own}), values), values)

    factory.__signature__ = signature  # type: ignore[attr-defined]
    return factory


def _kind(name: str, default: Any) -> Any:
    """The type of an option."""
    return type(default) if default is not None else str | None if name == "manifest" else int | None


def _chosen(images: ImageSet, values: Mapping[str, Any]) -> ImageSet:
    """Those images of a source that take part."""
    if values["classes"] is not None:
        images = limit_classes(images, values["classes"], order=values["class_order"], seed=values["seed"])
    return leave_out_unreadable(images) if values["skip_unreadable"] else images


def _episodes(values: Mapping[str, Any]) -> tuple[dict[str, int], Manifest | None]:
    """What is said of the protocol, and the stored episodes if there are any."""
    asked = {name: values[name] for name in _PROTOCOL if values.get(name) is not None}
    return asked, None if values["manifest"] is None else _stored(values["manifest"], asked)


def _check(name: str, value: Any, default: Any) -> None:
    """Refuse a value that is of another kind than the default; an argument without one is a text."""
    kind = str if default is inspect.Parameter.empty else type(default)
    if kind in _KINDS and type(value) is not kind:
        raise UserError(f"{name}={value!r} is not {_KINDS[kind]}", todo=f"change {name}")


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

zero_shot_glyphs_task = zero_shot(glyphs)
zero_shot_digits_task = zero_shot(digits)
zero_shot_image_folder_task = zero_shot(image_folder)
zero_shot_image_csv_task = zero_shot(image_csv)
zero_shot_image_json_task = zero_shot(image_json)
zero_shot_hf_images_task = zero_shot(hf_images)
zero_shot_mini_imagenet_task = zero_shot(mini_imagenet)
zero_shot_tiered_imagenet_task = zero_shot(tiered_imagenet)
zero_shot_domainnet_task = zero_shot(domainnet)
zero_shot_omniglot_task = zero_shot(omniglot)
zero_shot_cub_task = zero_shot(cub)
zero_shot_meta_dataset_task = zero_shot(meta_dataset)
