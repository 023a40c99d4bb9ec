"""How each rule reads a letter out of an answer to a multiple-choice question (ScienceQA, MMBench, SEED-Bench).

Every reader takes any text and returns a letter, or ``None`` when it finds none; none raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from .normalise import read_back
from .task import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...harness.contracts import Json
    from .question import Question

Options: TypeAlias = Mapping[str, str]
"""Letter -> text of the option, in the order of the letters."""

LETTERS = "ABCDEFGHIJ"
_FIVE_LETTERS = "ABCDE"
_THE_ANSWER_IS = re.compile("The answer is ([A-Z]).")
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)
_NO_ANSWER = "Failed to obtain answer via API"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_REFUSED = "Z"
"""The letter that VLMEvalKit gives a refusal. No question has an option Z, so it is wrong, but it was read."""
_MARKS_TO_BLANKS = str.maketrans(".()[],:;!*#{}", " " * 13)
_AROUND_LETTER = tuple("{}. {}, {}: {}) {}). ({}) ({}). :{} :{}, :{}. :{}) :{}).".split())


def scienceqa_official(text: str, options: Options) -> str | None:
    """Read an answer as LLaVA's ScienceQA script does.

    It is the letter alone, or ``A. `` at the start, or ``The answer is A`` with any one character behind it, if the
    text says that once. A letter that this question does not offer is not an answer.
    """
    if text in tuple(_FIVE_LETTERS) or (text[:1] in tuple(_FIVE_LETTERS) and text[1:3] == ". "):
        letter = text[0]
    else:
        said = _THE_ANSWER_IS.findall(text)
        letter = said[0] if len(said) == 1 else ""
    return letter if letter in options else None


def scienceqa_lmms_eval(text: str, options: Options) -> str | None:
    """Read an answer as lmms-eval does for ScienceQA: the letter alone in either case, or a capital and a full stop."""
    text = text.strip()
    letter = text.upper()
    if letter not in options and text[:1].isupper() and text[1:2] == ".":
        letter = text[0]
    return letter if letter in options else None


def vlmevalkit(text: str, options: Options) -> str | None:
    """Read an answer as VLMEvalKit does for every multiple-choice benchmark; for MMBench this is the official rule.

    A single letter among the last five words comes first, then ``answer is A``, then the one option whose text occurs
    in an answer that is not much longer than the options are. What is still open goes to a language model there; here
    it is wrong, as it is there without one.
    """
    text = read_back(text)
    if _NO_ANSWER not in text:
        if any(refusal in text for refusal in _REFUSALS):
            return _REFUSED
        words = text.translate(_MARKS_TO_BLANKS).split()
        letters = [letter for letter in options if letter in words]
        if len(letters) == 1 and words.index(letters[0]) > len(words) - 5:
            return letters[0]
        if not letters and _REFUSED in words:
            return _REFUSED
        said = _ANSWER_IS.search(text)
        if said and said[1].upper() in options:
            return said[1].upper()
    return _option_named(text, options) if len(text.lower()) <= 2 * sum(map(len, options.values())) else None


def mmbench_lmms_eval(text: str, options: Options) -> str | None:
    """Read an answer as lmms-eval does for MMBench, whose extractor is VLMEvalKit's of 2023.

    The letters looked for are A to E whatever the question offers. What is still open goes to a language model there,
    and failing that to chance; here it is wrong.
    """
    if _NO_ANSWER not in text:
        words = text.split()
        letters = [letter for letter in _FIVE_LETTERS if letter in words]
        # An A in a sentence of more than three words may be the article: it ends the search for bare letters.
        if len(letters) == 1 and not ("A" in words and len(words) > 3):
            return letters[0]
        for around in _AROUND_LETTER:
            letters = [letter for letter in _FIVE_LETTERS if around.format(letter) in words]
            if len(letters) == 1:
                return letters[0]
    return _option_named(text, {letter: option for letter, option in options.items() if letter in "ABCD"})


def seed_official(text: str, options: Options) -> str | None:
    """Read an answer as LLaVA's SEED-Bench script does: the letter and nothing else."""
    return text if text in options else None


def seed_lmms_eval(text: str, options: Options) -> str | None:
    """Read an answer as lmms-eval does for SEED-Bench: the first character, in either case."""
    letter = text.strip()[:1].upper()
    return letter if letter in options else None


def _option_named(text: str, options: Options) -> str | None:
    text = text.lower()
    named = [letter for letter, option in options.items() if option.lower() in text]
    return named[0] if len(named) == 1 else None


def offered(question: Question) -> Options:
    """Return the options of a question by their letters; an empty one is missing."""
    return {letter: option for letter, option in zip(LETTERS, question.options, strict=False) if option}


def letter_rules(**reads: Callable[[str, Options], str | None]) -> tuple[Rule, ...]:
    """Return the rules of a benchmark whose samples are one multiple-choice question each.

    Args:
        reads: Name of the rule (with ``_`` for ``-``) -> how it reads a letter.
    """

    def rule(name: str, read: Callable[[str, Options], str | None]) -> Rule:
        return Rule(name.replace("_", "-"), lambda asked, texts: read(texts[0], offered(asked[0])), _accuracy)

    return tuple(rule(name, read) for name, read in reads.items())


def _accuracy(questions: Sequence[Question], parsed: Json | None) -> Mapping[str, float] | None:
    target = questions[0].target
    return None if target is None else {"accuracy": float(parsed == target)}
