"""Two simple tasks as one: by parts (f(x), g(y)) or by steps (f(g(x))), in the surface forms of the released data.

`compose` makes a pair of any two tasks that fit, with signs of its own; the pairs of the dissertation (Tables 4.3 and
B.1) are written as their authors wrote them.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from ...harness.errors import UserError
from .scoring import ORDERS
from .simple import KINDS, Simple, Source, Words

if TYPE_CHECKING:
    from collections.abc import Mapping

What: TypeAlias = Literal["first", "second", "composite"]
"""A simple task of a pair, or their composite."""


@dataclass(frozen=True, slots=True)
class Form:
    """How inputs of a pair look: templates in which ``{0}``, ``{1}`` ... are replaced by the operands.

    Attributes:
        first: Input of the first simple task.
        second: Input of the second.
        composite: Input of the composite; of several, each example takes one.
        instruction: What may be said before the demonstrations.
    """

    first: str
    second: str
    composite: tuple[str, ...]
    instruction: str

    @property
    def marks(self) -> str:
        """All signs that are not operands."""
        text = "".join((self.first, self.second, *self.composite))
        return "".join(sorted(set(re.sub(r"\{\d+\}|\s", "", text))))


@dataclass(frozen=True, slots=True)
class Example:
    """An input with what is right for it.

    Attributes:
        text: The input.
        answers: All that is right; a demonstration shows the first.
        readings: What was done -> the texts that this leads to; see `scoring.applied`.
    """

    text: str
    answers: Words
    readings: Mapping[str, Words]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two simple tasks and their composite.

    Attributes:
        first: A simple task.
        second: Another one.
        by: ``parts``: each acts on its own part of the input; ``steps``: one acts on what the other makes.
        forms: Surface forms by name, the usual one first.
        integers: Bounds of `Ranges.integers` in the released data, where this pair has its own.
    """

    first: Simple
    second: Simple
    by: Literal["parts", "steps"]
    forms: Mapping[str, Form] = field(default_factory=dict)
    integers: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """As the dissertation writes it: ``A+B``."""
        return f"{self.first.letter}+{self.second.letter}"

    @property
    def slug(self) -> str:
        """As a spec has it: ``ab``."""
        return f"{self.first.letter}{self.second.letter}".lower()

    @property
    def structure(self) -> Literal["separable", "sequential"]:
        """Whether the input falls apart into the inputs of the simple tasks."""
        return "separable" if self.by == "parts" else "sequential"

    @property
    def chain(self) -> bool:
        """Whether the composite is ``a # b @ c``, which may be read from the left or from the right."""
        return self.by == "steps" and bool(self.first.symbol and self.second.symbol)

    @property
    def kind(self) -> str:
        """Kind of the operands of a pair by steps: the first for which one task can act on what the other makes.

        Raises:
            UserError: There is none.
        """
        kind = _shared_kind(self.first, self.second)
        if kind:
            return kind
        raise UserError(
            f"{self.first.name} and {self.second.name} do not compose by steps: neither takes what the other makes",
            where=f"pair {self.name}",
            todo="compose them by parts",
        )

    def draw(self, what: What, form: Form, source: Source) -> Example:
        """Return a new example of one of the simple tasks or of the composite.

        Raises:
            UserError: There are too few operands for it.
        """
        if what == "composite":
            template = form.composite[0] if len(form.composite) == 1 else source.dice.choose(form.composite)
            if self.by == "parts":
                return self._parts(form, template, source)
            return self._chain(template, source) if self.chain else self._steps(template, source)
        task, other = (self.first, self.second) if what == "first" else (self.second, self.first)
        template = form.first if what == "first" else form.second
        kind = _own_kind(task) if self.by == "parts" else self.kind
        operands = source.operands(task, kind, _slots(template))
        answers = (_said(task.rule(operands)),)
        readings = _copy(template, operands) | {f"{what} only": answers}
        if self.by == "steps" and _acts(other, kind, len(operands)):
            readings["second only" if what == "first" else "first only"] = (_said(other.rule(operands)),)
        return Example(template.format(*operands), answers, readings)

    def _parts(self, form: Form, template: str, source: Source) -> Example:
        """The first operands of the template are those of the first task."""
        left = source.operands(self.first, _own_kind(self.first), _slots(form.first))
        right = source.operands(self.second, _own_kind(self.second), _slots(form.second))
        made_left, made_right = self.first.rule(left), self.second.rule(right)
        turned = template.index("{0}") > template.index(f"{{{len(left)}}}")

        def beside(first: Words, second: Words) -> str:
            return _said((*second, *first) if turned else (*first, *second))

        readings = _copy(template, (*left, *right)) | {
            "first only": (beside(made_left, right), _said(made_left)),
            "second only": (beside(left, made_right), _said(made_right)),
        }
        both = beside(made_left, made_right)
        return Example(template.format(*left, *right), (both,), readings | {ORDERS[0]: (both,)})

    def _steps(self, template: str, source: Source) -> Example:
        kind, count = self.kind, _slots(template)
        maker = self.first if self.first.domain else self.second
        operands = source.operands(maker, kind, count)
        readings = _copy(template, operands)
        for name, task in (("first only", self.first), ("second only", self.second)):
            if _acts(task, kind, count):
                readings[name] = (_said(task.rule(operands)),)
        orders = ((self.first, self.second), (self.second, self.first))
        for order, (inner, outer) in zip(ORDERS, orders, strict=True):
            if _follows(inner, outer, kind):
                readings[order] = (_said(outer.rule(inner.rule(operands))),)
        return Example(template.format(*operands), _answers(readings, ORDERS), readings)

    def _chain(self, template: str, source: Source) -> Example:
        """Both tasks make one of two, so three operands are read from the left or from the right."""
        turned = template.index(self.first.symbol) > template.index(self.second.symbol)
        left, right = (self.second, self.first) if turned else (self.first, self.second)
        alone = ("first only", "second only")
        names = alone[::-1] if turned else alone
        orders = ORDERS[::-1] if turned else ORDERS
        a, b = source.operands(left, self.kind, 2)
        c = source.operands(right, self.kind, 2)[1]
        made_left, made_right = left.rule((a, b)), right.rule((b, c))
        readings = _copy(template, (a, b, c)) | {
            names[0]: (_said((*made_left, c)), _said(made_left)),
            names[1]: (_said((a, *made_right)), _said(made_right)),
            orders[0]: (_said(right.rule((*made_left, c))),),
            orders[1]: (_said(left.rule((a, *made_right))),),
        }
        return Example(template.format(a, b, c), _answers(readings, orders), readings)


def compose(first: Simple, second: Simple, by: Literal["parts", "steps"]) -> Pair:
    """Make a pair of two simple tasks, with a surface form of its own.

    A task that has a symbol is known by it. Else, by steps, ``*`` stands before the words for the first task and ``#``
    after them for the second; by parts, ``*`` and ``#`` stand before the parts, unless one part is a number and the
    other is not.

    Raises:
        UserError: They do not compose by steps, or both would have the same symbol.
    """
    pair = Pair(first, second, by)
    kinds = (_own_kind(first), _own_kind(second)) if by == "parts" else (pair.kind, pair.kind)
    bare = by == "parts" and kinds.count("integer") == 1
    star, hash_ = ("" if task.symbol or bare else mark for task, mark in ((first, "*"), (second, "#")))
    if by == "parts":
        one, two = _slotted(first, 0, first.arity, star), _slotted(second, 0, second.arity, hash_)
        both: tuple[str, ...] = (f"{one} {_slotted(second, first.arity, second.arity, hash_)}",)
    else:
        count = max(first.arity, second.arity)
        one = _slotted(first, 0, first.arity if second.symbol else count, star)
        two = _slotted(second, 0, second.arity if first.symbol else count, "", hash_)
        both = (_slotted(first if first.symbol else second, 0, count, star, hash_),)
    if pair.chain:
        if first.symbol == second.symbol:
            raise UserError(f"both tasks have the symbol {first.symbol}", where=f"pair {pair.name}", todo="change one")
        signs = (first.symbol, second.symbol)
        both = tuple(f"{{0}} {left} {{1}} {right} {{2}}" for left, right in (signs, signs[::-1]))
    said = [
        task.symbol or mark or f"each {kind}"
        for task, mark, kind in zip((first, second), (star, hash_), kinds, strict=True)
    ]
    instruction = f"{said[0]} is a function for {first.phrase}, {said[1]} is another function for {second.phrase}."
    return replace(pair, forms={"marked": Form(one, two, both, instruction)})


def _slotted(task: Simple, start: int, count: int, before: str = "", after: str = "") -> str:
    """The template of ``count`` operands, numbered from ``start``, with a task's symbol between them."""
    slots = [f"{{{number}}}" for number in range(start, start + count)]
    between = f" {task.symbol} " if task.symbol else " "
    return " ".join(filter(None, (before, between.join(slots), after)))


def _own_kind(task: Simple) -> str:
    return next(kind for kind in KINDS if task.accepts(kind))


@functools.cache
def _shared_kind(first: Simple, second: Simple) -> str:
    """The first kind of operands for which one task can act on what the other makes; empty if there is none."""
    for kind in KINDS:
        if first.symbol and second.symbol:
            makes = {first.results_of(kind), second.results_of(kind)}
            if makes == {kind} and first.accepts(kind) and second.accepts(kind):
                return kind
        elif _follows(first, second, kind) or _follows(second, first, kind):
            return kind
    return ""


def _acts(task: Simple, kind: str, count: int) -> bool:
    """Whether a task can act on that number of operands of a kind."""
    return task.accepts(kind) and task.arity in (1, count)


def _follows(inner: Simple, outer: Simple, kind: str) -> bool:
    """Whether one task can act on what another one makes of operands of a kind."""
    enough = not (inner.symbol and outer.arity == 2)
    return enough and inner.accepts(kind) and outer.accepts(inner.results_of(kind))


@functools.cache
def _slots(template: str) -> int:
    return len(set(re.findall(r"\{\d+\}", template)))


def _said(words: Words) -> str:
    return " ".join(words)


def _copy(template: str, operands: Words) -> dict[str, Words]:
    return {"copied": (template.format(*operands),)}


def _answers(readings: Mapping[str, Words], orders: Words) -> Words:
    """What the possible orders lead to, each text once."""
    return tuple(dict.fromkeys(text for order in orders for text in readings.get(order, ())))
