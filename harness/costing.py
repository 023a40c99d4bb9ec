"""What a model spec costs before it is built: from the spec to what is left of the work, FLOPs and predicted times.

A spec's base is a registered architecture, or a registered model that tells its own (`harness.abilities.Described`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .abilities import Described
from .errors import UserError
from .measure.architecture import NoClosedForm, read_architecture
from .measure.closed_form import CONVENTIONS, COUNTED, Convention, Operator, vision
from .measure.counting import Blueprint, Counter
from .measure.parallel import ONE, Cards
from .measure.roofline import BYTES, Accelerator, Precision, predict
from .measure.work import Memory, Work
from .planned_models import PlannedMethod, plan_methods, plan_model, what_is_left
from .sizing import Sized, at_sizes
from .specs import Call, Spec, did_you_mean, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from fractions import Fraction

    from .measure.traced_work import Traced
    from .registry import Registry
    from .results import Timing
    from .sizes import Size
    from .transformer import Architecture

PHASES = ("vision", "projector", "text", "encoder", "prefill", "head", "methods")

_IMAGES = 10_000
_MOST = 10**9
"""Prompts of a batch, and tokens of a prompt: what is beyond is a slip of the pen."""
_POSITIONS = ("max_position_embeddings", "n_positions")
_NO_DECODE = "a further token is not priced: how this model goes on from what it keeps is not known"
_TRACED = "there is no closed form: FLOPs and traffic are of the contractions that its modules run, attention in full"


@dataclass(frozen=True, slots=True)
class CostRequest:
    """What a cost is asked for.

    Attributes:
        text_tokens: Tokens of the prompt that are not visual.
        visual_tokens: Visual tokens that enter the language model; default all of the images.
        images: Images of each prompt.
        batch: Prompts per batch.
        cards: Accelerators that the language model is split over.
        precision: Of weights, activations, keys and values.
        convention: What the closed form counts.
        accelerators: Where time is predicted for.
    """

    text_tokens: int
    visual_tokens: int | None = None
    images: int = 1
    batch: int = 1
    cards: Cards = ONE
    precision: Precision = "fp16"
    convention: Convention = CONVENTIONS["default"]
    accelerators: tuple[Accelerator, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= _MOST:
            raise UserError(f"cannot make a batch of {self.batch} prompts", todo=f"give 1 to {_MOST:,}")
        if self.text_tokens > _MOST:
            raise UserError(f"no prompt has {self.text_tokens} tokens", todo=f"give at most {_MOST:,}")
        if not 0 <= self.images <= _IMAGES:
            raise UserError(f"cannot show {self.images} images in a prompt", todo=f"give 0 to {_IMAGES:,}")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one spec costs.

    Attributes:
        spec: Canonical text.
        work: What runs.
        flops: Phase -> FLOPs of one prompt by the closed form under the convention asked for.
        counted: The same by the counters on the real modules; ``None`` where only part of a layer runs.
        of_base: FLOPs as a share of the base model's, without any method.
        of_full: FLOPs as a share of the same model's with everything switched on.
        windowed: FLOPs of the prefill in a kernel that skips what lies outside of windows; ``None`` without windows.
        decode: FLOPs of one further token.
        memory: Bytes of weights, keys and values and one block's activations, for the batch, on the fullest card.
        parameters: Numbers of the base model's weights, all and those that one token meets; ``None`` if not known
            without building it.
        predicted: Accelerator -> part of the work (``vision``, ``projector``, ``prefill`` with the head, and ``token``,
            which is one further token) -> seconds for the batch.
        operators: What the FLOPs are the sum of.
    """

    spec: str
    work: Work
    flops: Mapping[str, int]
    counted: Mapping[str, int] | None
    of_base: float
    of_full: float
    windowed: int | None
    decode: int
    memory: Memory
    parameters: tuple[int, int] | None
    predicted: Mapping[str, Mapping[str, float]]
    operators: tuple[Operator, ...]


class Costing:
    """Costs of the variants of one architecture, which is built and traced once.

    Args:
        registry: Where architectures, models and methods are looked up.
        spec: Model spec.
        image_size: Pixels a side of every image, instead of the size that the config states.

    Raises:
        UserError: A name or an option is unknown, or methods do not go together or with the architecture, which reads
            no images perhaps.
    """

    def __init__(self, registry: Registry, spec: str, *, image_size: int | None = None) -> None:
        self._registry, self._spec = registry, parse(spec)
        self.blueprint = _blueprint(registry, self._spec.base)
        if image_size is not None:
            self.blueprint = self.blueprint.with_image_size(image_size)
        self.architecture, self.traced = _architecture(self.blueprint)
        if image_size is not None and self.architecture.vision is None:
            raise UserError(f"a {self.architecture.model_type} reads no images", todo="leave --image-size out")
        self.counter = Counter(self.blueprint)
        self._methods(self._spec)
        is_own = _is_architecture(registry, self._spec.base)
        self.source = self.blueprint.source if is_own else str(self._spec.base)
        """What is priced: a spec, or where the architecture comes from."""

    def cost(self, request: CostRequest, budget: float | None = None, *, count: bool = False) -> Cost:
        """Return the cost at a budget, or at the spec's own.

        Args:
            request: What to compute.
            budget: Instead of the spec's.
            count: Whether to count on the real modules as well, which imports torch and traces.

        Raises:
            UserError: An option or the budget does not suit this architecture, or a method has no cost model.
        """
        if budget is not None and self._spec.budget is not None:
            raise UserError(
                f"the spec says @{self._spec.budget:g} already", where="budgets", todo="leave one of the two out"
            )
        if request.cards.count > 1 and self.architecture.language is None:
            raise UserError(f"a {self.architecture.model_type} has no language model to split", todo="use one card")
        spec = self._spec if budget is None else self._spec.with_budget(budget)
        methods, whole = self._methods(spec), self._whole(request)
        if self.blueprint.note and request.images:
            whole = whole.assuming(self.blueprint.note)
        if self.architecture.language is not None and whole.tokens > (most := _positions(self.blueprint.config)):
            whole = whole.assuming(f"{whole.tokens:,} tokens are beyond the {most:,} positions that the config states")
        if self.traced is not None:
            whole = whole.assuming(_TRACED)
        work = what_is_left(methods, whole)
        full = what_is_left([replace(one, method=one.method.switched_on()) for one in methods], whole)
        operators = tuple(work.operators(request.convention))
        decode = sum(o.flops for o in work.decode(request.convention))
        if not decode and self.architecture.language is not None and self.architecture.language.causal:
            work = work.assuming(_NO_DECODE)
        counted = self.counted(work) if count else None
        base, most = (_shared(one.operators(request.convention)) for one in (whole, full))
        return Cost(
            spec=str(spec),
            work=work,
            flops=_by_phase(operators),
            counted=counted,
            of_base=_shared(operators) / base,
            of_full=_shared(operators) / most,
            windowed=_windowed(work, request.convention),
            decode=decode,
            memory=work.memory(request.convention, BYTES[request.precision], request.batch, request.cards),
            parameters=self.blueprint.parameters,
            predicted={chip.name: _seconds(work, chip, request) for chip in request.accelerators},
            operators=operators,
        )

    def at_sizes(self, sizes: Sequence[Size], request: CostRequest) -> tuple[list[Costing], list[Sized]]:
        """Return the costs of the spec at each size, of the prompt that is asked for, and the sizes that are met.

        Raises:
            UserError: As `sizing.at_sizes`.
        """
        found = at_sizes(self._spec, self._methods(self._spec), sizes, lambda _: self._whole(request))
        return [self._of(one.spec) for one in found], [one for one in found if one.size]

    def _of(self, spec: Spec) -> Costing:
        """The same for another spec of the same base."""
        other = copy.copy(self)
        other._spec = spec
        return other

    def _whole(self, request: CostRequest) -> Work:
        """All the work of a prompt."""
        whole = Work.whole(
            self.architecture,
            text_tokens=request.text_tokens,
            visual_tokens=request.visual_tokens,
            images=request.images,
        )
        return replace(whole, traced=self.traced)

    def _methods(self, spec: Spec) -> Sequence[PlannedMethod]:
        """The methods of a spec, as they are run on a registered model; an architecture offers what it is made of."""
        if _is_architecture(self._registry, spec.base):
            return plan_methods(self._registry, spec, _offers(self.architecture))
        return plan_model(self._registry, spec).methods

    def measure(self, request: CostRequest, budget: float | None = None) -> tuple[Timing, Timing]:
        """Time what a plan leaves of the language model: the first token, and one further token.

        Raises:
            UserError: There is no language model; the plan prunes tokens between layers, or parts of layers, which only
                the method's own model can run; or the model does not fit into memory.
        """
        if self.architecture.language is None:
            raise UserError(
                f"--measure times language models, and {self._spec.base} has none",
                todo="leave --measure out; `adaptbench run` times an encoder on its own images",
            )
        work = self.cost(request, budget).work
        stack, execution = work.language
        if {(layer.tokens, layer.heads, layer.mlp) for layer in execution.layers} - {(work.tokens, stack.heads, 1)}:
            raise UserError(
                "--measure times whole layers on the whole prompt",
                todo="leave it out; `adaptbench run` times the method's own model",
            )
        return self.blueprint.measure(tokens=work.tokens, batch=request.batch, layers=len(execution.layers))

    def counted(self, work: Work) -> dict[str, int] | None:
        """FLOPs by phase as the counters see them, or ``None`` where only part of a layer runs."""
        execution = work.execution
        heads = self.architecture.language.stack.heads if self.architecture.language else 0
        if execution and any(layer.heads < heads or layer.mlp < 1 for layer in execution.layers):
            return None
        tokens = {"projector": work.visual_tokens if execution else work.images, "text": work.text_tokens, "head": 1}
        tokens["encoder"] = work.tokens
        stacks = {"vision": [1] * len(work.tower.layers) if work.tower else []}  # an image is one input of one size
        times: dict[str, int | Fraction] = {"vision": work.images}
        if work.traced:  # of an image's tokens the projector reads those that selectors leave
            times["projector"] = work.images * work.projected
        if execution is None:  # a head of classes of images
            times["head"] = work.images
        if work.traced and not work.traced.image.layers.get("vision"):  # its blocks differ, and are one piece
            del stacks["vision"]
            tokens["vision"] = 1
        if work.traced and self.architecture.vision is None:  # one pass reads an image beside the text
            tokens |= {"vision": work.tokens, "projector": work.tokens}
            stacks, times = {}, {}
        if execution:
            stacks["prefill"] = [layer.tokens for layer in execution.layers]
        counts = {
            phase: int(
                times.get(phase, 1)
                * (
                    self.counter.count_layers(phase, stacks[phase]).value
                    if phase in stacks
                    else self.counter.count(phase, tokens[phase]).value
                )
            )
            for phase in self.counter.phases()
        }
        if work.thinned is not None:  # the counter runs whole layers of an image
            flops = (operator.flops for operator in vision(self.architecture, work.thinned, COUNTED))
            counts["vision"] = work.images * sum(flops)
        own = work.added + work.chosen + work.beside.vision + work.beside.language
        if own:
            counts["methods"] = own
        return {phase: counts[phase] for phase in PHASES if counts.get(phase)}


def _architecture(blueprint: Blueprint) -> tuple[Architecture, Traced | None]:
    """Its closed form; without one an outline, and where its operators come from."""
    try:
        return read_architecture(blueprint.config), None
    except NoClosedForm:
        return blueprint.traced.outline(), blueprint.traced


def _positions(config: Mapping[str, Any]) -> float:
    """The most tokens that a config says it is for."""
    every = (config, config.get("text_config"))
    named = [one.get(name) for one in every if isinstance(one, dict) for name in _POSITIONS]
    return min((value for value in named if isinstance(value, int)), default=math.inf)


def _is_architecture(registry: Registry, base: Call) -> bool:
    """Whether a base is an architecture; where a model has the same name, its own options make it the model."""
    named = {entry.name: entry for entry in registry.entries("architecture")}
    if base.name not in named:
        return False
    models = [entry.name for entry in registry.entries("model")]
    return base.name not in models or {name for name, _ in base.args} <= set(named[base.name].takes())


def _blueprint(registry: Registry, base: Call) -> Blueprint:
    if _is_architecture(registry, base):
        entry = registry.find("architecture", base.name)
        blueprint: Blueprint = entry.make(**entry.bind(base))
        return blueprint
    models = {entry.name: entry for entry in registry.entries("model")}
    if base.name not in models:
        known = [*models, *(entry.name for entry in registry.entries("architecture"))]
        raise UserError(
            f"unknown architecture or model {base.name!r}{did_you_mean(base.name, known)}",
            todo="`adaptbench list architectures` shows what there is; hf:PATH reads a local folder or a hub id",
        )
    factory: Any = models[base.name].factory()
    if not isinstance(factory, Described):
        raise UserError(
            f"model {base.name!r} does not tell its architecture", todo="run it: `adaptbench run` measures its cost"
        )
    return factory.blueprint(**models[base.name].bind(base, seed=0, device="cpu"))


def _offers(architecture: Architecture) -> set[str]:
    """What methods may act on of an architecture without weights."""
    offers = {"layers", "network"}
    if architecture.language is not None:
        offers |= {"decoder"} if architecture.language.causal else set()
        offers |= {"images", "visual-tokens"} if architecture.vision is not None else set()
    return offers


def _seconds(work: Work, chip: Accelerator, request: CostRequest) -> dict[str, float]:
    """Predicted seconds of each part of the work on one accelerator."""
    convention = request.convention.with_windowed_kernel()
    if convention.depends_on_chip:
        convention = replace(convention, on_chip=chip.on_chip_bytes / BYTES[request.precision])
    parts: dict[str, list[Operator]] = {}
    for operator in (*work.operators(convention), *work.decode(convention)):
        parts.setdefault("token" if operator.phase == "decode" else operator.phase, []).append(operator)
    return {part: _on_cards(own, work.states(part), work, chip, request) for part, own in parts.items()}


def _on_cards(
    operators: Sequence[Operator], states: Sequence[int], work: Work, chip: Accelerator, request: CostRequest
) -> float:
    """Predicted seconds of operators on the cards that share them, with what these send each other."""
    language, cards = work.model.language, request.cards
    if language is None or cards.count == 1:
        return predict(operators, chip, request.precision, request.batch)
    shares = [cards.share(operator, language.stack) for operator in operators]
    sent = float(cards.sent(operators, states)) * request.batch * BYTES[request.precision]
    return predict(shares, chip, request.precision, request.batch) + chip.sending(sent)


def _windowed(work: Work, convention: Convention) -> int | None:
    """FLOPs of the blocks in a kernel that skips what lies outside of windows, if there are any."""
    execution, windowed = work.execution, convention.with_windowed_kernel()
    stack = work.model.language.stack if work.model.language else None
    if not execution or not stack or windowed == convention:
        return None
    if all(stack.seen(layer.layer, layer.tokens) == layer.tokens for layer in execution.layers):
        return None
    return _by_phase(work.operators(windowed))["prefill"]


def _by_phase(operators: Iterable[Operator]) -> dict[str, int]:
    sums = dict.fromkeys(PHASES, 0)
    for operator in operators:
        sums[operator.module if operator.module in ("head", "methods") else operator.phase] += operator.flops
    return {phase: value for phase, value in sums.items() if value}


def _shared(operators: Iterable[Operator]) -> int:
    """FLOPs that a share is of: the language model's prefill and head, or all of an encoder of images."""
    every = list(operators)
    language = sum(operator.flops for operator in every if operator.phase == "prefill")
    return language or sum(operator.flops for operator in every)
