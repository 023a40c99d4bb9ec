"""The normalisers against what the official code makes of the same texts, and what they promise for every text."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from adaptbench.tasks.multimodal import normalise
from hypothesis import example, given
from hypothesis import strategies as st

# Inputs of our own with the outputs that the official code gave for them.
CASES = json.loads((Path(__file__).parent / "data" / "normaliser_cases.json").read_text("utf-8"))
CHAINS = [normalise.vqa_official, normalise.evalai, normalise.vizwiz, normalise.vlmevalkit]
DIRTY = st.text(alphabet="aA1.,'s-_?!/` \n\t\"theno", max_size=60) | st.text(max_size=60)


def mismatches(chain, cases):
    return [(text, chain(text), expected) for text, expected in cases if chain(text) != expected]


@pytest.mark.parametrize("name", ["vqa_official_process", "contraction_words_vqa_official"])
def test_the_vqa_chain_equals_the_official_code(name):
    assert len(CASES[name]) >= 120
    assert mismatches(normalise.vqa_official, CASES[name]) == []


@pytest.mark.parametrize("name", ["evalai_processor", "contraction_words_evalai"])
def test_the_evalai_chain_equals_the_official_code(name):
    assert len(CASES[name]) >= 120
    assert mismatches(normalise.evalai, CASES[name]) == []


def test_the_table_of_contractions_only_moves_apostrophes():
    table = normalise._CONTRACTIONS
    assert len(table) == 120
    assert [key for key, value in table.items() if key.replace("'", "") != value.replace("'", "")] == []
    assert sorted(key for key in table if key != key.lower()) == ["I'dve", "Id've", "Im", "Ive"]
    assert not table.keys() & set("its id ill well shell hell wed were lets shes im ive".split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5.", "5."), ("4.0", "4.0"), ("a.m.", "am"), ("9 a.m.", "9 am"), ("5. ", "5."), (".5", ".5"), ("Yes.", "yes")],
)
def test_vlmevalkit_keeps_a_stop_after_a_digit(text, expected):
    assert normalise.vlmevalkit(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dont", "don`t"),  # most of the table is spelled with backticks ...
        ("cant", "can't"),  # ... but not all of it
        ("wheres", "where's"),
        ("couldnt've", "couldnt've"),  # its key has a backtick, which no answer has any more
        ("couldn'tve", "couldn`t`ve"),
        ("somebody'd", "somebody'd"),
        ("Two dogs.", "2 dogs"),
        ("maam", "ma`am"),
    ],
)
def test_vizwiz_spells_contractions_its_own_way(text, expected):
    assert normalise.vizwiz(text) == expected


@pytest.mark.parametrize("chain", CHAINS)
@given(text=DIRTY)
@example(text="\ud800")  # half of a surrogate pair
def test_any_text_becomes_words_with_single_spaces(chain, text):
    result = chain(text)
    assert result == " ".join(result.split())
    assert not set(result) & (set(normalise.MARKS) - {"`"})
    assert not set(result.split()) & {"a", "an", "the", "none", "zero", "ten"}


@pytest.mark.parametrize("chain", [normalise.vqa_official, normalise.vlmevalkit])
@given(text=DIRTY)
def test_the_vqa_chains_change_nothing_twice(chain, text):
    """True as long as the first pass could remove all the stops that it meant to."""
    if text.count(".") <= normalise.MOST_STOPS:
        assert chain(chain(text)) == chain(text)


def test_beyond_32_stops_a_second_pass_removes_more():
    once = normalise.vqa_official("a." * 40)
    assert once.count(".") == 8
    assert normalise.vqa_official(once).count(".") == 0


@given(text=DIRTY)
def test_the_evalai_chain_changes_nothing_twice_unless_it_wrote_a_possessive(text):
    once = normalise.evalai(text)
    if "'s" not in once and text.count(".") <= normalise.MOST_STOPS:
        assert normalise.evalai(once) == once


def test_the_evalai_chain_splits_the_possessive_that_it_wrote():
    assert normalise.evalai("whats") == "what's"
    assert normalise.evalai("what's") == "what 's"


def by_definition(answer, humans):
    """The mean over the annotator left out, in fractions."""
    each = []
    for left_out in range(len(humans)):
        others = humans[:left_out] + humans[left_out + 1 :]
        each.append(min(Fraction(1), Fraction(others.count(answer), 3)))
    return sum(each) / len(humans)


@given(humans=st.lists(st.sampled_from("abc"), min_size=1, max_size=12), answer=st.sampled_from("abcd"))
def test_soft_accuracy_is_the_mean_over_the_annotator_left_out(humans, answer):
    assert normalise.soft_accuracy(tuple(human == answer for human in humans)) == pytest.approx(
        float(by_definition(answer, humans)), abs=1e-15
    )


@pytest.mark.parametrize(("matches", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1), (10, 1)])
def test_soft_accuracy_of_ten_annotators(matches, expected):
    humans = ["yes"] * matches + ["no"] * (10 - matches)
    assert normalise.soft_accuracy(tuple(human == "yes" for human in humans)) == pytest.approx(expected, abs=1e-15)


def test_annotators_who_say_the_same_are_still_several():
    """Excluding by content instead of by position would leave nobody who agrees."""
    assert normalise.soft_accuracy((True,) * 10) == 1.0
