"""The grammar of model and task specs.

::

    spec   = call { "+" call } [ "@" budget ]
    call   = name [ ":" target ] [ "(" [ arg { "," arg } ] ")" ]
    arg    = key "=" value; the first one may be a value alone, which is the target
    name   = letters, digits, "-", "_", "."
    target = JSON string, or any characters but ( + @ " and blanks
    value  = JSON string, number, true, false, null, or a bare word of letters, digits, - _ . / :

Examples: ``pixels``, ``hf:facebook/dinov2-small(pooling=cls)``, ``llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l@0.85``.
"""

from __future__ import annotations

import json
import math
import os
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .budgets import checked, is_budget
from .errors import UserError
from .hashing import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Value: TypeAlias = "bool | int | float | str | None"

_LETTERS = frozenset(string.ascii_letters + string.digits)
_NAME = _LETTERS | frozenset("-_.")
_WORD = _NAME | frozenset("/:")
_NOT_TARGET = frozenset('(+@"')
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NO_NUMBER = re.compile(r"-?(nan|inf|infinity)", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Call:
    """A name with its target and arguments; the arguments are sorted by key."""

    name: str
    target: str | None = None
    args: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", tuple(sorted(self.args)))

    def __str__(self) -> str:
        target = "" if self.target is None else f":{_show_target(self.target)}"
        args = ",".join(f"{key}={show_value(value)}" for key, value in self.args)
        return f"{self.name}{target}{f'({args})' if args else ''}"


@dataclass(frozen=True, slots=True)
class Spec:
    """A model with its methods and budget; ``parse(str(spec)) == spec``."""

    base: Call
    methods: tuple[Call, ...] = ()
    budget: float | None = None

    def __str__(self) -> str:
        calls = "+".join(map(str, (self.base, *self.methods)))
        return calls if self.budget is None else f"{calls}@{show_value(float(self.budget)).removesuffix('.0')}"

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text."""
        return sha256_hex(str(self).encode())

    def with_budget(self, budget: float) -> Spec:
        """The same model at another budget, in (0, 1]."""
        return Spec(self.base, self.methods, checked(budget, f"model spec '{self}'"))

    def without_budget(self) -> Spec:
        """The same model with no budget said."""
        return Spec(self.base, self.methods)


def parse(text: str) -> Spec:
    """Read a model spec.

    Raises:
        UserError: The text is malformed, or its budget is not in (0, 1]; the message names the column, what was found
            and what was expected.
    """
    scanner = _Scanner(text, "model spec")
    calls = [scanner.call()]
    while scanner.take("+"):
        calls.append(scanner.call())
    budget = scanner.budget() if scanner.take("@") else None
    scanner.end("'+', '@' or the end" if budget is None else "the end")
    return Spec(calls[0], tuple(calls[1:]), budget)


def parse_call(text: str, kind: str = "task") -> Call:
    """Read the spec of a task, or of something else that is a single call, with no methods and no budget.

    Args:
        text: The spec.
        kind: What it is of, which the message says.

    Raises:
        UserError: The text is malformed.
    """
    scanner = _Scanner(text, f"{kind} spec")
    call = scanner.call()
    scanner.end(f"'(' or the end (a {kind} takes no methods and no budget)")
    return call


def check_name(name: str, what: str) -> str:
    """Return a name if a spec can say it, else raise a `UserError`."""
    if not name or not all(c in _NAME for c in name):
        raise UserError(f"{name!r} is not a valid name for a {what}", todo="use letters, digits, '-', '_' and '.'")
    return name


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that a mistyped one may mean, the likeliest first; case does not matter."""
    from rapidfuzz import fuzz, process

    names = list(known)
    matches = process.extract(name, names, scorer=fuzz.ratio, processor=str.lower, limit=3, score_cutoff=65)
    close = [match for match, _, _ in matches]
    longer = [other for other in names if name and other.startswith(name) and other not in close]
    return (close + longer)[:3]


def is_path(text: str) -> bool:
    """Whether a text that names a plugin is a file's path, rather than the name of a module or an entry point."""
    return text.endswith(".py") or "/" in text or os.sep in text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x' or 'y'?)``, or nothing if nothing is near."""
    found = nearest(name, known)
    return f" (did you mean {' or '.join(map(repr, found))}?)" if found else ""


def _show_target(target: str) -> str:
    plain = target and not any(c in _NOT_TARGET or c.isspace() or not c.isprintable() for c in target)
    return target if plain else json.dumps(target)


def show_value(value: Value) -> str:
    """Return a value as a spec writes it."""
    if isinstance(value, str):
        return value if value and all(c in _WORD for c in value) and _is_text(value) else json.dumps(value)
    return json.dumps(value).replace("e+", "e")  # "+" begins a method


def _read_word(word: str) -> Value:
    """Read a bare word.

    Raises:
        ValueError: It looks like a number, but JSON cannot hold it.
    """
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if not _NUMBER.fullmatch(word):
        if _NO_NUMBER.fullmatch(word):
            raise ValueError(word)
        return word
    if word.lstrip("-").isdigit():
        return int(word)
    if not math.isfinite(float(word)):
        raise ValueError(word)
    return float(word)


def _is_text(word: str) -> bool:
    try:
        return isinstance(_read_word(word), str)
    except ValueError:
        return False


class _Scanner:
    """Reads a spec from left to right, once."""

    def __init__(self, text: str, kind: str) -> None:
        self._text, self._kind, self._at = text, kind, 0

    def call(self) -> Call:
        name = self._run(lambda c: c in _NAME)
        if not name:
            raise self._error("a name")
        target = self._target() if self.take(":") else None
        args: dict[str, Value] = {}
        if self.take("("):
            more = not self.take(")")
            while more:
                alone = self._alone() if target is None and not args else None
                if alone is None:
                    self._argument(args)
                target = target if alone is None else alone
                more = self.take(",")
                if not more and not self.take(")"):
                    raise self._error("',' or ')'")
        return Call(name, target, tuple(args.items()))

    def budget(self) -> float:
        number = _NUMBER.match(self._text, self._skip())
        if number is None or not is_budget(float(number[0])):
            raise self._error("a budget in (0, 1]", number and number[0])
        self._at = number.end()
        return float(number[0])

    def take(self, sign: str) -> bool:
        """Step over a sign if it comes next."""
        found = self._text.startswith(sign, self._skip())
        self._at += found
        return found

    def end(self, expected: str) -> None:
        if self._skip() < len(self._text):
            raise self._error(expected)

    def _argument(self, args: dict[str, Value]) -> None:
        start = self._skip()
        key = self._run(lambda c: c in _LETTERS or c == "_")
        if not _KEY.fullmatch(key):
            self._at = start
            raise self._error("the name of an argument")
        if key in args:
            self._at = start
            raise self._error(f"each argument once, not {key!r} again")
        if not self.take("="):
            raise self._error("'='")
        args[key] = self._value()

    def _alone(self) -> str | None:
        """Read a value that no key comes before, as it is written; ``None`` if there is a key."""
        start = self._skip()
        word = self._string() if self._next() == '"' else self._run(lambda c: c in _WORD)
        if word and self._next() in (",", ")"):
            return word
        self._at = start
        return None

    def _value(self) -> Value:
        if self._next() == '"':
            return self._string()
        start = self._at
        word = self._run(lambda c: c in _WORD)
        if not word:
            raise self._error("a value")
        try:
            return _read_word(word)
        except ValueError:
            self._at = start
            raise self._error("a finite number, or a text in double quotes") from None

    def _target(self) -> str:
        if self._next() == '"':
            return self._string()
        target = self._run(lambda c: c not in _NOT_TARGET and not c.isspace() and c.isprintable())
        if not target:
            raise self._error("a value after ':'")
        return target

    def _string(self) -> str:
        start = self._at
        try:
            value, self._at = json.JSONDecoder().raw_decode(self._text, start)
        except ValueError:
            raise self._error("a text in double quotes, as JSON writes it") from None
        return str(value)

    def _run(self, accepts: Callable[[str], bool]) -> str:
        start = end = self._skip()
        while end < len(self._text) and accepts(self._text[end]):
            end += 1
        self._at = end
        return self._text[start:end]

    def _skip(self) -> int:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at

    def _next(self) -> str:
        return self._text[self._skip() : self._at + 1]

    def _error(self, expected: str, found: str | None = None) -> UserError:
        shown = repr(found or self._text[self._at]) if self._at < len(self._text) else "the end"
        return UserError(
            f"column {self._at + 1}: expected {expected}, found {shown}", where=f"{self._kind} {self._text!r}"
        )
