"""Every pair and surface form against rules written for this test alone."""

from __future__ import annotations

import re

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.compositional import words
from adaptbench.tasks.compositional.composite import compose
from adaptbench.tasks.compositional.pairs import OF_THE_TEXT, PAIRS, find_pairs
from adaptbench.tasks.compositional.simple import (
    RANGES,
    SIMPLE,
    SWAP,
    Ranges,
    Simple,
    Source,
    each,
    on_side,
)
from adaptbench.tasks.dice import Dice
from hypothesis import given, settings
from hypothesis import strategies as st

W, N, S = r"[a-z][a-z'-]*", r"\d+", r"[a-z]+(?:-[a-z]+)*"  # a word, a number, a number in words
T = r"[A-Z][a-z]+"  # a word in title case
SHAPES = {  # pair, form -> what inputs of the first, the second and the composite look like
    ("ab", "inside"): (rf"\* {W}", rf"\( {W} {W} \)", rf"\( \* {W} \* {W} \)"),
    ("ab", "outside"): (rf"\* {W}", rf"\( {W} {W} \)", rf"\* \( {W} {W} \)"),
    ("ab", "tight"): (rf"\* {W}", rf"\({W} {W}\)", rf"\(\* {W} \* {W}\)"),
    ("ab", "star-capitalises"): (rf"\* {W} {W}", rf"{W} {W} #", rf"\* {W} {W} #"),
    ("ab", "hash-capitalises"): (rf"{W} {W} #", rf"\* {W} {W}", rf"\* {W} {W} #"),
    ("ac", "round"): (rf"\* \({S}\)", f"{S} @ {S}", rf"\* \({S} @ {S}\)"),
    ("af", "number-first"): (W, N, f"{N} {W}"),
    ("af", "word-first"): (W, N, f"{W} {N}"),
    ("af", "either"): (W, N, f"(?:{N} {W}|{W} {N})"),
    ("bd", "marked"): (f"{W} {W} #", rf"\* {W} {W}", rf"\* {W} {W} #"),
    ("be", "marked"): (f"{T} {T} #", rf"\* {T} {T}", rf"\* {T} {T} #"),
    ("df", "number-first"): (W, N, f"{N} {W}"),
    ("df", "word-first"): (W, N, f"{W} {N}"),
    ("df", "either"): (W, N, f"(?:{N} {W}|{W} {N})"),
    ("gh", "either"): (f"{N} @ {N}", f"{N} # {N}", f"(?:{N} # {N} @ {N}|{N} @ {N} # {N})"),
    ("gh", "sum-first"): (f"{N} @ {N}", f"{N} # {N}", f"{N} # {N} @ {N}"),
    ("gh", "modular-first"): (f"{N} @ {N}", f"{N} # {N}", f"{N} @ {N} # {N}"),
    ("da", "marked"): (rf"\* {W}", f"{W} #", rf"\* {W} #"),
    ("ed", "marked"): (rf"\* {T}", f"# {W}", rf"\* {T} # {W}"),
}
ONES = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SPELLED = [*ONES, *TEENS, *(ten if one == "zero" else f"{ten}-{one}" for ten in TENS for one in ONES)]
SPELLED += ["one-hundred", *(f"one-hundred-{text}" for text in SPELLED[1:]), "two-hundred"]
PAST = {verb: words.past(verb) for verb in words.VERBS}  # checked in test_logical_words
OPPOSITE = {a: b for pair in words.OPPOSITES for a, b in (pair, pair[::-1])}
WHATS = ("first", "second", "composite")


def swapped(said):
    return {f"{said[1]} {said[0]}"}


def beside(said, number):
    """Each word as ``number`` and capitals or a past tense have it, in place."""
    return {" ".join(str(int(item) + 1) if item.isdigit() else number(item) for item in said)}


def chained(text):
    a, sign, b, _, c = text.split()
    a, b, c = int(a), int(b), int(c)
    return {str((a + b + 1) % c), str(a + b % c + 1)} if sign == "#" else {str(a % b + c + 1), str(a % (b + c + 1))}


def right(pair, what, text):
    """What is right for an input, read off its text."""
    said = re.findall(r"[\w'-]+", text)
    simple = {
        "A": lambda: {" ".join(said).upper()},
        "B": lambda: swapped(said),
        "C": lambda: {SPELLED[SPELLED.index(said[0]) + SPELLED.index(said[1])]},
        "D": lambda: {" ".join(PAST[word] for word in said)},
        "E": lambda: {" ".join(OPPOSITE[word] for word in said)},
        "F": lambda: {str(int(text) + 1)},
        "G": lambda: {str(int(said[0]) % int(said[1]))},
        "H": lambda: {str(int(said[0]) + int(said[1]) + 1)},
    }
    if what != "composite":
        return simple[pair[what == "second"].upper()]()
    return {
        "ab": lambda: {text.upper() for text in swapped(said)},
        "ac": lambda: {next(iter(simple["C"]())).upper()},
        "af": lambda: beside(said, str.upper),
        "bd": lambda: swapped([PAST[word] for word in said]),
        "be": lambda: swapped([OPPOSITE[word] for word in said]),
        "df": lambda: beside(said, PAST.__getitem__),
        "gh": lambda: chained(text),
        "da": lambda: {PAST[said[0]].upper()},
        "ed": lambda: {f"{OPPOSITE[said[0]]} {PAST[said[1]]}"},
    }[pair]()


def test_every_pair_and_form_has_its_shape_here():
    assert {(slug, form) for slug, pair in PAIRS.items() for form in pair.forms} == SHAPES.keys()
    assert OF_THE_TEXT == ("ab", "ac", "af", "bd", "be", "df", "gh")
    assert {slug for slug, pair in PAIRS.items() if pair.structure == "separable"} == {"af", "df", "ed"}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(range(3)),
    st.integers(0, 2**32),
    st.sampled_from(["demonstrations", "queries"]),
    st.sampled_from(["release", "text"]),
)
def test_every_example_obeys_its_rule_and_has_its_shape(shape, number, seed, side, ranges):
    pair = PAIRS[shape[0]]
    example = pair.draw(WHATS[number], pair.forms[shape[1]], Source(Dice(seed), side, RANGES[ranges]))
    assert re.fullmatch(SHAPES[shape][number], example.text)
    assert set(example.answers) == right(shape[0], WHATS[number], example.text)
    assert example.readings["copied"] == (example.text,)
    for other in {0, 1, 2} - {number}:
        only = number == 2 or other == 2  # in A+F a word is no more than a word
        assert not (only and re.fullmatch(SHAPES[shape][other], example.text))


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("8 # 9 @ 7", {"4", "11"}),
        ("30 # 25 @ 24", {"8", "32"}),
        ("3 # 4 @ 50", {"8"}),
        ("20 @ 90 # 7", {"28", "20"}),
        ("9 @ 5 # 3", {"8", "0"}),
    ],
)
def test_rows_of_modular_and_sum(text, answers):
    assert right("gh", "composite", text) == answers
    pair, numbers = PAIRS["gh"], re.findall(N, text)
    left = pair.second if "#" in text.split()[1] else pair.first
    drawn = iter([(numbers[0], numbers[1]), ("1", numbers[2])])

    class Given(Source):
        def operands(self, task, kind, count):
            return next(drawn)

    form = pair.forms["sum-first" if left is pair.second else "modular-first"]
    example = pair.draw("composite", form, Given(Dice(0), "queries", Ranges()))
    assert (example.text, set(example.answers)) == (text, answers)
    if len(answers) == 2:  # a demonstration shows what is read from the left
        assert example.answers[0] == str(from_left(text))


def from_left(text):
    a, sign, b, _, c = (int(part) if part.isdigit() else part for part in text.split())
    return (a + b + 1) % c if sign == "#" else a % b + c + 1


@pytest.mark.parametrize(
    ("letters", "by", "texts"),
    [
        ("AB", "steps", (r"\* W W", "W W #", r"\* W W #")),
        ("AC", "steps", (r"\* W", "W @ W", r"\* W @ W")),
        ("DA", "steps", (r"\* W", "W #", r"\* W #")),
        ("GH", "steps", ("N @ N", "N # N", "N @ N # N|N # N @ N")),
        ("FA", "parts", ("N", "W", "N W")),
        ("AG", "parts", ("W", "N @ N", "W N @ N")),
        ("ED", "parts", (r"\* W", "# W", r"\* W # W")),
        ("BC", "parts", (r"\* W W", "W @ W", r"\* W W W @ W")),
    ],
)
def test_composed_pairs_have_forms_of_their_own(letters, by, texts):
    pair = compose(SIMPLE[letters[0]], SIMPLE[letters[1]], by)
    form = pair.forms["marked"]
    for what, shape in zip(WHATS, texts, strict=True):
        example = pair.draw(what, form, Source(Dice(1), "queries", Ranges()))
        assert re.fullmatch(shape.replace("W", r"[A-Za-z][\w'-]*").replace("N", N), example.text)


@pytest.mark.parametrize("letters", ["FA", "GA", "AF", "CD", "EG"])
def test_what_does_not_fit_by_steps_is_refused_with_the_cure(letters):
    with pytest.raises(UserError, match=r"(?s)neither takes what the other makes.*compose them by parts"):
        compose(SIMPLE[letters[0]], SIMPLE[letters[1]], "steps")
    assert compose(SIMPLE[letters[0]], SIMPLE[letters[1]], "parts").structure == "separable"


def test_one_symbol_cannot_stand_for_both():
    other = Simple("P", "product", "multiplying", ("integer",), lambda two: (two[0],), arity=2, symbol="@")
    with pytest.raises(UserError, match="both tasks have the symbol @"):
        compose(SIMPLE["G"], other, "steps")


REVERSAL = Simple("R", "reversal", "reversing", ("word",), each(lambda word: word[::-1]))
DOUBLING = Simple("X", "doubling", "doubling", ("word",), each(lambda word: word + word))
NEXT = Simple("Y", "last", "dropping the first letter", ("word",), each(lambda word: word[1:]))


def test_orders_that_differ_are_both_right_and_told_apart():
    pair = compose(DOUBLING, NEXT, "steps")
    example = pair.draw("composite", pair.forms["marked"], Source(Dice(0), "queries", Ranges()))
    word = example.text.split()[1]
    assert example.answers == ((word + word)[1:], word[1:] * 2)
    assert example.readings["first, then second"] == (example.answers[0],)
    assert example.readings["second, then first"] == (example.answers[1],)
    assert example.readings["first only"] == (word + word,)
    assert example.readings["second only"] == (word[1:],)


def test_an_order_that_is_impossible_is_not_right():
    pair = compose(REVERSAL, SIMPLE["A"], "steps")
    example = pair.draw("composite", pair.forms["marked"], Source(Dice(0), "queries", Ranges()))
    assert example.answers == (example.text.split()[1][::-1].upper(),)
    assert "second, then first" not in example.readings


@given(st.text(min_size=1))
def test_each_key_stands_on_one_side(key):
    assert on_side(key, "queries") != on_side(key, "demonstrations")


def test_three_tenths_stand_in_queries():
    assert 0.28 < sum(on_side(str(number), "queries") for number in range(5000)) / 5000 < 0.32


def test_a_word_and_its_opposite_stand_on_the_same_side():
    def drawn(side):
        source = Source(Dice(0), side, Ranges())
        return {word for _ in range(800) for word in source.of_kind("opposite", 2)}

    asked, shown = drawn("queries"), drawn("demonstrations")
    assert asked & shown == set()
    assert {OPPOSITE[word] for word in asked} == asked


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000))
def test_ranges_keep_every_number_between_their_bounds(low, width):
    high = low + width
    if high < 1:
        with pytest.raises(UserError, match="no numbers lie in"):
            Ranges.between(low, high)
        return
    source = Source(Dice(low, high), "demonstrations", Ranges.between(low, high))
    for letter in "CGH":
        try:
            operands = source.operands(SIMPLE[letter], "", 2)
        except UserError as error:  # all that there is stands in queries
            assert "leave no operands" in str(error)  # noqa: PT017
            continue
        numbers = [as_number(text) for text in operands]
        assert all(low <= number <= high for number in numbers)
        assert numbers[1] >= 1


def as_number(text):
    return int(text) if text.isdigit() else words.unspell(text)


def test_released_sums_stay_below_a_hundred_and_are_drawn_evenly():
    source = Source(Dice(5), "demonstrations", Ranges())
    drawn = [[words.unspell(text) for text in source.operands(SIMPLE["C"], "", 2)] for _ in range(4000)]
    assert max(map(sum, drawn)) == 99
    assert min(a for a, _ in drawn) == 0
    assert min(b for _, b in drawn) == 1
    assert 64 < sum(map(sum, drawn)) / len(drawn) < 68  # of 4,950 even pairs: 66


@pytest.mark.parametrize(
    "ranges",
    [
        {"integers": (5, 4)},
        {"divisors": (0, 9)},
        {"addends": (0, 0)},
        {"spelled_total": 0},
        {"dividends": (-1, 3)},
        {"spelled": (0, 10**6)},
    ],
)
def test_empty_ranges_are_refused(ranges):
    with pytest.raises(UserError, match="no numbers lie in"):
        Ranges(**ranges)


def test_too_few_operands_of_a_kind():
    with pytest.raises(UserError, match="there are 0 integers for demonstrations, 1 are needed"):
        Source(Dice(0), "demonstrations", Ranges(integers=(1, 1))).of_kind("integer", 1)


def test_swap_needs_two_different_words():
    pair = compose(SWAP, SIMPLE["A"], "steps")
    form = pair.forms["marked"]
    drawn = [pair.draw("second", form, Source(Dice(n), "queries", Ranges())).text.split()[:2] for n in range(300)]
    assert all(a != b for a, b in drawn)


def test_pairs_are_found_by_name():
    assert [pair.name for pair in find_pairs("A+B")] == ["A+B"]
    assert len(find_pairs("text")) == 7
    assert len(find_pairs("all")) == 9
    with pytest.raises(UserError, match="there is no pair 'ba'"):
        find_pairs("ba")
