"""From a size that is asked to the options of a method, which become part of the spec: it alone says what is run.

A method says what its options are for a share of the visual tokens (`Method.sized`). Which share meets the size is
found by bisection on what methods leave of a prompt's work, which is also what `adaptbench cost` prices. So none of
the meanings of "192 tokens" needs a rule of its own.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .abilities import Described
from .errors import UserError
from .faults import blamed_on
from .measure.architecture import NoClosedForm, read_architecture
from .measure.closed_form import COUNTED
from .measure.work import Work
from .methods import readable
from .planned_models import plan_methods, what_is_left

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .planned_models import PlannedMethod
    from .registry import Registry
    from .sizes import Size
    from .specs import Call, Spec, Value
    from .transformer import Architecture, Vision

_STEPS = 2**16
"""Shares that are told apart; finer than the tokens of any image."""


@dataclass(frozen=True, slots=True)
class Sized:
    """A spec, at a size if it has one method whose size can be set.

    Attributes:
        spec: It says the method's size.
        size: What was asked; ``None`` if nothing can be set.
        met: How much of it is met, by the closed form.
    """

    spec: Spec
    size: Size | None = None
    met: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"model": str(self.spec), "met": self.met} | (asdict(self.size) if self.size else {})

    def __str__(self) -> str:
        return f"{self.spec}: {self.size.held_against(self.met)}" if self.size else str(self.spec)


def model_at_sizes(
    registry: Registry,
    spec: Spec,
    sizes: Sequence[Size],
    architecture_of: Callable[[Call, int | None, bool], Architecture],
) -> list[Sized]:
    """Return a registered model's spec at each size; see `at_sizes`.

    Args:
        registry: Where its names are looked up.
        spec: The model spec.
        sizes: What is asked.
        architecture_of: `base_architecture`, which may remember what it was asked.

    Raises:
        UserError: As `at_sizes` and `base_architecture`.
    """
    entry = registry.find("model", spec.base.name)
    methods = plan_methods(registry, spec, entry.card.offers, entry.factory() if spec.methods else None)

    def whole(size: Size) -> Work:
        architecture = architecture_of(spec.base, size.visual_tokens, size.is_flops)
        return Work.whole(architecture, text_tokens=size.text_tokens)

    return at_sizes(spec, methods, sizes, whole)


def base_architecture(registry: Registry, base: Call, visual: int | None, is_flops: bool) -> Architecture:
    """Return the architecture of a registered model.

    Args:
        registry: Where it is looked up.
        base: As the spec calls it.
        visual: Visual tokens of an image, where its size says how many there are: in models without a closed form.
        is_flops: Whether FLOPs are asked, which need a closed form.

    Raises:
        UserError: The model does not tell its architecture, or the number or the closed form is needed.
    """
    entry = registry.find("model", base.name)
    factory: Any = entry.factory()
    if not isinstance(factory, Described):
        todo = "give the sizes of methods in the spec"
        raise UserError("it does not tell its architecture", where=f"model {base}", todo=todo)
    blueprint = factory.blueprint(**entry.bind(base, seed=0, device="cpu"))
    try:
        return read_architecture(blueprint.config)
    except NoClosedForm as error:
        where = f"model {base}"
        if is_flops:
            todo = "ask for tokens instead, such as --tokens 16"
            raise UserError("its FLOPs depend on the image's size", where=where, todo=todo) from error
        if visual is None:
            what = "how many visual tokens an image has depends on its size"
            raise UserError(what, where=where, todo="say how many: --visual-tokens 64") from error
        outline = blueprint.traced.outline()
        return replace(outline, vision=outline.vision and _shown(outline.vision, visual), visual_tokens=visual)


def _shown(tower: Vision, tokens: int) -> Vision:
    """A tower that is shown an image with a number of visual tokens: in full views and the rest, if it reads views."""
    if not tower.views:
        return replace(tower, patches=max(tower.patches, tokens))
    full, rest = divmod(tokens, tower.patches)
    views = (*[tower.patches] * full, *[rest] * bool(rest))
    return replace(tower, views=views, tiles=len(views))


def at_sizes(
    spec: Spec, methods: Sequence[PlannedMethod], sizes: Sequence[Size], whole: Callable[[Size], Work]
) -> list[Sized]:
    """Return a spec at each size; as it is, if no method of it has options that say one.

    Of tokens the nearest number is taken that can be met, of FLOPs the largest that is not above. Everything that a
    budget is a share of is on.

    Args:
        spec: The model spec.
        methods: Its methods, in its order.
        sizes: What is asked.
        whole: The work of the prompt that a size means.

    Raises:
        UserError: A size cannot be met, the spec says another one, or two of its methods are open.
    """
    sized = [place for place, one in enumerate(methods) if one.method.size_options]
    still_open = [place for place in sized if not _said(methods[place])]
    places = still_open or sized
    if len(places) > 1:
        names = " and ".join(methods[place].entry.name for place in places)
        todo = "give the size of all but one of them in the spec, and leave that one's out"
        raise UserError(f"which of {names} has to meet the size is not known", where=f"model spec '{spec}'", todo=todo)
    if not places:
        return [Sized(spec)]
    on = [replace(one, method=one.method.switched_on()) for one in methods]
    found = [_at_size(spec, on, places[0], size, whole(size)) for size in sizes]
    return list({str(one.spec): one for one in found}.values())


def check_sized(found: Sequence[Sized], sizes: Sequence[Size]) -> None:
    """Refuse sizes that mean nothing to any model.

    Raises:
        UserError: Sizes are asked, and nothing is at one.
    """
    if sizes and not found:
        what = "no model here has a method that can be told how many visual tokens to leave"
        where = ", ".join(f"{one.name} {one.amount:g}" for one in sizes)
        raise UserError(what, where=where, todo="leave it out, or add such a model: tiny-llava+divprune")


def _said(planned: PlannedMethod) -> dict[str, Value]:
    """What the user said of a method's size."""
    return {name: value for name, value in planned.call.args if name in planned.method.size_options}


def _at_size(spec: Spec, methods: Sequence[PlannedMethod], place: int, size: Size, whole: Work) -> Sized:
    asked, where = methods[place], f"model {spec}, method {methods[place].call}"
    given = whole.image_tokens if asked.method.stage == "vision" else whole.visual_tokens
    base = _flops(whole) if size.is_flops else 0

    def options(step: int) -> dict[str, Value]:
        with blamed_on("its options for a size", where):
            return dict(asked.method.sized(step / _STEPS, given, whole.language[0].layers))

    @functools.cache
    def met(step: int) -> float:
        """What is left at a share; less than nothing where the method cannot leave so little."""
        changed = [*methods]
        try:
            changed[place] = _with_options(asked, options(step))
            return _amount(size, what_is_left(changed, whole), base)
        except UserError:
            if step == _STEPS:  # it does not suit the model
                raise
            return -inf

    step = _nearest(size, met, where)
    found = options(step)
    for name, value in _said(asked).items():
        if getattr(asked.method, name) != found.get(name):
            takes = ", ".join(f"{name}={value}" for name, value in found.items())
            what = f"{name}={value} is given, and {size.told(size.amount)} take {takes}"
            raise UserError(what, where=where, todo="leave one of the two out")
    calls = [*spec.methods]
    calls[place] = replace(asked.call, args=tuple((dict(asked.call.args) | found).items()))
    return Sized(replace(spec, methods=tuple(calls)), size, met(step))


def _nearest(size: Size, met: Callable[[int], float], where: str) -> int:
    """Return the step at which what is met is nearest to what is asked; of FLOPs, the last one not above."""
    most = met(_STEPS)
    beyond = bisect_right if size.is_flops else bisect_left  # the first step that is above it, or that meets it
    first = beyond(range(1, _STEPS + 1), size.amount, key=met) + 1
    steps = [step for step in (first - 1, first) if 1 <= step <= _STEPS and met(step) > -inf]
    least = met(steps[0])
    if size.amount < least:
        what = f"it cannot meet {size.amount:g}: the least is {size.told(least)}"
        raise UserError(what, where=where, todo="ask for more, or by another measure")
    if size.amount > most and not size.is_flops:
        what = f"it cannot meet {size.amount:g}: the most is {size.told(most)}"
        raise UserError(what, where=where, todo="ask for fewer")
    return steps[0] if size.is_flops else min(steps, key=lambda step: abs(met(step) - size.amount))


def _with_options(planned: PlannedMethod, options: Mapping[str, Value]) -> PlannedMethod:
    """The method with other options, checked."""
    kind = type(planned.method)
    try:
        others = planned.method.model_dump(exclude_unset=True, exclude={*kind.size_options})
        return replace(planned, method=kind.model_validate({**others, **options}))
    except ValidationError as error:
        raise readable(error, kind, f"method {planned.call}") from error


def _amount(size: Size, work: Work, base: int) -> float:
    """How much of what is counted is left of a prompt's work, whose FLOPs were ``base``."""
    if size.is_flops:
        return _flops(work) / base
    if size.measure == "tokens":
        return work.visual_tokens
    stack, execution = work.language
    read = {layer.layer: layer.tokens - work.text_tokens for layer in execution.layers}
    return read.get(stack.layers - 1, 0) if size.measure == "end_tokens" else sum(read.values()) / stack.layers


def _flops(work: Work) -> int:
    return sum(one.flops for one in work.operators(COUNTED))
