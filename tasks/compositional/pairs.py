"""The pairs of the dissertation (Tables 4.3, 4.4 and B.1) as their authors wrote them, and two of their data only.

Inputs, and the instructions where there are any, are those of the released data. A+C, A+F, D+F and G+H were asked
without instructions; theirs are ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ...harness.errors import UserError
from ...harness.specs import did_you_mean
from .composite import Form, Pair, compose
from .simple import SIMPLE

_ROUND = "* is a function for capitalizing letters, () is another function for swapping the position of 2 words."
_STAR = (
    "* is a function followed by words for capitalizing letters of words, # is another function following words for "
    "swapping the position of 2 words."
)
_HASH = (
    "* is a function before words for swapping the position of 2 words, # is another function after words for "
    "capitalizing letters of words."
)
_PAST_AND_SWAP = (
    "* is a function before words for finding the past tense of two verbs, # is another function after words for "
    "swapping the position of 2 verbs"
)
_OPPOSITE_AND_SWAP = (
    "* is a function before words for finding the opposite meaning of two words, # is another function after words for "
    "swapping the position of 2 words"
)
_PAST_AND_CAPITALS = (
    "* is a function before word for finding the past tense of verb, # is another function after word for capitalizing "
    "the characters of verb"
)
_OPPOSITE_AND_PAST = (
    "* is a function before word for finding the opposite meaning of the word, # is another function before verb for "
    "finding the past tense of the verb"
)
_SPELLED_SUM = "* is a function for capitalizing letters, @ is another function for summing two numbers."
_WORD_AND_NUMBER = "A number calls for adding one, a word calls for {}."
_REMAINDER_AND_SUM = (
    "@ is a function for taking the remainder, # is another function for summing two numbers and adding one."
)
_PLAIN = ("{0}", "{0}")


def _pair(letters: str, by: Literal["parts", "steps"], forms: dict[str, Form]) -> Pair:
    return replace(compose(SIMPLE[letters[0]], SIMPLE[letters[1]], by), forms=forms)


def _beside_a_number(calls_for: str) -> dict[str, Form]:
    says = _WORD_AND_NUMBER.format(calls_for)
    orders = {"number-first": ("{1} {0}",), "word-first": ("{0} {1}",), "either": ("{1} {0}", "{0} {1}")}
    return {name: Form(*_PLAIN, templates, says) for name, templates in orders.items()}


_ALL = (
    _pair(
        "AB",
        "steps",
        {
            "inside": Form("* {0}", "( {0} {1} )", ("( * {0} * {1} )",), _ROUND),
            "outside": Form("* {0}", "( {0} {1} )", ("* ( {0} {1} )",), _ROUND),
            "tight": Form("* {0}", "({0} {1})", ("(* {0} * {1})",), _ROUND),
            "star-capitalises": Form("* {0} {1}", "{0} {1} #", ("* {0} {1} #",), _STAR),
            "hash-capitalises": Form("{0} {1} #", "* {0} {1}", ("* {0} {1} #",), _HASH),
        },
    ),
    _pair("AC", "steps", {"round": Form("* ({0})", "{0} @ {1}", ("* ({0} @ {1})",), _SPELLED_SUM)}),
    replace(_pair("AF", "parts", _beside_a_number("capitalizing letters")), integers=(1005, 9994)),
    # As in the data, the star is the word's operation and comes first; the names keep the dissertation's order.
    _pair("BD", "steps", {"marked": Form("{0} {1} #", "* {0} {1}", ("* {0} {1} #",), _PAST_AND_SWAP)}),
    _pair("BE", "steps", {"marked": Form("{0} {1} #", "* {0} {1}", ("* {0} {1} #",), _OPPOSITE_AND_SWAP)}),
    _pair("DF", "parts", _beside_a_number("finding its past tense")),
    _pair(
        "GH",
        "steps",
        {
            name: Form("{0} @ {1}", "{0} # {1}", templates, _REMAINDER_AND_SUM)
            for name, templates in {
                "either": ("{0} # {1} @ {2}", "{0} @ {1} # {2}"),
                "sum-first": ("{0} # {1} @ {2}",),
                "modular-first": ("{0} @ {1} # {2}",),
            }.items()
        },
    ),
    _pair("DA", "steps", {"marked": Form("* {0}", "{0} #", ("* {0} #",), _PAST_AND_CAPITALS)}),
    _pair("ED", "parts", {"marked": Form("* {0}", "# {0}", ("* {0} # {1}",), _OPPOSITE_AND_PAST)}),
)
PAIRS = {pair.slug: pair for pair in _ALL}
"""Slug, such as ``ab`` -> pair."""
OF_THE_TEXT = tuple(PAIRS)[:7]
"""Slugs of the pairs that the dissertation reports; the others are in the released data only."""


def find_pairs(name: str) -> tuple[Pair, ...]:
    """Return the pairs of a name: ``ab``, ``text`` for the dissertation's seven, ``all`` for all nine.

    Raises:
        UserError: There are none.
    """
    wanted = str(name).lower().replace("+", "")
    groups = {"text": OF_THE_TEXT, "all": tuple(PAIRS)} | {slug: (slug,) for slug in PAIRS}
    if wanted not in groups:
        raise UserError(
            f"there is no pair {name!r}{did_you_mean(wanted, groups)}",
            where="logical tasks",
            todo=f"choose from {', '.join(groups)}",
        )
    return tuple(PAIRS[slug] for slug in groups[wanted])
