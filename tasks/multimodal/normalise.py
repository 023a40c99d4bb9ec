"""How the official scorers of open questions make answers comparable, quirks included.

The chains share two steps, `without_punctuation` and `plain_words`, and differ in what comes before them. All of them
take any text and never fail. Answers repeat a great deal, so that what a chain made of a text is remembered.

Source: VQA's `vqaEval.py`, LLaVA's `m4c_evaluator.py`, VizWiz's evaluation script, VLMEvalKit's `vqa_eval.py`.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKS = ';/[]"{}()=+\\_-><@`,?!'
"""The 21 marks of the punctuation step."""
MOST_STOPS = 32
"""How many full stops one answer loses: the official code gives the flag ``re.UNICODE``, which is 32, as the count."""
REMEMBERED = 1 << 18
"""How many texts each chain remembers: more than the distinct answers of VQAv2's validation split."""

_MISSING_CELLS = frozenset(
    ",#N/A,#N/A N/A,#NA,-1.#IND,-1.#QNAN,-NaN,-nan,1.#IND,1.#QNAN,<NA>,N/A,NA,NULL,NaN,None,n/a,nan,null".split(",")
)
"""What ``pandas.read_excel`` and ``read_csv`` read as NaN by default."""

_STOP = re.compile(r"\.(?!\d)")
"""A stop that no digit follows. A digit before it was meant to protect it too, but the look-behind is mistyped."""
REPAIRED_STOP = re.compile(r"(?<!\d)\.(?!\d)")
"""VLMEvalKit's pattern, which does protect a stop after a digit."""
_DIGIT_COMMA = re.compile(r"\d,\d")
_NUMBERS = {
    word: str(number) for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
}
_NUMBERS["none"] = "0"
_ARTICLES = frozenset(("a", "an", "the"))
_CONTRACTIONS: Mapping[str, str] = json.loads(Path(__file__).with_name("contractions.json").read_text("utf-8"))
"""Words with missing apostrophes, and how they are written. Keys with a capital never match: the text is lower case."""

# VizWiz's table is spelled with backticks, which the punctuation step has already removed from every answer: a key that
# has one never matches, and a value that has one equals no human answer. These entries escaped.
_VIZWIZ_APOSTROPHE_KEYS = frozenset(("couldn'tve", "hadn'tve"))
_VIZWIZ_APOSTROPHE_VALUES = frozenset(("aint", "arent", "cant", "couldve", "couldnt", "weve", "wheres", "whove"))
_VIZWIZ_CONTRACTIONS = {
    word: whole if word in _VIZWIZ_APOSTROPHE_VALUES else whole.replace("'", "`")
    for word, whole in _CONTRACTIONS.items()
    if "'" not in word or word in _VIZWIZ_APOSTROPHE_KEYS
}


@functools.lru_cache(REMEMBERED)
def one_line(text: str) -> str:
    """Turn line feeds and tabs into spaces and strip both ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def without_punctuation(text: str, stop: re.Pattern[str] = _STOP) -> str:
    """Remove the `MARKS` and full stops.

    A mark that stands next to a space somewhere in the text is deleted everywhere, any other becomes a space; one
    comma between digits makes all marks be deleted.

    Args:
        text: An answer.
        stop: Which full stops go; at most `MOST_STOPS` do.
    """
    delete_all = _DIGIT_COMMA.search(text) is not None
    cleaned = text
    for mark in MARKS:
        if mark in text:
            delete = delete_all or f"{mark} " in text or f" {mark}" in text
            cleaned = cleaned.replace(mark, "" if delete else " ")
    return stop.sub("", cleaned, count=MOST_STOPS)


def plain_words(text: str, contractions: Mapping[str, str] = _CONTRACTIONS) -> str:
    """Lower-case, write numbers up to ten as digits, drop articles, restore apostrophes; join by single spaces.

    Args:
        text: An answer.
        contractions: Word without its apostrophes -> word with them.
    """
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(contractions.get(word, word) for word in words if word not in _ARTICLES)


@functools.lru_cache(REMEMBERED)
def vqa_official(text: str) -> str:
    """VQA's own chain, which VQAv2 applies where the annotators disagree."""
    return plain_words(without_punctuation(one_line(text)))


@functools.lru_cache(REMEMBERED)
def evalai(text: str) -> str:
    """The "EvalAI processor": TextVQA's scoring, and LLaVA's cleaning before it submits VQAv2 and VizWiz.

    Commas and question marks go first, so that no comma between digits is left for the punctuation step to see.
    """
    spoken = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return plain_words(without_punctuation(one_line(spoken)))


@functools.lru_cache(REMEMBERED)
def vizwiz(text: str) -> str:
    """VizWiz's chain for predictions: VQA's, with a table of contractions that is partly spelled with backticks."""
    return plain_words(without_punctuation(one_line(text)), _VIZWIZ_CONTRACTIONS)


@functools.lru_cache(REMEMBERED)
def vlmevalkit(text: str) -> str:
    """VLMEvalKit's chain: VQA's, but a full stop after a digit stays."""
    return plain_words(without_punctuation(one_line(text), REPAIRED_STOP))


def read_back(text: str) -> str:
    """A prediction as VLMEvalKit reads it from its own sheets: what pandas takes for a missing cell is ``nan``."""
    return "nan" if text in _MISSING_CELLS else text


@functools.lru_cache(1 << 12)
def soft_accuracy(equal: tuple[bool, ...]) -> float:
    """Return the accuracy of an answer against those of several annotators, each left out in turn.

    Against all annotators but one, an answer scores a third for each equal one, at most 1; the accuracy is the mean
    over the one left out. Of ten, one equal answer gives 0.3, two 0.6, three 0.9, four or more 1.

    Args:
        equal: Whether each annotator, of one or more, said the same. Their order is that of the official code's sum,
            which floats remember.
    """
    matches = sum(equal)
    return sum(min(1, (matches - own) / 3) for own in equal) / len(equal)
