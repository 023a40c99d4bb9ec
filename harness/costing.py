"""What a model spec costs before it exists as a model: from the spec to a plan of work, FLOPs and predicted times.

A spec's base names an architecture, its methods plan rules: both are registered names, like models and methods.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .errors import UserError
from .faults import blamed_on
from .measure.architecture import read_architecture
from .measure.closed_form import CONVENTIONS, Convention, Operator
from .measure.counting import Blueprint, Counter
from .measure.roofline import BYTES, Accelerator, Precision, predict
from .measure.work import Work
from .specs import Call, Spec, did_you_mean, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .registry import Entry, Registry
    from .results import Timing

PHASES = ("vision", "projector", "prefill", "head")


@dataclass(frozen=True, slots=True)
class Question:
    """What a cost is asked for.

    Attributes:
        text_tokens: Tokens of the prompt that are not visual.
        visual_tokens: Visual tokens that enter the language model; default all of an image.
        batch: Prompts in a batch.
        precision: Of weights, activations, keys and values.
        convention: What the closed form counts.
        accelerators: Where time is predicted for.
    """

    text_tokens: int
    visual_tokens: int | None = None
    batch: int = 1
    precision: Precision = "fp16"
    convention: Convention = CONVENTIONS["default"]
    accelerators: tuple[Accelerator, ...] = ()

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError(f"a batch of {self.batch} prompts is no batch", todo="give 1 or more")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one spec costs.

    Attributes:
        spec: Canonical text.
        work: What runs.
        flops: Phase -> FLOPs of one prompt by the closed form under the convention asked for.
        counted: The same by the counters on the real modules; ``None`` where only part of a layer runs.
        share: FLOPs of the language model's prefill and head as a share of the same prompt with every switch on.
        decode: FLOPs of one further token.
        memory: Bytes of weights, keys and values and one block's activations, for the batch.
        predicted: Accelerator -> part of the work (``vision``, ``projector``, ``prefill`` with the head, and ``token``,
            which is one further token) -> seconds for the batch.
        operators: What the FLOPs are the sum of.
    """

    spec: str
    work: Work
    flops: Mapping[str, int]
    counted: Mapping[str, int] | None
    share: float
    decode: int
    memory: int
    predicted: Mapping[str, Mapping[str, float]]
    operators: tuple[Operator, ...]


class Costing:
    """Costs of the variants of one architecture, which is built and traced once.

    Args:
        registry: Where architectures and plan rules are looked up.
        spec: Model spec; its base is a registered architecture.
    """

    def __init__(self, registry: Registry, spec: str) -> None:
        self._registry, self._spec = registry, parse(spec)
        self.blueprint = _blueprint(registry, self._spec.base)
        self.architecture = read_architecture(self.blueprint.config)
        self.counter = Counter(self.blueprint)

    def cost(self, question: Question, budget: float | None = None, *, count: bool = False) -> Cost:
        """Return the cost at a budget, or at the spec's own.

        Args:
            question: What to compute.
            budget: Instead of the spec's.
            count: Whether to count on the real modules as well, which imports torch and traces.

        Raises:
            UserError: A method is unknown, takes other arguments, or cannot act on this architecture.
        """
        spec = self._spec if budget is None else self._spec.with_budget(budget)
        whole = Work.whole(self.architecture, text_tokens=question.text_tokens, visual_tokens=question.visual_tokens)
        every, work = self._plan(spec, whole)
        operators = tuple(work.operators(question.convention))
        return Cost(
            spec=str(spec),
            work=work,
            flops=_by_phase(operators),
            counted=self.counted(work) if count else None,
            share=_language(operators) / (_language(every.operators(question.convention)) or 1),
            decode=sum(o.flops for o in work.decode(question.convention)),
            memory=work.memory(question.convention, BYTES[question.precision], question.batch),
            predicted={chip.name: _seconds(work, chip, question) for chip in question.accelerators},
            operators=operators,
        )

    def measure(self, question: Question, budget: float | None = None) -> tuple[Timing, Timing]:
        """Time what a plan leaves of the language model: the first token, and one further token.

        Raises:
            UserError: There is no language model; the plan prunes tokens between layers, or parts of layers, which only
                the method's own model can run; or the model does not fit into memory.
        """
        if self.architecture.language is None:
            raise UserError(
                f"--measure times language models, and {self._spec.base} is none",
                todo="leave --measure out; `adaptbench run` times an encoder on its own images",
            )
        work = self.cost(question, budget).work
        stack, execution = work.language
        if {(layer.tokens, layer.heads, layer.mlp) for layer in execution.layers} - {(work.tokens, stack.heads, 1)}:
            raise UserError(
                "--measure times whole layers on the whole prompt",
                todo="leave it out; `adaptbench run` times the method's own model",
            )
        return self.blueprint.measure(tokens=work.tokens, batch=question.batch, layers=len(execution.layers))

    def counted(self, work: Work) -> dict[str, int] | None:
        """FLOPs by phase as the counters see them, or ``None`` where only part of a layer runs."""
        execution = work.execution
        heads = self.architecture.language.stack.heads if self.architecture.language else 0
        if execution and any(layer.heads < heads or layer.mlp < 1 for layer in execution.layers):
            return None
        tokens = {"vision": 1, "projector": work.visual_tokens if execution else 1, "head": 1}
        counts = {p: self.counter.count(p, tokens[p]).value for p in self.counter.phases() if p != "prefill"}
        if execution:
            lengths = [layer.tokens for layer in execution.layers]
            counts["prefill"] = self.counter.count_layers("prefill", lengths).value
        return {phase: counts[phase] for phase in PHASES if phase in counts}

    def _of_plan(self, plan: Entry, call: Call) -> Call:
        """Leave out what the method takes and its plan rule does not: it says which parts run, not how many."""
        methods = {entry.name: entry for entry in self._registry.entries("method")}
        if all(name in plan.takes() for name, _ in call.args) or call.name not in methods:
            return call
        others = set(methods[call.name].takes()) - set(plan.takes())
        return replace(call, args=tuple((name, value) for name, value in call.args if name not in others))

    def _plan(self, spec: Spec, whole: Work) -> tuple[Work, Work]:
        """The work with every switch on - tokens pruned before the language model are gone already - and what is left.

        DESIGN's budget is a share of the same model's prefill, its token selection included.
        """
        takers = [call for call in spec.methods if _takes_budget(self._registry.find("plan", call.name))]
        if spec.budget is not None and not takers:
            raise UserError(
                f"none of its methods takes a budget, so '@{spec.budget:g}' means nothing",
                where=f"model spec '{spec}'",
                todo=f"add one: {', '.join(e.name for e in self._registry.entries('plan') if _takes_budget(e))}",
            )
        every = work = whole
        for call in spec.methods:
            entry = self._registry.find("plan", call.name)
            given = entry.bind(self._of_plan(entry, call))
            due = {} if spec.budget is None or call not in takers else {"budget": spec.budget}
            with blamed_on(f"plan {call}", f"model spec '{spec}'"):
                work = entry.factory()(work, **{**given, **due})
                fuller = entry.factory()(every, **({**given, "budget": 1.0} if call in takers else given))
            every = every if _switches_off(every, fuller) else fuller
        return every, work


def _takes_budget(plan: Entry) -> bool:
    return "budget" in inspect.signature(plan.factory()).parameters


def _switches_off(before: Work, after: Work) -> bool:
    """Whether a rule left out layers or heads, rather than tokens."""
    shapes = [
        [(layer.layer, layer.heads, layer.mlp) for layer in w.execution.layers] for w in (before, after) if w.execution
    ]
    return len(shapes) == 2 and shapes[0] != shapes[1]


def _blueprint(registry: Registry, base: Call) -> Blueprint:
    known = [entry.name for entry in registry.entries("architecture")]
    if base.name not in known:
        raise UserError(
            f"unknown architecture {base.name!r}{did_you_mean(base.name, known)}",
            todo="`adaptbench list architectures` shows what there is; hf:PATH reads a local folder or a hub id",
        )
    entry = registry.find("architecture", base.name)
    blueprint: Blueprint = entry.factory()(**entry.bind(base))
    return blueprint


def _seconds(work: Work, chip: Accelerator, question: Question) -> dict[str, float]:
    """Predicted seconds of each part of the work on one accelerator."""
    convention = question.convention
    if convention.depends_on_chip:
        convention = replace(convention, on_chip=chip.on_chip_bytes / BYTES[question.precision])
    parts: dict[str, list[Operator]] = {}
    for operator in (*work.operators(convention), *work.decode(convention)):
        parts.setdefault("token" if operator.phase == "decode" else operator.phase, []).append(operator)
    return {part: predict(own, chip, question.precision, question.batch) for part, own in parts.items()}


def _by_phase(operators: Iterable[Operator]) -> dict[str, int]:
    sums = dict.fromkeys(PHASES, 0)
    for operator in operators:
        sums["head" if operator.module == "head" else operator.phase] += operator.flops
    return {phase: value for phase, value in sums.items() if value}


def _language(operators: Iterable[Operator]) -> int:
    return sum(operator.flops for operator in operators if operator.phase == "prefill")
